//! The server: every service on one port, from binding to the clean-up of the last job.
//!
//! ```text
//!   127.0.0.1:port, [::1]:port ─► Job API, artifact staging, Fn API, inspection, health, reflection
//!
//!   shutdown: no new jobs ─► cancel all ─► wait for their clean-up, and their workers' ─► end the connections
//! ```
//! It listens on loopback only, for it has neither encryption nor passwords.

use std::sync::Arc;
use std::time::Duration;

use purlin_backend::UnknownRunner;
use purlin_fn_api::{FnApi, FnApiConfig};
use purlin_proto::inspect::inspect_server::InspectServer;
use purlin_proto::job_management::v1::artifact_staging_service_server::ArtifactStagingServiceServer;
use purlin_proto::job_management::v1::job_service_server::JobServiceServer;
use purlin_store::{BudgetTooSmall, MemoryBroker, SpillFolder, SpillFolderError, Storage};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::RoutesBuilder;

use crate::artifact_staging::StagingApi;
use crate::artifacts::{ArtifactKeeper, Artifacts, FolderArtifacts, FolderError, MemoryArtifacts};
use crate::config::{ArtifactPlace, ServerConfig};
use crate::inspect::InspectApi;
use crate::job::Job;
use crate::job_store::JobStore;
use crate::listener::{ListenError, Loopback};
use crate::service::JobApi;
use crate::shared::Shared;

/// What one stream may have under way: SDKs send megabytes at once.
const STREAM_WINDOW: u32 = 8 << 20;

/// What all streams of a connection may have under way.
const CONNECTION_WINDOW: u32 = 32 << 20;

/// What the program takes before any job.
const PROGRAM_BYTES: u64 = 24 << 20;

/// What each worker's messages take, on their way in and out, windows included.
const WORKER_BYTES: u64 = 16 << 20;

