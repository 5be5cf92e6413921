//! The direct runner: any ready bundle, at once.
//!
//! ```text
//!   pipeline ─► DirectBackend::translate ─► Job { plan, EagerSchedule }
//! ```
//! For tests, notebooks, embedding and small jobs. One schedule over the engine that all runners share; its options
//! cut bundles small and shuffle their order, to expose what depends on either.
#![warn(missing_docs)]

mod backend;
mod schedule;

pub use backend::DirectBackend;
pub use schedule::{EagerOptions, EagerSchedule};
