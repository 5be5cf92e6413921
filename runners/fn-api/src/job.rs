//! One job, as its executors and workers see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use purlin_backend::{ArtifactHash, ArtifactStore};
use purlin_engine::core::stage::StageId;
use purlin_model::ids::{EnvironmentId, JobId};
use purlin_plan::StageGraph;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_runner_protocols as protocols;

use crate::artifact::parse_staged_artifact;
use crate::descriptor::{DescriptorError, StageDescriptor};

/// What a job must say so that its bundles can run in workers.
#[derive(Clone, Debug)]
pub struct FnApiJob {
    /// Its id.
    pub job_id: JobId,
    /// What its submitter calls it.
    pub job_name: String,
    /// Its stages and environments.
    pub plan: Arc<StageGraph>,
    /// Its options, passed on to workers to the letter.
    pub pipeline_options: prost_types::Struct,
    /// Where the files lie that it brought along.
    pub artifacts: Arc<dyn ArtifactStore>,
    /// Told to workers, for SDKs that still ask for it (`ProvisionInfo.retrieval_token`).
    pub retrieval_token: String,
    /// The files of each environment, as workers shall see them; made by [`staged_artifact`](crate::staged_artifact).
    pub dependencies: BTreeMap<EnvironmentId, Vec<pb::ArtifactInformation>>,
    /// How many bundles an environment may run at once.
    pub workers_max: usize,
}

/// A job while it is open.
#[derive(Debug)]
pub(crate) struct JobContext {
    pub(crate) job: FnApiJob,
    /// `host:port` of all services, one string wherever it is told, for SDKs keep a connection per string.
    pub(crate) endpoint: String,
    descriptor_prefix: String,
    /// Made when first needed: many stages of a plan are the runner's own.
    stages: Vec<OnceLock<Result<Arc<StageDescriptor>, DescriptorError>>>,
    artifacts: BTreeSet<ArtifactHash>,
}

impl JobContext {
    pub(crate) fn new(job: FnApiJob, endpoint: String, descriptor_prefix: String) -> Self {
        let stages = job.plan.stages.iter().map(|_| OnceLock::new()).collect();
        let artifacts = job.dependencies.values().flatten().filter_map(parse_staged_artifact).collect();
        Self { job, endpoint, descriptor_prefix, stages, artifacts }
    }

    /// What workers are told of a stage.
    pub(crate) fn stage(&self, stage: StageId) -> Result<Arc<StageDescriptor>, DescriptorError> {
        let slot = self.stages.get(stage.index()).ok_or(DescriptorError::UnknownStage { stage })?;
        slot.get_or_init(|| {
            let id = format!("{}-{}", self.descriptor_prefix, stage.0);
            StageDescriptor::new(&self.job.plan, stage, &id, &self.endpoint).map(Arc::new)
        })
        .clone()
    }

    /// The stage whose descriptor has this id.
    pub(crate) fn stage_by_descriptor(&self, id: &str) -> Option<Arc<StageDescriptor>> {
        let stage = id.strip_prefix(&self.descriptor_prefix)?.strip_prefix('-')?.parse().ok()?;
        self.stage(StageId(stage)).ok()
    }

    /// Whether the job brought this file along.
    pub(crate) fn has_artifact(&self, hash: ArtifactHash) -> bool {
        self.artifacts.contains(&hash)
    }

    /// Where each service is.
    pub(crate) fn service(&self) -> Option<pb::ApiServiceDescriptor> {
        Some(pb::ApiServiceDescriptor { url: self.endpoint.clone(), authentication: None })
    }

    /// What a worker of an environment is told when it starts (`ProvisionInfo`).
    pub(crate) fn provision_info(&self, environment: &EnvironmentId) -> fnpb::ProvisionInfo {
        let job = &self.job;
        let metadata = [("job_id", job.job_id.to_string()), ("job_name", job.job_name.clone())];
        fnpb::ProvisionInfo {
            pipeline_options: Some(job.pipeline_options.clone()),
            retrieval_token: job.retrieval_token.clone(),
            // Absent, so that no worker opens a stream that nobody reads.
            status_endpoint: None,
            logging_endpoint: self.service(),
            artifact_endpoint: self.service(),
            control_endpoint: self.service(),
            dependencies: job.dependencies.get(environment).cloned().unwrap_or_default(),
            runner_capabilities: [protocols::MONITORING_INFO_SHORT_IDS, protocols::MULTIMAP_KEYS_VALUES_SIDE_INPUT]
                .map(str::to_owned)
                .to_vec(),
            metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            sibling_worker_ids: Vec::new(),
        }
    }
}
