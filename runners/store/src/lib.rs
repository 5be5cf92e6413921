//! Where the bytes live: batches in lanes, the state of keys, side inputs.
//!
//! ```text
//!   LaneWriter ─► MemoryBatchStore ─► BatchReader         (elements on their way)
//!   kernel     ─► MemorySideStore  ─► workers, by page    (side inputs)
//!   bundle     ⇄  MemoryStateStore                        (state and timers of keys)
//! ```
//! Implements what `purlin_engine::store` asks for. Knows nothing of stages, watermarks or workers.
#![warn(missing_docs)]

mod batches;
mod sides;
mod state;

pub use batches::MemoryBatchStore;
pub use sides::MemorySideStore;
pub use state::MemoryStateStore;
