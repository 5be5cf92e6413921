//! Circumstances of a need that decide whether a limit is kept, so far as a pipeline shows them.
//!
//! ```text
//!   sheet: timers partial, refuses ["unbounded"] ──┐
//!                                                  ├─► within the limit, or beyond it
//!   pipeline: timers, on unbounded data ───────────┘
//! ```
//! Does not know rows: each circumstance can matter to any of them.

use serde::Serialize;

/// How a transform uses what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Circumstance {
    /// It reads or emits a PCollection that may never end.
    Unbounded,
    /// Its input is in windows that merge.
    MergingWindows,
}

impl Circumstance {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Unbounded, Self::MergingWindows];

    /// The word by which sheets call it.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Unbounded => "unbounded",
            Self::MergingWindows => "merging-windows",
        }
    }

    /// As a part of a sentence, behind what is needed.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Unbounded => "on unbounded data",
            Self::MergingWindows => "in windows that merge",
        }
    }

    /// The circumstance of this id, if there is one.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|circumstance| circumstance.id() == id)
    }
}
