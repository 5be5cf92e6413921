//! Prepare: checks a pipeline whole, and keeps it to be run.
//!
//! ```text
//!   pipeline ─► check ─► Preparation
//!                 └─ all problems, at once ─► INVALID_ARGUMENT | UNIMPLEMENTED
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message;
use purlin_backend::Job;
use purlin_model::ids::EnvironmentId;
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_environments::environments::ANYOF;
use thiserror::Error;
use tonic::{Code, Status};

use crate::check::{Refusal, check};
use crate::config::Mode;
use crate::job_store::StoreError;
use crate::options::add_options;
use crate::preparation::Preparation;
use crate::shared::Shared;
use crate::status::refusal;

/// How deep environments may be nested in one another; SDKs nest once.
const ANYOF_DEPTH_MAX: usize = 8;

/// Why a pipeline is not accepted.
#[derive(Debug, Error)]
pub(crate) enum PrepareError {
    #[error("the request holds no pipeline; set `pipeline` in PrepareJobRequest")]
    NoPipeline,
    #[error(transparent)]
    Check(#[from] Box<Refusal>),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("this server only looks at pipelines and runs nothing (`purlin check`, `purlin explain`)")]
    Captured,
    #[error("checking this pipeline panicked, which is a bug in Purlin; please report it with the pipeline: {text}")]
    Bug { text: String },
}

impl From<PrepareError> for Status {
    fn from(error: PrepareError) -> Self {
        let text = error.to_string();
        match error {
            PrepareError::NoPipeline => refusal(Code::InvalidArgument, &text),
            PrepareError::Check(found) if found.is_invalid() => refusal(Code::InvalidArgument, &text),
            PrepareError::Check(_) => refusal(Code::Unimplemented, &text),
            PrepareError::Store(error) => error.into(),
            PrepareError::Captured => refusal(Code::FailedPrecondition, &text),
            PrepareError::Bug { .. } => refusal(Code::Internal, &text),
        }
    }
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
    let mut options = request.pipeline_options.unwrap_or_default();
    add_options(&mut options, &shared.config.job_options);
    // Large pipelines take a while, and other requests must not wait for it.
    let checking = {
        let (shared, options) = (shared.clone(), options.clone());
        tokio::task::spawn_blocking(move || check(&shared.config, pipeline, &options))
    };
    let checked = checking.await.map_err(|error| PrepareError::Bug { text: panic_text(error) })?;
    let checked = checked.inspect_err(|error| tracing::info!("refused a pipeline: {error}"))?;
    let dependencies = dependencies(&checked.translated.job);
    let id = shared.store.mint_preparation();
    shared.store.add(Preparation::new(id.clone(), request.job_name, options, dependencies, checked))?;
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
        collect(&environment.proto, ANYOF_DEPTH_MAX, &mut BTreeSet::new(), &mut dependencies);
        if !dependencies.is_empty() {
            all.insert(environment.id.clone(), dependencies);
        }
    }
    all
}

/// The dependencies of an environment and of all its alternatives, each once.
fn collect(
    environment: &pb::Environment,
    depth: usize,
    seen: &mut BTreeSet<Vec<u8>>,
    dependencies: &mut Vec<pb::ArtifactInformation>,
) {
    for dependency in &environment.dependencies {
        if seen.insert(dependency.encode_to_vec()) {
            dependencies.push(dependency.clone());
        }
    }
    if environment.urn == ANYOF
        && depth > 0
        && let Ok(alternatives) = pb::AnyOfEnvironmentPayload::decode(environment.payload.clone())
    {
        for alternative in &alternatives.environments {
            collect(alternative, depth - 1, seen, dependencies);
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
