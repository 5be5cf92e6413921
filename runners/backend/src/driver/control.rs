//! The handle on a running job: drain it, cancel it, watch it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metrics::{MetricDelta, MetricMergeError, MetricTable};
use purlin_engine::core::action::{BundleId, Outcome};
use tokio_util::sync::CancellationToken;

use crate::message::JobMessage;
use crate::profile::{JobProfile, Profiler};

/// How far one stage is.
pub use purlin_engine::core::engine::StageStatus as StageProgress;

/// What a job tells those who watch it. `Ended` is the last.
#[derive(Debug)]
pub enum JobEvent {
    /// For the user.
    Message(JobMessage),
    /// It is over, and its workers have been let go.
    Ended(Outcome),
}

/// A job's metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobMetrics {
    /// Of bundles that count.
    pub committed: MetricTable,
    /// Of whatever was tried, running bundles included.
    pub attempted: MetricTable,
}

/// A handle on a running job. Cheap to clone; outlives the job.
#[derive(Clone, Debug)]
pub struct JobControl {
    pub(super) drain: CancellationToken,
    pub(super) cancel: CancellationToken,
    pub(super) watched: Arc<Watched>,
}

impl JobControl {
    pub(super) fn new() -> Self {
        Self { drain: CancellationToken::new(), cancel: CancellationToken::new(), watched: Arc::default() }
    }

    /// Has the job take no more input, and end with what it has. Once is enough; after the end it does nothing.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Ends the job: running bundles are aborted. Once is enough; after the end it does nothing.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// How far each stage is, in stage order; at most a tenth of a second old.
    pub fn progress(&self) -> Vec<StageProgress> {
        lock(&self.watched.progress).clone()
    }

    /// What was measured so far.
    pub fn metrics(&self) -> JobMetrics {
        let metrics = lock(&self.watched.metrics);
        let mut attempted = metrics.attempted.clone();
        for delta in metrics.running.values() {
            // What cannot be merged was told when its bundle ended, or will be.
            let _ = attempted.merge(delta);
        }
        JobMetrics { committed: metrics.committed.clone(), attempted }
    }

    /// Where its time went so far.
    pub fn profile(&self) -> JobProfile {
        lock(&self.watched.profile).as_ref().map(Profiler::profile).unwrap_or_default()
    }
}

/// What the driver shows to handles. Each lock is held for a copy only.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) progress: Mutex<Vec<StageProgress>>,
    pub(super) metrics: Mutex<MetricState>,
    /// `None` until the job has an engine.
    pub(super) profile: Mutex<Option<Profiler>>,
}

/// Metrics of bundles that ended, and the latest report of those that run.
#[derive(Debug, Default)]
pub(super) struct MetricState {
    committed: MetricTable,
    attempted: MetricTable,
    running: BTreeMap<BundleId, MetricDelta>,
}

impl MetricState {
    /// A running bundle's latest report, which replaces the one before.
    pub(super) fn report(&mut self, bundle: BundleId, delta: MetricDelta) {
        self.running.insert(bundle, delta);
    }

    /// What was measured outside of bundles, and counts.
    pub(super) fn add(&mut self, delta: &MetricDelta) -> Result<(), Vec<MetricMergeError>> {
        self.attempted.merge(delta)?;
        self.committed.merge(delta)
    }

    /// A bundle has ended; only a committed one counts as such.
    pub(super) fn settle(&mut self, bundle: BundleId, committed: bool) -> Result<(), Vec<MetricMergeError>> {
        let Some(delta) = self.running.remove(&bundle) else { return Ok(()) };
        let attempted = self.attempted.merge(&delta);
        if committed { self.committed.merge(&delta) } else { attempted }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds these locks can leave a value half written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
