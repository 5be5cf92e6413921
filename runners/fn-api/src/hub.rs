//! The Fn API of a server: its services, the jobs that use them, and the workers that are expected.
//!
//! ```text
//!   job server ─open_job─► Pool per environment ─expects─► workers by id ◄─lookup─ control, data, state, …
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use purlin_backend::BundleExecutor;
use purlin_engine::core::stage::EnvIndex;
use purlin_model::ids::WorkerId;
use purlin_proto::fn_execution::v1::beam_fn_control_server::BeamFnControlServer;
use purlin_proto::fn_execution::v1::beam_fn_data_server::BeamFnDataServer;
use purlin_proto::fn_execution::v1::beam_fn_logging_server::BeamFnLoggingServer;
use purlin_proto::fn_execution::v1::beam_fn_state_server::BeamFnStateServer;
use purlin_proto::fn_execution::v1::provision_service_server::ProvisionServiceServer;
use purlin_proto::job_management::v1::artifact_retrieval_service_server::ArtifactRetrievalServiceServer;
use purlin_proto::pipeline::v1 as pb;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::service::RoutesBuilder;

use crate::artifact::retrieval::ArtifactApi;
use crate::config::{FnApiConfig, WorkerLimits};
use crate::control::ControlApi;
use crate::data::DataApi;
use crate::environment::{self, EnvironmentProblem};
use crate::executor::FnApiExecutor;
use crate::ids::IdMint;
use crate::job::{FnApiJob, JobContext};
use crate::lock::lock;
use crate::logging::LoggingApi;
use crate::metadata::{UnknownWorker, worker_id};
use crate::patience::Patience;
use crate::provision::ProvisionApi;
use crate::state::StateApi;
use crate::worker::Worker;

/// The Fn API of one server process, shared by all its jobs.
#[derive(Debug)]
pub struct FnApi {
    pub(crate) config: FnApiConfig,
    pub(crate) limits: WorkerLimits,
    pub(crate) ids: IdMint,
    endpoint: Mutex<Option<String>>,
    /// Every worker that somebody expects or uses.
    workers: Mutex<HashMap<WorkerId, Arc<Worker>>>,
    /// How many workers are being looked after: started, used or let go.
    tended: watch::Sender<usize>,
    /// Cancelled when workers may take no time for their end.
    hurry: CancellationToken,
}

/// Why a job cannot be opened.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FnApiError {
    /// Workers could not be told where to connect.
    #[error("the server has not said where its workers shall connect; this is a bug in Purlin, please report it")]
    NoEndpoint,
    /// No workers can be had for these environments.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Environments(Vec<EnvironmentProblem>),
}

impl FnApi {
    /// A server's Fn API, with the usual patience.
    pub fn new(config: FnApiConfig) -> Arc<Self> {
        Self::with_limits(config, WorkerLimits::default())
    }

    /// A server's Fn API.
    pub fn with_limits(config: FnApiConfig, limits: WorkerLimits) -> Arc<Self> {
        Arc::new(Self {
            config,
            limits,
            ids: IdMint::new(),
            endpoint: Mutex::new(None),
            workers: Mutex::default(),
            tended: watch::Sender::new(0),
            hurry: CancellationToken::new(),
        })
    }

    /// Adds all services: control, data, state, logging, provision and artifact retrieval. Messages are not compressed,
    /// for workers are on this machine.
    pub fn add_services(self: &Arc<Self>, routes: &mut RoutesBuilder) {
        let size = self.config.message_size_max;
        let control = BeamFnControlServer::new(ControlApi(self.clone()));
        routes.add_service(control.max_decoding_message_size(size).max_encoding_message_size(size));
        let data = BeamFnDataServer::new(DataApi(self.clone()));
        routes.add_service(data.max_decoding_message_size(size).max_encoding_message_size(size));
        let state = BeamFnStateServer::new(StateApi(self.clone()));
        routes.add_service(state.max_decoding_message_size(size).max_encoding_message_size(size));
        let logging = BeamFnLoggingServer::new(LoggingApi(self.clone()));
        routes.add_service(logging.max_decoding_message_size(size).max_encoding_message_size(size));
        let provision = ProvisionServiceServer::new(ProvisionApi(self.clone()));
        routes.add_service(provision.max_decoding_message_size(size).max_encoding_message_size(size));
        let artifacts = ArtifactRetrievalServiceServer::new(ArtifactApi(self.clone()));
        routes.add_service(artifacts.max_decoding_message_size(size).max_encoding_message_size(size));
    }

