//! What a worker must be told of a stage: its `ProcessBundleDescriptor`.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use purlin_engine::core::stage::{OutputId, StageId};
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::sdk::Sdk;
use purlin_proto::urns::standard_ptransforms::{combine_components, primitives};
use purlin_proto::urns::{fn_api_transforms::runner, standard_coders};

use crate::graph::fresh;
use crate::payload::state_coders;
use crate::stage::{SideUse, Stage, StageGraph};

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

/// The coders that a transform's payload names; `None` where only its SDK can tell.
fn coders_of(transform: &pb::PTransform) -> Option<Vec<String>> {
    let Some(spec) = &transform.spec else { return Some(Vec::new()) };
    match spec.urn.as_str() {
        primitives::FLATTEN | runner::DATA_SOURCE | runner::DATA_SINK => Some(Vec::new()),
        primitives::PAR_DO => {
            let payload = pb::ParDoPayload::decode(&spec.payload[..]).ok()?;
            let states = payload.state_specs.values().flat_map(state_coders).map(str::to_owned);
            let timers = payload.timer_family_specs.values().map(|family| family.timer_family_coder_id.clone());
            Some(states.chain(timers).chain([payload.restriction_coder_id.clone()]).collect())
        }
        combine_components::COMBINE_PER_KEY_PRECOMBINE
        | combine_components::COMBINE_PER_KEY_MERGE_ACCUMULATORS
        | combine_components::COMBINE_PER_KEY_EXTRACT_OUTPUTS
        | combine_components::COMBINE_PER_KEY_CONVERT_TO_ACCUMULATORS
        | combine_components::COMBINE_GROUPED_VALUES => {
            let payload = pb::CombinePayload::decode(&spec.payload[..]).ok()?;
            Some(vec![payload.accumulator_coder_id])
        }
        _ => None,
    }
}

impl StageGraph {
    /// The descriptor of a stage, under this id, with this endpoint for data, state and timers.
    pub fn descriptor(&self, stage: StageId, id: &str, endpoint: &str) -> fnpb::ProcessBundleDescriptor {
        let service = pb::ApiServiceDescriptor { url: endpoint.to_owned(), authentication: None };
        let stage = &self.stages[stage.index()];
        let all = &self.components;
        let mut descriptor =
            fnpb::ProcessBundleDescriptor { id: id.to_owned(), ..fnpb::ProcessBundleDescriptor::default() };
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
        let sides = self.read_as_sides(stage);
        let by_schema = self.is_of_java(stage);
        for id in used {
            if let Some(pcollection) = all.pcollections.get(&id) {
                let coder_id = if by_schema && !sides.contains(id.as_str()) {
                    self.without_length(&pcollection.coder_id)
                } else {
                    &pcollection.coder_id
                };
                let coder_id = self.coder_inside(coder_id, &mut extra);
                descriptor.pcollections.insert(id, pb::PCollection { coder_id, ..pcollection.clone() });
            }
        }
        for pcollection in descriptor.pcollections.values() {
            let id = &pcollection.windowing_strategy_id;
            if let Some(strategy) = all.windowing_strategies.get(id) {
                descriptor.windowing_strategies.insert(id.clone(), strategy.clone());
            }
        }
        // All coders: payloads name some that nothing else does, and what is not used costs little.
        descriptor.coders = extra;
        self.add_coders(&mut descriptor);
        descriptor.environments = all.environments.clone();
        // Always: Python's harness opens a stream to whatever stands there, and to nothing too.
        descriptor.state_api_service_descriptor = Some(service.clone());
        // Without an address for timers a worker neither sends nor expects any, not even the end of them.
        if descriptor.transforms.values().any(has_timers) {
            descriptor.timer_api_service_descriptor = Some(service);
        }
        descriptor
    }

