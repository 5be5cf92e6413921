//! How a bundle ends: committed whole, or as if it had never been.

use purlin_model::time::ProcessingTime;

use super::Engine;
use crate::core::action::{Action, BundleId, Outcome};
use crate::core::bundle::{BundleResult, Routed, Running};
use crate::core::event::{Failure, Split};
use crate::core::lane::Joined;
use crate::core::stage::{Leftover, StageId, StageKind, Take};
use crate::data::{BatchId, BatchRef, BatchSlice};

impl Engine {
    pub(super) fn on_finished(&mut self, bundle: BundleId, result: BundleResult, now: ProcessingTime) {
        let Some(running) = self.leave(bundle) else { return };
        self.stages[running.stage.index()].end(running.hold);
        if running.aborted {
            // The abort was on its way; the job has given the bundle up.
            self.actions.push_back(Action::DiscardBundle { bundle });
            let outputs = result.outputs.iter().map(|routed| routed.batch.id);
            let residuals = result.residuals.iter().map(|residual| residual.batch.id);
            let batches: Vec<_> = outputs.chain(residuals).collect();
            if !batches.is_empty() {
                self.actions.push_back(Action::Free { batches });
            }
            return;
        }
        let seq = self.ledger.next_seq();
        self.actions.push_back(Action::CommitBundle { bundle, seq });
        if result.wants_finalize {
            self.actions.push_back(Action::Finalize { bundle });
        }
        self.schedule.on_finished(running.stage, &result.stats);
        if let Some(asked_by) = running.asked_by {
            self.stages[running.stage.index()].committed += 1;
            let (asker, take) = *asked_by;
            if self.graph.stage(asker).splittable {
                self.on_answer(asker, &take, result.outputs, now);
                return;
            }
            let merged = result.outputs.into_iter().map(|routed| BatchSlice::whole(routed.batch)).collect();
            self.stages[asker.index()].retries.push_back(Take { merged, ..take });
            self.maybe_ready.insert(asker);
            self.free(&running.input);
            return;
        }
        let elements = running.input.iter().map(|slice| u64::from(slice.len())).sum::<u64>();
        self.note_flushed(running.stage, elements, &result.stats);
        self.release(&running);
        let state = &mut self.stages[running.stage.index()];
        state.committed += 1;
        state.elements_done += elements;
        for (group, summary) in result.summaries {
            state.summarise(group, summary);
        }
        for residual in result.residuals {
            self.stages[running.stage.index()].push_residual(Leftover::new(residual, running.truncated), now);
        }
        for routed in result.outputs {
            self.route(routed);
        }
        self.note_panes(running.stage, &running.input);
        self.dirty.insert(running.stage);
        self.maybe_ready.insert(running.stage);
        self.free(&running.input);
        self.free(&running.merged);
    }

    /// What a stage that keeps panes has taken may be read from now on.
    fn note_panes(&mut self, stage: StageId, panes: &[BatchSlice]) {
        let spec = self.graph.stage(stage);
        if let StageKind::Materialize(side) = spec.kind
            && self.graph.has_panes(spec)
        {
            let windows = panes.iter().filter_map(|slice| slice.batch.window_max);
            self.fired.entry(side).or_default().extend(windows);
            self.on_side_progress(stage);
        }
    }

    pub(super) fn on_failed(&mut self, bundle: BundleId, why: Failure) {
        let Some(running) = self.leave(bundle) else { return };
        self.actions.push_back(Action::DiscardBundle { bundle });
        if let Failure::NeedMerge(question) = why {
            self.ask_merge(running, question);
            return;
        }
        self.stages[running.stage.index()].end(running.hold);
        let attempts = running.attempt + 1;
        let place = match why.transform() {
            Some(transform) => format!("transform `{transform}`"),
            None => format!("stage `{}`", self.graph.stage(running.stage).name),
        };
        let (text, attempts_max, by_its_input) = match why {
            Failure::Aborted if running.aborted => return,
            Failure::Aborted => ("its bundle was aborted, which nobody had asked for".to_owned(), 1, false),
            Failure::WorkerLost(text) => (text, self.config.lost_worker_attempts_max, true),
            Failure::User(text) => (text, self.config.user_error_attempts_max, true),
            Failure::Garbage(text) => (text, 1, false),
            Failure::NeedMerge(_) => return,
        };
        if running.aborted || self.ending.is_some() {
            return;
        }
        if attempts >= attempts_max {
            let tries = if attempts > 1 { format!(" ({attempts} attempts)") } else { String::new() };
            let reason = format!("{place} failed{tries}: {text}");
            if by_its_input {
                self.put_aside(running, reason);
            } else {
                self.end(Outcome::Failed(reason));
            }
            return;
        }
        // Handed out again as it was; its lanes stay locked, so that the order of each key is kept.
        self.stages[running.stage.index()].retries.push_back(Take {
            lanes: running.lanes,
            input: running.input,
            behind: running.behind,
            residual: running.residual,
            merged: running.merged,
            asked_by: running.asked_by,
            hold: None,
            bounded: false,
            truncated: running.truncated,
            attempt: attempts,
        });
        self.maybe_ready.insert(running.stage);
    }

