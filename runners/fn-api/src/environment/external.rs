//! EXTERNAL: a pool that starts workers when asked (`BeamFnExternalWorkerPool`). LOOPBACK arrives as this, the pool being
//! the program that submitted the pipeline.

use std::collections::BTreeMap;
use std::error::Error;

use futures_util::future::{BoxFuture, FutureExt};
use purlin_model::ids::WorkerId;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::beam_fn_external_worker_pool_client::BeamFnExternalWorkerPoolClient;
use purlin_proto::pipeline::v1 as pb;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use super::{EnvironmentLauncher, LaunchError, LaunchedWorker, WorkerPlace};
use crate::patience::Patience;

#[derive(Clone, Debug)]
pub(super) struct External {
    /// `host:port` of the pool.
    address: String,
    params: BTreeMap<String, String>,
}

impl External {
    pub(super) fn new(address: String, params: BTreeMap<String, String>) -> Self {
        Self { address, params }
    }

    async fn start(self, place: WorkerPlace) -> Result<Box<dyn LaunchedWorker>, LaunchError> {
        let address = self.address;
        let unreachable = |why: String| LaunchError::Unreachable { address: address.clone(), why };
        let uri = if address.contains("://") { address.clone() } else { format!("http://{address}") };
        let endpoint = Endpoint::from_shared(uri).map_err(|error| unreachable(reason(&error)))?;
        let endpoint = endpoint.connect_timeout(place.connect_timeout);
        let channel = endpoint.connect().await.map_err(|error| unreachable(reason(&error)))?;
        let mut pool = BeamFnExternalWorkerPoolClient::new(channel)
            .max_decoding_message_size(place.message_size_max)
            .max_encoding_message_size(place.message_size_max);
        let service = || Some(pb::ApiServiceDescriptor { url: place.endpoint.clone(), authentication: None });
        let request = fnpb::StartWorkerRequest {
            worker_id: place.worker.to_string(),
            control_endpoint: service(),
            logging_endpoint: service(),
            artifact_endpoint: service(),
            provision_endpoint: service(),
            params: self.params,
        };
        let answer = match timeout(place.connect_timeout, pool.start_worker(request)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return Err(unreachable(status.message().to_owned())),
            Err(_) => return Err(unreachable("it does not answer".to_owned())),
        };
        if !answer.error.is_empty() {
            return Err(LaunchError::Refused { address, why: answer.error });
        }
        Ok(Box::new(PoolWorker { pool, worker: place.worker }))
    }
}

impl EnvironmentLauncher for External {
    fn description(&self) -> String {
        format!("the worker pool at {}", self.address)
    }

    fn launch(&self, place: WorkerPlace) -> BoxFuture<'static, Result<Box<dyn LaunchedWorker>, LaunchError>> {
        self.clone().start(place).boxed()
    }
}

/// The innermost cause: outer ones only say that there is one.
fn reason(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[derive(Debug)]
struct PoolWorker {
    pool: BeamFnExternalWorkerPoolClient<Channel>,
    worker: WorkerId,
}

impl LaunchedWorker for PoolWorker {
    fn ended(&mut self) -> BoxFuture<'_, String> {
        std::future::pending().boxed()
    }

    fn last_words(&mut self) -> BoxFuture<'_, String> {
        std::future::ready(String::new()).boxed()
    }

    fn post_mortem(&mut self, _patience: Patience) -> BoxFuture<'_, String> {
        std::future::ready(String::new()).boxed()
    }

    /// The pool first: it is what frees the worker's threads, and a Go pool refuses to forget a worker otherwise.
    fn stop(
        mut self: Box<Self>,
        patience: Patience,
        close_control: Box<dyn FnOnce() -> bool + Send>,
    ) -> BoxFuture<'static, ()> {
        async move {
            let request = fnpb::StopWorkerRequest { worker_id: self.worker.to_string() };
            match patience.with(self.pool.stop_worker(request)).await {
                Some(Ok(answer)) if answer.get_ref().error.is_empty() => {}
                Some(Ok(answer)) => {
                    tracing::warn!(worker = %self.worker, error = answer.into_inner().error, "a pool cannot stop a worker");
                }
                // The program that submitted the pipeline may be gone by now, and its workers with it.
                Some(Err(status)) => tracing::debug!(worker = %self.worker, %status, "a pool is gone"),
                None => tracing::warn!(worker = %self.worker, "a pool does not answer"),
            }
            close_control();
        }
        .boxed()
    }
}
