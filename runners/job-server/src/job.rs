//! A job, from Run until it is forgotten.
//!
//! ```text
//!   Run ─► Job ─┬─ log: states and messages
//!               ├─ what was submitted: pipeline, options
//!               └─ part: Starting ─► Driven(handle of the driver) ─► Ended(last progress, metrics and profile)
//! ```
//! Does not know gRPC, nor who else is running.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use purlin_backend::driver::{JobControl, JobMetrics, StageProgress};
use purlin_backend::profile::JobProfile;
use purlin_backend::{Importance, JobMessage};
use purlin_engine::core::action::{Flushed, FlushedStage};
use purlin_model::ids::JobId;
use purlin_proto::pipeline::v1 as pb;

use crate::config::LogLimits;
use crate::log::JobLog;
use crate::preparation::{Preparation, PreparationId};
use crate::state::JobState;

/// One job.
#[derive(Debug)]
pub struct Job {
    id: JobId,
    name: String,
    runner: &'static str,
    preparation: PreparationId,
    pipeline: Arc<pb::Pipeline>,
    options: prost_types::Struct,
    bytes: usize,
    log: Arc<JobLog>,
    /// Why somebody has asked that it end; the first reason stays.
    cancelled_because: OnceLock<String>,
    part: Mutex<Part>,
}

/// What stands behind a job at present.
#[derive(Debug)]
enum Part {
    /// No driver yet; somebody may already have drained or cancelled it.
    Starting {
        drained: bool,
        cancelled: bool,
    },
    Driven(JobControl),
    Ended {
        progress: Vec<StageProgress>,
        metrics: Arc<JobMetrics>,
        profile: Arc<JobProfile>,
    },
}

impl Job {
    pub(crate) fn new(id: JobId, preparation: &Preparation, limits: LogLimits) -> Self {
        Self {
            id,
            name: preparation.name.clone(),
            runner: preparation.runner,
            preparation: preparation.id.clone(),
            bytes: preparation.bytes,
            pipeline: preparation.pipeline.clone(),
            options: preparation.options.clone(),
            log: Arc::new(JobLog::new(limits, preparation.time)),
            cancelled_because: OnceLock::new(),
            part: Mutex::new(Part::Starting { drained: false, cancelled: false }),
        }
    }

