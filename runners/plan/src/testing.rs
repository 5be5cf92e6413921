//! Small pipelines for the tests of the planner, written tersely.
//!
//! ```text
//!   TestPipeline: impulse("start").par_do("Split", "start", &["words"]).group(…) ─► pb::Pipeline ─► Graph, plan, problems
//! ```
//! Coders are written as Purlin prints them: `kv<string_utf8, any>`; what is no standard coder is one that only its SDK
//! knows. A collection is of `bytes` in the global window unless [`collection`](TestPipeline::collection) has said
//! otherwise before. A transform called `Split` has the id `split`, so that messages tell which of both they show.

use prost::Message;
use purlin_model::ids::CoderId;
use purlin_model::time::Millis;
use purlin_model::window::WindowFn;
use purlin_model::windowing_strategy::{MergeStatus, WindowingStrategy};
use purlin_proto::convert::windowing_strategy::to_wire;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_environments::environments;
use purlin_proto::urns::standard_ptransforms::{composites, primitives};

use crate::graph::Graph;
use crate::plan;
use crate::stage::StageGraph;
use crate::validate::{ValidatedPipeline, validate};

const STANDARD: &[&str] = &[
    "bytes",
    "string_utf8",
    "kv",
    "bool",
    "varint",
    "double",
    "iterable",
    "timer",
    "interval_window",
    "length_prefix",
    "global_window",
    "windowed_value",
    "state_backed_iterable",
    "custom_window",
    "nullable",
    "sharded_key",
];

/// A pipeline under construction; each method adds to it, or changes the transform that was added last.
#[derive(Clone, Debug)]
pub(crate) struct TestPipeline {
    proto: pb::Pipeline,
    last: String,
}

impl TestPipeline {
    /// Without transforms; with an environment `py` that knows all standard coders, and the windowing strategies
    /// `global`, `fixed`, `sessions`, `custom` and `custom_merging`.
    pub(crate) fn new() -> Self {
        let proto = pb::Pipeline { components: Some(pb::Components::default()), ..pb::Pipeline::default() };
        let custom = || WindowFn::Custom { urn: "test:windows".to_owned(), payload: "days".into() };
        Self { proto, last: String::new() }
            .environment("py", STANDARD)
            .strategy("global", "global_window", WindowFn::Global, |_| ())
            .strategy("fixed", "interval_window", WindowFn::Fixed { size: Millis(10_000), offset: Millis(0) }, |_| ())
            .strategy("sessions", "interval_window", WindowFn::Session { gap: Millis(60_000) }, |it| {
                it.merge_status = MergeStatus::NeedsMerge;
            })
            .strategy("custom", "day", custom(), |_| ())
            .strategy("custom_merging", "day", custom(), |it| it.merge_status = MergeStatus::NeedsMerge)
    }

    /// An environment that lists these standard coders.
    pub(crate) fn environment(mut self, id: &str, coders: &[&str]) -> Self {
        let capabilities = coders.iter().map(|name| format!("beam:coder:{name}:v1")).collect();
        let environment =
            pb::Environment { urn: environments::EXTERNAL.to_owned(), capabilities, ..pb::Environment::default() };
        self.components().environments.insert(id.to_owned(), environment);
        self
    }

    /// A windowing strategy with the default trigger, changed as wanted.
    pub(crate) fn strategy(
        mut self,
        id: &str,
        window_coder: &str,
        window_fn: WindowFn,
        change: impl FnOnce(&mut WindowingStrategy),
    ) -> Self {
        let coder = self.coder(window_coder);
        let mut strategy = WindowingStrategy { window_fn, ..WindowingStrategy::global(CoderId::new(coder)) };
        change(&mut strategy);
        self.components().windowing_strategies.insert(id.to_owned(), to_wire(&strategy));
        self
    }

    /// A PCollection of this coder, in the global window.
    pub(crate) fn collection(self, id: &str, coder: &str) -> Self {
        self.windowed(id, coder, "global")
    }

    /// A PCollection of this coder and windowing strategy.
    pub(crate) fn windowed(mut self, id: &str, coder: &str, strategy: &str) -> Self {
        let pcollection = pb::PCollection {
            unique_name: format!("{id}.out"),
            coder_id: self.coder(coder),
            windowing_strategy_id: strategy.to_owned(),
            is_bounded: pb::is_bounded::Enum::Bounded.into(),
            ..pb::PCollection::default()
        };
        self.components().pcollections.insert(id.to_owned(), pcollection);
        self
    }

