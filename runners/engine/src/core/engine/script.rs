//! Scripted input: a stage that emits what a script says, event by event (`TestStream`).
//!
//! ```text
//!   nothing runs, nothing could ─► AskScript ─► Scripted(elements │ watermark │ clock) ─► until nothing could, again
//!   Scripted(End) ─► all its watermarks at the end of time ─► then the clock goes wherever anything still waits for it
//! ```
//! The job's clock is the script's: it begins at the real one, or where the graph says, and moves only as the script says. Does
//! not know where events come from.

use std::collections::BTreeMap;

use purlin_model::time::{EventTime, ProcessingTime};

use super::Engine;
use crate::core::action::{Action, Outcome};
use crate::core::event::ScriptEvent;
use crate::core::stage::{OutputId, StageId};

/// How far a script is.
#[derive(Clone, Debug)]
pub(super) struct Script {
    stage: StageId,
    phase: Phase,
    /// Outputs that are not named stand at the beginning of time.
    watermarks: BTreeMap<OutputId, EventTime>,
    clock: Option<ProcessingTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Playing,
    Asked,
    Ended,
}

impl Script {
    pub(super) fn new(stage: StageId, begins: Option<ProcessingTime>) -> Self {
        Self { stage, phase: Phase::Playing, watermarks: BTreeMap::new(), clock: begins }
    }

    /// The job's clock; the first time the real one, unless it began elsewhere.
    pub(super) fn clock(&mut self, real: ProcessingTime) -> ProcessingTime {
        *self.clock.get_or_insert(real)
    }

    pub(super) fn now(&self) -> ProcessingTime {
        self.clock.unwrap_or_default()
    }

    pub(super) fn watermark(&self, output: OutputId) -> EventTime {
        match self.phase {
            Phase::Ended => EventTime::MAX,
            Phase::Playing | Phase::Asked => self.watermarks.get(&output).copied().unwrap_or(EventTime::MIN),
        }
    }

    /// There are no more events, whatever is on its way; returns the stage that it feeds.
    pub(super) fn end(&mut self) -> StageId {
        self.phase = Phase::Ended;
        self.stage
    }

    pub(super) fn is_asked(&self) -> bool {
        self.phase == Phase::Asked
    }
}

impl Engine {
    pub(super) fn on_scripted(&mut self, event: ScriptEvent) {
        let Some(script) = self.script.as_mut().filter(|script| script.is_asked()) else {
            // The script has ended, because the job is drained: this was on its way.
            if let ScriptEvent::Elements(routed) = event {
                let batches: Vec<_> = routed.into_iter().map(|routed| routed.batch.id).collect();
                self.actions.push_back(Action::Free { batches });
            }
            return;
        };
        let stage = script.stage;
        script.phase = Phase::Playing;
        let wrong = match event {
            ScriptEvent::Elements(routed) => {
                routed.into_iter().for_each(|routed| self.route(routed));
                None
            }
            ScriptEvent::Watermark { output, to } => {
                let at = script.watermarks.entry(output).or_insert(EventTime::MIN);
                let back = (to < *at).then(|| format!("moves its watermark back, from {at} to {to}"));
                *at = to.max(*at);
                back
            }
            ScriptEvent::Clock { by } => {
                script.clock = Some(script.now() + by);
                (by.0 < 0).then(|| format!("moves the clock back, by {} ms", by.0.unsigned_abs()))
            }
            ScriptEvent::End => {
                script.phase = Phase::Ended;
                None
            }
        };
        if let Some(what) = wrong {
            let name = self.graph.stage(stage).name.clone();
            self.end(Outcome::Failed(format!("TestStream `{name}` {what}; put its events into the order of time")));
        }
        self.dirty.insert(stage);
    }

    /// Goes on with the script, if there is one and nothing else can happen. Tells whether the clock has moved.
    pub(super) fn play(&mut self, clock: ProcessingTime) -> bool {
        let quiet = self.ending.is_none()
            && self.ledger.is_empty()
            && !self.graph.stages.iter().any(|stage| self.has_work(stage.id, clock));
        let next = self.next_on_clock();
        let Some(script) = self.script.as_mut().filter(|_| quiet) else { return false };
        match (script.phase, next) {
            (Phase::Playing, _) => {
                script.phase = Phase::Asked;
                self.actions.push_back(Action::AskScript);
                false
            }
            (Phase::Ended, Some(next)) => {
                script.clock = Some(next);
                true
            }
            (Phase::Asked, _) | (Phase::Ended, None) => false,
        }
    }
}
