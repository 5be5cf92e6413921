//! Pipelines of tens of thousands of transforms, of the shapes that invite work without bound: each is checked, planned,
//! explained and described to workers. Nothing here is timed: what takes quadratic time does not end in the time of a test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use prost::Message;
use purlin_fuzzing::check_pipeline;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_environments::environments;
use purlin_proto::urns::standard_ptransforms::{composites, primitives};
use purlin_proto::urns::{global_windows_payload, standard_coders};

/// How many transforms of one kind.
const MANY: usize = 10_000;

fn spec(urn: &str, payload: Vec<u8>) -> Option<pb::FunctionSpec> {
    Some(pb::FunctionSpec { urn: urn.to_owned(), payload: payload.into() })
}

/// A pipeline under construction; collections are of pairs in the global window.
struct Large(pb::Pipeline);

impl Large {
    /// An impulse, and `start` of pairs behind it.
    fn new() -> Self {
        let mut large = Self(pb::Pipeline { components: Some(pb::Components::default()), ..pb::Pipeline::default() });
        let parts = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        for (id, urn, of) in [
            ("bytes", standard_coders::BYTES, &[][..]),
            ("global", standard_coders::GLOBAL_WINDOW, &[]),
            ("any", "any", &[]),
            ("pair", standard_coders::KV, &["bytes", "any"]),
            ("many", standard_coders::ITERABLE, &["any"]),
            ("group", standard_coders::KV, &["bytes", "many"]),
        ] {
            let coder = pb::Coder { spec: spec(urn, Vec::new()), component_coder_ids: parts(of) };
            large.components().coders.insert(id.to_owned(), coder);
        }
        let strategy = pb::WindowingStrategy {
            window_fn: spec(global_windows_payload::PROPERTIES, Vec::new()),
            merge_status: pb::merge_status::Enum::NonMerging.into(),
            window_coder_id: "global".to_owned(),
            trigger: Some(pb::Trigger { trigger: Some(pb::trigger::Trigger::Default(pb::trigger::Default {})) }),
            accumulation_mode: pb::accumulation_mode::Enum::Discarding.into(),
            output_time: pb::output_time::Enum::EndOfWindow.into(),
            closing_behavior: pb::closing_behavior::Enum::EmitAlways.into(),
            on_time_behavior: pb::on_time_behavior::Enum::FireAlways.into(),
            ..Default::default()
        };
        large.components().windowing_strategies.insert("global".to_owned(), strategy);
        let pool = pb::ExternalPayload {
            endpoint: Some(pb::ApiServiceDescriptor { url: "localhost:1".to_owned(), authentication: None }),
            ..Default::default()
        };
        let environment = pb::Environment {
            urn: environments::EXTERNAL.to_owned(),
            payload: pool.encode_to_vec().into(),
            ..Default::default()
        };
        large.components().environments.insert("py".to_owned(), environment);
        large.collection("impulse", "bytes").add("Impulse", primitives::IMPULSE, &[], "impulse");
        large.collection("start", "pair").add("Start", primitives::PAR_DO, &["impulse".to_owned()], "start");
        large
    }

    fn components(&mut self) -> &mut pb::Components {
        self.0.components.get_or_insert_default()
    }

    fn collection(&mut self, id: &str, coder: &str) -> &mut Self {
        let pcollection = pb::PCollection {
            unique_name: id.to_owned(),
            coder_id: coder.to_owned(),
            windowing_strategy_id: "global".to_owned(),
            is_bounded: pb::is_bounded::Enum::Bounded.into(),
            ..Default::default()
        };
        self.components().pcollections.insert(id.to_owned(), pcollection);
        self
    }

    fn add(&mut self, name: &str, urn: &str, inputs: &[String], output: &str) -> &mut pb::PTransform {
        let transform = pb::PTransform {
            unique_name: name.to_owned(),
            spec: spec(urn, Vec::new()),
            inputs: inputs.iter().enumerate().map(|(at, id)| (at.to_string(), id.clone())).collect(),
            outputs: [("out".to_owned(), output.to_owned())].into(),
            environment_id: if urn == primitives::PAR_DO { "py".to_owned() } else { String::new() },
            ..Default::default()
        };
        self.0.root_transform_ids.push(name.to_owned());
        let transforms = &mut self.components().transforms;
        transforms.insert(name.to_owned(), transform);
        transforms.get_mut(name).unwrap()
    }

    /// A ParDo from one collection to a new one.
    fn par_do(&mut self, name: &str, input: &str, output: &str) -> &mut pb::PTransform {
        self.collection(output, "pair").add(name, primitives::PAR_DO, &[input.to_owned()], output)
    }

