//! `Inspect`: Purlin's own service, on the port of the Job API. What it tells is no part of Beam.

use std::sync::Arc;

use purlin_backend::profile::{HotLane, JobProfile, StageProfile, StageWaits, WorkTimes};
use purlin_proto::inspect as inspectpb;
use purlin_proto::inspect::inspect_server::Inspect;
use tonic::{Request, Response, Status};

use crate::shared::Shared;

#[derive(Debug)]
pub(crate) struct InspectApi(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl Inspect for InspectApi {
    async fn get_job_profile(
        &self,
        request: Request<inspectpb::GetJobProfileRequest>,
    ) -> Result<Response<inspectpb::JobProfile>, Status> {
        let job = self.0.store.job(&request.get_ref().job_id)?;
        Ok(Response::new(profile_to_wire(job.profile())))
    }
}

/// A profile as it stands on the wire.
pub fn profile_to_wire(profile: JobProfile) -> inspectpb::JobProfile {
    let JobProfile { elapsed_us, core_us, stages } = profile;
    inspectpb::JobProfile { elapsed_us, core_us, stages: stages.into_iter().map(stage).collect() }
}

fn stage(profile: StageProfile) -> inspectpb::StageProfile {
    let StageProfile {
        name,
        by_runner,
        bundles,
        failed,
        retried,
        splits,
        elements_in,
        elements_out,
        bytes_in,
        bytes_out,
        bytes_spilled,
        state_bytes_spilled,
        bundle_us,
        runner,
        sdk_us,
        waits,
        hot_lanes,
    } = profile;
    inspectpb::StageProfile {
        name: name.to_string(),
        by_runner,
        bundles,
        failed,
        retried,
        splits,
        elements_in,
        elements_out,
        bytes_in,
        bytes_out,
        bytes_spilled,
        state_bytes_spilled,
        bundle_us,
        sdk_us,
        runner: Some(runner_times(runner)),
        waits: Some(stage_waits(waits)),
        hot_lanes: hot_lanes.into_iter().map(hot_lane).collect(),
    }
}

fn runner_times(times: WorkTimes) -> inspectpb::RunnerTimes {
    let WorkTimes { read_us, encode_us, partition_us, group_us, state_us } = times;
    inspectpb::RunnerTimes { read_us, encode_us, partition_us, group_us, state_us }
}

fn stage_waits(waits: StageWaits) -> inspectpb::StageWaits {
    let StageWaits { queued_us, blocked_us, worker_us, side_input_us, input_us, clock_us, schedule_us } = waits;
    inspectpb::StageWaits { queued_us, blocked_us, worker_us, side_input_us, input_us, clock_us, schedule_us }
}

fn hot_lane(lane: HotLane) -> inspectpb::HotLane {
    let HotLane { group, elements, bytes, share, key } = lane;
    let (key, key_share) = key.map(|key| (key.text, key.share)).unwrap_or_default();
    inspectpb::HotLane { key_group: group.index().into(), elements, bytes, share, key, key_share }
}
