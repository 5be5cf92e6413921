//! A pool that starts no workers: it tells the test, which is the worker.

use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::beam_fn_external_worker_pool_server::{
    BeamFnExternalWorkerPool, BeamFnExternalWorkerPoolServer,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::soon;

#[derive(Debug)]
pub(crate) struct WorkerPool {
    pub(crate) endpoint: String,
    started: mpsc::UnboundedReceiver<fnpb::StartWorkerRequest>,
    stopped: mpsc::UnboundedReceiver<String>,
}

impl WorkerPool {
    pub(crate) async fn start() -> Self {
        Self::with_error("").await
    }

    /// A pool that answers every request for a worker with this error.
    pub(crate) async fn with_error(error: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let (start, started) = mpsc::unbounded_channel();
        let (stop, stopped) = mpsc::unbounded_channel();
        let service = BeamFnExternalWorkerPoolServer::new(Pool { start, stop, error: error.to_owned() });
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        Self { endpoint, started, stopped }
    }

    /// The next worker that is asked for.
    pub(crate) async fn asked(&mut self) -> fnpb::StartWorkerRequest {
        soon("a worker to be asked for", self.started.recv()).await.unwrap()
    }

    /// The next worker that is told to stop.
    pub(crate) async fn stopped(&mut self) -> String {
        soon("a worker to be stopped", self.stopped.recv()).await.unwrap()
    }
}

#[derive(Debug)]
struct Pool {
    start: mpsc::UnboundedSender<fnpb::StartWorkerRequest>,
    stop: mpsc::UnboundedSender<String>,
    error: String,
}

#[tonic::async_trait]
impl BeamFnExternalWorkerPool for Pool {
    async fn start_worker(
        &self,
        request: Request<fnpb::StartWorkerRequest>,
    ) -> Result<Response<fnpb::StartWorkerResponse>, Status> {
        let _ = self.start.send(request.into_inner());
        Ok(Response::new(fnpb::StartWorkerResponse { error: self.error.clone() }))
    }

    async fn stop_worker(
        &self,
        request: Request<fnpb::StopWorkerRequest>,
    ) -> Result<Response<fnpb::StopWorkerResponse>, Status> {
        let _ = self.stop.send(request.into_inner().worker_id);
        Ok(Response::new(fnpb::StopWorkerResponse::default()))
    }
}
