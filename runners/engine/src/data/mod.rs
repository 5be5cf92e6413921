//! Elements: batches of them, references to batches, and the writer that partitions them into lanes.

mod batch;
mod batch_input;
mod batch_ref;
mod group_token;
mod key_group_stage;
mod lane_writer;
mod sliced;
mod stored;
mod writer_limits;

pub use batch::{ElementBatch, ElementBatchBuilder, ElementView, FrameError};
pub use batch_input::{BatchInput, Loaded};
pub use batch_ref::{BatchId, BatchRef, BatchSlice};
pub use group_token::{GroupError, GroupPage, GroupReader, GroupToken};
pub use lane_writer::{LaneWriter, Pin, WriteError, WriterTotals};
pub use stored::StoredBatchError;
