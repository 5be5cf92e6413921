//! The preparations and the jobs of a server, a bounded number of each.
//!
//! ```text
//!   Prepare ─add──► preparations ──begin, once──► jobs, running ──end──► jobs, finished ──► forgotten, oldest first
//!                       └─► forgotten, oldest first
//! ```
//! Running jobs are never forgotten. Whoever holds on to a job that is forgotten meanwhile can still use it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use purlin_backend::Importance;
use purlin_model::ids::JobId;
use thiserror::Error;
use tokio::sync::watch;

use crate::config::Limits;
use crate::job::Job;
use crate::preparation::{Preparation, PreparationId, StagedArtifacts};

/// Why there is no such job or preparation.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// Nobody knows this job.
    #[error(
        "there is no job `{id}`; it never was, or it ended so long ago that it is forgotten (GetJobs, or `purlin jobs`, \
         lists those that are known)"
    )]
    NoJob { id: String },
    /// This is not a job yet.
    #[error("`{id}` is a preparation and not a job: Run it, and use the job id that Run answers")]
    OnlyPrepared { id: String },
    /// This was a preparation.
    #[error("`{id}` is a preparation, which was run as job `{job}`: use that id")]
    RunAs { id: String, job: JobId },
    /// Nobody knows this preparation.
    #[error(
        "there is no preparation `{id}`; it never was, or too many others were prepared after it; prepare the pipeline \
         again"
    )]
    NoPreparation { id: String },
    /// A preparation runs once.
    #[error("preparation `{id}` was already run, as job `{job}`; to run the pipeline again, prepare it again")]
    AlreadyRun { id: String, job: JobId },
    /// It cannot run yet.
    #[error(
        "preparation `{id}` cannot run: its pipeline names {artifacts} artifact(s), and they have not all been staged; \
         stage them through ReverseArtifactRetrievalService with this token, then run it"
    )]
    NotStaged { id: String, artifacts: usize },
    /// Nothing runs any more.
    #[error("this server is shutting down and takes no more jobs")]
    Stopping,
}

/// All preparations and jobs.
#[derive(Debug)]
pub(crate) struct JobStore {
    limits: Limits,
    /// Part of all ids, so that those of an earlier server mean nothing to this one.
    epoch: String,
    inner: Mutex<Inner>,
    running: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Inner {
    minted: u64,
    preparations: BTreeMap<PreparationId, Arc<Preparation>>,
    preparations_bytes: usize,
    /// The preparations that were never run, oldest first; may still name some that were.
    waiting: VecDeque<PreparationId>,
    jobs: BTreeMap<JobId, Arc<Job>>,
    /// All jobs, oldest first.
    order: Vec<JobId>,
    /// Which job came of a preparation, as long as the job is known.
    run_as: BTreeMap<PreparationId, JobId>,
    /// Jobs that have ended, oldest first.
    finished: VecDeque<JobId>,
    finished_bytes: usize,
    stopping: bool,
}

/// A job that is to be run, with all that this takes.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) job: Arc<Job>,
    pub(crate) translated: purlin_backend::Translated,
    pub(crate) staged: StagedArtifacts,
    /// What its user should know before it begins.
    pub(crate) notes: Vec<(Importance, String)>,
}

