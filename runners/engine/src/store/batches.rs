//! The batch store: payloads behind the references that the core moves.
//!
//! ```text
//!   LaneWriter ──put──► memory, or disk when the budget is used up ──get──► readers, batch by batch
//! ```
//! What is on disk and what is not is the store's own affair: it never shows, except in how long a `get` takes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use purlin_model::time::EventTime;
use thiserror::Error;

use crate::core::lane::Lane;
use crate::core::stage::StageId;
use crate::data::{BatchId, BatchRef, ElementBatch};
use crate::store::Memory;

/// Where a batch will wait. The store writes out whole lanes, so it must know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPlace {
    /// The stage that will consume it.
    pub stage: StageId,
    /// The lane there.
    pub lane: Lane,
    /// Where batches are cut by window: the last instant of that window.
    pub window_max: Option<EventTime>,
    /// It is read before what waits in lanes, by the bundle that puts it or right behind it, and so written out last.
    pub soon: bool,
}

/// Keeps batches until the core frees them.
pub trait BatchStore: Send + Sync + fmt::Debug {
    /// Takes a batch, with a reference of its own for each place, all of which share its memory. Never waits for memory
    /// that another bundle holds. May do IO.
    ///
    /// # Errors
    /// If it can be kept nowhere.
    fn put(&self, places: &[BatchPlace], batch: ElementBatch) -> Result<Vec<BatchRef>, StoreError>;

    /// The payload of a batch. What had to be read back is gone from memory again when nobody looks at it any more. May do IO.
    ///
    /// # Errors
    /// If it is gone or cannot be read back.
    fn get(&self, id: BatchId) -> Result<Arc<ElementBatch>, StoreError>;

    /// Puts the elements of `batch` behind those of `into`, and forgets its id. Both have one owner. Does no IO.
    fn join(&self, into: BatchId, batch: BatchId);

    /// Gives each of these batches one more owner, each of whom frees it once.
    fn share(&self, batches: &[BatchId]);

    /// Takes one owner from each of these batches; without owners they are gone. Unknown ones are ignored.
    fn free(&self, batches: &[BatchId]);

    /// How many bytes of each stage's input were written to disk so far; nothing of stages of which nothing was.
    fn spilled(&self) -> BTreeMap<StageId, u64> {
        BTreeMap::new()
    }

    /// The account that its batches, and the writers and readers of its job, take their memory from.
    fn memory(&self) -> &Memory;
}

/// Why bytes cannot be kept or read back.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The reference names nothing: a bug.
    #[error("{0:?} is not in the store; this is a bug in Purlin, please report it")]
    Unknown(BatchId),
    /// The place where it would be kept refuses.
    #[error("cannot {doing}: {why}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system says, and how to fix it.
        why: String,
    },
    /// What was written is not what is read back.
    #[error(
        "{what} cannot be read back from {file} at byte {offset}: {why}; the file was altered or the disk is damaged, \
         so run the job again, with another --data-dir if it happens again"
    )]
    Altered {
        /// What is lost.
        what: String,
        /// The segment.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        why: String,
    },
}
