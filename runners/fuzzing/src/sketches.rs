//! Well-formed pipelines to damage: together they have something of everything.
//!
//! Coders are written as Purlin prints them, `kv<string_utf8, any>`, and are their own ids; what is no standard coder is
//! one that only its SDK knows.

use std::collections::BTreeMap;

use prost::Message;
use purlin_model::ids::CoderId;
use purlin_model::time::Millis;
use purlin_model::trigger::Trigger;
use purlin_model::window::WindowFn;
use purlin_model::windowing_strategy::{MergeStatus, WindowingStrategy};
use purlin_proto::convert::windowing_strategy::to_wire;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::pipeline::v1::state_spec::Spec;
use purlin_proto::urns::standard_coders;
use purlin_proto::urns::standard_environments::environments;
use purlin_proto::urns::standard_ptransforms::{composites, primitives};

/// The names of standard coders that every environment here knows.
const STANDARD: [&str; 14] = [
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
    "nullable",
    "state_backed_iterable",
    "row",
];

/// All of them.
pub(crate) fn all() -> Vec<pb::Pipeline> {
    vec![words().proto, grouped().proto, stateful().proto, sides().proto, mixed().proto, pb::Pipeline::default()]
}

/// A pipeline whose stages have state, timers and side inputs, to run bundles of.
pub(crate) fn stateful() -> Sketch {
    Sketch::new()
        .impulse("start")
        .par_do("Pair", "start", &[("pairs", "kv<bytes, bytes>", "global")])
        .par_do("Days", "pairs", &[("days", "kv<string_utf8, varint>", "fixed")])
        .par_do("Own", "pairs", &[("owns", "kv<string_utf8, any>", "custom")])
        .par_do("Count", "pairs", &[("counts", "kv<bytes, bytes>", "global"), ("rest", "bytes", "global")])
        .state()
        .timers()
        .side("days", "multimap")
        .side("owns", "iterable")
        .par_do("Daily", "days", &[("dailies", "iterable<varint>", "fixed")])
        .state()
        .timers()
        .par_do("Often", "owns", &[("oftens", "nullable<kv<double, bool>>", "custom")])
        .timers()
        .par_do("Last", "counts", &[("lasts", "kv<bytes, iterable<string_utf8>>", "global")])
        .par_do("Group them", "lasts", &[])
        .group("All", "lasts", "alls", "kv<bytes, iterable<iterable<string_utf8>>>")
        .group("Each day", "days", "of days", "kv<string_utf8, iterable<varint>>")
        .group("Each own", "owns", "of owns", "kv<string_utf8, iterable<any>>")
        .par_do("Read dailies", "dailies", &[])
        .side("oftens", "iterable")
        .par_do("Files", "rest", &[("lines", "string_utf8", "global")])
        .splittable()
        .par_do("Print", "lines", &[])
        .side("rest", "iterable")
}

fn words() -> Sketch {
    Sketch::new()
        .impulse("start")
        .par_do("Read", "start", &[("lines", "string_utf8", "global")])
        .splittable()
        .par_do("Split", "lines", &[("words", "string_utf8", "fixed")])
        .par_do("Pair", "words", &[("pairs", "kv<string_utf8, varint>", "fixed")])
        .combine("Count", "pairs", "groups", "kv<string_utf8, iterable<varint>>", "counts", "kv<string_utf8, varint>")
        .par_do("Write", "counts", &[])
        .finalizing()
}

fn grouped() -> Sketch {
    Sketch::new()
        .impulse("start")
        .par_do("Pair", "start", &[("pairs", "kv<string_utf8, any>", "sessions")])
        .group("Sessions", "pairs", "sessions of pairs", "kv<string_utf8, iterable<any>>")
        .par_do("Rewindow", "pairs", &[("sliding", "kv<any, kv<varint, any>>", "sliding")])
        .group("Slide", "sliding", "slid", "kv<any, state_backed_iterable<kv<varint, any>>>")
        .par_do("Own", "pairs", &[("owns", "kv<string_utf8, nullable<any>>", "custom_merging")])
        .group("Merge", "owns", "merged", "kv<string_utf8, iterable<nullable<any>>>")
        .par_do("Early", "pairs", &[("earlies", "kv<string_utf8, any>", "triggered")])
        .group("Fire", "earlies", "fired", "kv<string_utf8, iterable<any>>")
        .par_do("Print", "fired", &[])
}

