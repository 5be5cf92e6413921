//! A plan, made by hand: one stage to test, with everything that a stage can have.
//!
//! ```text
//!   impulse ─► Source ──kv──► Work ─ main ─► Next
//!                 └─► side inputs ┘  └ other ─► Next
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use purlin_engine::core::stage::{JobGraphBuilder, OutputId, SideAccess, SideId, SideMapping, StageId};
use purlin_model::coder::Coder;
use purlin_model::time::Millis;
use purlin_model::window::{WindowCoder, WindowFn};
use purlin_plan::{Environment, SideUse, Stage, StageGraph};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::{standard_coders, standard_environments::environments, standard_ptransforms::primitives};

/// The plan and its places.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) graph: Arc<StageGraph>,
    pub(crate) work: StageId,
    pub(crate) main: OutputId,
    pub(crate) other: OutputId,
    pub(crate) list: SideId,
    pub(crate) map: SideId,
}

/// The sink of an output.
pub(crate) fn sink(output: OutputId) -> String {
    purlin_plan::descriptor::sink_id(output)
}

/// The environment of an external pool.
pub(crate) fn external(endpoint: &str) -> pb::Environment {
    let endpoint = Some(pb::ApiServiceDescriptor { url: endpoint.to_owned(), authentication: None });
    let payload = pb::ExternalPayload { endpoint, params: BTreeMap::from([("key".to_owned(), "value".to_owned())]) };
    environment(environments::EXTERNAL, &payload)
}

/// The environment of a command.
pub(crate) fn process(command: &str, env: &[(&str, &str)]) -> pb::Environment {
    let env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    environment(environments::PROCESS, &pb::ProcessPayload { command: command.to_owned(), env, ..Default::default() })
}

pub(crate) fn environment(urn: &str, payload: &impl Message) -> pb::Environment {
    pb::Environment { urn: urn.to_owned(), payload: payload.encode_to_vec().into(), ..Default::default() }
}

/// How late elements may come in windows that expire.
pub(crate) const ALLOWED_LATENESS: Millis = Millis(5);

/// The plan, in this environment and with such windows.
pub(crate) fn plan(environment: pb::Environment, windows: WindowCoder) -> Plan {
    let mut job = JobGraphBuilder::new();
    let env = job.environment();
    let kv = || Coder::kv(Coder::Bytes, Coder::Bytes);
    let impulse = job.impulse("impulse");
    let source = job.worker("Source", env, &[impulse], kv(), windows);
    let list = job.side_input("list", &[source], SideAccess::Iterable, WindowFn::Global);
    let map = job.side_input("map", &[source], SideAccess::Multimap, WindowFn::Global);
    let main = job.worker("Work", env, &[source], kv(), windows);
    let work = job.producer(main);
    let other = job.output(work, kv(), windows);
    job.reads(work, list, SideMapping::Default);
    job.reads(work, map, SideMapping::Default);
    job.stage_mut(work).keyed = true;
    job.sink("Next", env, &[main, other]);
    let mut graph = job.build();
    for output in &mut graph.outputs {
        // Windows of bounded input would not expire.
        output.bounded = windows == WindowCoder::Global;
    }
    let graph = Arc::new(graph);
    let (main, other) = (main.id(), other.id());
    let stages = graph
        .stages
        .iter()
        .map(|stage| {
            let is_work = stage.id == work;
            let uses =
                |local_name: &str, side| SideUse { transform: "work".into(), local_name: local_name.into(), side };
            Stage {
                id: stage.id,
                transforms: if is_work { vec!["work".into(), "after".into()] } else { Vec::new() },
                input: is_work.then(|| "input".into()),
                outputs: if is_work { vec![(main, "main".into()), (other, "other".into())] } else { Vec::new() },
                sides: if is_work { vec![uses("list", list), uses("map", map)] } else { Vec::new() },
                entry: None,
            }
        })
        .collect();
    let environments = vec![Environment { id: "env".into(), proto: environment.clone() }];
    let components = Arc::new(components(environment, windows));
    let origins = BTreeMap::from([("after".into(), "original".into())]);
    Plan {
        graph: Arc::new(StageGraph { graph, stages, environments, components, origins, letters: Vec::new() }),
        work,
        main,
        other,
        list,
        map,
    }
}

fn components(environment: pb::Environment, windows: WindowCoder) -> pb::Components {
    let mut all = pb::Components::default();
    let coder = |urn: &str, parts: &[&str]| pb::Coder {
        spec: Some(pb::FunctionSpec { urn: urn.to_owned(), ..Default::default() }),
        component_coder_ids: parts.iter().map(|part| (*part).to_owned()).collect(),
    };
    all.coders.insert("bytes".into(), coder(standard_coders::BYTES, &[]));
    all.coders.insert("kv".into(), coder(standard_coders::KV, &["bytes", "bytes"]));
    all.coders.insert("global".into(), coder(standard_coders::GLOBAL_WINDOW, &[]));
    all.coders.insert("interval".into(), coder(standard_coders::INTERVAL_WINDOW, &[]));
    let window_coder = if windows == WindowCoder::Global { "global" } else { "interval" };
    let strategy = pb::WindowingStrategy {
        window_coder_id: window_coder.into(),
        allowed_lateness: ALLOWED_LATENESS.0,
        ..Default::default()
    };
    all.windowing_strategies.insert("windowing".into(), strategy);
    for id in ["input", "main", "inner", "other"] {
        let pcollection = pb::PCollection {
            unique_name: id.into(),
            coder_id: "kv".into(),
            windowing_strategy_id: "windowing".into(),
            ..Default::default()
        };
        all.pcollections.insert(id.into(), pcollection);
    }
    let multimap = pb::MultimapStateSpec { key_coder_id: "bytes".into(), value_coder_id: "bytes".into() };
    let map = pb::StateSpec { spec: Some(pb::state_spec::Spec::MultimapSpec(multimap)), ..Default::default() };
    let map = ("map".to_owned(), map);
    let transform = |name: &str, inputs: &[(&str, &str)], outputs: &[(&str, &str)]| {
        let tagged =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(tag, id)| ((*tag).to_owned(), (*id).to_owned())).collect();
        pb::PTransform {
            unique_name: name.into(),
            spec: Some(pb::FunctionSpec {
                urn: primitives::PAR_DO.into(),
                payload: pb::ParDoPayload { state_specs: BTreeMap::from([map.clone()]), ..Default::default() }
                    .encode_to_vec()
                    .into(),
            }),
            inputs: tagged(inputs),
            outputs: tagged(outputs),
            environment_id: "env".into(),
            ..Default::default()
        }
    };
    // `work` emits `main` and `inner`; `after` makes `other` of `inner`.
    all.transforms
        .insert("work".into(), transform("Pipeline/Work", &[("in", "input")], &[("a", "main"), ("b", "inner")]));
    all.transforms.insert("after".into(), transform("Pipeline/After", &[("in", "inner")], &[("out", "other")]));
    all.environments.insert("env".into(), environment);
    all
}
