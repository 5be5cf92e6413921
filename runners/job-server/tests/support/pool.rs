//! A pool that starts no workers: it tells the test which ones a job wants.

use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::beam_fn_external_worker_pool_server::{
    BeamFnExternalWorkerPool, BeamFnExternalWorkerPoolServer,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A pool, and the ids of the workers that were asked for.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) endpoint: String,
    pub(crate) asked: mpsc::UnboundedReceiver<String>,
}

impl Pool {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let (sender, asked) = mpsc::unbounded_channel();
        let service = BeamFnExternalWorkerPoolServer::new(Service(sender));
        let serving = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { endpoint, asked }
    }
}

#[derive(Debug)]
struct Service(mpsc::UnboundedSender<String>);

#[tonic::async_trait]
impl BeamFnExternalWorkerPool for Service {
    async fn start_worker(
        &self,
        request: Request<fnpb::StartWorkerRequest>,
    ) -> Result<Response<fnpb::StartWorkerResponse>, Status> {
        let _ = self.0.send(request.into_inner().worker_id);
        Ok(Response::new(fnpb::StartWorkerResponse::default()))
    }

    async fn stop_worker(
        &self,
        _: Request<fnpb::StopWorkerRequest>,
    ) -> Result<Response<fnpb::StopWorkerResponse>, Status> {
        Ok(Response::new(fnpb::StopWorkerResponse::default()))
    }
}
