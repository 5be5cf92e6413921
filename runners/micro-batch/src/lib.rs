//! The micro-batch runner: stage by stage, in large bundles.
//!
//! ```text
//!   pipeline ─► MicroBatchBackend::translate ─► Job { plan, RoundSchedule }
//! ```
//! For throughput. A round runs everything that can run, in topological order, to quiescence. A bounded job is one round.
//! It keeps everything in memory for now, and a job ends with its process.
#![warn(missing_docs)]

mod backend;
mod schedule;

pub use backend::MicroBatchBackend;
pub use schedule::{RoundOptions, RoundSchedule};
