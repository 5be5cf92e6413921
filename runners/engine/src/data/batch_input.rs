//! The batches that a kernel reads: by reference, until it asks for them.

use std::sync::Arc;

use crate::data::{BatchSlice, ElementBatch};
use crate::store::{BatchStore, StoreError};

/// A batch in memory, and which of its elements are meant.
pub type Loaded = (Arc<ElementBatch>, BatchSlice);

/// Slices of batches, in order, and the store that has them.
#[derive(Clone, Debug)]
pub struct BatchInput {
    slices: Vec<BatchSlice>,
    store: Arc<dyn BatchStore>,
}

impl BatchInput {
    /// These slices of this store.
    pub fn new(slices: Vec<BatchSlice>, store: Arc<dyn BatchStore>) -> Self {
        Self { slices, store }
    }

    /// The references.
    pub fn slices(&self) -> &[BatchSlice] {
        &self.slices
    }

    /// Where the batches are.
    pub fn store(&self) -> &Arc<dyn BatchStore> {
        &self.store
    }

    /// About how many bytes.
    pub fn bytes(&self) -> u64 {
        self.slices.iter().map(BatchSlice::bytes).sum()
    }

    /// One batch after the other; each may leave memory when the next is asked for.
    pub fn stream(&self) -> impl Iterator<Item = Result<Loaded, StoreError>> + '_ {
        self.slices.iter().map(|slice| Ok((self.store.get(slice.batch.id)?, *slice)))
    }

    /// All batches at once, for kernels that bound what they are given.
    ///
    /// # Errors
    /// If one cannot be read back.
    pub fn load(&self) -> Result<Vec<Loaded>, StoreError> {
        self.stream().collect()
    }
}