/// How long open calls of clients may hold up the end of a server whose jobs have all ended.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Why a server cannot start.
#[derive(Debug, Error)]
pub enum ServerError {
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// It can keep files nowhere.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It has nowhere to put data that does not fit into memory.
    #[error(transparent)]
    Spill(#[from] SpillFolderError),
    /// It may not have enough memory.
    #[error(transparent)]
    Budget(#[from] BudgetTooSmall),
    /// Its default runner does not exist.
    #[error(transparent)]
    Runner(#[from] UnknownRunner),
    /// The system gives it no threads.
    #[error("cannot start {threads} data threads: {source}; choose fewer with --workers")]
    Threads {
        /// How many were wanted.
        threads: usize,
        /// What the system says.
        source: rayon::ThreadPoolBuildError,
    },
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    port: u16,
    shared: Arc<Shared>,
    /// Ends the accepting of connections.
    closing: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Server {
    /// Starts a server on the current tokio runtime. When this returns, clients can connect.
    ///
    /// # Errors
    /// If the port is taken, the folder cannot be written, or the default runner does not exist.
    pub async fn bind(config: ServerConfig) -> Result<Self, ServerError> {
        config.registry.offers(&config.runner)?;
        let artifacts: Arc<dyn ArtifactKeeper> = match &config.artifacts {
            ArtifactPlace::Memory => Arc::new(MemoryArtifacts::default()),
            ArtifactPlace::Temporary => Arc::new(FolderArtifacts::temporary()?),
            ArtifactPlace::Folder(folder) => Arc::new(FolderArtifacts::open(folder)?),
        };
        let broker = MemoryBroker::new(config.memory_budget.bytes(), &fixed_costs(config.workers_max))?;
        let folder = match &config.artifacts {
            ArtifactPlace::Memory | ArtifactPlace::Temporary => SpillFolder::temporary()?,
            ArtifactPlace::Folder(folder) => SpillFolder::open(folder)?,
        };
        tracing::info!(
            data_mib = broker.budget() >> 20,
            folder = %folder.path().display(),
            "data is kept in memory up to this much, and goes to this folder beyond"
        );
        let storage = Storage::new(broker, folder);
        let listener = Loopback::bind(config.port).await?;
        let port = listener.port();
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(config.workers_max)
            .thread_name(|index| format!("purlin-data-{index}"))
            .build()
            .map_err(|source| ServerError::Threads { threads: config.workers_max, source })?;
        let fn_api = FnApi::new(FnApiConfig {
            message_size_max: config.message_size_max,
            process_environments: config.process_environments,
            docker: config.docker.clone(),
            more_python: config.more_python.clone(),
        });
        let endpoint = format!("127.0.0.1:{port}");
        fn_api.set_endpoint(endpoint.clone());
        let shared = Arc::new(Shared {
            store: JobStore::new(config.limits),
            artifacts: Artifacts::new(artifacts),
            fn_api,
            storage,
            threads: Arc::new(threads),
            stopping: CancellationToken::new(),
            endpoint,
            config,
        });
        let closing = CancellationToken::new();
        let connections = listener.accept(&closing);
        let goodbye = closing.clone().cancelled_owned();
        let serving = tonic::transport::Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .add_routes(routes(&shared).await)
            .serve_with_incoming_shutdown(connections, goodbye);
        Ok(Self { port, shared, closing, serving: tokio::spawn(serving) })
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`, for clients on this machine.
    pub fn endpoint(&self) -> &str {
        &self.shared.endpoint
    }

    /// The jobs that are known, oldest first.
    pub fn jobs(&self) -> Vec<Arc<Job>> {
        self.shared.store.jobs()
    }

    /// Cancels all jobs, and tells their users why.
    pub fn cancel_jobs(&self, why: &str) {
        for job in self.jobs() {
            job.cancel(why);
        }
    }

    /// Waits until no job runs.
    pub async fn idle(&self) {
        let mut running = self.shared.store.running();
        // An error would mean that the store is gone, which this server owns.
        let _ = running.wait_for(|running| *running == 0).await;
    }

    /// Cancel it when the server shall end at once: workers get no time to leave by themselves.
    pub fn hurry(&self) -> CancellationToken {
        self.shared.fn_api.hurry()
    }

    /// Ends the server: no new jobs, all jobs cancelled for this reason, all workers let go, all connections ended.
    pub async fn shutdown(self, why: &str) {
        self.shared.store.stop();
        self.cancel_jobs(why);
        self.idle().await;
        // Workers' processes must not outlive this one, nor what they have in temporary folders.
        self.shared.fn_api.drained().await;
        self.shared.stopping.cancel();
        self.closing.cancel();
        let mut serving = self.serving;
        match tokio::time::timeout(GOODBYE_MAX, &mut serving).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the server ended with an error"),
            Ok(Err(error)) => tracing::warn!(%error, "the server ended with a panic, which is a bug in Purlin"),
            // Somebody holds a call open that ends only with the connection, for instance a watch of the health service.
            Err(_) => serving.abort(),
        }
    }
}

/// What a server needs of its memory budget in any case.
fn fixed_costs(workers: usize) -> [(&'static str, u64); 3] {
    [
        ("the program", PROGRAM_BYTES),
        ("connections", CONNECTION_WINDOW.into()),
        ("messages of workers", workers as u64 * WORKER_BYTES),
    ]
}

async fn routes(shared: &Arc<Shared>) -> Routes {
    let message_size_max = shared.config.message_size_max;
    let mut routes = RoutesBuilder::default();
    routes.add_service(
        JobServiceServer::new(JobApi(shared.clone()))
            .max_decoding_message_size(message_size_max)
            .max_encoding_message_size(message_size_max),
    );
    routes.add_service(
        ArtifactStagingServiceServer::new(StagingApi(shared.clone()))
            .max_decoding_message_size(message_size_max)
            .max_encoding_message_size(message_size_max),
    );
    routes.add_service(InspectServer::new(InspectApi(shared.clone())));
    shared.fn_api.add_services(&mut routes);
    let (health, service) = tonic_health::server::health_reporter();
    health.set_serving::<JobServiceServer<JobApi>>().await;
    health.set_serving::<ArtifactStagingServiceServer<StagingApi>>().await;
    routes.add_service(service);
    add_reflection(&mut routes);
    routes.routes()
}

/// Adds both versions of the reflection service, for the tools in use know one or the other.
fn add_reflection(routes: &mut RoutesBuilder) {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(purlin_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(purlin_proto::OWN_FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    routes.add_service(builder().build_v1().expect("the build script compiled these descriptors"));
    routes.add_service(builder().build_v1alpha().expect("the build script compiled these descriptors"));
}
