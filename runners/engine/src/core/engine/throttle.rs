//! Throttling: while memory is short, sources wait for those who make room; groupings wait for readers that have enough.
//!
//! ```text
//!   Pressure(High), and something else could run ─► sources do not start, and those that run are asked to stop early
//!   a reader of groups has a kernel's share of them waiting, and could go on ─► the grouping does not start
//! ```
//! Law: the job never stands still because of it. A source waits only while another stage has work, and never while
//! somebody waits for a side input into which it flows. A grouping waits only for a stage that has work and does not wait itself.

use std::collections::BTreeSet;

use purlin_model::time::ProcessingTime;

use super::Engine;
use crate::core::action::Action;
use crate::core::event::MemoryLevel;
use crate::core::stage::{JobGraph, StageId, StageKind, StageSpec};

/// The stages that make more out of little: impulses, what reads nothing but impulses, and splittable stages, whose input
/// describes what is to be read.
pub(super) fn sources(graph: &JobGraph) -> Vec<bool> {
    let impulse = |stage: StageId| graph.stage(stage).kind == StageKind::Impulse;
    let source = |stage: &StageSpec| match stage.kind {
        StageKind::Impulse | StageKind::Replay => true,
        StageKind::Worker => {
            let first = stage.upstream.iter().all(|output| impulse(graph.output(*output).producer));
            stage.splittable || first && !stage.upstream.is_empty() && !stage.keyed
        }
        StageKind::Group { .. } | StageKind::TestStream | StageKind::SortByTime { .. } | StageKind::Materialize(_) => {
            false
        }
    };
    graph.stages.iter().map(source).collect()
}

impl Engine {
    /// The stages that must not start anything now.
    pub(super) fn held_back(&self, now: ProcessingTime) -> BTreeSet<StageId> {
        let mut held_back = self.ahead_of_readers(now);
        if self.pressure == MemoryLevel::Low {
            return held_back;
        }
        let awaited = self.upstream_of_awaited_sides();
        let waits = |stage: StageId| self.sources[stage.index()] && !awaited.contains(&stage);
        // Groupings that are held back count: those for whom they wait have work.
        let other_work = self.maybe_ready.iter().any(|stage| !waits(*stage) && self.has_work(*stage, now));
        if other_work {
            held_back.extend(self.graph.stages.iter().map(|stage| stage.id).filter(|stage| waits(*stage)));
        }
        held_back
    }

    /// The groupings that would only fill memory: their input is all there and takes no more room the longer it waits, while
    /// somebody who reads their output has enough of it.
    fn ahead_of_readers(&self, now: ProcessingTime) -> BTreeSet<StageId> {
        let has_enough = |reader: StageId| {
            let pending = || self.stages[reader.index()].free_lanes().map(|(_, queue)| queue.bytes()).sum::<u64>();
            // A source may have to wait itself, and then nobody would go on.
            !self.sources[reader.index()] && self.has_work(reader, now) && pending() >= self.config.kernel_share_bytes
        };
        let ahead = |stage: &StageId| {
            let spec = self.graph.stage(*stage);
            let mut readers = spec.outputs.iter().flat_map(|output| &self.graph.output(*output).consumers);
            spec.kind.waits_for_all() && readers.any(|reader| has_enough(reader.stage))
        };
        self.maybe_ready.iter().copied().filter(ahead).collect()
    }

    /// Asks bundles of sources that are held back to stop early, once each.
    pub(super) fn stop_sources(&mut self, now: ProcessingTime) {
        if self.pressure == MemoryLevel::Low || self.ending.is_some() {
            return;
        }
        let held_back = self.held_back(now);
        for (bundle, running) in self.ledger.iter_mut() {
            let splittable = self.graph.stage(running.stage).splittable;
            if splittable && !running.stopping && held_back.contains(&running.stage) {
                running.stopping = true;
                self.actions.push_back(Action::SplitBundle { bundle, fraction: 0.0 });
            }
        }
    }

    /// All that flows into a side input for which elements wait.
    fn upstream_of_awaited_sides(&self) -> BTreeSet<StageId> {
        let waiting = self.graph.stages.iter().filter(|stage| !self.stages[stage.id.index()].blocked.is_empty());
        let mut next: Vec<StageId> =
            waiting.flat_map(|stage| &stage.gates).map(|gate| self.graph.side(gate.side).materialize).collect();
        let mut upstream = BTreeSet::new();
        while let Some(stage) = next.pop() {
            if upstream.insert(stage) {
                let spec = self.graph.stage(stage);
                next.extend(spec.upstream.iter().map(|output| self.graph.output(*output).producer));
                next.extend(spec.gates.iter().map(|gate| self.graph.side(gate.side).materialize));
            }
        }
        upstream
    }
}