    /// Its id, minted at Run.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// The name that the client gave it; not unique, for Python calls every job `job`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its runner.
    pub fn runner(&self) -> &'static str {
        self.runner
    }

    /// Its state now.
    pub fn state(&self) -> JobState {
        self.log.state().0
    }

    /// What happened to it.
    pub fn log(&self) -> &Arc<JobLog> {
        &self.log
    }

    /// The pipeline as submitted.
    pub fn pipeline(&self) -> &Arc<pb::Pipeline> {
        &self.pipeline
    }

    /// The options as submitted.
    pub fn options(&self) -> &prost_types::Struct {
        &self.options
    }

    pub(crate) fn preparation(&self) -> &PreparationId {
        &self.preparation
    }

    /// About how much memory it holds once it has ended.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How far each of its stages is, in stage order; none before it runs.
    pub fn progress(&self) -> Vec<StageProgress> {
        match &*self.lock() {
            Part::Starting { .. } => Vec::new(),
            Part::Driven(control) => control.progress(),
            Part::Ended { progress, .. } => progress.clone(),
        }
    }

    /// What it measured so far.
    pub fn metrics(&self) -> Arc<JobMetrics> {
        let control = match &*self.lock() {
            Part::Starting { .. } => return Arc::default(),
            Part::Driven(control) => control.clone(),
            Part::Ended { metrics, .. } => return metrics.clone(),
        };
        Arc::new(control.metrics())
    }

    /// Where its time went so far.
    pub fn profile(&self) -> JobProfile {
        match &*self.lock() {
            Part::Starting { .. } => JobProfile::default(),
            Part::Driven(control) => control.profile(),
            Part::Ended { profile, .. } => JobProfile::clone(profile),
        }
    }

    /// Has it take no more input and end with what it has, unless it has ended or is being cancelled. Returns the state that
    /// it is in then: one that has not begun is drained as soon as it has.
    pub fn drain(&self) -> JobState {
        let control = match &mut *self.lock() {
            Part::Starting { drained, .. } => {
                *drained = true;
                None
            }
            Part::Driven(control) => Some(control.clone()),
            Part::Ended { .. } => None,
        };
        if let Some(control) = control {
            self.drain_driven(&control);
        }
        self.state()
    }

    fn drain_driven(&self, control: &JobControl) {
        if self.log.enter(JobState::Draining) {
            let text = format!("job {} is being drained: it takes no more input, and ends with what it has", self.id);
            self.log.message(JobMessage::now(Importance::Basic, text));
            control.drain();
        }
    }

    /// It has ended because it was asked to take no more input, and tells its user what it has done since.
    pub(crate) fn drained(&self, flushed: &Flushed) {
        let Flushed { pending, truncated, ended, stages } = flushed;
        let left = truncated - ended;
        self.log.message(JobMessage::now(
            Importance::Basic,
            format!(
                "job {} has been drained: {pending} elements waited when it began; of {truncated} restrictions that were \
                 truncated, {ended} ended there and {left} were processed to their new end",
                self.id
            ),
        ));
        for FlushedStage { name, bundles, elements_in, elements_out } in stages {
            let text = format!(
                "while it was drained, stage `{name}` took {elements_in} elements and emitted {elements_out}, in \
                 {bundles} bundles"
            );
            self.log.message(JobMessage::now(Importance::Detailed, text));
        }
        self.log.enter(JobState::Drained);
    }

    /// Ends it, unless it has ended, and tells its user why. Returns the state that it is in then.
    pub fn cancel(&self, why: &str) -> JobState {
        let message = JobMessage::now(Importance::Basic, format!("job {} is being cancelled: {why}", self.id));
        // It stands there before anybody can see that the job is being cancelled.
        self.cancelled_because.get_or_init(|| why.to_owned());
        if self.log.enter(JobState::Cancelling) {
            self.log.message(message);
        }
        let control = match &mut *self.lock() {
            Part::Starting { cancelled, .. } => {
                *cancelled = true;
                None
            }
            Part::Driven(control) => Some(control.clone()),
            Part::Ended { .. } => None,
        };
        if let Some(control) = control {
            control.cancel();
        }
        self.state()
    }

    /// It has ended because it was asked to.
    pub(crate) fn cancelled(&self) {
        // A driver cancels only a job that was asked to end, and asking is what CANCELLING says.
        self.log.enter(JobState::Cancelling);
        let why = self.cancelled_because.get().map_or("nobody has said why", String::as_str);
        self.log.cancel(format!("job {} was cancelled: {why}", self.id));
    }

    /// A driver runs it now.
    pub(crate) fn driven(&self, control: &JobControl) {
        self.log.enter(JobState::Running);
        let (drained, cancelled) = {
            let mut part = self.lock();
            let asked = match &*part {
                Part::Starting { drained, cancelled } => (*drained, *cancelled),
                Part::Driven(_) | Part::Ended { .. } => (false, false),
            };
            *part = Part::Driven(control.clone());
            asked
        };
        if drained {
            self.drain_driven(control);
        }
        if cancelled {
            control.cancel();
        }
    }

    /// Nothing runs it any more: keeps what it measured. Its last state is entered behind this, so that whoever sees
    /// that state also sees the final metrics.
    pub(crate) fn settle(&self) {
        let mut part = self.lock();
        let (progress, metrics, profile) = match &*part {
            Part::Starting { .. } => Default::default(),
            Part::Driven(control) => (control.progress(), Arc::new(control.metrics()), Arc::new(control.profile())),
            Part::Ended { .. } => return,
        };
        *part = Part::Ended { progress, metrics, profile };
    }

    fn lock(&self) -> MutexGuard<'_, Part> {
        // The part is replaced whole.
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
