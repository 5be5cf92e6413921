//! How a job ends: done, failed, cancelled, or stuck with an explanation.

use purlin_model::time::{EventTime, Millis, ProcessingTime};

use super::Engine;
use super::script::Script;
use crate::core::action::{Action, Outcome};
use crate::core::bundle::GroupSummary;
use crate::core::explain::{Explanation, StageStall, Wait};
use crate::core::lane::LaneQueue;
use crate::core::stage::{SideContents, SideRead, StageId, StageKind};

impl Engine {
    /// Decides how the job will end; the first decision stands. Running bundles are told to stop.
    pub(super) fn end(&mut self, outcome: Outcome) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(outcome);
        for (bundle, running) in self.ledger.iter_mut() {
            running.aborted = true;
            self.actions.push_back(Action::AbortBundle { bundle });
        }
    }

    /// Ends the job when nothing runs and either an end was decided or nothing more can happen.
    pub(super) fn conclude(&mut self, now: ProcessingTime) {
        if !self.ledger.is_empty() {
            return;
        }
        let outcome = match self.ending.take() {
            Some(outcome) => outcome,
            None if self.waits_for_outside(now) => return,
            None if self.unfinished().next().is_none() => self.flushed().map_or(Outcome::Done, Outcome::Drained),
            None => Outcome::Stuck(self.explain(now)),
        };
        self.over = true;
        self.actions.push_back(Action::JobDone(outcome));
    }

    /// Whether an event may still come: the clock, or workers for work that there is.
    fn waits_for_outside(&self, now: ProcessingTime) -> bool {
        self.next_wakeup().is_some()
            || self.script.as_ref().is_some_and(Script::is_asked)
            || self.graph.stages.iter().any(|stage| self.free_slots(stage.id) == 0 && self.has_work(stage.id, now))
    }

    /// Stages out of which something may still come.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = StageId> {
        self.graph.stages.iter().map(|stage| stage.id).filter(|stage| !self.is_done(*stage))
    }

    pub(super) fn is_done(&self, stage: StageId) -> bool {
        let state = &self.stages[stage.index()];
        state.input.at() == EventTime::MAX
            && state.is_idle()
            && state.outputs.iter().all(|watermark| watermark.at() == EventTime::MAX)
    }

    /// Why the job does not progress: each unfinished stage, and what it waits for.
    pub fn explain(&self, now: ProcessingTime) -> Explanation {
        let stages = self
            .unfinished()
            .map(|stage| StageStall {
                stage: self.graph.stage(stage).name.clone(),
                input_watermark: self.stages[stage.index()].input.at(),
                waits: self.waits(stage, now),
            })
            .collect();
        Explanation { stages }
    }

    /// What a stage waits for that has input and runs no bundle; nothing if it has none, or runs one.
    pub fn waits_with_input(&self, stage: StageId, now: ProcessingTime) -> Option<Vec<Wait>> {
        let state = &self.stages[stage.index()];
        (state.running == 0 && state.pending() > 0).then(|| self.waits(stage, now))
    }

    fn waits(&self, stage: StageId, now: ProcessingTime) -> Vec<Wait> {
        let spec = self.graph.stage(stage);
        let state = &self.stages[stage.index()];
        let mut waits = Vec::new();
        if state.running > 0 {
            waits.push(Wait::Running { bundles: state.running.into() });
        }
        if self.has_work(stage, now) {
            let elements = state.pending();
            waits.push(match self.free_slots(stage) {
                0 => Wait::Workers { elements },
                _ => Wait::Schedule { elements },
            });
        }
        let residuals = state.delayed.values().map(|residuals| residuals.len() as u64).sum();
        if residuals > 0 {
            let hold = state.least_residual_hold().unwrap_or(EventTime::MAX);
            waits.push(Wait::Clock { residuals, hold });
        }
        if let Some(of_state) = state.waits() {
            let GroupSummary { next_event, next_processing, min_hold, next_expiry: _, bytes: _ } = of_state;
            waits.push(Wait::State { hold: min_hold, next_event, next_processing });
        }
        if spec.kind == StageKind::TestStream {
            waits.push(Wait::Script);
        }
        for (window_max, blocked) in &state.blocked {
            let elements = blocked.values().map(LaneQueue::elements).sum();
            for gate in &spec.gates {
                if self.side_input_ready(gate, *window_max) {
                    continue;
                }
                let side = self.graph.side(gate.side);
                let watermark = self.stages[side.materialize.index()].input.at();
                let stage = self.graph.stage(side.materialize).name.clone();
                let needed = match side.read_by(*window_max, gate.mapping) {
                    SideRead::Window(max) => max + Millis(1),
                    SideRead::Anything | SideRead::Nothing => EventTime::MAX,
                };
                let or_pane = side.contents == SideContents::LatestPane;
                waits.push(Wait::Side { stage, watermark, needed, or_pane, elements });
            }
        }
        for output in &spec.upstream {
            let watermark = self.output_watermark(*output);
            if watermark < EventTime::MAX {
                waits.push(Wait::Upstream { output: self.graph.output(*output).name.clone(), watermark });
            }
        }
        waits
    }
}
