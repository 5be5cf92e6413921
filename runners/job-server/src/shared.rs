//! What all RPCs of a server stand on.

use std::sync::Arc;

use purlin_fn_api::FnApi;
use purlin_store::Storage;
use tokio_util::sync::CancellationToken;

use crate::artifacts::Artifacts;
use crate::config::ServerConfig;
use crate::job_store::JobStore;

/// The state of a server, shared by its services.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: ServerConfig,
    /// `host:port` as told to clients and workers, always in the same words.
    pub(crate) endpoint: String,
    pub(crate) store: JobStore,
    pub(crate) artifacts: Arc<Artifacts>,
    pub(crate) fn_api: Arc<FnApi>,
    /// Where all jobs keep their data.
    pub(crate) storage: Storage,
    /// The data threads of all jobs.
    pub(crate) threads: Arc<rayon::ThreadPool>,
    /// Cancelled when nothing new is to begin.
    pub(crate) stopping: CancellationToken,
}