fn sides() -> Sketch {
    Sketch::new()
        .impulse("start")
        .par_do("A", "start", &[("as", "kv<any, any>", "fixed"), ("bs", "bytes", "global")])
        .par_do("C", "bs", &[("cs", "row", "global")])
        .side("as", "multimap")
        .side("bs", "iterable")
        .barrier("Shuffle", "cs", "shuffled", "row")
        .flatten("Twice", &["shuffled", "cs", "shuffled"], "twice", "row")
        .flatten("None", &[], "nothing", "bytes")
        .par_do("D", "twice", &[("ds", "kv<bytes, varint>", "global")])
        .side("nothing", "iterable")
        .par_do("E", "ds", &[("es", "bytes", "global")])
        .state()
        .sorted()
        .par_do("F", "es", &[])
        .unbounded("es")
}

fn mixed() -> Sketch {
    Sketch::new()
        .impulse("start")
        .par_do("Ours", "start", &[("ours", "kv<string_utf8, varint>", "global")])
        .par_do("Theirs", "ours", &[("theirs", "kv<string_utf8, any>", "global")])
        .in_env("java")
        .flatten("Both", &["ours", "theirs"], "both", "kv<string_utf8, any>")
        .group("Group", "both", "groups", "kv<string_utf8, iterable<any>>")
        .par_do("Print", "groups", &[])
        .in_env("go")
        .inside("Outer")
        .test_stream("Script", "scripted")
}

/// A pipeline under construction; each method adds to it, or changes the transform that was added last.
#[derive(Clone, Debug)]
pub(crate) struct Sketch {
    pub(crate) proto: pb::Pipeline,
    last: String,
}

impl Sketch {
    fn new() -> Self {
        let custom = || WindowFn::Custom { urn: "test:windows".to_owned(), payload: "days".into() };
        let triggered = Trigger::Repeat(Box::new(Trigger::AfterAny(vec![
            Trigger::ElementCount { count: 3 },
            Trigger::AfterEndOfWindow { early: Some(Box::new(Trigger::ElementCount { count: 1 })), late: None },
        ])));
        let proto = pb::Pipeline { components: Some(pb::Components::default()), ..pb::Pipeline::default() };
        Self { proto, last: String::new() }
            .environment("py", environments::EXTERNAL)
            .environment("java", environments::DOCKER)
            .environment("go", environments::PROCESS)
            .strategy("global", "global_window", WindowFn::Global, |_| ())
            .strategy("fixed", "interval_window", WindowFn::Fixed { size: Millis(10_000), offset: Millis(0) }, |_| ())
            .strategy(
                "sliding",
                "interval_window",
                WindowFn::Sliding { size: Millis(10_000), period: Millis(5_000), offset: Millis(0) },
                |it| it.assigns_to_one_window = false,
            )
            .strategy("sessions", "interval_window", WindowFn::Session { gap: Millis(60_000) }, |it| {
                it.merge_status = MergeStatus::NeedsMerge;
            })
            .strategy("custom", "day", custom(), |it| it.allowed_lateness = Millis(7))
            .strategy("custom_merging", "day", custom(), |it| it.merge_status = MergeStatus::NeedsMerge)
            .strategy("triggered", "global_window", WindowFn::Global, move |it| it.trigger = triggered)
    }

    fn environment(mut self, id: &str, urn: &str) -> Self {
        let capabilities = STANDARD.map(|name| format!("beam:coder:{name}:v1")).to_vec();
        let environment = pb::Environment { urn: urn.to_owned(), capabilities, ..pb::Environment::default() };
        self.components().environments.insert(id.to_owned(), environment);
        self
    }

