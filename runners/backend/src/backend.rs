//! What a runner is.

use std::fmt;
use std::sync::Arc;

use purlin_capability_matrix::sheet::CapabilitySheet;
use purlin_engine::core::config::EngineConfig;
use purlin_engine::core::schedule::Schedule;
use purlin_plan::{PlanOptions, Problems, StageGraph, ValidatedPipeline};
use thiserror::Error;

use crate::dead_letter_options::DeadLetterOptions;
use crate::options::{JobOptions, OptionError, OptionSpec};
use crate::replay::{Replay, ReplayError, ReplayInput};

/// A runner: direct, micro-batch, continuous, a delegate, or one of a third party.
pub trait Backend: Send + Sync + fmt::Debug {
    /// The name by which users choose it.
    fn name(&self) -> &'static str;

    /// The options that it takes beside Beam's own.
    fn options(&self) -> &[OptionSpec];

    /// What it does of everything that a pipeline can need. Nothing that it does not declare is ever asked of it.
    fn sheet(&self) -> &CapabilitySheet;

    /// Turns a pipeline into a job that the driver can run. Call [`translate`], which adds what is the same for all runners.
    ///
    /// # Errors
    /// All reasons why it cannot run this pipeline with these options.
    fn translate(&self, pipeline: &ValidatedPipeline, options: &JobOptions) -> Result<Job, BackendError>;
}

/// Turns a pipeline into a job of a runner, with what a job can ask of every runner.
///
/// # Errors
/// As [`Backend::translate`].
pub fn translate(
    backend: &dyn Backend,
    pipeline: &ValidatedPipeline,
    options: &JobOptions,
) -> Result<Translated, BackendError> {
    let dead_letters = DeadLetterOptions::of(options)?;
    let replay = Replay::of(options)?;
    let plan = PlanOptions {
        // Letters come from in front of what this puts into a stage of its own.
        isolate_sources: dead_letters.is_some() || replay.is_some(),
        replay: replay.as_ref().map(Replay::points).unwrap_or_default(),
    };
    let mut job = if plan == PlanOptions::default() {
        backend.translate(pipeline, options)?
    } else {
        backend.translate(&pipeline.clone().planned_by(plan), options)?
    };
    job.config.dead_letters_max = dead_letters.map(|wanted| wanted.count_max);
    let input = replay.as_ref().map(|replay| replay.input(&job.plan)).transpose()?;
    Ok(Translated { job, replay: replay.zip(input) })
}

/// A job of a runner, and what it can have whichever that is.
#[derive(Debug)]
pub struct Translated {
    /// The job.
    pub job: Job,
    /// The dead letters that it processes in the place of its sources, as files and as input.
    pub replay: Option<(Replay, ReplayInput)>,
}

/// A job, ready to be driven.
#[derive(Debug)]
pub struct Job {
    /// Its stages.
    pub plan: Arc<StageGraph>,
    /// Which ready bundles start.
    pub schedule: Box<dyn Schedule>,
    /// Bounds and knobs.
    pub config: EngineConfig,
}

/// Why a runner cannot run a pipeline.
#[derive(Debug, Error)]
pub enum BackendError {
    /// The pipeline needs what there is not.
    #[error("{0}")]
    Pipeline(#[from] Problems),
    /// An option cannot be used.
    #[error("{0}")]
    Option(#[from] OptionError),
    /// What it is to replay cannot be replayed.
    #[error("{0}")]
    Replay(#[from] ReplayError),
}
