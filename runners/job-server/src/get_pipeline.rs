//! GetPipeline: the pipeline of a job as it was submitted, not as it runs.

use std::sync::Arc;

use purlin_proto::job_management::v1 as jobpb;
use tonic::Status;

use crate::shared::Shared;

pub(crate) fn get_pipeline(
    shared: &Arc<Shared>,
    request: &jobpb::GetJobPipelineRequest,
) -> Result<jobpb::GetJobPipelineResponse, Status> {
    let job = shared.store.job(&request.job_id)?;
    Ok(jobpb::GetJobPipelineResponse { pipeline: Some((**job.pipeline()).clone()) })
}
