//! The one asynchronous loop around an engine: it hands actions to executors, kernels and stores, and their events back.
//!
//! ```text
//!   executors ─Report─► driver ─Event─► Engine ─Action─► driver ─► executors, data threads, stores
//!                         └─JobEvent─► job server
//! ```
//! It decides nothing: every decision is the engine's.

mod control;
mod endless_sides;
mod kernels;
mod metered;
mod run;

pub use control::{JobControl, JobEvent, JobMetrics, StageProgress};
pub use run::{JobRuntime, start};
