//! The active windows of a key whose windows merge: all that are kept, and what becomes of them.
//!
//! ```text
//!   active ∪ windows of new elements ──(sessions, or an SDK's answer)──► becomes ──merge──► active
//! ```
//! Triggers, panes, counts and holds move with their window; the names of buffers are joined, and no value is touched.
//! What new elements bring is added afterwards, to the window that theirs became.

use std::collections::BTreeMap;

use bytes::Bytes;
use purlin_model::coder::varint::{read_varint, write_length, write_varint};
use purlin_model::element::{decode_window, encode_window};
use purlin_model::window::{BoundedWindow, WindowCoder};
use purlin_model::windowing_strategy::WindowingStrategy;

use super::Contents;
use crate::kernel::trigger::At;

/// What is kept of each window of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ActiveWindows {
    windows: BTreeMap<BoundedWindow, Contents>,
    /// How many buffers were ever named: a window that was merged away may come again while its buffer lives on.
    buffers: i64,
}

/// What merging has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    /// Windows that are no more.
    pub(crate) gone: Vec<BoundedWindow>,
    /// Windows that others went into: what is kept of them has changed.
    pub(crate) grown: Vec<BoundedWindow>,
    /// Elements that were lost, because they came into a window whose trigger had finished.
    pub(crate) dropped: u64,
}

impl ActiveWindows {
    pub(crate) fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    pub(crate) fn windows(&self) -> impl Iterator<Item = &BoundedWindow> {
        self.windows.keys()
    }

    pub(crate) fn insert(&mut self, window: BoundedWindow, contents: Contents) {
        self.windows.insert(window, contents);
    }

    pub(crate) fn remove(&mut self, window: &BoundedWindow) -> Option<Contents> {
        self.windows.remove(window)
    }

    /// The name of a buffer that no window has.
    pub(crate) fn new_buffer(&mut self) -> Bytes {
        let mut name = Vec::new();
        write_varint(self.buffers, &mut name);
        self.buffers += 1;
        name.into()
    }

    /// Merges windows that are kept into what they become. `at` tells for a window what its trigger is asked in view of.
    pub(crate) fn merge(
        &mut self,
        becomes: &BTreeMap<BoundedWindow, BoundedWindow>,
        strategy: &WindowingStrategy,
        at: impl Fn(&BoundedWindow) -> At,
    ) -> Merged {
        let mut merged = Merged::default();
        let mut targets = BTreeMap::<&BoundedWindow, Vec<BoundedWindow>>::new();
        for (window, target) in becomes {
            if window != target && self.windows.contains_key(window) {
                targets.entry(target).or_default().push(window.clone());
            }
        }
        for (target, parts) in targets {
            let at = at(target);
            // One that was there before goes on counting its panes.
            let mut result = self.windows.remove(target);
            let existed = result.is_some();
            for part in parts {
                let Some(contents) = self.windows.remove(&part) else { continue };
                merged.gone.push(part);
                match &mut result {
                    Some(result) => merged.dropped += result.merge(contents, strategy, &at),
                    None => result = Some(contents),
                }
            }
            if let Some(mut result) = result {
                if !existed {
                    result.renew(strategy, &at);
                }
                self.windows.insert(target.clone(), result);
                merged.grown.push(target.clone());
            }
        }
        merged
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        write_varint(self.buffers, out);
        write_length(self.windows.len(), out);
        for (window, contents) in &self.windows {
            encode_window(window, out);
            contents.encode(out);
        }
    }

    pub(crate) fn decode(strategy: &WindowingStrategy, coder: WindowCoder, bytes: &mut &[u8]) -> Option<Self> {
        let buffers = read_varint(bytes).ok()?;
        let mut windows = BTreeMap::new();
        for _ in 0..read_varint(bytes).ok()? {
            let window = decode_window(bytes, coder).ok()?;
            windows.insert(window, Contents::decode(strategy, bytes)?);
        }
        Some(Self { windows, buffers })
    }
}
