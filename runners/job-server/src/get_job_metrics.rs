//! GetJobMetrics: what a job measured, of committed bundles and of all that was tried.
//!
//! Whole `MonitoringInfo`s with the labels that workers gave, so that SDKs find their own transforms again.

use std::sync::Arc;

use purlin_backend::metrics::MetricTable;
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::pipeline::v1 as pb;
use tonic::Status;

use crate::shared::Shared;

pub(crate) fn get_job_metrics(
    shared: &Arc<Shared>,
    request: &jobpb::GetJobMetricsRequest,
) -> Result<jobpb::GetJobMetricsResponse, Status> {
    let metrics = shared.store.job(&request.job_id)?.metrics();
    Ok(jobpb::GetJobMetricsResponse {
        metrics: Some(jobpb::MetricResults {
            attempted: monitoring_infos(&metrics.attempted),
            committed: monitoring_infos(&metrics.committed),
        }),
    })
}

/// As `MonitoringInfo`s, in the order of the table.
pub fn monitoring_infos(table: &MetricTable) -> Vec<pb::MonitoringInfo> {
    let infos = table.iter().map(|(key, payload)| pb::MonitoringInfo {
        urn: key.urn.to_string(),
        r#type: key.kind.to_string(),
        payload: payload.clone(),
        labels: (*key.labels).clone(),
        start_time: None,
    });
    infos.collect()
}
