//! The seam between runners: what may run is the engine's to say, what does run is the schedule's.

use std::fmt;

use purlin_model::time::ProcessingTime;

use crate::core::bundle::BundleStats;
use crate::core::stage::{StageId, StageSpec};

/// One stage that could run now.
#[derive(Clone, Copy, Debug)]
pub struct ReadyStage<'a> {
    /// The stage.
    pub stage: &'a StageSpec,
    /// Elements that could run.
    pub elements: u64,
    /// Bytes that could run.
    pub bytes: u64,
    /// Lanes that could run.
    pub lanes: usize,
    /// Free worker slots in its environment; for what the runner does itself, free data threads.
    pub slots: u32,
    /// All worker slots of its environment.
    pub slots_total: u32,
    /// How many bundles of this stage run now.
    pub running: u32,
    /// The least depth of any stage that runs or could run: what is no deeper waits for nobody.
    pub active_depth: u32,
}

impl ReadyStage<'_> {
    /// How many elements each bundle gets when what is there is shared out evenly among the slots that are free.
    /// Sharing it among all slots instead would leave less and less each time, down to single elements.
    pub fn share(&self) -> u64 {
        self.elements.div_ceil(u64::from(self.slots.max(1))).max(1)
    }

    /// How many lanes each bundle gets.
    pub fn share_of_lanes(&self) -> usize {
        self.lanes.div_ceil(self.slots.max(1) as usize).max(1)
    }

    /// The same for a source, whose elements are few and long: more pieces than workers keep all of them busy to the
    /// end. One worker alone takes all at once.
    pub fn share_of_source(&self) -> u64 {
        let pieces = if self.slots_total > 1 { u64::from(self.slots_total) * SOURCE_PIECES } else { 1 };
        self.elements.div_ceil(pieces).max(1)
    }
}

/// Into how many pieces a source is cut for each worker.
const SOURCE_PIECES: u64 = 4;

/// What a schedule wants to run next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Which stage.
    pub stage: StageId,
    /// At most this many lanes.
    pub lanes_max: usize,
    /// At most this many elements, except that a bundle always takes one.
    pub elements_max: u64,
    /// At most about this many bytes, except that a bundle always takes one element.
    pub bytes_max: u64,
}

impl Pick {
    /// All that is ready of a stage, in one bundle.
    pub fn all(stage: StageId) -> Self {
        Self { stage, lanes_max: usize::MAX, elements_max: u64::MAX, bytes_max: u64::MAX }
    }
}

/// Decides which ready bundles start, how large they are, and when a running one is cut. Pure, like the core: the
/// same calls give the same answers.
///
/// Law: every ready stage is picked after finitely many calls.
pub trait Schedule: Send + fmt::Debug {
    /// Chooses among what is ready; `ready` is in stage order and never empty. `None` leaves it for later, and
    /// then [`next_wakeup`](Self::next_wakeup) must say when to ask again.
    fn pick(&mut self, ready: &[ReadyStage<'_>], now: ProcessingTime) -> Option<Pick>;

    /// Hears what a bundle cost.
    fn on_finished(&mut self, stage: StageId, stats: &BundleStats);

    /// How long a bundle of this splittable stage may run before it is asked to check-point itself, in
    /// milliseconds; `None` lets it run.
    fn bundle_age_max_ms(&self, stage: &StageSpec) -> Option<i64>;

    /// When to ask again if nothing else happens.
    fn next_wakeup(&self) -> Option<ProcessingTime>;
}
