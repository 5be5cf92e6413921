//! Metrics that workers report, as the engine merges them.
//!
//! ```text
//!   MonitoringInfo { urn, type, labels, payload }     ─┐
//!   short id → payload  ─what does this id mean?─► SDK ┴─► (MetricKey with the user's transforms, payload)
//! ```
//! Short ids belong to one process of a harness. SDKs that send both forms say the same twice, so one is taken.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use purlin_engine::metrics::{MetricDelta, MetricKey};
use purlin_plan::StageGraph;
use purlin_proto::pipeline::v1::MonitoringInfo;
use purlin_proto::urns::monitoring_info::monitoring_info_labels::TRANSFORM;

use crate::lock::lock;

/// How many short ids of one worker are kept: more than any job has metrics.
const SHORT_IDS_MAX: usize = 100_000;

/// What the short ids of one worker mean.
#[derive(Debug, Default)]
pub(crate) struct ShortIds(Mutex<HashMap<String, Meaning>>);

#[derive(Debug)]
enum Meaning {
    /// The worker has been asked.
    Asked,
    Metric(MetricKey),
    /// Nothing that anybody wants to see.
    Nothing,
}

impl ShortIds {
    /// A new process knows other ids.
    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// What a bundle measured. If that cannot be said yet, the ids that the worker must be asked about: none if it has
    /// been asked about all.
    pub(crate) fn delta(
        &self,
        plan: &StageGraph,
        infos: &[MonitoringInfo],
        data: &BTreeMap<String, Bytes>,
    ) -> Result<MetricDelta, Vec<String>> {
        // Whoever sends whole infos says nothing more with short ids, and nobody has to be asked.
        if !infos.is_empty() {
            let known = infos.iter().filter_map(|info| Some((metric_key(plan, info)?, info.payload.clone())));
            return Ok(known.collect());
        }
        let mut ids = lock(&self.0);
        let mut unknown = false;
        let mut ask = Vec::new();
        let mut delta = Vec::with_capacity(data.len());
        for (id, payload) in data {
            match ids.get(id) {
                Some(Meaning::Metric(key)) => delta.push((key.clone(), payload.clone())),
                Some(Meaning::Nothing) => {}
                Some(Meaning::Asked) => unknown = true,
                // Beyond that nobody keeps them apart, and a worker that makes up a new one each time is not asked again.
                None if ids.len() >= SHORT_IDS_MAX => {}
                None => {
                    unknown = true;
                    ids.insert(id.clone(), Meaning::Asked);
                    ask.push(id.clone());
                }
            }
        }
        if unknown { Err(ask) } else { Ok(delta) }
    }

    /// The worker has said what these ids mean; of some, perhaps, nothing.
    pub(crate) fn learn(&self, plan: &StageGraph, asked: &[String], mut infos: BTreeMap<String, MonitoringInfo>) {
        let mut ids = lock(&self.0);
        for id in asked {
            let key = infos.remove(id).and_then(|info| metric_key(plan, &info));
            ids.insert(id.clone(), key.map_or(Meaning::Nothing, Meaning::Metric));
        }
    }
}

/// What is measured, in terms of the pipeline as submitted; nothing for transforms that are the runner's own.
fn metric_key(plan: &StageGraph, info: &MonitoringInfo) -> Option<MetricKey> {
    let mut labels = info.labels.clone();
    if let Some(transform) = labels.get_mut(TRANSFORM) {
        match plan.origins.get(transform.as_str()) {
            Some(origin) => *transform = origin.as_str().to_owned(),
            None if plan.components.transforms.contains_key(transform) => {}
            None => return None,
        }
    }
    Some(MetricKey { urn: info.urn.as_str().into(), kind: info.r#type.as_str().into(), labels: Arc::new(labels) })
}