    /// Makes a PCollection unbounded.
    pub(crate) fn unbounded(mut self, id: &str) -> Self {
        let pcollection = self.components().pcollections.get_mut(id).expect("a collection of the test's");
        pcollection.is_bounded = pb::is_bounded::Enum::Unbounded.into();
        self
    }

    pub(crate) fn impulse(self, output: &str) -> Self {
        self.transform(&format!("Impulse {output}"), primitives::IMPULSE, &[], &[output])
    }

    pub(crate) fn par_do(self, name: &str, input: &str, outputs: &[&str]) -> Self {
        self.transform(name, primitives::PAR_DO, &[input], outputs).in_env("py")
    }

    /// Any of a runner's own: a flatten, a grouping, a reshuffle.
    pub(crate) fn flatten(self, name: &str, inputs: &[&str], output: &str) -> Self {
        self.transform(name, primitives::FLATTEN, inputs, &[output])
    }

    pub(crate) fn group(self, name: &str, input: &str, output: &str) -> Self {
        self.transform(name, primitives::GROUP_BY_KEY, &[input], &[output])
    }

    pub(crate) fn reshuffle(self, name: &str, input: &str, output: &str) -> Self {
        self.transform(name, composites::RESHUFFLE, &[input], &[output])
    }

    /// A combiner as SDKs submit it: a composite around a grouping and a ParDo that combines each group. What stands
    /// between them is the collection `groups`, which must be there.
    pub(crate) fn combine(mut self, name: &str, input: &str, groups: &str, output: &str, accumulator: &str) -> Self {
        let accumulator_coder_id = self.coder(accumulator);
        let payload = pb::CombinePayload { accumulator_coder_id, ..pb::CombinePayload::default() };
        let (group, values) = (format!("{name}/Group"), format!("{name}/Values"));
        let outer = self.transform(name, composites::COMBINE_PER_KEY, &[input], &[output]).in_env("py");
        let inner = outer.group(&group, input, groups).inside(name).par_do(&values, groups, &[output]).inside(name);
        inner.edit(|transform| transform.spec.as_mut().expect("a spec").payload = payload.encode_to_vec().into())
    }

    /// A root transform; its ports are called `0`, `1` and so on.
    pub(crate) fn transform(mut self, name: &str, urn: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        for id in inputs.iter().chain(outputs) {
            if !self.components().pcollections.contains_key(*id) {
                self = self.collection(id, "bytes");
            }
        }
        let ports =
            |ids: &[&str]| ids.iter().enumerate().map(|(port, id)| (port.to_string(), (*id).to_owned())).collect();
        let transform = pb::PTransform {
            unique_name: name.to_owned(),
            spec: Some(pb::FunctionSpec { urn: urn.to_owned(), ..pb::FunctionSpec::default() }),
            inputs: ports(inputs),
            outputs: ports(outputs),
            ..pb::PTransform::default()
        };
        self.last = id_of(name);
        self.proto.root_transform_ids.push(self.last.clone());
        let last = self.last.clone();
        assert!(self.components().transforms.insert(last, transform).is_none(), "there are two transforms `{name}`");
        self
    }

    /// Makes the last transform a part of a composite, and is about the composite from then on.
    pub(crate) fn inside(mut self, composite: &str) -> Self {
        let part = std::mem::replace(&mut self.last, id_of(composite));
        self.not_root(&part).edit(|transform| transform.subtransforms.push(part))
    }

    /// Changes the order of the roots, by exchanging each with one of these.
    pub(crate) fn roots_swapped(mut self, with: &[proptest::sample::Index]) -> Self {
        let roots = &mut self.proto.root_transform_ids;
        let count = roots.len();
        with.iter().enumerate().for_each(|(at, with)| roots.swap(at % count, with.index(count)));
        self
    }

    /// Makes this transform no root.
    pub(crate) fn not_root(mut self, id: &str) -> Self {
        self.proto.root_transform_ids.retain(|root| root != id);
        self
    }

    /// Runs the last transform in this environment.
    pub(crate) fn in_env(self, id: &str) -> Self {
        self.edit(|transform| id.clone_into(&mut transform.environment_id))
    }

    /// Lets the last transform, a ParDo, read side inputs: collections and `iterable` or `multimap`.
    pub(crate) fn sides(self, sides: &[(&str, &str)]) -> Self {
        sides.iter().enumerate().fold(self, |pipeline, (number, (side, access))| {
            let local = format!("side{number}");
            let spec = pb::FunctionSpec { urn: format!("beam:side_input:{access}:v1"), ..pb::FunctionSpec::default() };
            let side_input = pb::SideInput { access_pattern: Some(spec), ..pb::SideInput::default() };
            pipeline
                .edit(|transform| {
                    transform.inputs.insert(local.clone(), (*side).to_owned());
                })
                .payload(|payload| {
                    payload.side_inputs.insert(local.clone(), side_input);
                })
        })
    }

