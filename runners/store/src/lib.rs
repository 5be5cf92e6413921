//! Where the bytes live: batches in lanes, the state of keys, side inputs; in memory as far as the budget goes, and on disk.
//!
//! ```text
//!   LaneWriter ─► SpillingBatchStore ─► BatchReader       (elements on their way)
//!   kernel     ─► BatchSideStore     ─► workers, by page  (side inputs, as references to batches)
//!   bundle     ⇄  SpillingStateStore                      (state and timers of keys)
//!
//!   MemoryBroker: who may have how much       SegmentStore on a Disk: what has no room
//! ```
//! Implements what `purlin_engine::store` asks for. Knows nothing of stages, watermarks or workers.
#![warn(missing_docs)]

mod batches;
mod broker;
mod disk;
mod segment;
mod sides;
mod spilling;
mod state;
mod storage;

pub use batches::MemoryBatchStore;
pub use broker::{BudgetTooSmall, JobMemory, LevelWatch, MemoryBroker, Spill};
pub use disk::{Disk, DiskFile, FolderDisk, MemoryDisk, SpillFolder, SpillFolderError};
pub use sides::BatchSideStore;
pub use spilling::SpillingBatchStore;
pub use state::{SpillingStateStore, StateSize};
pub use storage::{JobStores, Storage};
