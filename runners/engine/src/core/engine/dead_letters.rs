//! Dead letters: input that user code cannot take is narrowed down to one element, which is put aside.
//!
//! ```text
//!   bundle of 8 fails ─► 4, then 4 ─► 2, then 2, then 4 ─► 1 fails: a dead letter ─► 1, then 2, then 4
//! ```
//! The parts run one behind the other, under the lanes of the bundle that failed, so that the order of each key is kept. An element of
//! a keyed stage is never passed over: its key's state would be that of another history. It is told, and the job ends. Neither is what a
//! source reads, which would be all that comes out of it.
//!
//! Cost: `log2(n)` bundles for each element that fails, of a bundle of `n`. What a failed bundle did outside of the pipeline it may do
//! again, as with every retry in Beam.

use super::Engine;
use crate::core::action::{Action, Outcome};
use crate::core::bundle::Running;
use crate::core::stage::{OutputId, StageId, StageKind, Take};
use crate::data::BatchSlice;

impl Engine {
    /// What becomes of a bundle that failed for the last time in user code, or with its worker. `reason` says where and why.
    pub(super) fn put_aside(&mut self, running: Running, reason: String) {
        let elements: u32 = running.input.iter().map(BatchSlice::len).sum();
        let Some(dead_letters_max) = self.config.dead_letters_max else { return self.end(Outcome::Failed(reason)) };
        // Timers alone, and what somebody else waits for an answer to, cannot be left out; nor can what stands for many elements.
        if elements == 0 || running.asked_by.is_some() || self.is_source(running.stage) {
            return self.end(Outcome::Failed(reason));
        }
        if elements > 1 {
            return self.narrow(running, elements / 2);
        }
        let stage = running.stage;
        for element in &running.input {
            self.actions.push_back(Action::DeadLetter { stage, element: *element, reason: reason.clone() });
        }
        if self.graph.stage(stage).keyed {
            return self.end(Outcome::Failed(reason));
        }
        self.dead_letters += 1;
        if self.dead_letters > dead_letters_max {
            return self.end(Outcome::Failed(format!(
                "more than {dead_letters_max} elements failed, which is as many dead letters as the job may have \
                 (`--dead_letter_max`); the last: {reason}"
            )));
        }
        self.release(&running);
        self.free(&running.input);
        self.dirty.insert(stage);
        self.maybe_ready.insert(stage);
    }

    /// Whether a stage's input stands for the elements of a source: an impulse, or parts of a splittable DoFn's work.
    fn is_source(&self, stage: StageId) -> bool {
        let spec = self.graph.stage(stage);
        let producer = |output: &OutputId| self.graph.stage(self.graph.output(*output).producer);
        spec.splittable || spec.upstream.iter().any(|output| producer(output).kind == StageKind::Impulse)
    }

    /// Hands out the first elements of a bundle that failed; what is behind them follows when they are through.
    fn narrow(&mut self, running: Running, count: u32) {
        let (mut first, mut behind) = (Vec::new(), Vec::new());
        let mut missing = count;
        for slice in &running.input {
            let (taken, left) = slice.split_at(missing);
            if !taken.is_empty() {
                first.push(taken);
            }
            behind.extend(left);
            missing -= taken.len();
        }
        for slice in first.iter().chain(&behind) {
            if !running.input.contains(slice) {
                self.note_cut(slice);
            }
        }
        let new: Vec<_> = first.iter().chain(&behind).copied().collect();
        self.stages[running.stage.index()].rewrite(&running.input, &new);
        behind.extend(running.behind.iter().copied());
        let take = Take {
            input: first,
            behind,
            // It has had its attempts: the next failure narrows again.
            attempt: running.attempt,
            ..Take::of_lanes(running.lanes)
        };
        self.stages[running.stage.index()].retries.push_back(take);
        self.maybe_ready.insert(running.stage);
    }

    /// Lets go of what a bundle had, in favour of what was waiting behind it.
    pub(super) fn release(&mut self, running: &Running) {
        let state = &mut self.stages[running.stage.index()];
        if running.behind.is_empty() {
            state.release(&running.lanes, &running.input, running.residual.as_ref());
            return;
        }
        let follows =
            Take { input: running.behind.clone(), attempt: running.attempt, ..Take::of_lanes(running.lanes.clone()) };
        // Its lanes stay locked.
        state.release(&[], &running.input, None);
        state.retries.push_back(follows);
    }
}
