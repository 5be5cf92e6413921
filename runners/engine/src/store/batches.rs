//! The batch store: payloads behind the references that the core moves.

use std::fmt;
use std::sync::Arc;

use purlin_model::time::EventTime;
use thiserror::Error;

use crate::data::{BatchId, BatchRef, ElementBatch};

/// Keeps batches until the core frees them.
pub trait BatchStore: Send + Sync + fmt::Debug {
    /// Takes a batch. Never waits for memory that another bundle holds.
    ///
    /// # Errors
    /// If it can be kept nowhere.
    fn put(&self, batch: Arc<ElementBatch>, window_max: Option<EventTime>) -> Result<BatchRef, StoreError>;

    /// The payload of a batch.
    ///
    /// # Errors
    /// If it is gone or cannot be read back.
    fn get(&self, id: BatchId) -> Result<Arc<ElementBatch>, StoreError>;

    /// Lets go of batches that nobody will read again. Unknown ones are ignored.
    fn free(&self, batches: &[BatchId]);
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
}
