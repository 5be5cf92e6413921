//! Bundles: the transactions of a job.

mod ledger;
mod result;

pub use ledger::{Ledger, ResidualHolds, Running};
pub use result::{BundleResult, BundleStats, DeltaId, GroupSummary, Routed};
