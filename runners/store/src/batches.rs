//! Batches in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use purlin_engine::data::{BatchId, BatchRef, ElementBatch};
use purlin_engine::store::{BatchPlace, BatchStore, Memory, StoreError};

/// So many maps, each behind its own lock, that threads rarely meet.
const SHARDS: usize = 16;

/// Keeps every batch in memory until it is freed.
#[derive(Debug, Default)]
pub struct MemoryBatchStore {
    next: AtomicU64,
    resident: AtomicU64,
    shards: [Mutex<HashMap<BatchId, Kept>>; SHARDS],
    memory: Memory,
}

#[derive(Debug)]
struct Kept {
    batch: Arc<ElementBatch>,
    owners: u32,
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

    fn shard(&self, id: BatchId) -> &Mutex<HashMap<BatchId, Kept>> {
        &self.shards[id.0 as usize % SHARDS]
    }
}

impl BatchStore for MemoryBatchStore {
    fn put(&self, places: &[BatchPlace], batch: ElementBatch) -> Result<Vec<BatchRef>, StoreError> {
        let batch = Arc::new(batch);
        let keep = |place: &BatchPlace| {
            let id = BatchId(self.next.fetch_add(1, Ordering::Relaxed));
            let reference = BatchRef {
                id,
                count: batch.len() as u32,
                bytes: batch.bytes(),
                min_timestamp: batch.min_timestamp(),
                window_max: place.window_max,
            };
            self.resident.fetch_add(reference.bytes, Ordering::Relaxed);
            let kept = Kept { batch: batch.clone(), owners: 1 };
            self.shard(id).lock().unwrap_or_else(PoisonError::into_inner).insert(id, kept);
            reference
        };
        Ok(places.iter().map(keep).collect())
    }

    fn get(&self, id: BatchId) -> Result<Arc<ElementBatch>, StoreError> {
        let shard = self.shard(id).lock().unwrap_or_else(PoisonError::into_inner);
        shard.get(&id).map(|kept| kept.batch.clone()).ok_or(StoreError::Unknown(id))
    }

    fn join(&self, into: BatchId, batch: BatchId) {
        let lock = |id: BatchId| self.shard(id).lock().unwrap_or_else(PoisonError::into_inner);
        let Some(behind) = lock(batch).remove(&batch) else { return };
        if let Some(kept) = lock(into).get_mut(&into) {
            let joined = ElementBatch::concat(&[kept.batch.clone(), behind.batch.clone()]);
            let before = kept.batch.bytes() + behind.batch.bytes();
            self.resident.fetch_add(joined.bytes(), Ordering::Relaxed);
            self.resident.fetch_sub(before, Ordering::Relaxed);
            kept.batch = Arc::new(joined);
        }
    }

    fn share(&self, batches: &[BatchId]) {
        for id in batches {
            if let Some(kept) = self.shard(*id).lock().unwrap_or_else(PoisonError::into_inner).get_mut(id) {
                kept.owners += 1;
            }
        }
    }

    fn free(&self, batches: &[BatchId]) {
        for id in batches {
            let mut shard = self.shard(*id).lock().unwrap_or_else(PoisonError::into_inner);
            let Some(kept) = shard.get_mut(id) else { continue };
            kept.owners -= 1;
            if kept.owners == 0 {
                self.resident.fetch_sub(kept.batch.bytes(), Ordering::Relaxed);
                shard.remove(id);
            }
        }
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_engine::core::lane::Lane;
    use purlin_engine::core::stage::StageId;
    use purlin_engine::data::ElementBatchBuilder;
    use purlin_model::time::EventTime;

    #[test]
    fn what_was_put_is_there_until_it_is_freed() {
        let store = MemoryBatchStore::new();
        let mut builder = ElementBatchBuilder::new();
        builder.push(b"header", EventTime::from_millis(7), b"value");
        let batch = builder.finish();
        let place = BatchPlace { stage: StageId(0), lane: Lane::Any, window_max: None, soon: false };
        let reference = store.put(&[place], batch.clone()).unwrap()[0];
        assert_eq!((reference.count, reference.min_timestamp), (1, EventTime::from_millis(7)));
        assert_eq!(*store.get(reference.id).unwrap(), batch);
        assert_eq!(store.resident_bytes(), batch.bytes());
        store.share(&[reference.id]);
        store.free(&[reference.id]);
        assert_eq!(*store.get(reference.id).unwrap(), batch);
        store.free(&[reference.id, reference.id]);
        assert_eq!(store.get(reference.id), Err(StoreError::Unknown(reference.id)));
        assert_eq!(store.resident_bytes(), 0);
    }
}
