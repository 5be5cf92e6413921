//! What runs next: watermarks first, then the schedule's picks among what is ready.

use std::collections::BTreeSet;

use purlin_model::time::{EventTime, Millis, ProcessingTime};

use super::Engine;
use crate::core::action::{Action, BundleDraft};
use crate::core::bundle::Running;
use crate::core::lane::Lane;
use crate::core::schedule::{Pick, ReadyStage};
use crate::core::stage::{Grouping, JobGraph, OutputId, SideGate, SideRead, StageId, StageKind, Take};

/// A kernel that takes whole lanes takes no further one when it has this part of what it may hold.
const KERNEL_BUNDLES_PER_SHARE: u64 = 4;

impl Engine {
    /// Recomputes the watermarks of all stages that changed, and of all that follow from them, in topological order.
    pub(super) fn propagate(&mut self) {
        while let Some(stage) = self.dirty.pop_first() {
            self.note_reader(stage);
            let upstream = self.upstream_watermark(stage);
            let spec = self.graph.stage(stage);
            let state = &mut self.stages[stage.index()];
            let input = state.least_input_hold().map_or(upstream, |hold| hold.min(upstream));
            let moved_input = state.input.advance(input);
            let mut moved = Vec::new();
            for (index, output) in spec.outputs.iter().enumerate() {
                let reached = match spec.kind {
                    StageKind::Impulse | StageKind::Replay if state.committed == 0 => EventTime::MIN,
                    StageKind::Impulse | StageKind::Replay => EventTime::MAX,
                    StageKind::TestStream => {
                        self.script.as_ref().map_or(EventTime::MAX, |script| script.watermark(*output))
                    }
                    StageKind::Worker
                    | StageKind::Group { .. }
                    | StageKind::SortByTime { .. }
                    | StageKind::Materialize(_) => {
                        let reached = state.input.at();
                        state.least_output_hold(*output).map_or(reached, |hold| hold.min(reached))
                    }
                };
                if state.outputs[index].advance(reached) {
                    moved.push(*output);
                }
            }
            for output in moved {
                for consumer in &self.graph.output(output).consumers {
                    self.dirty.insert(consumer.stage);
                    if self.waits_for_all(consumer.stage) {
                        self.maybe_ready.insert(consumer.stage);
                    }
                }
            }
            if moved_input {
                self.on_side_progress(stage);
                // Timers may be due.
                self.maybe_ready.insert(stage);
            }
        }
    }

    /// Lets input run that waited for a side input which this stage fills.
    pub(super) fn on_side_progress(&mut self, materialize: StageId) {
        if let StageKind::Materialize(side) = self.graph.stage(materialize).kind
            && let Some(fired) = self.fired.get_mut(&side)
        {
            // They are ready now by themselves.
            let watermark = self.stages[materialize.index()].input.at();
            fired.retain(|window_max| *window_max >= watermark);
        }
        for reader in self.readers.get(&materialize).cloned().unwrap_or_default() {
            let mut state = std::mem::take(&mut self.stages[reader.index()]);
            state.unblock(|window_max| self.side_inputs_ready(reader, window_max));
            self.stages[reader.index()] = state;
            self.maybe_ready.insert(reader);
        }
    }

    /// Whether all side inputs may be read that elements of this main window read.
    pub(super) fn side_inputs_ready(&self, stage: StageId, window_max: EventTime) -> bool {
        self.graph.stage(stage).gates.iter().all(|gate| self.side_input_ready(gate, window_max))
    }

    /// Whether what elements of this main window read of a side input is complete, or has a pane.
    pub(super) fn side_input_ready(&self, gate: &SideGate, main_max: EventTime) -> bool {
        let side = self.graph.side(gate.side);
        let watermark = self.stages[side.materialize.index()].input.at();
        match side.read_by(main_max, gate.mapping) {
            // A watermark at a window's last instant allows elements there: groupings emit at just that instant.
            SideRead::Window(max) => {
                watermark > max || self.fired.get(&gate.side).is_some_and(|fired| fired.contains(&max))
            }
            SideRead::Anything => watermark == EventTime::MAX,
            SideRead::Nothing => true,
        }
    }

    pub(super) fn upstream_watermark(&self, stage: StageId) -> EventTime {
        let spec = self.graph.stage(stage);
        spec.upstream.iter().map(|output| self.output_watermark(*output)).min().unwrap_or(EventTime::MAX)
    }

