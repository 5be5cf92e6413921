//! The executor of stages that are written in Rust and run in this process.
//!
//! ```text
//!   BundleDraft ─► data thread: NativeStage::run(bundle) ─► LaneWriter ─► BundleFinished
//! ```
//! A stage is a [`NativeStage`]: over raw elements ([`raw`]) or typed ones ([`typed`]), in slices of at most 4,096
//! that share timestamp, windows and pane. Knows no protobuf and no SDK.
#![warn(missing_docs)]

mod bundle;
mod codec;
mod executor;
mod job;
pub mod operations;
mod source;
mod stages;
mod typed;

pub use bundle::{CHUNK_ELEMENTS_MAX, NativeBundle, NativeError, NativeStage};
pub use codec::{Codec, Int, Pair, Repeated, Text};
pub use executor::NativeExecutor;
pub use job::{NativeJob, NativeOutcome};
pub use source::{Restriction, SyntheticSource, synthetic_coder};
pub use stages::{Collected, collect, count_per_key, identity, key_by_prefix};
pub use typed::{Chunk, TypedStage, typed};
