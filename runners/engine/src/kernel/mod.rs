//! Kernels: the runner's own bundles, pure over elements.
//!
//! ```text
//!   BundleDraft + input batches ──► run_kernel ──► LaneWriter (outputs), SideStore (side inputs)
//! ```
//! A kernel runs on a data thread, owns its lanes while it runs, and asks no clock.

pub mod grouping;
mod run;
mod sort_by_time;

pub use run::{KernelDone, KernelError, KernelIo, run_kernel};