    /// Says where workers shall connect: `host:port`, in the same words for all services. Before the first job.
    pub fn set_endpoint(&self, endpoint: String) {
        *lock(&self.endpoint) = Some(endpoint);
    }

    /// Whether workers can be had for an environment. Without side effects, so that a pipeline can be refused early.
    ///
    /// # Errors
    /// Why not, and what to use instead.
    pub fn check_environment(&self, id: &str, environment: &pb::Environment) -> Result<(), EnvironmentProblem> {
        environment::choose(id, environment, &self.config).map(|_| ())
    }

    /// Opens a job: an executor for each of its environments, at the same index. Workers start when the executors
    /// are launched.
    ///
    /// # Errors
    /// All environments for which no workers can be had.
    pub fn open_job(self: &Arc<Self>, job: FnApiJob) -> Result<Vec<Arc<dyn BundleExecutor>>, FnApiError> {
        let endpoint = lock(&self.endpoint).clone().ok_or(FnApiError::NoEndpoint)?;
        let job = Arc::new(JobContext::new(job, endpoint, self.ids.descriptors()));
        let mut executors: Vec<Arc<dyn BundleExecutor>> = Vec::new();
        let mut problems = Vec::new();
        for (index, environment) in job.job.plan.environments.iter().enumerate() {
            match environment::choose(environment.id.as_str(), &environment.proto, &self.config) {
                Ok(chosen) => {
                    let env = EnvIndex(index as u32);
                    executors.push(Arc::new(FnApiExecutor::new(self, &job, env, chosen)));
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(executors) } else { Err(FnApiError::Environments(problems)) }
    }

    /// Ends when no worker is left: all that jobs have let go are gone, processes included. Jobs that still run keep
    /// it waiting.
    pub async fn drained(&self) {
        let mut tended = self.tended.subscribe();
        // An error would mean that the sender is gone, which this value owns.
        let _ = tended.wait_for(|tended| *tended == 0).await;
    }

    /// Cancel it, and workers that are let go get no more time to leave by themselves: processes are killed.
    pub fn hurry(&self) -> CancellationToken {
        self.hurry.clone()
    }

    /// How long a worker may take for each step of its end: less in haste, which begins when the token is cancelled.
    pub(crate) fn patience(&self, haste: CancellationToken) -> Patience {
        let WorkerLimits { stop_timeout, cancel_timeout, .. } = self.limits;
        Patience { limit: stop_timeout, haste, haste_limit: cancel_timeout, hurry: self.hurry.clone() }
    }

    /// The worker that makes a call.
    pub(crate) fn caller(&self, metadata: &MetadataMap) -> Result<Arc<Worker>, UnknownWorker> {
        let id = worker_id(metadata)?;
        lock(&self.workers).get(id).cloned().ok_or_else(|| UnknownWorker::Unexpected(id.to_owned()))
    }

    /// From now on this worker may connect.
    pub(crate) fn expect(&self, worker: &Arc<Worker>) {
        lock(&self.workers).insert(worker.id.clone(), worker.clone());
    }

    /// From now on calls of this worker are refused.
    pub(crate) fn forget(&self, worker: &WorkerId) {
        lock(&self.workers).remove(worker);
    }

    /// Counts one more worker that is looked after, until the guard is dropped.
    pub(crate) fn tend(self: &Arc<Self>) -> Tending {
        self.tended.send_modify(|tended| *tended += 1);
        Tending(self.clone())
    }
}

/// A worker is being looked after.
#[derive(Debug)]
pub(crate) struct Tending(Arc<FnApi>);

impl Drop for Tending {
    fn drop(&mut self) {
        self.0.tended.send_modify(|tended| *tended -= 1);
    }
}