    pub(super) fn output_watermark(&self, output: OutputId) -> EventTime {
        let producer = self.graph.output(output).producer;
        let position = self.graph.stage(producer).outputs.iter().position(|of| *of == output);
        position.map_or(EventTime::MAX, |position| self.stages[producer.index()].outputs[position].at())
    }

    /// Starts bundles for as long as the schedule picks any.
    pub(super) fn dispatch(&mut self, now: ProcessingTime) {
        if self.ending.is_some() {
            return;
        }
        loop {
            let held_back = self.held_back(now);
            self.start_leftovers(&held_back, now);
            self.forget_idle_stages(now);
            let graph = self.graph.clone();
            // What was held back need not be any more, now that others have started.
            let held_back = if held_back.is_empty() { held_back } else { self.held_back(now) };
            let ready = self.ready_stages(&graph, &held_back, now);
            if ready.is_empty() {
                return;
            }
            let Some(pick) = self.schedule.pick(&ready, now) else { return };
            if !self.start_picked(pick, now) {
                return;
            }
        }
    }

    /// Retries go first, and residuals of sources that end, as they were: no schedule has a say in their size. A source that
    /// never ends would leave nothing to those behind it: the schedule says when it goes on.
    fn start_leftovers(&mut self, held_back: &BTreeSet<StageId>, now: ProcessingTime) {
        let stages: Vec<_> = self.maybe_ready.iter().copied().filter(|stage| !held_back.contains(stage)).collect();
        for stage in stages {
            while self.free_slots(stage) > 0 {
                let ends = !self.graph.stage(stage).unbounded;
                let state = &mut self.stages[stage.index()];
                let take = state.take_retry().or_else(|| ends.then(|| state.take_residual()).flatten());
                let Some(take) = take else { break };
                self.start(stage, take, now);
            }
        }
    }

    /// A stage leaves the set only when it has nothing that could run, however many slots there are.
    fn forget_idle_stages(&mut self, now: ProcessingTime) {
        let idle: Vec<_> = self.maybe_ready.iter().copied().filter(|stage| !self.has_work(*stage, now)).collect();
        for stage in idle {
            self.maybe_ready.remove(&stage);
        }
    }

