//! Mutated input, by seed, for everything that reads bytes from outside.
//!
//! ```text
//!   seed ─► Chance ─┬─ a pipeline ─mutate─► check as Prepare does, plan, explain, describe     pipeline
//!                   ├─ a worker's messages ─mutate─► a bundle's life: data, timers, state …    bundle
//!                   ├─ an encoded value ─mutate─► coders                                       value
//!                   ├─ a frame of elements ─mutate─► batches                                   frame
//!                   └─ payloads of metrics ─mutate─► merged metrics                            metric
//! ```
//! An input passes if it is taken, or refused in words that say where and how to fix it. It fails by a panic, by taking
//! longer or more memory than any input may (`purlin-fuzz` watches both), or here, by [`Broken`].
//!
//! A number says everything: the same seed is the same input on every machine. Does not know files, clocks or processes.
#![warn(missing_docs)]

mod bundle;
mod chance;
mod frame;
mod metric;
mod mutate_bytes;
mod mutate_pipeline;
mod pipeline;
mod sketches;
mod target;
mod value;

pub use chance::Chance;
pub use mutate_bytes::mutate_bytes;
pub use mutate_pipeline::mutate_pipeline;
pub use pipeline::{check_pipeline, pipeline_of_seed};
pub use target::{Broken, Fuzzer, Target, run_bytes};
