//! GetJobs: all jobs that are known, oldest first.

use std::sync::Arc;

use purlin_proto::job_management::v1 as jobpb;

use crate::shared::Shared;

pub(crate) fn get_jobs(shared: &Arc<Shared>) -> jobpb::GetJobsResponse {
    let job_info = shared.store.jobs().into_iter().map(|job| jobpb::JobInfo {
        job_id: job.id().as_str().to_owned(),
        job_name: job.name().to_owned(),
        pipeline_options: Some(job.options().clone()),
        state: job.state().to_wire().into(),
    });
    jobpb::GetJobsResponse { job_info: job_info.collect() }
}
