//! GetJobMetrics: what a job measured, of committed bundles and of all that was tried.
//!
//! Whole `MonitoringInfo`s with the labels that workers gave, so that SDKs find their own transforms again: Go and Java by
//! id, Python, whose ids nobody sees, by unique name (`MetricsFilter().with_step`).

use std::sync::Arc;

use purlin_backend::metrics::MetricTable;
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::sdk::Sdk;
use tonic::Status;

use crate::shared::Shared;

/// The label that names a transform.
const TRANSFORM: &str = "PTRANSFORM";

pub(crate) fn get_job_metrics(
    shared: &Arc<Shared>,
    request: &jobpb::GetJobMetricsRequest,
) -> Result<jobpb::GetJobMetricsResponse, Status> {
    let job = shared.store.job(&request.job_id)?;
    let metrics = job.metrics();
    Ok(jobpb::GetJobMetricsResponse {
        metrics: Some(jobpb::MetricResults {
            attempted: monitoring_infos(&metrics.attempted, job.pipeline()),
            committed: monitoring_infos(&metrics.committed, job.pipeline()),
        }),
    })
}

/// As `MonitoringInfo`s, in the order of the table.
pub fn monitoring_infos(table: &MetricTable, pipeline: &pb::Pipeline) -> Vec<pb::MonitoringInfo> {
    let infos = table.iter().map(|(key, payload)| {
        let mut labels = (*key.labels).clone();
        if let Some(name) = labels.get(TRANSFORM).and_then(|id| name_in_python(pipeline, id)) {
            labels.insert(TRANSFORM.to_owned(), name);
        }
        pb::MonitoringInfo {
            urn: key.urn.to_string(),
            r#type: key.kind.to_string(),
            payload: payload.clone(),
            labels,
            start_time: None,
        }
    });
    infos.collect()
}

/// The unique name of a transform of Python's.
fn name_in_python(pipeline: &pb::Pipeline, id: &str) -> Option<String> {
    let components = pipeline.components.as_ref()?;
    let transform = components.transforms.get(id)?;
    let environment = components.environments.get(&transform.environment_id)?;
    let in_python = Sdk::of_environment(environment) == Some(Sdk::Python);
    (in_python && !transform.unique_name.is_empty()).then(|| transform.unique_name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By which name an SDK hears of transform `id`, called `Count words`, in an environment that can do this.
    fn check(capability: &str, expected: Option<&str>) {
        let environment = pb::Environment { capabilities: vec![capability.to_owned()], ..pb::Environment::default() };
        let transform = |environment_id: &str| pb::PTransform {
            unique_name: "Count words".to_owned(),
            environment_id: environment_id.to_owned(),
            ..pb::PTransform::default()
        };
        let components = pb::Components {
            transforms: [("id".to_owned(), transform("env")), ("of no worker".to_owned(), transform(""))].into(),
            environments: [("env".to_owned(), environment)].into(),
            ..pb::Components::default()
        };
        let pipeline = pb::Pipeline { components: Some(components), ..pb::Pipeline::default() };
        assert_eq!(name_in_python(&pipeline, "id").as_deref(), expected, "{capability}");
        assert_eq!(name_in_python(&pipeline, "of no worker"), None);
        assert_eq!(name_in_python(&pipeline, "of Purlin's own making"), None);
    }

    #[test]
    fn python_hears_names_and_others_ids() {
        check("beam:version:sdk_base:apache/beam_python3.11_sdk:2.77.0", Some("Count words"));
        check("beam:version:sdk_base:apache/beam_go_sdk:2.77.0", None);
        check("beam:version:sdk_base:apache/beam_java17_sdk:2.65.0", None);
    }
}
