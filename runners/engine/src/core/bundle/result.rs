//! What a bundle did, whole.

use purlin_model::key_group::KeyGroup;
use purlin_model::time::{EventTime, ProcessingTime};

use crate::core::event::Residual;
use crate::core::lane::Lane;
use crate::core::stage::{OutputId, StageId};
use crate::data::BatchRef;

/// A batch on its way from one stage's output to another's lane. Carries no watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed {
    /// Which output it came from.
    pub from: OutputId,
    /// The stage that consumes it.
    pub to: StageId,
    /// The lane there.
    pub lane: Lane,
    /// The elements.
    pub batch: BatchRef,
}

/// State and timers that a bundle wrote, kept by the state store until the bundle commits or fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeltaId(pub u64);

/// What the core knows of the state of one stage and key group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct GroupSummary {
    /// The earliest event-time timer.
    pub next_event: Option<EventTime>,
    /// The earliest processing-time timer.
    pub next_processing: Option<ProcessingTime>,
    /// The least timestamp that anything buffered or any timer may still emit.
    pub min_hold: Option<EventTime>,
    /// The earliest instant of event time behind which a window expires: timers of the clock fire, and its state is
    /// collected. Holds nothing.
    pub next_expiry: Option<EventTime>,
    /// How large it is. What was cleared may count as long as it is on disk.
    pub bytes: u64,
}

/// Elements that a grouping, or a stage that keeps state of windows, has dropped, as Beam says it must.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounts {
    /// Behind the expiry of their window.
    pub late: u64,
    /// In a window whose trigger had finished.
    pub closed: u64,
}

/// All that a bundle did. Applied in one step or not at all.
#[derive(Debug, Default)]
pub struct BundleResult {
    /// What it emitted, in order.
    pub outputs: Vec<Routed>,
    /// What it wrote to state and timers.
    pub delta: Option<DeltaId>,
    /// The state of the key groups that it touched, its own writes included: exact, because it owned their lanes.
    pub summaries: Vec<(KeyGroup, GroupSummary)>,
    /// What it left for later.
    pub residuals: Vec<Residual>,
    /// Whether its worker waits for `Finalize`.
    pub wants_finalize: bool,
    /// What it cost.
    pub stats: BundleStats,
}

/// What a bundle cost, for schedules that learn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BundleStats {
    /// Elements taken.
    pub elements_in: u64,
    /// Elements emitted.
    pub elements_out: u64,
    /// Bytes emitted.
    pub bytes_out: u64,
    /// From start to finish.
    pub duration_us: u64,
}
