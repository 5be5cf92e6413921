//! Drain: comes with the durable runners.

use std::sync::Arc;

use purlin_proto::job_management::v1 as jobpb;
use tonic::Status;

use crate::shared::Shared;

pub(crate) fn drain(shared: &Arc<Shared>, request: &jobpb::DrainJobRequest) -> Result<jobpb::DrainJobResponse, Status> {
    let job = shared.store.job(&request.job_id)?;
    Err(Status::unimplemented(format!(
        "job `{}` runs on runner `{}`, which cannot drain; cancel the job instead",
        job.id(),
        job.runner()
    )))
}
