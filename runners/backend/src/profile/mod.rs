//! The profile of a job: where the time of each stage goes, what passes through it, and which keys weigh most.
//!
//! ```text
//!   executors, kernels ─BundleMeter─┐
//!   driver: starts, splits, ends ───┼─► Profiler ─► JobProfile ─► inspection, command line
//!   engine: what stages wait for ───┘
//! ```
//! Times are read by the clock once per message, batch or request of state, never per element; keys are sampled. Does not
//! know what elements mean. Nothing that is decided depends on it.

mod key_samples;
mod meter;
mod profiler;
mod stage;

pub use key_samples::KeySamples;
pub use meter::{BundleMeter, Work};
pub use profiler::Profiler;
pub use stage::{HotKey, HotLane, JobProfile, StageProfile, StageWaits, WorkTimes};
