//! The runner `careful`: bundles of one lane and few elements, and every stage in its turn.
//!
//! ```text
//!   pipeline ─► CarefulBackend::translate ─► Job { plan, CarefulSchedule }
//! ```
//! Slow on purpose. Code that relies on which elements share a bundle, or on one stage being done before another, does
//! not survive it.
#![warn(missing_docs)]

mod backend;
mod schedule;

pub use backend::CarefulBackend;
pub use schedule::CarefulSchedule;