    /// Adds every coder that anything in the descriptor names: of a pipeline of thousands of stages, each is told its own.
    fn add_coders(&self, descriptor: &mut fnpb::ProcessBundleDescriptor) {
        let all = &self.components.coders;
        let mut wanted: Vec<String> = Vec::new();
        for transform in descriptor.transforms.values() {
            match coders_of(transform) {
                Some(coders) => wanted.extend(coders),
                // Nobody here knows what the payload names.
                None => wanted.extend(all.keys().cloned()),
            }
        }
        wanted.extend(descriptor.pcollections.values().map(|pcollection| pcollection.coder_id.clone()));
        wanted.extend(descriptor.windowing_strategies.values().map(|strategy| strategy.window_coder_id.clone()));
        wanted.extend(descriptor.coders.values().flat_map(|coder| coder.component_coder_ids.iter().cloned()));
        while let Some(id) = wanted.pop() {
            if descriptor.coders.contains_key(&id) {
                continue;
            }
            if let Some(coder) = all.get(&id) {
                wanted.extend(coder.component_coder_ids.iter().cloned());
                descriptor.coders.insert(id, coder.clone());
            }
        }
    }

    fn windowed_coder(&self, pcollection: &str, extra: &mut BTreeMap<String, pb::Coder>) -> String {
        let Some(pcollection) = self.components.pcollections.get(pcollection) else { return String::new() };
        let strategy = self.components.windowing_strategies.get(&pcollection.windowing_strategy_id);
        let window = strategy.map(|strategy| strategy.window_coder_id.clone()).unwrap_or_default();
        let wanted = format!("purlin:windowed({},{window})", pcollection.coder_id);
        let spec = Some(pb::FunctionSpec { urn: standard_coders::WINDOWED_VALUE.to_owned(), ..Default::default() });
        let component_coder_ids = vec![pcollection.coder_id.clone(), window];
        self.extra_coder(&wanted, pb::Coder { spec, component_coder_ids }, extra)
    }

    /// The PCollections that a stage reads as side inputs. Workers read them as they are encoded.
    fn read_as_sides(&self, stage: &Stage) -> BTreeSet<&str> {
        let input = |side: &SideUse| {
            let transform = self.components.transforms.get(side.transform.as_str())?;
            transform.inputs.get(side.local_name.as_str()).map(String::as_str)
        };
        stage.sides.iter().filter_map(input).collect()
    }

    /// Whether Java's SDK runs a stage. It finds a schema of the elements that a DoFn takes by field in the coder of its input.
    fn is_of_java(&self, stage: &Stage) -> bool {
        let environment = self.graph.stage(stage.id).env.and_then(|env| self.environments.get(env.index()));
        environment.and_then(|it| Sdk::of_environment(&it.proto)) == Some(Sdk::Java)
    }

    /// What is encoded behind its length. Only the way to a worker and from it needs the length; keys are not taken apart, because state
    /// is asked for by the key as it came. Elements that are windowed values themselves keep it: Java would take their coder for that of
    /// the way.
    fn without_length<'a>(&'a self, id: &'a str) -> &'a str {
        let coder_of = |id: &str, urns: &[&str]| {
            let coder = self.components.coders.get(id)?;
            coder.spec.as_ref().is_some_and(|spec| urns.contains(&spec.urn.as_str())).then_some(coder)
        };
        let inner = coder_of(id, &[standard_coders::LENGTH_PREFIX]).and_then(|it| it.component_coder_ids.first());
        let windowed = [standard_coders::WINDOWED_VALUE, standard_coders::PARAM_WINDOWED_VALUE];
        inner.filter(|inner| coder_of(inner, &windowed).is_none()).map_or(id, String::as_str)
    }

    /// The coder of a PCollection within a worker. Only the way there is by reference: Java's harness refuses a PCollection
    /// whose own coder says so.
    fn coder_inside(&self, id: &str, extra: &mut BTreeMap<String, pb::Coder>) -> String {
        let of_urn = |id: &str, urn: &str| {
            let coder = self.components.coders.get(id)?;
            coder.spec.as_ref().is_some_and(|spec| spec.urn == urn).then_some(coder)
        };
        let groups = of_urn(id, standard_coders::KV).and_then(|kv| kv.component_coder_ids.get(..2));
        let Some([key, values]) = groups else { return id.to_owned() };
        let Some(by_reference) = of_urn(values, standard_coders::STATE_BACKED_ITERABLE) else { return id.to_owned() };
        let mut inside = |of: &str, urn: &str, component_coder_ids: Vec<String>| {
            let spec = Some(pb::FunctionSpec { urn: urn.to_owned(), ..Default::default() });
            self.extra_coder(&format!("purlin:inside({of})"), pb::Coder { spec, component_coder_ids }, extra)
        };
        let iterable = inside(values, standard_coders::ITERABLE, by_reference.component_coder_ids.clone());
        inside(id, standard_coders::KV, vec![key.clone(), iterable])
    }

