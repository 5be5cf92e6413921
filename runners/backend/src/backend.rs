//! What a runner is.

use std::fmt;
use std::sync::Arc;

use purlin_capability_matrix::sheet::CapabilitySheet;
use purlin_engine::core::config::EngineConfig;
use purlin_engine::core::schedule::Schedule;
use purlin_plan::{Problems, StageGraph, ValidatedPipeline};
use thiserror::Error;

use crate::options::{JobOptions, OptionError, OptionSpec};

/// A runner: direct, micro-batch, continuous, a delegate, or one of a third party.
pub trait Backend: Send + Sync + fmt::Debug {
    /// The name by which users choose it.
    fn name(&self) -> &'static str;

    /// The options that it takes beside Beam's own.
    fn options(&self) -> &[OptionSpec];

    /// What it does of everything that a pipeline can need. Nothing that it does not declare is ever asked of it.
    fn sheet(&self) -> &CapabilitySheet;

    /// Turns a pipeline into a job that the driver can run.
    ///
    /// # Errors
    /// All reasons why it cannot run this pipeline with these options.
    fn translate(&self, pipeline: &ValidatedPipeline, options: &JobOptions) -> Result<Job, BackendError>;
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
}
