//! Throttling: while memory is short, sources wait for those who make room.
//!
//! ```text
//!   Pressure(High), and something else could run ─► sources do not start, and those that run are asked to stop early
//! ```
//! Law: the job never stands still because of it. A source waits only while another stage has work, and never while
//! somebody waits for a side input into which it flows.

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
        StageKind::Impulse => true,
        StageKind::Worker => {
            let first = stage.upstream.iter().all(|output| impulse(graph.output(*output).producer));
            stage.splittable || first && !stage.upstream.is_empty() && !stage.keyed
        }
        StageKind::Group { .. } | StageKind::TestStream | StageKind::SortByTime | StageKind::Materialize(_) => false,
    };
    graph.stages.iter().map(source).collect()
}

impl Engine {
    /// The stages that must not start anything now.
    pub(super) fn held_back(&self, now: ProcessingTime) -> BTreeSet<StageId> {
        if self.pressure == MemoryLevel::Low {
            return BTreeSet::new();
        }
        let awaited = self.upstream_of_awaited_sides();
        let waits = |stage: StageId| self.sources[stage.index()] && !awaited.contains(&stage);
        let other_work = self.maybe_ready.iter().any(|stage| !waits(*stage) && self.has_work(*stage, now));
        if !other_work {
            return BTreeSet::new();
        }
        self.graph.stages.iter().map(|stage| stage.id).filter(|stage| waits(*stage)).collect()
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
