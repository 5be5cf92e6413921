//! GetState: the state of a job now.

use std::sync::Arc;

use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::pipeline::v1 as pb;
use tonic::Status;

use crate::get_state_stream::state_event;
use crate::shared::Shared;
use crate::state::JobState;

/// How environments of Java say what they are, up to the version of its machine.
const JAVA_SDK: &str = "beam:version:sdk_base:apache/beam_java";

pub(crate) fn get_state(
    shared: &Arc<Shared>,
    request: &jobpb::GetJobStateRequest,
) -> Result<jobpb::JobStateEvent, Status> {
    let job = shared.store.job(&request.job_id)?;
    let (state, since) = job.log().state();
    Ok(state_event(told(state, job.pipeline()), since))
}

/// Java's client, which asks by this call until a job has ended, does not know that one can be drained, and would go on for ever: its
/// jobs are done then. Streams of states and lists of jobs tell everybody that they were drained.
fn told(state: JobState, pipeline: &pb::Pipeline) -> JobState {
    let java = |environment: &pb::Environment| environment.capabilities.iter().any(|urn| urn.starts_with(JAVA_SDK));
    match (state, &pipeline.components) {
        (JobState::Drained, Some(components))
            if !components.environments.is_empty() && components.environments.values().all(java) =>
        {
            JobState::Done
        }
        _ => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_of_java_are_done_when_they_are_drained() {
        let pipeline = |bases: &[&str]| {
            let environment = |base: &&str| {
                let capabilities = vec![format!("beam:version:sdk_base:{base}")];
                ((*base).to_owned(), pb::Environment { capabilities, ..pb::Environment::default() })
            };
            let environments = bases.iter().map(environment).collect();
            let components = pb::Components { environments, ..pb::Components::default() };
            pb::Pipeline { components: Some(components), ..pb::Pipeline::default() }
        };
        let (java, python) = ("apache/beam_java17_sdk:2.65.0", "apache/beam_python3.11_sdk:2.77.0");
        assert_eq!(told(JobState::Drained, &pipeline(&[java])), JobState::Done);
        assert_eq!(told(JobState::Draining, &pipeline(&[java])), JobState::Draining);
        assert_eq!(told(JobState::Drained, &pipeline(&[python])), JobState::Drained);
        assert_eq!(told(JobState::Drained, &pipeline(&[java, python])), JobState::Drained);
        assert_eq!(told(JobState::Drained, &pb::Pipeline::default()), JobState::Drained);
    }
}
