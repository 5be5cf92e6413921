//! Why nothing progresses, in words.

use std::fmt;

use purlin_model::time::{EventTime, ProcessingTime};

use crate::core::stage::StageName;

/// Why a job cannot progress: every stage that is not done, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// One entry per unfinished stage, in stage order.
    pub stages: Vec<StageStall>,
}

/// An unfinished stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageStall {
    /// Its name.
    pub stage: StageName,
    /// The watermark of its input.
    pub input_watermark: EventTime,
    /// What it waits for.
    pub waits: Vec<Wait>,
}

/// One thing that a stage waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The watermark of an upstream collection.
    Upstream {
        /// The PCollection.
        output: StageName,
        /// Where its watermark stands.
        watermark: EventTime,
    },
    /// A side input, for some elements.
    Side {
        /// The stage that fills it.
        stage: StageName,
        /// Where its watermark stands.
        watermark: EventTime,
        /// What it must reach.
        needed: EventTime,
        /// Whether a first pane would do too.
        or_pane: bool,
        /// How many elements wait for it.
        elements: u64,
    },
    /// A worker.
    Workers {
        /// How many elements wait.
        elements: u64,
    },
    /// The clock, for residuals that asked for a delay.
    Clock {
        /// How many residuals.
        residuals: u64,
        /// The least timestamp that they may still emit.
        hold: EventTime,
    },
    /// The next event of its script.
    Script,
    /// Timers and what is held back, in its state.
    State {
        /// The least timestamp that may still be emitted.
        hold: Option<EventTime>,
        /// The earliest timer of event time.
        next_event: Option<EventTime>,
        /// The earliest timer of the clock.
        next_processing: Option<ProcessingTime>,
    },
    /// Bundles that run.
    Running {
        /// How many.
        bundles: u64,
    },
    /// The schedule, which left work lying.
    Schedule {
        /// How many elements wait.
        elements: u64,
    },
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream { output, watermark } => {
                write!(f, "the watermark of PCollection `{output}`, which stands at {watermark}")
            }
            Self::Side { stage, watermark, needed, or_pane, elements } => {
                write!(f, "side input `{stage}` to reach {needed} from {watermark}")?;
                if *or_pane {
                    f.write_str(" or to have its first pane")?;
                } else if *needed > EventTime::GLOBAL_WINDOW_MAX_PYTHON && *watermark < *needed {
                    f.write_str(", which is its end: it can be read earlier if it has smaller windows, or a trigger")?;
                }
                write!(f, ", with {elements} elements pending")
            }
            Self::Workers { elements } => write!(f, "a worker, with {elements} elements pending"),
            Self::Clock { residuals, hold } => {
                write!(
                    f,
                    "the clock, for {residuals} residuals that asked for a delay and hold the watermark at {hold}"
                )
            }
            Self::Script => f.write_str("the next event of its script"),
            Self::State { hold, next_event, next_processing } => {
                f.write_str("timers")?;
                if let Some(at) = next_event {
                    write!(f, ", the next at {at} of event time")?;
                }
                if let Some(at) = next_processing {
                    write!(f, ", the next at {} of the clock", at.0)?;
                }
                match hold {
                    Some(hold) if *hold < EventTime::MAX => write!(f, ", and its state holds the watermark at {hold}"),
                    Some(_) | None => Ok(()),
                }
            }
            Self::Running { bundles } => write!(f, "{bundles} running bundles"),
            Self::Schedule { elements } => write!(f, "the runner's schedule, which leaves {elements} elements lying"),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing in this job can progress. Unfinished stages:")?;
        for stall in &self.stages {
            write!(f, "\n- stage `{}`, input watermark {}, waits for ", stall.stage, stall.input_watermark)?;
            if stall.waits.is_empty() {
                f.write_str("nothing that is known")?;
            }
            for (index, wait) in stall.waits.iter().enumerate() {
                if index > 0 {
                    f.write_str("; and for ")?;
                }
                wait.fmt(f)?;
            }
        }
        Ok(())
    }
}
