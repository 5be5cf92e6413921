//! Where most tests begin.

use purlin_fn_api::{FnApiConfig, WorkerLimits};

use super::harness::Harness;
use super::job::Job;
use super::plan::external;
use super::server::Server;
use super::worker_pool::WorkerPool;

/// A job with one worker that is up.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) pool: WorkerPool,
    pub(crate) job: Job,
    pub(crate) worker: Harness,
}

impl Scene {
    pub(crate) async fn set() -> Self {
        Self::with(WorkerLimits::default()).await
    }

    pub(crate) async fn with(limits: WorkerLimits) -> Self {
        let server = Server::with(FnApiConfig::default(), limits).await;
        let mut pool = WorkerPool::start().await;
        let mut job = Job::open(&server, external(&pool.endpoint));
        let worker = Harness::connect(&server.endpoint, &pool.asked().await.worker_id).await;
        assert_eq!(job.slots().await, 1);
        Self { server, pool, job, worker }
    }
}
