//! The continuous runner: bundles kept flowing, each sized by what it costs.
//!
//! ```text
//!   pipeline ─► ContinuousBackend::translate ─► Job { plan, FlowSchedule }
//! ```
//! For latency: what is nearest to the results goes first. It runs bounded jobs for now, keeps everything in memory, and a
//! job ends with its process.
#![warn(missing_docs)]

mod backend;
mod schedule;

pub use backend::ContinuousBackend;
pub use schedule::{FlowOptions, FlowSchedule};
