//! Which bundle runs next, and how large it is.

use std::collections::BTreeMap;

use purlin_engine::core::bundle::BundleStats;
use purlin_engine::core::schedule::{Pick, ReadyStage, Schedule};
use purlin_engine::core::stage::{StageId, StageSpec};
use purlin_model::time::ProcessingTime;

/// Takes one lane and few elements of the stage whose turn it is.
#[derive(Clone, Debug)]
pub struct CarefulSchedule {
    elements_max: u64,
    /// When each stage was picked last, counted in picks; the turn is that of the one that has waited longest.
    turns: BTreeMap<StageId, u64>,
    picks: u64,
}

impl CarefulSchedule {
    /// A schedule whose bundles hold at most so many elements.
    pub fn new(elements_max: u64) -> Self {
        Self { elements_max, turns: BTreeMap::new(), picks: 0 }
    }
}

impl Schedule for CarefulSchedule {
    fn pick(&mut self, ready: &[ReadyStage<'_>], _now: ProcessingTime) -> Option<Pick> {
        // `ready` is never empty. A stage that is not in it has its turn later: it may wait for a worker that another one has.
        let next = ready.iter().min_by_key(|ready| self.turns.get(&ready.stage.id))?;
        self.picks += 1;
        self.turns.insert(next.stage.id, self.picks);
        Some(Pick { stage: next.stage.id, lanes_max: 1, elements_max: self.elements_max, bytes_max: u64::MAX })
    }

    fn on_finished(&mut self, _stage: StageId, _stats: &BundleStats) {}

    fn bundle_age_max_ms(&self, stage: &StageSpec) -> Option<i64> {
        // A source that never ends must let go of what it has, or nothing would ever come of it.
        stage.unbounded.then_some(100)
    }

    fn next_wakeup(&self) -> Option<ProcessingTime> {
        // It never leaves a ready stage for later, so nobody must ask again.
        None
    }
}
