//! All that can happen to a job, as the core hears of it.

use purlin_model::time::{EventTime, Millis, ProcessingTime};

use crate::core::action::BundleId;
use crate::core::bundle::{BundleResult, Routed};
use crate::core::stage::{EnvIndex, OutputId, StageId};
use crate::data::{BatchRef, BatchSlice};

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The job begins. The first event, once.
    Start,
    /// A bundle ended well. Exactly one of this and [`BundleFailed`](Self::BundleFailed) follows each start.
    BundleFinished {
        /// Which.
        bundle: BundleId,
        /// All that it did, applied whole.
        result: BundleResult,
    },
    /// A bundle ended badly; nothing of it counts.
    BundleFailed {
        /// Which.
        bundle: BundleId,
        /// Why.
        why: Failure,
    },
    /// A running bundle gave part of its input back. Rewrites the ledger at once.
    BundleSplit {
        /// Which.
        bundle: BundleId,
        /// What stays and what goes.
        split: Split,
    },
    /// An environment has this many worker slots now.
    Workers {
        /// Which environment.
        env: EnvIndex,
        /// How many bundles it can run at once.
        slots: u32,
    },
    /// Memory has become short, or is not any more.
    Pressure(MemoryLevel),
    /// The job cannot go on, for a reason outside any bundle.
    Broken {
        /// What the user is told.
        why: String,
    },
    /// What a script says next; the answer to [`AskScript`](crate::core::action::Action::AskScript).
    Scripted(ScriptEvent),
    /// The user wants the job to take no more input, and to end with what it has.
    Drain,
    /// The user wants the job to end.
    Cancel,
    /// The clock has reached what [`next_wakeup`](crate::core::engine::Engine::next_wakeup) asked for.
    Tick,
}

/// How much of the memory for data is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum MemoryLevel {
    /// There is room.
    #[default]
    Low,
    /// Nearly all; what can wait should.
    High,
}

/// One event of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptEvent {
    /// Elements come, as one bundle.
    Elements(Vec<Routed>),
    /// The event time of an output moves on.
    Watermark {
        /// Which output.
        output: OutputId,
        /// How far.
        to: EventTime,
    },
    /// The clock moves on.
    Clock {
        /// By how much.
        by: Millis,
    },
    /// There are no more events.
    End,
}

/// Why a bundle failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its worker is gone; the bundle is handed out again.
    WorkerLost(String),
    /// User code raised; the text holds the SDK's own trace.
    User(String),
    /// What came back is not what the protocol allows; the text says what.
    Garbage(String),
    /// A grouping needs an SDK to merge windows: these are its questions. No attempt is counted; the bundle runs
    /// again with the answers.
    NeedMerge(BatchRef),
    /// It was aborted on request.
    Aborted,
}

impl Failure {
    /// The transform whose code raised, if the SDK's text names it: Python's does, behind the exception. A stage may
    /// hold many transforms, and the user looks for one.
    pub fn transform(&self) -> Option<&str> {
        let Self::User(text) = self else { return None };
        let (_, named) = text.split_once("[while running '")?;
        named.split_once("']").map(|(transform, _)| transform)
    }
}

/// A split of a running bundle: `primary ++ residuals` equals its old input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// What the bundle still works on.
    pub primary: Vec<BatchSlice>,
    /// Whole elements that were not begun.
    pub rest: Vec<BatchSlice>,
    /// Parts of an element that was begun.
    pub residuals: Vec<Residual>,
}

/// Work that a splittable DoFn left for later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residual {
    /// The input to process again.
    pub batch: BatchRef,
    /// The stage whose input it is: always the stage that returned it.
    pub to: StageId,
    /// Not before this instant.
    pub not_before: Option<ProcessingTime>,
    /// Lower bounds for the timestamps of what it will emit, per output; absent means [`EventTime::MIN`].
    pub watermarks: Vec<(OutputId, EventTime)>,
    /// Whether it will end by itself.
    pub bounded: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_is_the_one_that_the_sdk_names() {
        let python = Failure::User("ValueError: no [while running 'A/Map(f)']\n\nand more".to_owned());
        assert_eq!(python.transform(), Some("A/Map(f)"));
        assert_eq!(Failure::User("panic: no [while running 'A".to_owned()).transform(), None);
        assert_eq!(Failure::WorkerLost("[while running 'A']".to_owned()).transform(), None);
    }
}
