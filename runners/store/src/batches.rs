//! Batches in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use purlin_engine::data::{BatchId, BatchRef, ElementBatch};
use purlin_engine::store::{BatchStore, StoreError};
use purlin_model::time::EventTime;

/// So many maps, each behind its own lock, that threads rarely meet.
const SHARDS: usize = 16;

/// Keeps every batch in memory until it is freed.
#[derive(Debug, Default)]
pub struct MemoryBatchStore {
    next: AtomicU64,
    resident: AtomicU64,
    shards: [Mutex<HashMap<BatchId, Arc<ElementBatch>>>; SHARDS],
}

impl MemoryBatchStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes of payload it holds; batches that share memory count each.
    pub fn resident_bytes(&self) -> u64 {
        self.resident.load(Ordering::Relaxed)
    }

    fn shard(&self, id: BatchId) -> &Mutex<HashMap<BatchId, Arc<ElementBatch>>> {
        &self.shards[id.0 as usize % SHARDS]
    }
}

impl BatchStore for MemoryBatchStore {
    fn put(&self, batch: Arc<ElementBatch>, window_max: Option<EventTime>) -> Result<BatchRef, StoreError> {
        let id = BatchId(self.next.fetch_add(1, Ordering::Relaxed));
        let reference = BatchRef {
            id,
            count: batch.len() as u32,
            bytes: batch.bytes(),
            min_timestamp: batch.min_timestamp(),
            window_max,
        };
        self.resident.fetch_add(reference.bytes, Ordering::Relaxed);
        self.shard(id).lock().unwrap_or_else(PoisonError::into_inner).insert(id, batch);
        Ok(reference)
    }

    fn get(&self, id: BatchId) -> Result<Arc<ElementBatch>, StoreError> {
        let shard = self.shard(id).lock().unwrap_or_else(PoisonError::into_inner);
        shard.get(&id).cloned().ok_or(StoreError::Unknown(id))
    }

    fn free(&self, batches: &[BatchId]) {
        for id in batches {
            let freed = self.shard(*id).lock().unwrap_or_else(PoisonError::into_inner).remove(id);
            if let Some(freed) = freed {
                self.resident.fetch_sub(freed.bytes(), Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_engine::data::ElementBatchBuilder;

    #[test]
    fn what_was_put_is_there_until_it_is_freed() {
        let store = MemoryBatchStore::new();
        let mut builder = ElementBatchBuilder::new();
        builder.push(b"header", EventTime::from_millis(7), b"value");
        let batch = Arc::new(builder.finish());
        let reference = store.put(batch.clone(), None).unwrap();
        assert_eq!((reference.count, reference.min_timestamp), (1, EventTime::from_millis(7)));
        assert_eq!(store.get(reference.id).unwrap(), batch);
        assert_eq!(store.resident_bytes(), batch.bytes());
        store.free(&[reference.id, reference.id]);
        assert_eq!(store.get(reference.id), Err(StoreError::Unknown(reference.id)));
        assert_eq!(store.resident_bytes(), 0);
    }
}
