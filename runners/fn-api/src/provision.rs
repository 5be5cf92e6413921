//! ProvisionService: what a worker must know to start.

use std::sync::Arc;

use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::provision_service_server::ProvisionService;
use tonic::{Request, Response, Status};

use crate::hub::FnApi;

#[derive(Debug)]
pub(crate) struct ProvisionApi(pub(crate) Arc<FnApi>);

#[tonic::async_trait]
impl ProvisionService for ProvisionApi {
    async fn get_provision_info(
        &self,
        request: Request<fnpb::GetProvisionInfoRequest>,
    ) -> Result<Response<fnpb::GetProvisionInfoResponse>, Status> {
        let worker = self.0.caller(request.metadata())?;
        let info = worker.job.provision_info(&worker.environment);
        Ok(Response::new(fnpb::GetProvisionInfoResponse { info: Some(info) }))
    }
}