    /// Gives the last transform, a ParDo, a bag of state.
    pub(crate) fn stateful(mut self) -> Self {
        let element_coder_id = self.coder("any");
        let bag = pb::state_spec::Spec::BagSpec(pb::BagStateSpec { element_coder_id });
        self.payload(|payload| {
            let spec = pb::StateSpec { spec: Some(bag), ..pb::StateSpec::default() };
            payload.state_specs.insert("bag".to_owned(), spec);
        })
    }

    /// Gives the last transform, a ParDo, a family of timers.
    pub(crate) fn timers(mut self) -> Self {
        let timer_family_coder_id = self.coder("timer<any, global_window>");
        self.payload(|payload| {
            let time_domain = pb::time_domain::Enum::EventTime.into();
            let family = pb::TimerFamilySpec { time_domain, timer_family_coder_id };
            payload.timer_family_specs.insert("timers".to_owned(), family);
        })
    }

    /// Makes the last transform, a ParDo, splittable, with restrictions of this coder.
    pub(crate) fn splittable(mut self, restriction: &str) -> Self {
        let coder = self.coder(restriction);
        self.payload(|payload| payload.restriction_coder_id = coder)
    }

    /// Changes the payload of the last transform, a ParDo.
    pub(crate) fn payload(self, change: impl FnOnce(&mut pb::ParDoPayload)) -> Self {
        self.edit(|transform| {
            let spec = transform.spec.as_mut().expect("a spec");
            let mut payload = pb::ParDoPayload::decode(&spec.payload[..]).expect("a payload of the test's");
            change(&mut payload);
            spec.payload = payload.encode_to_vec().into();
        })
    }

    /// Changes the last transform.
    pub(crate) fn edit(mut self, change: impl FnOnce(&mut pb::PTransform)) -> Self {
        let last = self.last.clone();
        change(self.components().transforms.get_mut(&last).expect("the last transform"));
        self
    }

    /// Changes anything.
    pub(crate) fn change(mut self, change: impl FnOnce(&mut pb::Components)) -> Self {
        change(self.components());
        self
    }

    pub(crate) fn requires(mut self, requirement: &str) -> Self {
        self.proto.requirements.push(requirement.to_owned());
        self
    }

    pub(crate) fn proto(self) -> pb::Pipeline {
        self.proto
    }

    pub(crate) fn validated(self) -> ValidatedPipeline {
        validate(self.proto).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// As parsed, before any pass.
    pub(crate) fn graph(self) -> Graph {
        self.validated().graph
    }

    /// After one pass.
    pub(crate) fn after(self, pass: impl FnOnce(&mut Graph)) -> Graph {
        let mut graph = self.graph();
        pass(&mut graph);
        graph
    }

    pub(crate) fn plan(self) -> StageGraph {
        plan(&self.validated()).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// What is wrong with it, a problem a line; empty if it can be planned.
    pub(crate) fn problems(self) -> String {
        match validate(self.proto).and_then(|pipeline| plan(&pipeline)) {
            Ok(_) => String::new(),
            Err(problems) => problems.iter().map(|problem| format!("{problem}\n")).collect(),
        }
    }

    /// Adds a coder and its parts; their ids are their texts.
    pub(crate) fn coder(&mut self, text: &str) -> String {
        let text = text.trim();
        let (name, parts) = match text.split_once('<') {
            Some((name, parts)) => (name, parts.strip_suffix('>').expect("a closing bracket")),
            None => (text, ""),
        };
        let component_coder_ids = split(parts).into_iter().map(|part| self.coder(part)).collect();
        let urn = if STANDARD.contains(&name) { format!("beam:coder:{name}:v1") } else { name.to_owned() };
        let spec = Some(pb::FunctionSpec { urn, ..pb::FunctionSpec::default() });
        self.components().coders.insert(text.to_owned(), pb::Coder { spec, component_coder_ids });
        text.to_owned()
    }

    fn components(&mut self) -> &mut pb::Components {
        self.proto.components.get_or_insert_default()
    }
}

fn id_of(name: &str) -> String {
    name.to_lowercase()
}

/// At commas that stand in no brackets.
fn split(parts: &str) -> Vec<&str> {
    let (mut found, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in parts.char_indices() {
        match letter {
            '<' => depth += 1,
            '>' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&parts[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !parts.is_empty() {
        found.push(&parts[start..]);
    }
    found
}