    /// Checks it, under a name that is shown if it does not end.
    fn check(self, what: &str) {
        let began = std::time::Instant::now();
        check_pipeline(self.0, &prost_types::Struct::default()).unwrap_or_else(|broken| panic!("{what}: {broken}"));
        eprintln!("{what}: {:.1} s", began.elapsed().as_secs_f32());
    }
}

/// Lets a ParDo read another collection too.
fn reads(transform: &mut pb::PTransform, side: &str) {
    transform.inputs.insert("side".to_owned(), side.to_owned());
    let pattern = spec("beam:side_input:multimap:v1", Vec::new());
    let side = pb::SideInput { access_pattern: pattern, ..Default::default() };
    let payload = pb::ParDoPayload { side_inputs: [("side".to_owned(), side)].into(), ..Default::default() };
    transform.spec = spec(primitives::PAR_DO, payload.encode_to_vec());
}

#[test]
fn a_chain() {
    let mut large = Large::new();
    large.par_do("T0", "start", "c0");
    for at in 1..5 * MANY {
        large.par_do(&format!("T{at}"), &format!("c{}", at - 1), &format!("c{at}"));
    }
    large.check("a chain");
}

#[test]
fn a_chain_of_stages() {
    let mut large = Large::new();
    large.par_do("T0", "start", "c0");
    for at in 1..MANY {
        let (from, shuffled, to) = (format!("c{}", at - 1), format!("s{at}"), format!("c{at}"));
        large.collection(&shuffled, "pair").add(&format!("S{at}"), composites::RESHUFFLE, &[from], &shuffled);
        large.par_do(&format!("T{at}"), &shuffled, &to);
    }
    large.check("a chain of stages");
}

#[test]
fn many_readers_of_one_collection_and_one_side_input() {
    let mut large = Large::new();
    large.par_do("Side", "start", "side");
    for at in 0..MANY {
        reads(large.par_do(&format!("T{at}"), "start", &format!("c{at}")), "side");
    }
    large.check("many readers of one side input");
}

#[test]
fn many_side_inputs() {
    let mut large = Large::new();
    for at in 0..MANY / 2 {
        large.par_do(&format!("S{at}"), "start", &format!("s{at}"));
        reads(large.par_do(&format!("T{at}"), "start", &format!("c{at}")), &format!("s{at}"));
    }
    large.check("many side inputs");
}

#[test]
fn many_groupings() {
    let mut large = Large::new();
    for at in 0..MANY {
        let (pairs, groups) = (format!("p{at}"), format!("g{at}"));
        large.par_do(&format!("T{at}"), "start", &pairs);
        large.collection(&groups, "group").add(&format!("G{at}"), primitives::GROUP_BY_KEY, &[pairs], &groups);
    }
    large.check("many groupings");
}

#[test]
fn a_wide_flatten_that_many_read() {
    let mut large = Large::new();
    let inputs: Vec<String> = (0..MANY).map(|at| format!("c{at}")).collect();
    for (at, input) in inputs.iter().enumerate() {
        large.par_do(&format!("T{at}"), "start", input);
    }
    large.collection("all", "pair").add("All", primitives::FLATTEN, &inputs, "all");
    for at in 0..MANY {
        large.par_do(&format!("R{at}"), "all", &format!("r{at}"));
    }
    large.check("a wide flatten");
}

#[test]
fn flattens_that_double() {
    for doublings in [15, 19, 25, 5_000] {
        let mut large = Large::new();
        let mut from = "start".to_owned();
        for at in 0..doublings {
            let to = format!("d{at}");
            large.collection(&to, "pair").add(&format!("D{at}"), primitives::FLATTEN, &[from.clone(), from], &to);
            from = to;
        }
        large.par_do("Read", &from, "read");
        large.check("flattens that double");
    }
}

#[test]
fn many_roots_that_are_wrong_in_the_same_way() {
    let mut large = Large::new();
    for at in 0..MANY {
        large.par_do(&format!("T{at}"), "gone", &format!("c{at}")).environment_id = "gone".to_owned();
    }
    large.check("many faults");
}

#[test]
fn many_coders_of_one_shape_and_a_ring_of_transforms() {
    let mut large = Large::new();
    let shared = large.components().coders["pair"].clone();
    for at in 0..MANY {
        let coder = format!("k{at}");
        large.components().coders.insert(coder.clone(), shared.clone());
        large.par_do(&format!("T{at}"), "start", &format!("c{at}"));
        large.components().pcollections.get_mut(&format!("c{at}")).unwrap().coder_id = coder;
    }
    large.check("many coders");
    let mut ring = Large::new();
    for at in 0..MANY {
        ring.par_do(&format!("T{at}"), &format!("c{}", (at + 1) % MANY), &format!("c{at}"));
    }
    ring.check("a ring");
}
