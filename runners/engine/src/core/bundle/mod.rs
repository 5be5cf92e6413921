//! Bundles: the transactions of a job.

mod ledger;
mod result;

pub use ledger::{BundleHold, Ledger, ResidualHolds, Running};
pub use result::{BundleResult, BundleStats, DeltaId, DropCounts, GroupSummary, Routed};
