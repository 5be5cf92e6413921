//! A server of the Fn API on a free port of this machine.

use std::sync::Arc;

use purlin_fn_api::{FnApi, FnApiConfig, WorkerLimits};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::RoutesBuilder;

/// The server runs until the test's runtime ends.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) hub: Arc<FnApi>,
    pub(crate) endpoint: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(FnApiConfig::default(), WorkerLimits::default()).await
    }

    pub(crate) async fn with(config: FnApiConfig, limits: WorkerLimits) -> Self {
        let hub = FnApi::with_limits(config, limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        hub.set_endpoint(endpoint.clone());
        let mut routes = RoutesBuilder::default();
        hub.add_services(&mut routes);
        let serving = tonic::transport::Server::builder()
            .add_routes(routes.routes())
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        Self { hub, endpoint }
    }
}
