//! What a worker must be told of a stage: its `ProcessBundleDescriptor`.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use purlin_engine::core::stage::{OutputId, StageId};
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_ptransforms::primitives;
use purlin_proto::urns::{fn_api_transforms::runner, standard_coders};

use crate::stage::StageGraph;

/// The id of the transform that reads a stage's input.
pub const SOURCE_ID: &str = "purlin:source";

/// The id of the transform that writes an output.
pub fn sink_id(output: OutputId) -> String {
    format!("purlin:sink:{}", output.0)
}

fn has_timers(transform: &pb::PTransform) -> bool {
    let spec = transform.spec.as_ref().filter(|spec| spec.urn == primitives::PAR_DO);
    let payload = spec.and_then(|spec| pb::ParDoPayload::decode(&spec.payload[..]).ok());
    payload.is_some_and(|payload| !payload.timer_family_specs.is_empty())
}

impl StageGraph {
    /// The descriptor of a stage, under this id, with this endpoint for data, state and timers.
    pub fn descriptor(&self, stage: StageId, id: &str, endpoint: &str) -> fnpb::ProcessBundleDescriptor {
        let service = pb::ApiServiceDescriptor { url: endpoint.to_owned(), authentication: None };
        let stage = &self.stages[stage.index()];
        let all = &self.components;
        let mut descriptor = fnpb::ProcessBundleDescriptor {
            id: id.to_owned(),
            state_api_service_descriptor: Some(service.clone()),
            ..fnpb::ProcessBundleDescriptor::default()
        };
        for id in &stage.transforms {
            if let Some(transform) = all.transforms.get(id.as_str()) {
                let transform = pb::PTransform { subtransforms: Vec::new(), ..transform.clone() };
                descriptor.transforms.insert(id.to_string(), transform);
            }
        }
        let mut extra = BTreeMap::new();
        let mut port = |pcollection: &str| {
            let coder = self.windowed_coder(pcollection, &mut extra);
            let port = fnpb::RemoteGrpcPort { api_service_descriptor: Some(service.clone()), coder_id: coder };
            port.encode_to_vec()
        };
        if let Some(input) = &stage.input {
            let spec = pb::FunctionSpec { urn: runner::DATA_SOURCE.to_owned(), payload: port(input.as_str()).into() };
            let outputs = BTreeMap::from([("out".to_owned(), input.to_string())]);
            let source =
                pb::PTransform { unique_name: SOURCE_ID.to_owned(), spec: Some(spec), outputs, ..Default::default() };
            descriptor.transforms.insert(SOURCE_ID.to_owned(), source);
        }
        for (output, pcollection) in &stage.outputs {
            let payload = port(pcollection.as_str()).into();
            let spec = pb::FunctionSpec { urn: runner::DATA_SINK.to_owned(), payload };
            let inputs = BTreeMap::from([("in".to_owned(), pcollection.to_string())]);
            let id = sink_id(*output);
            let sink = pb::PTransform { unique_name: id.clone(), spec: Some(spec), inputs, ..Default::default() };
            descriptor.transforms.insert(id, sink);
        }
        let used: BTreeSet<String> = descriptor
            .transforms
            .values()
            .flat_map(|transform| transform.inputs.values().chain(transform.outputs.values()).cloned())
            .collect();
        for id in used {
            if let Some(pcollection) = all.pcollections.get(&id) {
                descriptor.pcollections.insert(id, pcollection.clone());
            }
        }
        for pcollection in descriptor.pcollections.values() {
            let id = &pcollection.windowing_strategy_id;
            if let Some(strategy) = all.windowing_strategies.get(id) {
                descriptor.windowing_strategies.insert(id.clone(), strategy.clone());
            }
        }
        // All coders: payloads name some that nothing else does, and what is not used costs little.
        descriptor.coders = all.coders.clone();
        descriptor.coders.extend(extra);
        descriptor.environments = all.environments.clone();
        // Without an address for timers a worker neither sends nor expects any, not even the end of them.
        if descriptor.transforms.values().any(has_timers) {
            descriptor.timer_api_service_descriptor = Some(service);
        }
        descriptor
    }

    fn windowed_coder(&self, pcollection: &str, extra: &mut BTreeMap<String, pb::Coder>) -> String {
        let Some(pcollection) = self.components.pcollections.get(pcollection) else { return String::new() };
        let strategy = self.components.windowing_strategies.get(&pcollection.windowing_strategy_id);
        let window = strategy.map(|strategy| strategy.window_coder_id.clone()).unwrap_or_default();
        let id = format!("purlin:windowed({},{window})", pcollection.coder_id);
        let spec = Some(pb::FunctionSpec { urn: standard_coders::WINDOWED_VALUE.to_owned(), ..Default::default() });
        let component_coder_ids = vec![pcollection.coder_id.clone(), window];
        extra.insert(id.clone(), pb::Coder { spec, component_coder_ids });
        id
    }
}