    fn strategy(
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

    fn collection(&mut self, id: &str, coder: &str, strategy: &str) {
        let pcollection = pb::PCollection {
            unique_name: format!("{id}.out"),
            coder_id: self.coder(coder),
            windowing_strategy_id: strategy.to_owned(),
            is_bounded: pb::is_bounded::Enum::Bounded.into(),
            ..pb::PCollection::default()
        };
        self.components().pcollections.insert(id.to_owned(), pcollection);
    }

    fn strategy_of(&mut self, id: &str) -> String {
        let pcollections = &self.components().pcollections;
        pcollections.get(id).map_or_else(|| "global".to_owned(), |it| it.windowing_strategy_id.clone())
    }

    fn impulse(mut self, output: &str) -> Self {
        self.collection(output, "bytes", "global");
        self.transform("Impulse", primitives::IMPULSE, &[], &[output])
    }

    fn test_stream(mut self, name: &str, output: &str) -> Self {
        self.collection(output, "bytes", "global");
        self.transform(name, primitives::TEST_STREAM, &[], &[output])
    }

    fn par_do(mut self, name: &str, input: &str, outputs: &[(&str, &str, &str)]) -> Self {
        for (output, coder, strategy) in outputs {
            self.collection(output, coder, strategy);
        }
        let outputs: Vec<&str> = outputs.iter().map(|output| output.0).collect();
        self.transform(name, primitives::PAR_DO, &[input], &outputs).in_env("py")
    }

    fn flatten(mut self, name: &str, inputs: &[&str], output: &str, coder: &str) -> Self {
        self.collection(output, coder, "global");
        self.transform(name, primitives::FLATTEN, inputs, &[output])
    }

    fn group(mut self, name: &str, input: &str, output: &str, coder: &str) -> Self {
        let strategy = self.strategy_of(input);
        self.collection(output, coder, &strategy);
        self.transform(name, primitives::GROUP_BY_KEY, &[input], &[output])
    }

    fn barrier(mut self, name: &str, input: &str, output: &str, coder: &str) -> Self {
        let strategy = self.strategy_of(input);
        self.collection(output, coder, &strategy);
        self.transform(name, composites::RESHUFFLE, &[input], &[output])
    }

    fn combine(
        mut self,
        name: &str,
        input: &str,
        groups: &str,
        groups_coder: &str,
        output: &str,
        output_coder: &str,
    ) -> Self {
        let accumulator_coder_id = self.coder("partial");
        let payload = pb::CombinePayload { accumulator_coder_id, ..pb::CombinePayload::default() };
        let strategy = self.strategy_of(input);
        let (group, values) = (format!("{name}/Group"), format!("{name}/Values"));
        self = self
            .group(&group, input, groups, groups_coder)
            .inside(name)
            .par_do(&values, groups, &[(output, output_coder, &strategy)])
            .inside(name);
        let outer = self.components().transforms.entry(name.to_owned()).or_default();
        outer.spec = Some(spec(composites::COMBINE_PER_KEY, &payload));
        outer.environment_id = "py".to_owned();
        outer.inputs = ports(&[input]);
        outer.outputs = ports(&[output]);
        self
    }

    fn transform(mut self, name: &str, urn: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        let transform = pb::PTransform {
            unique_name: name.to_owned(),
            spec: Some(pb::FunctionSpec { urn: urn.to_owned(), ..pb::FunctionSpec::default() }),
            inputs: ports(inputs),
            outputs: ports(outputs),
            ..pb::PTransform::default()
        };
        name.clone_into(&mut self.last);
        self.proto.root_transform_ids.push(name.to_owned());
        self.components().transforms.insert(name.to_owned(), transform);
        self
    }

    /// Makes the last transform a part of a composite.
    fn inside(mut self, composite: &str) -> Self {
        let part = self.last.clone();
        self.proto.root_transform_ids.retain(|root| *root != part);
        if !self.proto.root_transform_ids.iter().any(|root| root == composite) {
            self.proto.root_transform_ids.push(composite.to_owned());
        }
        let outer = self.components().transforms.entry(composite.to_owned()).or_default();
        composite.clone_into(&mut outer.unique_name);
        outer.subtransforms.push(part);
        self
    }

    fn in_env(self, id: &str) -> Self {
        self.edit(|transform| id.clone_into(&mut transform.environment_id))
    }

    fn side(self, side: &str, access: &str) -> Self {
        let local = format!("side of {side}");
        let pattern = pb::FunctionSpec { urn: format!("beam:side_input:{access}:v1"), ..Default::default() };
        let side_input = pb::SideInput { access_pattern: Some(pattern), ..pb::SideInput::default() };
        self.edit(|transform| drop(transform.inputs.insert(local.clone(), side.to_owned())))
            .payload(|payload| drop(payload.side_inputs.insert(local.clone(), side_input)))
    }

    fn state(mut self) -> Self {
        let any = self.coder("any");
        let bytes = self.coder("bytes");
        let bag = Spec::BagSpec(pb::BagStateSpec { element_coder_id: any.clone() });
        let list = Spec::OrderedListSpec(pb::OrderedListStateSpec { element_coder_id: any });
        let map = Spec::MultimapSpec(pb::MultimapStateSpec { key_coder_id: bytes.clone(), value_coder_id: bytes });
        self.payload(|payload| {
            for (id, state) in [("bag", bag), ("list", list), ("map", map)] {
                let state = pb::StateSpec { spec: Some(state), ..pb::StateSpec::default() };
                payload.state_specs.insert(id.to_owned(), state);
            }
        })
    }

    fn timers(mut self) -> Self {
        let coder = self.coder("timer<any, global_window>");
        let family = |domain: pb::time_domain::Enum| pb::TimerFamilySpec {
            time_domain: domain.into(),
            timer_family_coder_id: coder.clone(),
        };
        let families = BTreeMap::from([
            ("event".to_owned(), family(pb::time_domain::Enum::EventTime)),
            ("clock".to_owned(), family(pb::time_domain::Enum::ProcessingTime)),
            ("end".to_owned(), family(pb::time_domain::Enum::EventTime)),
        ]);
        self.payload(|payload| {
            payload.timer_family_specs = families;
            "end".clone_into(&mut payload.on_window_expiration_timer_family_spec);
        })
    }

    fn splittable(mut self) -> Self {
        let restriction = self.coder("range");
        self.payload(|payload| payload.restriction_coder_id = restriction)
    }

    fn sorted(self) -> Self {
        self.payload(|payload| payload.requires_time_sorted_input = true)
    }

    fn finalizing(self) -> Self {
        self.payload(|payload| payload.requests_finalization = true)
    }

    fn unbounded(mut self, id: &str) -> Self {
        if let Some(pcollection) = self.components().pcollections.get_mut(id) {
            pcollection.is_bounded = pb::is_bounded::Enum::Unbounded.into();
        }
        self
    }

    fn payload(self, change: impl FnOnce(&mut pb::ParDoPayload)) -> Self {
        self.edit(|transform| {
            let Some(spec) = transform.spec.as_mut() else { return };
            let mut payload = pb::ParDoPayload::decode(&spec.payload[..]).unwrap_or_default();
            change(&mut payload);
            spec.payload = payload.encode_to_vec().into();
        })
    }

    fn edit(mut self, change: impl FnOnce(&mut pb::PTransform)) -> Self {
        let last = self.last.clone();
        if let Some(transform) = self.components().transforms.get_mut(&last) {
            change(transform);
        }
        self
    }

    fn components(&mut self) -> &mut pb::Components {
        self.proto.components.get_or_insert_default()
    }

    /// Adds a coder and its parts; their ids are their texts.
    fn coder(&mut self, text: &str) -> String {
        let (name, parts) = match text.split_once('<') {
            Some((name, parts)) => (name, parts.strip_suffix('>').unwrap_or(parts)),
            None => (text, ""),
        };
        let component_coder_ids = split(parts).into_iter().map(|part| self.coder(part)).collect();
        let urn = if STANDARD.contains(&name) { format!("beam:coder:{name}:v1") } else { name.to_owned() };
        let coder = match urn.as_str() {
            standard_coders::ROW => pb::Coder { spec: Some(spec(&urn, &schema())), ..pb::Coder::default() },
            _ => pb::Coder { spec: Some(pb::FunctionSpec { urn, ..Default::default() }), component_coder_ids },
        };
        self.components().coders.insert(text.to_owned(), coder);
        text.to_owned()
    }
}

fn ports(ids: &[&str]) -> BTreeMap<String, String> {
    ids.iter().enumerate().map(|(port, id)| (port.to_string(), (*id).to_owned())).collect()
}

fn spec(urn: &str, payload: &impl Message) -> pb::FunctionSpec {
    pb::FunctionSpec { urn: urn.to_owned(), payload: payload.encode_to_vec().into() }
}

/// A row with a field of most kinds.
fn schema() -> pb::Schema {
    use pb::field_type::TypeInfo;
    let of = |info: TypeInfo| pb::FieldType { nullable: true, type_info: Some(info) };
    let atomic = |kind: pb::AtomicType| of(TypeInfo::AtomicType(kind.into()));
    let boxed = |kind| Some(Box::new(atomic(kind)));
    let types = [
        atomic(pb::AtomicType::String),
        atomic(pb::AtomicType::Int64),
        of(TypeInfo::ArrayType(Box::new(pb::ArrayType { element_type: boxed(pb::AtomicType::Bytes) }))),
        of(TypeInfo::MapType(Box::new(pb::MapType {
            key_type: boxed(pb::AtomicType::Int32),
            value_type: boxed(pb::AtomicType::Double),
        }))),
        of(TypeInfo::RowType(pb::RowType { schema: Some(pb::Schema::default()) })),
        of(TypeInfo::LogicalType(Box::new(pb::LogicalType {
            urn: "beam:logical_type:decimal:v1".to_owned(),
            representation: boxed(pb::AtomicType::Bytes),
            ..pb::LogicalType::default()
        }))),
    ];
    let field = |(at, kind): (usize, pb::FieldType)| pb::Field {
        name: format!("f{at}"),
        id: at as i32,
        encoding_position: at as i32,
        r#type: Some(kind),
        ..pb::Field::default()
    };
    let fields = types.into_iter().enumerate().map(field).collect();
    pb::Schema { id: "schema".to_owned(), fields, encoding_positions_set: true, ..pb::Schema::default() }
}

/// At commas that stand in no brackets.
fn split(parts: &str) -> Vec<&str> {
    let (mut found, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in parts.char_indices() {
        match letter {
            '<' => depth += 1,
            '>' => depth -= 1,
            ',' if depth == 0 => {
                found.push(parts[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !parts.is_empty() {
        found.push(parts[start..].trim());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_damaged_is_whole() {
        for (number, pipeline) in all().into_iter().enumerate() {
            let validated = purlin_plan::validate(pipeline);
            assert!(validated.is_ok(), "sketch {number}: {}", validated.unwrap_err());
        }
    }
}
