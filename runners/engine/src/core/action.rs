//! All that the core may ask for.

use std::fmt;

use purlin_model::time::{EventTime, ProcessingTime};

use crate::core::explain::Explanation;
use crate::core::lane::Lane;
use crate::core::stage::{SideId, StageId, StageName};
use crate::data::{BatchId, BatchSlice};
use crate::store::DueBound;

/// A bundle, counted from 0 within its job and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId(pub u64);

impl fmt::Debug for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{}", self.0)
    }
}

/// A position in the order of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LedgerSeq(pub u64);

/// What the driver is asked to do. Actions are taken in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Run this bundle and answer with exactly one `BundleFinished` or `BundleFailed`.
    StartBundle(BundleDraft),
    /// The bundle counts: apply its state, add its metrics.
    CommitBundle {
        /// Which.
        bundle: BundleId,
        /// Its place in the order of commits.
        seq: LedgerSeq,
    },
    /// Drop what a bundle that failed has left: its state, its outputs.
    DiscardBundle {
        /// Which.
        bundle: BundleId,
    },
    /// Keep an element that user code cannot take, for the user to look at: it is passed over, and freed behind this. In a keyed
    /// stage the job ends behind this.
    DeadLetter {
        /// The stage whose input it is.
        stage: StageId,
        /// The one element.
        element: BatchSlice,
        /// What is told of it: the transform, and the SDK's own trace.
        reason: String,
    },
    /// Stop a running bundle; `BundleFailed` still follows.
    AbortBundle {
        /// Which.
        bundle: BundleId,
    },
    /// Ask a running bundle to give back this share of what remains; 0 asks for all. It may refuse by silence.
    SplitBundle {
        /// Which.
        bundle: BundleId,
        /// Of the remainder, how much the bundle keeps.
        fraction: f64,
    },
    /// Tell the worker that its bundle is committed, because it asked for that.
    Finalize {
        /// Which.
        bundle: BundleId,
    },
    /// The elements of one batch stand behind those of another from now on, and its id is gone.
    Join {
        /// The one that grows.
        into: BatchId,
        /// The one that is gone.
        batch: BatchId,
    },
    /// Elements came when what they would read of side inputs may be gone; they are dropped, and counted for this stage.
    DropLate {
        /// The stage whose input they would have been.
        stage: StageId,
        /// How many.
        elements: u32,
    },
    /// Nobody will read windows of a side input that end before this instant: neither those that there are, nor those that elements on
    /// their way would make.
    ForgetSide {
        /// Which side input.
        side: SideId,
        /// Windows whose last instant is before this one.
        until: EventTime,
    },
    /// Nothing else can happen: the script's next event is wanted. Answered by exactly one `Scripted`, or `Broken`.
    AskScript,
    /// Nobody will read these again.
    Free {
        /// Which.
        batches: Vec<BatchId>,
    },
    /// To be told to the user: a source holds up others. The job goes on.
    Standstill(Standstill),
    /// The job has ended. The last action.
    JobDone(Outcome),
}

/// A source that never ends, and has left its watermark where it is for long, while others wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standstill {
    /// The source's stage.
    pub source: StageName,
    /// Where it holds its output.
    pub at: EventTime,
    /// For how long, in milliseconds.
    pub for_ms: i64,
    /// Stages that keep elements or timers until it moves on.
    pub waiting: Vec<StageName>,
}

impl fmt::Display for Standstill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting: Vec<_> = self.waiting.iter().map(|stage| format!("`{stage}`")).collect();
        write!(
            f,
            "source `{}` has held its watermark at {} for {} s, and {} waits for it to move on; let its DoFn report a later \
             watermark, by a watermark estimator, also while it has nothing to emit",
            self.source,
            self.at,
            self.for_ms / 1_000,
            waiting.join(", ")
        )
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All input is processed.
    Done,
    /// It cannot succeed; the text is for the user.
    Failed(String),
    /// It took no more input when the user asked for that, and has processed what it had.
    Drained(Flushed),
    /// The user ended it.
    Cancelled,
    /// Nothing can progress and nothing is expected: a bug, explained.
    Stuck(Explanation),
}

/// What a job did from the moment on that it was asked to drain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Elements that waited at that moment, in any form.
    pub pending: u64,
    /// Restrictions of splittable DoFns that were put to their truncation.
    pub truncated: u64,
    /// How many of these ended there: nothing was left of them.
    pub ended: u64,
    /// What stages did since then, in stage order; those that did nothing are left out.
    pub stages: Vec<FlushedStage>,
}

/// What a stage did while its job was drained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushedStage {
    /// Its name.
    pub name: StageName,
    /// Bundles that it committed.
    pub bundles: u64,
    /// Elements that it took.
    pub elements_in: u64,
    /// Elements that it emitted.
    pub elements_out: u64,
}

/// A bundle to run: references and bounds, no payload.
#[derive(Clone, Debug, PartialEq)]
pub struct BundleDraft {
    /// Its id.
    pub id: BundleId,
    /// Its stage.
    pub stage: StageId,
    /// The lanes that it owns while it runs, in order.
    pub lanes: Vec<Lane>,
    /// Its input, lane after lane, each in order of arrival.
    pub input: Vec<BatchSlice>,
    /// What an SDK said of windows that must merge; empty the first time.
    pub merged: Vec<BatchSlice>,
    /// How far the event time of the stage's input has come.
    pub watermark: EventTime,
    /// The clock.
    pub now: ProcessingTime,
    /// 0 the first time, then counted up.
    pub attempt: u32,
    /// Whether the job takes no more input.
    pub draining: bool,
}

impl BundleDraft {
    /// How many elements its input holds.
    pub fn elements(&self) -> u64 {
        self.input.iter().map(|slice| u64::from(slice.len())).sum()
    }

    /// Which of its lanes' timers are due, so many at once.
    pub fn due(&self, count_max: usize) -> DueBound {
        DueBound::of_bundle(self.watermark, self.now, self.draining, count_max)
    }

    /// Whether it fires what timers are left of its lanes: the job is drained, and the input of its stage is over. Each of them
    /// fires once more at the most, for one that sets itself again would do so for ever.
    pub fn fires_what_is_left(&self) -> bool {
        self.due(0).is_end_of_clock()
    }
}
