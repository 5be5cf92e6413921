//! `JobService`: which RPC is which file.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::job_service_server::JobService;
use tonic::{Code, Request, Response, Status};

use crate::job_store::StoreError;
use crate::shared::Shared;
use crate::status::refusal;
use crate::{
    cancel, describe_pipeline_options, drain, get_job_metrics, get_jobs, get_message_stream, get_pipeline, get_state,
    get_state_stream, prepare, run,
};

/// The service, on the state of the server.
#[derive(Clone, Debug)]
pub(crate) struct JobApi(pub(crate) Arc<Shared>);

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NoJob { .. }
            | StoreError::OnlyPrepared { .. }
            | StoreError::RunAs { .. }
            | StoreError::NoPreparation { .. } => Code::NotFound,
            StoreError::AlreadyRun { .. } | StoreError::NotStaged { .. } => Code::FailedPrecondition,
            StoreError::Stopping => Code::Unavailable,
        };
        refusal(code, &error.to_string())
    }
}

#[tonic::async_trait]
impl JobService for JobApi {
    type GetStateStreamStream = BoxStream<'static, Result<jobpb::JobStateEvent, Status>>;
    type GetMessageStreamStream = BoxStream<'static, Result<jobpb::JobMessagesResponse, Status>>;

    async fn prepare(
        &self,
        request: Request<jobpb::PrepareJobRequest>,
    ) -> Result<Response<jobpb::PrepareJobResponse>, Status> {
        prepare::prepare(&self.0, request.into_inner()).await.map(Response::new).map_err(Status::from)
    }

    async fn run(&self, request: Request<jobpb::RunJobRequest>) -> Result<Response<jobpb::RunJobResponse>, Status> {
        run::run(&self.0, &request.into_inner()).map(Response::new)
    }

    async fn get_jobs(&self, _: Request<jobpb::GetJobsRequest>) -> Result<Response<jobpb::GetJobsResponse>, Status> {
        Ok(Response::new(get_jobs::get_jobs(&self.0)))
    }

    async fn get_state(
        &self,
        request: Request<jobpb::GetJobStateRequest>,
    ) -> Result<Response<jobpb::JobStateEvent>, Status> {
        get_state::get_state(&self.0, request.get_ref(), request.metadata()).map(Response::new)
    }

    async fn get_pipeline(
        &self,
        request: Request<jobpb::GetJobPipelineRequest>,
    ) -> Result<Response<jobpb::GetJobPipelineResponse>, Status> {
        get_pipeline::get_pipeline(&self.0, &request.into_inner()).map(Response::new)
    }

    async fn cancel(
        &self,
        request: Request<jobpb::CancelJobRequest>,
    ) -> Result<Response<jobpb::CancelJobResponse>, Status> {
        cancel::cancel(&self.0, &request.into_inner()).map(Response::new)
    }

    async fn drain(
        &self,
        request: Request<jobpb::DrainJobRequest>,
    ) -> Result<Response<jobpb::DrainJobResponse>, Status> {
        drain::drain(&self.0, &request.into_inner()).map(Response::new)
    }

    async fn get_state_stream(
        &self,
        request: Request<jobpb::GetJobStateRequest>,
    ) -> Result<Response<Self::GetStateStreamStream>, Status> {
        get_state_stream::get_state_stream(&self.0, &request.into_inner()).map(Response::new)
    }

    async fn get_message_stream(
        &self,
        request: Request<jobpb::JobMessagesRequest>,
    ) -> Result<Response<Self::GetMessageStreamStream>, Status> {
        let follow = !request.metadata().contains_key(get_message_stream::HISTORY_ONLY);
        get_message_stream::get_message_stream(&self.0, &request.into_inner(), follow).map(Response::new)
    }

    async fn get_job_metrics(
        &self,
        request: Request<jobpb::GetJobMetricsRequest>,
    ) -> Result<Response<jobpb::GetJobMetricsResponse>, Status> {
        get_job_metrics::get_job_metrics(&self.0, &request.into_inner()).map(Response::new)
    }

    async fn describe_pipeline_options(
        &self,
        _: Request<jobpb::DescribePipelineOptionsRequest>,
    ) -> Result<Response<jobpb::DescribePipelineOptionsResponse>, Status> {
        Ok(Response::new(describe_pipeline_options::describe_pipeline_options(&self.0)))
    }
}