    fn ready_stages<'a>(
        &self,
        graph: &'a JobGraph,
        held_back: &BTreeSet<StageId>,
        now: ProcessingTime,
    ) -> Vec<ReadyStage<'a>> {
        let may_run = || self.maybe_ready.iter().filter(|stage| !held_back.contains(stage));
        let ready = may_run().map(|stage| graph.stage(*stage).depth);
        let running = self.ledger.iter().map(|(_, running)| graph.stage(running.stage).depth);
        let active_depth = ready.chain(running).min().unwrap_or(0);
        may_run()
            .filter_map(|stage| {
                let slots = self.free_slots(*stage);
                if slots == 0 {
                    return None;
                }
                let spec = graph.stage(*stage);
                let state = &self.stages[stage.index()];
                let (mut elements, mut bytes, mut lanes) = (0, 0, 0);
                for (_, queue) in state.free_lanes() {
                    elements += queue.elements();
                    bytes += queue.bytes();
                    lanes += 1;
                }
                for lane in state.due_lanes(now).filter(|lane| !state.lanes.contains_key(lane)) {
                    debug_assert!(lane != Lane::Any, "only keys have timers");
                    elements += 1;
                    lanes += 1;
                }
                if spec.unbounded && !state.residuals.is_empty() {
                    elements += state.residuals.len() as u64;
                    lanes += 1;
                }
                let once = spec.kind.runs_once();
                (lanes > 0 || once).then_some(ReadyStage {
                    stage: spec,
                    elements: if once { 1 } else { elements },
                    bytes,
                    lanes: if once { 1 } else { lanes },
                    slots,
                    slots_total: self.slots_total(*stage),
                    running: state.running,
                    active_depth,
                })
            })
            .collect()
    }

    /// Whether a stage could start a bundle if it had a slot.
    pub(super) fn has_work(&self, stage: StageId, now: ProcessingTime) -> bool {
        let state = &self.stages[stage.index()];
        if !state.retries.is_empty() || !state.residuals.is_empty() {
            return true;
        }
        match self.graph.stage(stage).kind {
            StageKind::Impulse | StageKind::Replay => !state.begun,
            // Its elements come from outside.
            StageKind::TestStream => false,
            // The input is complete when nothing more can come: what is pending does not count, it is the input.
            StageKind::Group { grouping: Grouping::AppendOnce, .. } | StageKind::SortByTime { as_it_comes: None } => {
                self.upstream_watermark(stage) == EventTime::MAX && state.free_lanes().next().is_some()
            }
            StageKind::Group { grouping: Grouping::KeyMajor | Grouping::OneKey, .. }
            | StageKind::SortByTime { as_it_comes: Some(_) }
            | StageKind::Worker
            | StageKind::Materialize(_) => state.free_lanes().next().is_some() || state.due_lanes(now).next().is_some(),
        }
    }

    fn slots_total(&self, stage: StageId) -> u32 {
        match self.graph.stage(stage).env {
            Some(env) => self.slots[env.index()].unwrap_or(0),
            None => self.config.kernel_slots,
        }
    }

    pub(super) fn free_slots(&self, stage: StageId) -> u32 {
        let running = match self.graph.stage(stage).env {
            Some(env) => self.running_in_env[env.index()],
            None => self.running_kernels,
        };
        self.slots_total(stage).saturating_sub(running)
    }

    /// Starts what the schedule picked; tells whether there was anything to start.
    fn start_picked(&mut self, pick: Pick, now: ProcessingTime) -> bool {
        let Some(spec) = self.graph.stages.get(pick.stage.index()) else { return false };
        if self.free_slots(pick.stage) == 0 || !self.has_work(pick.stage, now) {
            return false;
        }
        let state = &mut self.stages[pick.stage.index()];
        let take = match spec.kind {
            StageKind::Impulse | StageKind::Replay => {
                state.begun = true;
                Some(Take::of_lanes(vec![Lane::Any]))
            }
            StageKind::TestStream => None,
            StageKind::Worker if !state.residuals.is_empty() => state.take_residual(),
            StageKind::Group { .. } | StageKind::SortByTime { .. } | StageKind::Worker | StageKind::Materialize(_) => {
                let whole = spec.kind.waits_for_all();
                // Kernels that take whole lanes hold them in memory until they commit, so that several small bundles take less than a large one.
                let kernel_bytes_max = self.config.kernel_share_bytes / KERNEL_BUNDLES_PER_SHARE;
                // What a script brings as one bundle stays one.
                let mut pick = if self.script.is_some() { Pick::all(pick.stage) } else { pick };
                if whole {
                    pick.bytes_max = pick.bytes_max.min(kernel_bytes_max);
                } else if spec.keyed && self.script.is_none() {
                    pick.elements_max = pick.elements_max.min(self.config.keyed_elements_max);
                    pick.bytes_max = pick.bytes_max.min(self.config.kernel_share_bytes);
                }
                state.take_lanes(pick.lanes_max, pick.elements_max, pick.bytes_max, whole, now)
            }
        };
        let Some(take) = take else { return false };
        self.start(pick.stage, take, now);
        true
    }

    fn start(&mut self, stage: StageId, take: Take, now: ProcessingTime) {
        for slice in &take.input {
            self.note_cut(slice);
        }
        let spec = self.graph.stage(stage);
        match spec.env {
            Some(env) => self.running_in_env[env.index()] += 1,
            None => self.running_kernels += 1,
        }
        let asked = take.asked_by.is_some();
        let age = if spec.splittable { self.schedule.bundle_age_max_ms(spec) } else { None };
        let state = &mut self.stages[stage.index()];
        state.running += 1;
        let hold = take.hold.unwrap_or_else(|| state.begin(spec.keyed));
        let watermark = hold.watermark;
        let id = self.ledger.enter(Running {
            stage,
            lanes: take.lanes.clone(),
            input: take.input.clone(),
            behind: take.behind,
            residual: take.residual,
            merged: take.merged.clone(),
            asked_by: take.asked_by,
            hold,
            attempt: take.attempt,
            truncated: take.truncated,
            started: self.now,
            split_at: age.map(|age| self.now + Millis(age)),
            // The bundles of keys are not split: their order is per key. Neither are the runner's own, which are short, and
            // questions, which are answered whole.
            share_at: self
                .config
                .share_after_ms
                .filter(|_| spec.env.is_some() && !spec.keyed && !asked)
                .map(|after| self.now + Millis(after)),
            aborted: false,
            stopping: false,
        });
        self.actions.push_back(Action::StartBundle(BundleDraft {
            id,
            stage,
            lanes: take.lanes,
            input: take.input,
            merged: take.merged,
            watermark,
            now,
            attempt: take.attempt,
            draining: self.drain.is_some(),
        }));
    }
}
