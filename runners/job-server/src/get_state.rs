//! GetState: the state of a job now.

use std::sync::Arc;

use purlin_proto::job_management::v1 as jobpb;
use tonic::Status;

use crate::get_state_stream::state_event;
use crate::shared::Shared;

pub(crate) fn get_state(
    shared: &Arc<Shared>,
    request: &jobpb::GetJobStateRequest,
) -> Result<jobpb::JobStateEvent, Status> {
    let (state, since) = shared.store.job(&request.job_id)?.log().state();
    Ok(state_event(state, since))
}