impl JobStore {
    pub(crate) fn new(limits: Limits) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { limits, epoch: base36(since_epoch.as_millis()), inner: Mutex::default(), running: watch::Sender::new(0) }
    }

    /// A new id for a preparation.
    pub(crate) fn mint_preparation(&self) -> PreparationId {
        let mut inner = self.lock();
        inner.minted += 1;
        PreparationId::new(format!("prep-{}-{}", self.epoch, inner.minted))
    }

    /// Keeps a preparation until it is run, or too many others follow.
    ///
    /// # Errors
    /// If the server is shutting down.
    pub(crate) fn add(&self, preparation: Preparation) -> Result<(), StoreError> {
        let mut forgotten = Vec::new();
        let mut inner = self.lock();
        if inner.stopping {
            return Err(StoreError::Stopping);
        }
        inner.waiting.push_back(preparation.id.clone());
        inner.preparations_bytes += preparation.bytes;
        inner.preparations.insert(preparation.id.clone(), Arc::new(preparation));
        while inner.preparations.len() > 1
            && (inner.preparations.len() > self.limits.preparations_max
                || inner.preparations_bytes > self.limits.preparations_bytes_max)
        {
            let Some(oldest) = inner.waiting.pop_front() else { break };
            if let Some(oldest) = inner.preparations.remove(&oldest) {
                inner.preparations_bytes -= oldest.bytes;
                forgotten.push(oldest);
            }
        }
        drop(inner);
        // Artifacts that only these needed are removed here, outside the lock.
        drop(forgotten);
        Ok(())
    }

    /// A preparation that was not run yet.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn preparation(&self, id: &str) -> Result<Arc<Preparation>, StoreError> {
        let inner = self.lock();
        inner.preparations.get(id).cloned().ok_or_else(|| inner.no_preparation(id))
    }

    /// Makes a job of a preparation.
    ///
    /// # Errors
    /// If there is no such preparation, it was run already, its artifacts are not staged, or the server is shutting down.
    pub(crate) fn begin(&self, id: &str) -> Result<Begun, StoreError> {
        let mut inner = self.lock();
        if inner.stopping {
            return Err(StoreError::Stopping);
        }
        let preparation = inner.preparations.get(id).ok_or_else(|| inner.no_preparation(id))?.clone();
        if !preparation.is_staged() {
            let artifacts = preparation.dependencies.values().map(Vec::len).sum();
            return Err(StoreError::NotStaged { id: id.to_owned(), artifacts });
        }
        let (translated, staged) = preparation.take().ok_or_else(|| inner.no_preparation(id))?;
        inner.preparations.remove(id);
        inner.preparations_bytes -= preparation.bytes;
        inner.waiting.retain(|waiting| waiting.as_str() != id);
        inner.minted += 1;
        let job_id = JobId::new(format!("job-{}-{}", self.epoch, inner.minted));
        let job = Arc::new(Job::new(job_id.clone(), &preparation, self.limits.log));
        inner.run_as.insert(preparation.id.clone(), job_id.clone());
        inner.jobs.insert(job_id.clone(), job.clone());
        inner.order.push(job_id);
        self.running.send_modify(|running| *running += 1);
        Ok(Begun { job, translated, staged, notes: preparation.notes.clone() })
    }

    /// A job has ended, and everything of it is cleaned up: it stays known until too many others have ended after it.
    pub(crate) fn end(&self, job: &Job) {
        let mut inner = self.lock();
        inner.finished.push_back(job.id().clone());
        inner.finished_bytes += job.bytes();
        let mut forgotten = Vec::new();
        while inner.finished.len() > 1
            && (inner.finished.len() > self.limits.finished_jobs_max
                || inner.finished_bytes > self.limits.finished_bytes_max)
        {
            let Some(oldest) = inner.finished.pop_front() else { break };
            inner.order.retain(|id| *id != oldest);
            if let Some(job) = inner.jobs.remove(&oldest) {
                inner.finished_bytes -= job.bytes();
                inner.run_as.remove(job.preparation());
                forgotten.push(job);
            }
        }
        drop(inner);
        drop(forgotten);
        self.running.send_modify(|running| *running -= 1);
    }

    /// The job of this id.
    ///
    /// # Errors
    /// If there is none; a preparation's id is told apart.
    pub(crate) fn job(&self, id: &str) -> Result<Arc<Job>, StoreError> {
        let inner = self.lock();
        if let Some(job) = inner.jobs.get(id) {
            return Ok(job.clone());
        }
        Err(match inner.run_as.get(id) {
            Some(job) => StoreError::RunAs { id: id.to_owned(), job: job.clone() },
            None if inner.preparations.contains_key(id) => StoreError::OnlyPrepared { id: id.to_owned() },
            None => StoreError::NoJob { id: id.to_owned() },
        })
    }

    /// All jobs that are known, oldest first.
    pub(crate) fn jobs(&self) -> Vec<Arc<Job>> {
        let inner = self.lock();
        inner.order.iter().filter_map(|id| inner.jobs.get(id).cloned()).collect()
    }

    /// Takes no more preparations or jobs.
    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
    }

    /// How many jobs have begun and not ended.
    pub(crate) fn running(&self) -> watch::Receiver<usize> {
        self.running.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds the lock can panic half way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn no_preparation(&self, id: &str) -> StoreError {
        match self.run_as.get(id) {
            Some(job) => StoreError::AlreadyRun { id: id.to_owned(), job: job.clone() },
            None => StoreError::NoPreparation { id: id.to_owned() },
        }
    }
}

/// A number in as few letters and digits as there are.
fn base36(mut number: u128) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize]);
        number /= 36;
        if number == 0 {
            break;
        }
    }
    digits.into_iter().rev().map(char::from).collect()
}
