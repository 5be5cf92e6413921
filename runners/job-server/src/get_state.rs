//! GetState: the state of a job now.

use std::sync::Arc;

use purlin_proto::job_management::v1 as jobpb;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::get_state_stream::state_event;
use crate::shared::Shared;
use crate::state::JobState;

/// How gRPC's library for Java begins to say what it is, whatever carries it (`grpc-java-netty/1.69.0`).
const JAVA_CLIENT: &str = "grpc-java";

pub(crate) fn get_state(
    shared: &Arc<Shared>,
    request: &jobpb::GetJobStateRequest,
    asker: &MetadataMap,
) -> Result<jobpb::JobStateEvent, Status> {
    let job = shared.store.job(&request.job_id)?;
    let (state, since) = job.log().state();
    Ok(state_event(told(state, asker), since))
}

/// Java's client, which asks by this call until a job has ended, does not know that one can be drained, and would go on for ever: it
/// hears that the job is done. Streams of states and lists of jobs tell everybody that it was drained.
fn told(state: JobState, asker: &MetadataMap) -> JobState {
    let agent = asker.get("user-agent").and_then(|agent| agent.to_str().ok());
    match state {
        JobState::Drained if agent.is_some_and(|agent| agent.starts_with(JAVA_CLIENT)) => JobState::Done,
        _ => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_java_hear_that_drained_jobs_are_done() {
        let check = |state, agent: Option<&'static str>, expected| {
            let mut asker = MetadataMap::new();
            if let Some(agent) = agent {
                asker.insert("user-agent", agent.parse().unwrap());
            }
            assert_eq!(told(state, &asker), expected, "{state:?}, {agent:?}");
        };
        let (java, python) = ("grpc-java-netty/1.69.0", "grpc-python/1.71.0 grpc-c/46.0.0 (linux; chttp2)");
        check(JobState::Drained, Some(java), JobState::Done);
        check(JobState::Draining, Some(java), JobState::Draining);
        check(JobState::Drained, Some(python), JobState::Drained);
        check(JobState::Drained, None, JobState::Drained);
    }
}
