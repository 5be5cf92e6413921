//! The seam between runners: what may run is the engine's to say, what does run is the schedule's.

use std::cmp::Reverse;
use std::collections::BTreeMap;
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

/// How often a ready stage may be passed over for others. Large enough that work in hand is finished first, as a rule;
/// a bundle takes milliseconds.
const PASSED_OVER_MAX: u32 = 64;

/// The order of schedules that finish what is begun before they begin more: the stage that is farthest from the sources.
///
/// A source that never ends is ready again when it has just run, so that it would leave nothing to a stage nearer to the
/// roots: such sources go when nothing else can, in turn. And no stage is passed over for ever, whatever sets itself timers.
#[derive(Clone, Debug, Default)]
pub struct ResultsFirst {
    passed_over: BTreeMap<StageId, u32>,
}

impl ResultsFirst {
    /// Whose turn it is. Calling it is taking the turn.
    pub fn choose<'a, 'g>(&mut self, ready: &'a [ReadyStage<'g>]) -> Option<&'a ReadyStage<'g>> {
        let chosen = ready.iter().max_by_key(|ready| {
            let waited = self.passed_over.get(&ready.stage.id).copied().unwrap_or(0);
            let endless = ready.stage.splittable && ready.stage.unbounded;
            let turn = if endless { waited } else { 0 };
            (waited.saturating_sub(PASSED_OVER_MAX), !endless, turn, ready.stage.depth, Reverse(ready.stage.id))
        })?;
        for passed in ready {
            // Until it has had its turn; whether it stays ready meanwhile, for want of a worker, does not matter.
            *self.passed_over.entry(passed.stage.id).or_default() += 1;
        }
        self.passed_over.remove(&chosen.stage.id);
        Some(chosen)
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

#[cfg(test)]
mod tests {
    use purlin_model::coder::Coder;
    use purlin_model::window::WindowCoder;

    use super::*;
    use crate::core::stage::{JobGraph, JobGraphBuilder};

    /// What is picked of these stages, one letter a pick, while all of them are ready all the time.
    fn picks(graph: &JobGraph, ready: &[&str], number: usize) -> String {
        let stages = graph.stages.iter().filter(|stage| ready.contains(&&*stage.name.to_string()));
        let ready: Vec<_> = stages
            .map(|stage| ReadyStage {
                stage,
                elements: 1,
                bytes: 1,
                lanes: 1,
                slots: 1,
                slots_total: 1,
                running: 0,
                active_depth: 0,
            })
            .collect();
        let mut order = ResultsFirst::default();
        let mut pick = || order.choose(&ready).expect("all are ready").stage.name.to_string();
        (0..number).map(|_| pick().chars().next().unwrap_or(' ')).collect()
    }

    /// Two endless sources, one of them behind a stage `a`; `z` reads both.
    fn graph() -> JobGraph {
        let mut job = JobGraphBuilder::new();
        let env = job.environment();
        let impulse = job.impulse("impulse");
        let mut worker = |name: &str, upstream| job.worker(name, env, &[upstream], Coder::Bytes, WindowCoder::Global);
        let a = worker("a", impulse);
        let s = worker("s", a);
        let t = worker("t", impulse);
        let z = worker("z", s);
        let mut graph = job.build();
        for source in [s, t] {
            let producer = graph.output(source.id()).producer;
            graph.stages[producer.index()].splittable = true;
            graph.stages[producer.index()].unbounded = true;
        }
        let _ = z;
        graph
    }

    #[test]
    fn what_is_nearest_to_the_results_goes_first() {
        assert_eq!(picks(&graph(), &["impulse", "a", "z"], 3), "zzz");
    }

    #[test]
    fn endless_sources_go_when_nothing_else_can_and_take_turns() {
        assert_eq!(picks(&graph(), &["s", "t"], 5), "ststs");
        assert_eq!(picks(&graph(), &["a", "s"], 3), "aaa");
    }

    #[test]
    fn nobody_is_passed_over_for_ever() {
        let picked = picks(&graph(), &["a", "s", "t", "z"], 300);
        for name in ["a", "s", "t", "z"] {
            assert!(picked.contains(name), "{name}: {picked}");
        }
        // And those that are nearest to the results still have most of it.
        assert!(picked.matches('z').count() > 250, "{picked}");
    }
}
