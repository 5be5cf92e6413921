//! Cancel: ends a job; one that has ended already answers how.

use std::sync::Arc;

use purlin_proto::job_management::v1 as jobpb;
use tonic::Status;

use crate::shared::Shared;

pub(crate) fn cancel(
    shared: &Arc<Shared>,
    request: &jobpb::CancelJobRequest,
) -> Result<jobpb::CancelJobResponse, Status> {
    let job = shared.store.job(&request.job_id)?;
    let state = job.cancel("somebody asked for it through the Job API").to_wire();
    Ok(jobpb::CancelJobResponse { state: state.into() })
}