    /// Adds a coder of the descriptor's own, under an id that is like the one that is wanted.
    fn extra_coder(&self, wanted: &str, coder: pb::Coder, extra: &mut BTreeMap<String, pb::Coder>) -> String {
        let id = fresh(wanted, |id| {
            self.components.coders.get(id).or_else(|| extra.get(id)).is_some_and(|other| *other != coder)
        });
        extra.insert(id.clone(), coder);
        id
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use insta::assert_snapshot;

    use super::*;
    use crate::testing::TestPipeline;

    /// The transforms of a descriptor with their ports, what is in its maps, and where it tells workers to connect.
    fn shown(plan: &StageGraph, stage: &str) -> String {
        let stage = plan.graph.stages.iter().find(|it| &*it.name == stage).unwrap();
        let descriptor = plan.descriptor(stage.id, "d1", "localhost:1");
        let mut text = format!("{}\n", descriptor.id);
        for (id, transform) in &descriptor.transforms {
            let spec = transform.spec.clone().unwrap_or_default();
            let (inputs, outputs) = (&transform.inputs, &transform.outputs);
            writeln!(text, "{id} ({}) {} {inputs:?} -> {outputs:?}", transform.unique_name, spec.urn).unwrap();
            if spec.urn.starts_with("beam:runner:") {
                let port = fnpb::RemoteGrpcPort::decode(&spec.payload[..]).unwrap();
                let url = port.api_service_descriptor.unwrap_or_default().url;
                writeln!(text, "    {url} {}", port.coder_id).unwrap();
                assert!(descriptor.coders.contains_key(&port.coder_id));
            }
        }
        for (id, pcollection) in &descriptor.pcollections {
            writeln!(text, "{id}: {} in {}", pcollection.coder_id, pcollection.windowing_strategy_id).unwrap();
        }
        writeln!(text, "windowing {:?}", descriptor.windowing_strategies.keys().collect::<Vec<_>>()).unwrap();
        writeln!(text, "environments {:?}", descriptor.environments.keys().collect::<Vec<_>>()).unwrap();
        let url = |service: Option<pb::ApiServiceDescriptor>| service.unwrap_or_default().url;
        let (state, timer) = (descriptor.state_api_service_descriptor, descriptor.timer_api_service_descriptor);
        writeln!(text, "state {:?} timers {:?}", url(state), url(timer)).unwrap();
        for parts in descriptor.coders.values().map(|coder| &coder.component_coder_ids) {
            assert!(parts.iter().all(|part| descriptor.coders.contains_key(part)), "coders lack {parts:?}");
        }
        text
    }

    fn words() -> TestPipeline {
        TestPipeline::new()
            .windowed("words", "any", "fixed")
            .windowed("pairs", "kv<string_utf8, any>", "fixed")
            .windowed("groups", "kv<string_utf8, iterable<any>>", "fixed")
            .impulse("start")
            .par_do("Read", "start", &["words"])
            .par_do("Pair", "words", &["pairs", "unused"])
            .group("Group", "pairs", "groups")
    }

    #[test]
    fn groups_by_reference_are_ordinary_within_a_worker() {
        let plan = words().par_do("Sum", "groups", &["sums"]).plan();
        let stage = plan.graph.stages.iter().find(|it| &*it.name == "Sum").unwrap();
        let descriptor = plan.descriptor(stage.id, "d1", "localhost:1");
        let urn = |id: &str| descriptor.coders[id].spec.as_ref().unwrap().urn.clone();
        let values = |id: &str| urn(&descriptor.coders[id].component_coder_ids[1]);
        let source = descriptor.transforms[SOURCE_ID].spec.as_ref().unwrap();
        let port = fnpb::RemoteGrpcPort::decode(&source.payload[..]).unwrap();
        let on_the_way = &descriptor.coders[&port.coder_id].component_coder_ids[0];
        assert_eq!(values(on_the_way), standard_coders::STATE_BACKED_ITERABLE);
        assert_eq!(values(&descriptor.pcollections["groups"].coder_id), standard_coders::ITERABLE);
    }

    #[test]
    fn a_stage_reads_its_source_and_writes_what_others_consume() {
        assert_snapshot!(shown(&words().plan(), "Read + Pair"), @r#"
        d1
        pair (Pair) beam:transform:pardo:v1 {"0": "words"} -> {"0": "pairs", "1": "unused"}
        purlin:sink:1 (purlin:sink:1) beam:runner:sink:v1 {"in": "pairs"} -> {}
            localhost:1 purlin:windowed(purlin:kv(string_utf8,purlin:length_prefix(any)),interval_window)
        purlin:source (purlin:source) beam:runner:source:v1 {} -> {"out": "start"}
            localhost:1 purlin:windowed(bytes,global_window)
        read (Read) beam:transform:pardo:v1 {"0": "start"} -> {"0": "words"}
        pairs: purlin:kv(string_utf8,purlin:length_prefix(any)) in fixed
        start: bytes in global
        unused: bytes in global
        words: purlin:length_prefix(any) in fixed
        windowing ["fixed", "global"]
        environments ["py"]
        state "localhost:1" timers ""
        "#);
    }

    #[test]
    fn side_inputs_are_described_and_written_by_nobody() {
        let plan = words().par_do("Look", "words", &["looked"]).sides(&[("pairs", "multimap")]).plan();
        assert_snapshot!(shown(&plan, "Look"), @r#"
        d1
        look (Look) beam:transform:pardo:v1 {"0": "words", "side0": "pairs"} -> {"0": "looked"}
        purlin:source (purlin:source) beam:runner:source:v1 {} -> {"out": "words"}
            localhost:1 purlin:windowed(purlin:length_prefix(any),interval_window)
        looked: bytes in global
        pairs: purlin:kv(string_utf8,purlin:length_prefix(any)) in fixed
        words: purlin:length_prefix(any) in fixed
        windowing ["fixed", "global"]
        environments ["py"]
        state "localhost:1" timers ""
        "#);
    }

    #[test]
    fn a_stage_with_timers_is_told_where_to_send_them() {
        let plan = words().par_do("Remind", "pairs", &["reminders"]).timers().plan();
        assert_snapshot!(shown(&plan, "Remind"), @r#"
        d1
        purlin:source (purlin:source) beam:runner:source:v1 {} -> {"out": "pairs"}
            localhost:1 purlin:windowed(purlin:kv(string_utf8,purlin:length_prefix(any)),interval_window)
        remind (Remind) beam:transform:pardo:v1 {"0": "pairs"} -> {"0": "reminders"}
        pairs: purlin:kv(string_utf8,purlin:length_prefix(any)) in fixed
        reminders: bytes in global
        windowing ["fixed", "global"]
        environments ["py"]
        state "localhost:1" timers "localhost:1"
        "#);
    }

    #[test]
    fn java_finds_schemas_in_the_coders_of_what_it_takes() {
        let told = |sdk: &str, coder: &str, pcollection: &str| {
            let base = format!("beam:version:sdk_base:apache/beam_{sdk}_sdk:2.77.0");
            let plan = words()
                .windowed("others", coder, "fixed")
                .par_do("Other", "words", &["others"])
                .par_do("Look", "others", &["looked"])
                .sides(&[("pairs", "multimap")])
                .change(|all| all.environments.get_mut("py").unwrap().capabilities.push(base))
                .plan();
            let stage = plan.graph.stages.iter().find(|stage| &*stage.name == "Look").unwrap();
            let descriptor = plan.descriptor(stage.id, "d1", "localhost:1");
            let on_the_way = &descriptor.transforms[SOURCE_ID].spec.as_ref().unwrap().payload;
            let on_the_way = fnpb::RemoteGrpcPort::decode(&on_the_way[..]).unwrap().coder_id;
            assert!(on_the_way.starts_with("purlin:windowed(purlin:length_prefix("), "{on_the_way}");
            descriptor.pcollections[pcollection].coder_id.clone()
        };
        assert_eq!(told("java17", "any", "others"), "any");
        assert_eq!(told("java17", "any", "pairs"), "purlin:kv(string_utf8,purlin:length_prefix(any))");
        assert_eq!(told("python3.11", "any", "others"), "purlin:length_prefix(any)");
        let values = "windowed_value<any, global_window>";
        assert_eq!(told("java17", values, "others"), format!("purlin:length_prefix({values})"));
    }

    #[test]
    fn parts_of_a_lifted_combiner_are_ordinary_transforms() {
        let plan = words()
            .windowed("sums", "kv<string_utf8, any>", "fixed")
            .windowed("lists", "kv<string_utf8, iterable<any>>", "fixed")
            .combine("Sum", "pairs", "lists", "sums", "any")
            .plan();
        assert_snapshot!(shown(&plan, "Sum/Merge + Sum/Extract"), @r#"
        d1
        purlin:source (purlin:source) beam:runner:source:v1 {} -> {"out": "sum/Group.out"}
            localhost:1 purlin:windowed(purlin:kv(string_utf8,purlin:state_backed_iterable(purlin:length_prefix(any))),interval_window)
        sum/Extract (Sum/Extract) beam:transform:combine_per_key_extract_outputs:v1 {"in": "sum/Merge.out"} -> {"0": "sums"}
        sum/Merge (Sum/Merge) beam:transform:combine_per_key_merge_accumulators:v1 {"in": "sum/Group.out"} -> {"out": "sum/Merge.out"}
        sum/Group.out: purlin:inside(purlin:kv(string_utf8,purlin:state_backed_iterable(purlin:length_prefix(any)))) in fixed
        sum/Merge.out: purlin:kv(string_utf8,purlin:length_prefix(any)) in fixed
        sums: purlin:kv(string_utf8,purlin:length_prefix(any)) in fixed
        windowing ["fixed"]
        environments ["py"]
        state "localhost:1" timers ""
        "#);
    }

    #[test]
    fn ids_of_coders_that_come_to_the_same_text_are_told_apart() {
        // A pair of commas: `a` in windows of `b,c`, and `a,b` in windows of `c`.
        let plan = TestPipeline::new()
            .impulse("start")
            .par_do("Read", "start", &["one", "other"])
            .group("Join", "one", "ones")
            .group("Also", "other", "others")
            .change(|components| {
                let pair = components.coders.get("kv<string_utf8, any>").cloned();
                let pair = pair.unwrap_or_else(|| coder(standard_coders::KV, &["bytes", "bytes"]));
                let groups = coder(standard_coders::KV, &["bytes", "many"]);
                components.coders.insert("many".to_owned(), coder(standard_coders::ITERABLE, &["bytes"]));
                components.coders.insert("groups".to_owned(), groups);
                for (id, windows) in [("a", "b,c"), ("a,b", "c")] {
                    components.coders.insert(id.to_owned(), pair.clone());
                    components.coders.insert(windows.to_owned(), coder(standard_coders::GLOBAL_WINDOW, &[]));
                    let like = components.windowing_strategies["global"].clone();
                    let strategy = pb::WindowingStrategy { window_coder_id: windows.to_owned(), ..like };
                    components.windowing_strategies.insert(windows.to_owned(), strategy);
                }
                for (id, coder, windows) in
                    [("one", "a", "b,c"), ("ones", "groups", "b,c"), ("other", "a,b", "c"), ("others", "groups", "c")]
                {
                    let pcollection = components.pcollections.get_mut(id).unwrap();
                    (pcollection.coder_id, pcollection.windowing_strategy_id) = (coder.to_owned(), windows.to_owned());
                }
            })
            .plan();
        let descriptor = plan.descriptor(StageId(1), "d1", "localhost:1");
        let of_sinks: BTreeSet<_> = descriptor
            .transforms
            .iter()
            .filter(|(id, _)| id.starts_with("purlin:sink"))
            .map(|(_, sink)| {
                let port = fnpb::RemoteGrpcPort::decode(&sink.spec.clone().unwrap_or_default().payload[..]).unwrap();
                descriptor.coders[&port.coder_id].component_coder_ids.clone()
            })
            .collect();
        assert_eq!(of_sinks.len(), 2, "{of_sinks:?}");
    }

    fn coder(urn: &str, parts: &[&str]) -> pb::Coder {
        let spec = Some(pb::FunctionSpec { urn: urn.to_owned(), ..pb::FunctionSpec::default() });
        pb::Coder { spec, component_coder_ids: parts.iter().map(|part| (*part).to_owned()).collect() }
    }
}
