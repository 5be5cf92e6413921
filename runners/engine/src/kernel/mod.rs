//! Kernels: the runner's own bundles, pure over elements.
//!
//! ```text
//!   BundleDraft + input batches ──► run_kernel ──► LaneWriter (outputs), SideStore (side inputs)
//! ```
//! A kernel runs on a data thread, owns its lanes while it runs, and asks no clock.

pub mod grouping;
mod pane;
mod run;
mod sort_as_it_comes;
mod sort_by_time;
mod trigger;
mod window;

pub use run::{KernelDone, KernelError, KernelIo, KernelState, run_kernel};
