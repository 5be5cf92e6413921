//! Drain: a job takes no more input, and ends with what it has; one that has ended already answers how.

use std::sync::Arc;

use purlin_proto::job_management::v1 as jobpb;
use tonic::Status;

use crate::shared::Shared;

pub(crate) fn drain(shared: &Arc<Shared>, request: &jobpb::DrainJobRequest) -> Result<jobpb::DrainJobResponse, Status> {
    let job = shared.store.job(&request.job_id)?;
    let state = job.drain().to_wire();
    Ok(jobpb::DrainJobResponse { state: state.into() })
}
