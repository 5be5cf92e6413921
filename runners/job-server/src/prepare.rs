//! Prepare: checks a pipeline whole, and keeps it to be run.
//!
//! ```text
//!   pipeline ─► runner, by option ─► validate ─► translate ─► Preparation
//!                  └─────────── all problems, at once ───► INVALID_ARGUMENT | UNIMPLEMENTED
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use purlin_backend::{BackendError, Job, OptionError, UnknownRunner};
use purlin_model::ids::EnvironmentId;
use purlin_plan::Problems;
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_environments::environments::ANYOF;
use thiserror::Error;
use tonic::{Code, Status};

use crate::config::{Mode, ServerConfig};
use crate::job_store::StoreError;
use crate::options::{RunnerChoiceError, chosen_runner, from_wire};
use crate::preparation::Preparation;
use crate::shared::Shared;
use crate::status::{problems, refusal};

/// How deep environments may be nested in one another; SDKs nest once.
const ANYOF_DEPTH_MAX: usize = 8;

/// Why a pipeline is not accepted.
#[derive(Debug, Error)]
pub(crate) enum PrepareError {
    #[error("the request holds no pipeline; set `pipeline` in PrepareJobRequest")]
    NoPipeline,
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("this server only looks at pipelines and runs nothing (`purlin check`, `purlin explain`)")]
    Captured,
    #[error("checking this pipeline panicked, which is a bug in Purlin; please report it with the pipeline: {text}")]
    Bug { text: String },
}

/// Why a pipeline cannot run.
#[derive(Debug, Error)]
pub enum CheckError {
    /// It is not a pipeline.
    #[error("{0}")]
    Invalid(Problems),
    /// It is a pipeline, but needs what the runner does not do.
    #[error("{0}")]
    Unsupported(Problems),
    /// An option cannot be used.
    #[error(transparent)]
    Option(OptionError),
    /// It is not clear which runner is meant.
    #[error(transparent)]
    Choice(#[from] RunnerChoiceError),
    /// There is no such runner.
    #[error(transparent)]
    Runner(#[from] UnknownRunner),
}

impl From<PrepareError> for Status {
    fn from(error: PrepareError) -> Self {
        let text = error.to_string();
        match error {
            PrepareError::NoPipeline => refusal(Code::InvalidArgument, &text),
            PrepareError::Check(CheckError::Invalid(list)) => problems(Code::InvalidArgument, &list),
            PrepareError::Check(CheckError::Unsupported(list)) => problems(Code::Unimplemented, &list),
            PrepareError::Check(CheckError::Option(_) | CheckError::Choice(_) | CheckError::Runner(_)) => {
                refusal(Code::InvalidArgument, &text)
            }
            PrepareError::Store(error) => error.into(),
            PrepareError::Captured => refusal(Code::FailedPrecondition, &text),
            PrepareError::Bug { .. } => refusal(Code::Internal, &text),
        }
    }
}

/// A pipeline that can run, and as what.
#[derive(Debug)]
pub struct Checked {
    /// The name of the runner that it chose.
    pub runner: &'static str,
    /// What the runner makes of it.
    pub job: Job,
    /// The pipeline as it was given.
    pub pipeline: Arc<pb::Pipeline>,
}

/// Checks a pipeline as Prepare does, for anyone who wants to know without a server.
///
/// # Errors
/// Everything that keeps it from running.
pub fn check(
    config: &ServerConfig,
    pipeline: pb::Pipeline,
    options: &prost_types::Struct,
) -> Result<Checked, CheckError> {
    let options = from_wire(options);
    let runner = chosen_runner(&options)?.unwrap_or(&config.runner);
    let backend = config.registry.get(runner)?;
    let validated = purlin_plan::validate(pipeline).map_err(CheckError::Invalid)?;
    let job = backend.translate(&validated, &options).map_err(|error| match error {
        BackendError::Pipeline(list) => CheckError::Unsupported(list),
        BackendError::Option(error) => CheckError::Option(error),
    })?;
    Ok(Checked { runner: backend.name(), job, pipeline: validated.proto().clone() })
}

pub(crate) async fn prepare(
    shared: &Arc<Shared>,
    mut request: jobpb::PrepareJobRequest,
) -> Result<jobpb::PrepareJobResponse, PrepareError> {
    if let Mode::Capture(captured) = &shared.config.mode {
        // Whoever looks at pipelines may have seen enough.
        let _ = captured.send(request);
        return Err(PrepareError::Captured);
    }
    let pipeline = request.pipeline.take().ok_or(PrepareError::NoPipeline)?;
    let options = request.pipeline_options.unwrap_or_default();
    // Large pipelines take a while, and other requests must not wait for it.
    let checking = {
        let (shared, options) = (shared.clone(), options.clone());
        tokio::task::spawn_blocking(move || check(&shared.config, pipeline, &options))
    };
    let checked = checking.await.map_err(|error| PrepareError::Bug { text: panic_text(error) })?;
    let Checked { runner, job, pipeline } =
        checked.inspect_err(|error| tracing::info!("refused a pipeline: {error}"))?;
    let dependencies = dependencies(&job);
    let id = shared.store.mint_preparation();
    shared.store.add(Preparation::new(id.clone(), request.job_name, pipeline, options, runner, dependencies, job))?;
    Ok(jobpb::PrepareJobResponse {
        preparation_id: id.as_str().to_owned(),
        // Never empty, even if there is nothing to stage: Python takes the absence for something else.
        artifact_staging_endpoint: Some(pb::ApiServiceDescriptor {
            url: shared.endpoint.clone(),
            authentication: None,
        }),
        staging_session_token: id.as_str().to_owned(),
    })
}

/// What the environments that the job needs ask to be staged.
fn dependencies(job: &Job) -> BTreeMap<EnvironmentId, Vec<pb::ArtifactInformation>> {
    let mut all = BTreeMap::new();
    for environment in &job.plan.environments {
        let mut dependencies = Vec::new();
        collect(&environment.proto, ANYOF_DEPTH_MAX, &mut dependencies);
        if !dependencies.is_empty() {
            all.insert(environment.id.clone(), dependencies);
        }
    }
    all
}

/// The dependencies of an environment and of all its alternatives, each once.
fn collect(environment: &pb::Environment, depth: usize, dependencies: &mut Vec<pb::ArtifactInformation>) {
    for dependency in &environment.dependencies {
        if !dependencies.contains(dependency) {
            dependencies.push(dependency.clone());
        }
    }
    if environment.urn == ANYOF
        && depth > 0
        && let Ok(alternatives) = pb::AnyOfEnvironmentPayload::decode(environment.payload.clone())
    {
        for alternative in &alternatives.environments {
            collect(alternative, depth - 1, dependencies);
        }
    }
}

fn panic_text(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "without a text".to_owned()),
        Err(error) => error.to_string(),
    }
}
