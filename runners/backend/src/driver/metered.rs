//! A batch store as a kernel sees it: what is read through it is timed, and keys of the bundle's input are sampled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use purlin_engine::core::action::BundleDraft;
use purlin_engine::core::stage::JobGraph;
use purlin_engine::data::{BatchId, BatchRef, BatchSlice, ElementBatch};
use purlin_engine::store::{BatchPlace, BatchStore, Memory, StoreError};
use purlin_model::coder::Coder;

use crate::profile::BundleMeter;

#[derive(Debug)]
pub(super) struct MeteredBatches {
    batches: Arc<dyn BatchStore>,
    meter: Arc<BundleMeter>,
    /// The coder of elements whose keys are sampled.
    keyed: Option<Arc<Coder>>,
    /// Input whose keys have not been looked at: kernels may read twice.
    unseen: Mutex<HashMap<BatchId, BatchSlice>>,
    read_ns: AtomicU64,
}

impl MeteredBatches {
    pub(super) fn new(
        graph: &JobGraph,
        draft: &BundleDraft,
        batches: Arc<dyn BatchStore>,
        meter: Arc<BundleMeter>,
    ) -> Self {
        let keyed = graph.keyed_input(draft.stage).cloned();
        let input = draft.input.iter().filter(|_| keyed.is_some());
        let unseen = Mutex::new(input.map(|slice| (slice.batch.id, *slice)).collect());
        Self { batches, meter, keyed, unseen, read_ns: AtomicU64::new(0) }
    }

    /// How long reading took.
    pub(super) fn read(&self) -> Duration {
        Duration::from_nanos(self.read_ns.load(Ordering::Relaxed))
    }
}

impl BatchStore for MeteredBatches {
    fn put(&self, places: &[BatchPlace], batch: ElementBatch) -> Result<Vec<BatchRef>, StoreError> {
        self.batches.put(places, batch)
    }

    fn get(&self, id: BatchId) -> Result<Arc<ElementBatch>, StoreError> {
        let started = Instant::now();
        let batch = self.batches.get(id);
        self.read_ns.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        if let (Ok(batch), Some(coder)) = (&batch, &self.keyed) {
            let unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            if let Some(slice) = unseen {
                self.meter.sample_keys(coder, batch, &slice);
            }
        }
        batch
    }

    fn join(&self, into: BatchId, batch: BatchId) {
        self.batches.join(into, batch);
    }

    fn share(&self, batches: &[BatchId]) {
        self.batches.share(batches);
    }

    fn free(&self, batches: &[BatchId]) {
        self.batches.free(batches);
    }

    fn memory(&self) -> &Memory {
        self.batches.memory()
    }
}