    /// Puts a grouping's questions to the workers that can merge its windows. The grouping keeps its lanes.
    fn ask_merge(&mut self, running: Running, question: BatchRef) {
        let stage = self.graph.stage(running.stage);
        if running.aborted || self.ending.is_some() {
            self.actions.push_back(Action::Free { batches: vec![question.id] });
            return;
        }
        let StageKind::Group { merge: Some(merge), .. } = stage.kind else {
            let name = &stage.name;
            self.end(Outcome::Failed(format!(
                "stage `{name}` cannot merge its windows, and no environment was named that can; this is a bug in \
                 Purlin, please report it with the pipeline"
            )));
            return;
        };
        let asker = Take {
            lanes: running.lanes,
            input: running.input,
            behind: running.behind,
            residual: running.residual,
            merged: Vec::new(),
            asked_by: None,
            // What it asked about is true of this instant only.
            hold: Some(running.hold),
            bounded: false,
            truncated: false,
            attempt: running.attempt,
        };
        self.stages[merge.index()].retries.push_back(Take::question(
            vec![BatchSlice::whole(question)],
            running.stage,
            asker,
        ));
        self.maybe_ready.insert(merge);
    }

    pub(super) fn on_split(&mut self, bundle: BundleId, split: Split, now: ProcessingTime) {
        let Some(running) = self.ledger.get_mut(bundle) else { return };
        let stage = running.stage;
        let (residual, truncated) = (running.residual.clone(), running.truncated);
        let old = std::mem::replace(&mut running.input, split.primary);
        let primary = running.input.clone();
        for slice in primary.iter().chain(&split.rest) {
            if !old.contains(slice) {
                self.note_cut(slice);
            }
        }
        self.free_replaced(&old, &primary, &split.rest);
        let state = &mut self.stages[stage.index()];
        match residual {
            None => {
                let new: Vec<_> = primary.iter().chain(&split.rest).copied().collect();
                state.rewrite(&old, &new);
                state.give_back(split.rest);
            }
            // A residual that was not begun at all goes back as the residual that it was.
            Some(watermarks) => {
                let bounded = !self.graph.stage(stage).unbounded;
                for slice in split.rest {
                    let watermarks = watermarks.clone();
                    state.push_residual(Leftover { slice, not_before: None, watermarks, bounded, truncated }, now);
                }
            }
        }
        for residual in split.residuals {
            state.push_residual(Leftover::new(residual, truncated), now);
        }
        self.dirty.insert(stage);
        self.maybe_ready.insert(stage);
    }

    /// Takes a bundle out of the ledger and gives its slot back. A second answer for the same bundle finds nothing.
    fn leave(&mut self, bundle: BundleId) -> Option<Running> {
        let running = self.ledger.leave(bundle)?;
        self.stages[running.stage.index()].running -= 1;
        match self.graph.stage(running.stage).env {
            Some(env) => self.running_in_env[env.index()] -= 1,
            None => self.running_kernels -= 1,
        }
        self.dirty.insert(running.stage);
        Some(running)
    }

    pub(super) fn route(&mut self, routed: Routed) {
        let Routed { from: _, to, lane, batch } = routed;
        if batch.count == 0 {
            return;
        }
        if self.comes_too_late(to, &batch) {
            self.actions.push_back(Action::DropLate { stage: to, elements: batch.count });
            self.actions.push_back(Action::Free { batches: vec![batch.id] });
            return;
        }
        let slice = BatchSlice::whole(batch);
        let behind = self.config.join_behind;
        let joined = match batch.window_max {
            Some(window_max) if !self.side_inputs_ready(to, window_max) => {
                self.stages[to.index()].push_blocked(window_max, lane, slice, behind)
            }
            Some(_) | None => self.stages[to.index()].push(lane, slice, behind),
        };
        if let Some(Joined { into, batch }) = joined {
            self.actions.push_back(Action::Join { into: into.id, batch });
        }
        self.dirty.insert(to);
        self.maybe_ready.insert(to);
    }

    /// Frees the batches that nobody will read again.
    pub(super) fn free(&mut self, input: &[BatchSlice]) {
        let mut batches = Vec::new();
        for slice in input {
            if slice.is_whole() || self.release_cut(slice) {
                batches.push(slice.batch.id);
            }
        }
        if !batches.is_empty() {
            self.actions.push_back(Action::Free { batches });
        }
    }

    /// Frees what a split took out of a bundle's input: an element that was cut in two is input no more, its parts are.
    fn free_replaced(&mut self, old: &[BatchSlice], primary: &[BatchSlice], rest: &[BatchSlice]) {
        let mut batches = Vec::new();
        for slice in old {
            let of_slice = |new: &&BatchSlice| {
                new.batch.id == slice.batch.id && slice.first <= new.first && new.last <= slice.last
            };
            let left: u32 = primary.iter().chain(rest).filter(of_slice).map(BatchSlice::len).sum();
            let gone = slice.len().saturating_sub(left);
            if gone == slice.batch.count || gone > 0 && self.release_elements(slice, gone) {
                batches.push(slice.batch.id);
            }
        }
        if !batches.is_empty() {
            self.actions.push_back(Action::Free { batches });
        }
    }

    /// Begins to count the elements of a batch that is cut into several slices.
    pub(super) fn note_cut(&mut self, slice: &BatchSlice) {
        if !slice.is_whole() {
            self.cut_batches.entry(slice.batch.id).or_insert(slice.batch.count);
        }
    }

    fn release_cut(&mut self, slice: &BatchSlice) -> bool {
        self.release_elements(slice, slice.len())
    }

    /// Counts down the elements of a cut batch; tells whether these were the last.
    fn release_elements(&mut self, slice: &BatchSlice, count: u32) -> bool {
        let id: BatchId = slice.batch.id;
        let left = self.cut_batches.entry(id).or_insert(slice.batch.count);
        *left = left.saturating_sub(count);
        let last = *left == 0;
        if last {
            self.cut_batches.remove(&id);
        }
        last
    }

    pub(super) fn waits_for_all(&self, stage: StageId) -> bool {
        self.graph.stage(stage).kind.waits_for_all()
    }
}
