//! Drain: the job takes no more input, and ends with what it has.
//!
//! ```text
//!   Drain ─► a script ends; bundles of splittable DoFns are asked to check-point
//!         ─► what waits for a splittable DoFn ──question──► its truncating stage ──answer──► goes on
//!         ─► event time comes to its end as always: buffers fire, windows expire
//!         ─► where it has, timers of the clock fire too, whatever the clock says ─► Outcome::Drained
//! ```
//! Nothing that was accepted is lost: an impulse that has not begun still begins, and only a splittable DoFn can say that
//! an element of its own needs no more work (`beam:transform:sdf_truncate_sized_restrictions:v1`; by default those that
//! never end by themselves do not). Each restriction is truncated once: what is left of it later goes on as it is.

use purlin_model::time::{EventTime, ProcessingTime};

use super::Engine;
use super::script::Script;
use crate::core::action::{Flushed, FlushedStage};
use crate::core::bundle::{BundleStats, Routed};
use crate::core::stage::{Leftover, StageId, Take};
use crate::data::BatchSlice;

/// What a job has done since it was asked to drain.
#[derive(Clone, Debug)]
pub(super) struct Drain {
    flushed: Flushed,
    /// By stage: bundles, elements taken, elements emitted.
    stages: Vec<(u64, u64, u64)>,
}

impl Engine {
    pub(super) fn on_drain(&mut self, now: ProcessingTime) {
        if self.ending.is_some() || self.drain.is_some() {
            return;
        }
        let pending = self.stages.iter().map(|stage| stage.pending()).sum();
        let stages = vec![(0, 0, 0); self.stages.len()];
        self.drain = Some(Drain { flushed: Flushed { pending, ..Flushed::default() }, stages });
        if let Some(stage) = self.script.as_mut().map(Script::end) {
            self.dirty.insert(stage);
        }
        for stage in &mut self.stages {
            stage.clock_ends = true;
        }
        for (_, running) in self.ledger.iter_mut() {
            if self.graph.stage(running.stage).splittable {
                running.split_at = Some(now);
            }
        }
    }

    /// Puts what waits for splittable DoFns to their truncation.
    pub(super) fn truncate(&mut self, now: ProcessingTime) {
        if self.drain.is_none() || self.ending.is_some() {
            return;
        }
        for stage in 0..self.stages.len() {
            let stage = StageId(stage as u32);
            if self.graph.stage(stage).splittable && !self.graph.stage(stage).keyed {
                for take in self.stages[stage.index()].take_untruncated() {
                    self.truncate_one(stage, take, now);
                }
            }
        }
    }

    fn truncate_one(&mut self, stage: StageId, take: Take, now: ProcessingTime) {
        let elements = elements_of(&take.input);
        if let Some(Drain { flushed, .. }) = &mut self.drain {
            flushed.truncated += elements;
        }
        let spec = self.graph.stage(stage);
        match spec.truncated_by {
            Some(asked) => {
                for slice in &take.input {
                    self.note_cut(slice);
                }
                self.stages[asked.index()].retries.push_back(Take::question(take.input.clone(), stage, take));
                self.maybe_ready.insert(asked);
            }
            // Nobody can say where it should end: what is known to end does so by itself.
            None => {
                let ends = take.bounded || !spec.unbounded;
                let (kept, gone) =
                    if ends { (take.input.clone(), Vec::new()) } else { (Vec::new(), take.input.clone()) };
                self.on_truncated(stage, &take, kept, now);
                self.free(&gone);
            }
        }
    }

    /// The workers have said what is left to do of the input that was put to them.
    pub(super) fn on_answer(&mut self, stage: StageId, take: &Take, answers: Vec<Routed>, now: ProcessingTime) {
        let input = take.input.clone();
        let kept = answers.into_iter().map(|routed| BatchSlice::whole(routed.batch)).collect();
        self.on_truncated(stage, take, kept, now);
        self.free(&input);
    }

    fn on_truncated(&mut self, stage: StageId, take: &Take, kept: Vec<BatchSlice>, now: ProcessingTime) {
        if let Some(Drain { flushed, .. }) = &mut self.drain {
            flushed.ended += elements_of(&take.input).saturating_sub(elements_of(&kept));
        }
        let least = take.input.iter().map(BatchSlice::min_timestamp).min().unwrap_or(EventTime::MIN);
        let outputs = &self.graph.stage(stage).outputs;
        let watermarks =
            take.residual.clone().unwrap_or_else(|| outputs.iter().map(|output| (*output, least)).collect());
        let state = &mut self.stages[stage.index()];
        for slice in kept {
            let watermarks = watermarks.clone();
            let leftover = Leftover { slice, not_before: None, watermarks, bounded: true, truncated: true };
            state.push_residual(leftover, now);
        }
        // Behind what takes its place, so that its holds pass on without a gap.
        state.release(&take.lanes, &take.input, take.residual.as_ref());
        self.dirty.insert(stage);
        self.maybe_ready.insert(stage);
    }

    /// A bundle has been committed; a draining job counts.
    pub(super) fn note_flushed(&mut self, stage: StageId, elements: u64, stats: &BundleStats) {
        if let Some(of_stage) = self.drain.as_mut().and_then(|drain| drain.stages.get_mut(stage.index())) {
            of_stage.0 += 1;
            of_stage.1 += elements;
            of_stage.2 += stats.elements_out;
        }
    }

    /// What a job that was drained has done since, once it is over.
    pub(super) fn flushed(&self) -> Option<Flushed> {
        let Drain { flushed, stages } = self.drain.clone()?;
        let stages = self.graph.stages.iter().zip(stages).filter(|(_, (bundles, ..))| *bundles > 0);
        let stages = stages.map(|(spec, (bundles, elements_in, elements_out))| FlushedStage {
            name: spec.name.clone(),
            bundles,
            elements_in,
            elements_out,
        });
        Some(Flushed { stages: stages.collect(), ..flushed })
    }
}

fn elements_of(slices: &[BatchSlice]) -> u64 {
    slices.iter().map(|slice| u64::from(slice.len())).sum()
}
