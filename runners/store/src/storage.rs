//! What the jobs of a process keep their data in: one account of memory, one place on disk, stores of each job.
//!
//! ```text
//!   Storage: MemoryBroker + SpillFolder ──job(graph)──► JobStores: batches, side inputs, state; gone with the job
//! ```

use std::sync::Arc;

use purlin_engine::core::stage::JobGraph;
use purlin_engine::store::{BatchStore, SideStore, StateStore};

use crate::disk::{Disk, MemoryDisk, SpillFolder};
use crate::{BatchSideStore, JobMemory, MemoryBroker, SpillingBatchStore, SpillingStateStore};

/// A budget that no machine has.
const UNBOUNDED: u64 = 1 << 60;

/// Where all jobs keep their data.
#[derive(Clone, Debug)]
pub struct Storage {
    broker: Arc<MemoryBroker>,
    folder: Option<Arc<SpillFolder>>,
}

/// Where one job keeps its data.
#[derive(Clone, Debug)]
pub struct JobStores {
    /// Its account.
    pub memory: Arc<JobMemory>,
    /// Elements on their way.
    pub batches: Arc<dyn BatchStore>,
    /// Side inputs.
    pub sides: Arc<dyn SideStore>,
    /// State and timers.
    pub state: Arc<dyn StateStore>,
}

impl Storage {
    /// Memory from this broker, and this folder for what does not fit.
    pub fn new(broker: Arc<MemoryBroker>, folder: Arc<SpillFolder>) -> Self {
        Self { broker, folder: Some(folder) }
    }

    /// As much memory as anybody wants, for tests and small jobs.
    pub fn unbounded() -> Self {
        Self { broker: MemoryBroker::for_data(UNBOUNDED), folder: None }
    }

    /// The books of the process.
    pub fn broker(&self) -> &Arc<MemoryBroker> {
        &self.broker
    }

    /// Where what does not fit is.
    pub fn folder(&self) -> Option<&Arc<SpillFolder>> {
        self.folder.as_ref()
    }

    /// The stores of a job with these stages.
    pub fn job(&self, graph: &Arc<JobGraph>) -> JobStores {
        let memory = self.broker.job();
        let disk: Arc<dyn Disk> = match &self.folder {
            Some(folder) => Arc::new(folder.job()),
            None => Arc::new(MemoryDisk::new(0)),
        };
        let batches: Arc<dyn BatchStore> = SpillingBatchStore::new(&memory, disk.clone());
        JobStores {
            sides: Arc::new(BatchSideStore::new(graph.clone(), batches.clone())),
            state: Arc::new(SpillingStateStore::new(&memory, disk)),
            batches,
            memory,
        }
    }
}
