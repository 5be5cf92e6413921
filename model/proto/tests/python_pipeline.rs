//! A pipeline that Python built is read, converted and written back without a loss.
//!
//! ```text
//!   Beam Python ──bytes──► pb::Pipeline ──bytes──► the same pipeline
//!               ──JSON───► pb::Pipeline      (equal to the one from bytes)
//!                              └─ windowing strategies, coders ──► model ──► equal messages
//! ```

mod python;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::DynamicMessage;
use purlin_model::coder::Coder;
use purlin_model::ids::EnvironmentId;
use purlin_model::time::Millis;
use purlin_model::trigger::{TimestampTransform, Trigger};
use purlin_model::window::WindowFn;
use purlin_model::windowing_strategy::{AccumulationMode, MergeStatus, TimestampCombiner, WindowingStrategy};
use purlin_proto::convert::problem::{Path, Problems};
use purlin_proto::convert::{coder, window_fn, windowing_strategy};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::{json, urns};

/// Windows and triggers of every kind that Python offers; the length of the bytes in a line, the bytes, the JSON.
const PIPELINE: &str = r#"
import sys
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import trigger, window
from google.protobuf import json_format

class EveryMonday(window.NonMergingWindowFn):
    def assign(self, context):
        return [window.IntervalWindow(0, 1)]
    def get_window_coder(self):
        return beam.coders.coders.IntervalWindowCoder()

accumulating = trigger.AccumulationMode.ACCUMULATING
discarding = trigger.AccumulationMode.DISCARDING
windowings = {
    "Fixed": beam.WindowInto(window.FixedWindows(10, 3)),
    "Sliding": beam.WindowInto(
        window.SlidingWindows(60, 0.5),
        trigger=trigger.AfterWatermark(early=trigger.AfterProcessingTime(5), late=trigger.AfterCount(7)),
        accumulation_mode=accumulating,
        allowed_lateness=3600,
        timestamp_combiner=window.TimestampCombiner.OUTPUT_AT_EARLIEST),
    "Sessions": beam.WindowInto(
        window.Sessions(600),
        trigger=trigger.Repeatedly(trigger.AfterAny(trigger.AfterCount(2), trigger.AfterWatermark())),
        accumulation_mode=discarding,
        timestamp_combiner=window.TimestampCombiner.OUTPUT_AT_LATEST),
    "Ordered": beam.WindowInto(
        window.GlobalWindows(),
        trigger=trigger.AfterEach(
            trigger.AfterAll(trigger.AfterCount(1), trigger.Always()),
            trigger.OrFinally(trigger.DefaultTrigger(), trigger.AfterCount(9))),
        accumulation_mode=discarding),
    "Custom": beam.WindowInto(EveryMonday()),
    "TooFine": beam.WindowInto(window.FixedWindows(1 / 3)),
}
p = beam.Pipeline(options=PipelineOptions(["--environment_type=LOOPBACK", "--streaming", "--allow_unsafe_triggers"]))
lines = p | "Read" >> beam.io.ReadFromText("none", validate=False)
pairs = lines | "Pair" >> beam.Map(lambda line: (line, 1)).with_output_types(tuple[str, int])
for name, windowing in windowings.items():
    _ = pairs | name >> windowing | "Sum" + name >> beam.CombinePerKey(sum)
proto = p.to_runner_api()
data = proto.SerializeToString(deterministic=True)
sys.stdout.buffer.write(b"%d\n" % len(data) + data + json_format.MessageToJson(proto).encode())
"#;

struct Sample {
    bytes: Vec<u8>,
    json: String,
    pipeline: pb::Pipeline,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let output = python::run(PIPELINE);
    let line_end = output.iter().position(|byte| *byte == b'\n').expect("a line with the length");
    let length: usize = std::str::from_utf8(&output[..line_end]).expect("digits").parse().expect("a number");
    let (bytes, json) = output[line_end + 1..].split_at(length);
    Sample {
        bytes: bytes.to_vec(),
        json: String::from_utf8(json.to_vec()).expect("text"),
        pipeline: pb::Pipeline::decode(bytes).expect("a pipeline"),
    }
});

fn components() -> &'static pb::Components {
    SAMPLE.pipeline.components.as_ref().expect("components")
}

fn transform(unique_name: &str) -> &'static pb::PTransform {
    components().transforms.values().find(|it| it.unique_name == unique_name).expect(unique_name)
}

/// The windowing of what a transform puts out.
fn strategy(unique_name: &str) -> WindowingStrategy {
    let output = transform(unique_name).outputs.values().next().expect("an output");
    let id = &components().pcollections[output].windowing_strategy_id;
    let mut problems = Problems::new();
    let strategy =
        windowing_strategy::from_wire(&components().windowing_strategies[id], &Path::root(id), &mut problems);
    problems.finish(strategy).expect("Python's windowing is right")
}

#[test]
fn nothing_is_lost_or_added() {
    // Python orders the entries of maps in its own way, so the bytes are as many but not the same.
    let again = SAMPLE.pipeline.encode_to_vec();
    let descriptor = json::descriptor_pool().get_message_by_name(&pb::Pipeline::full_name()).expect("declared");
    let reflected = |bytes: &[u8]| DynamicMessage::decode(descriptor.clone(), bytes).expect("a pipeline");
    assert!(reflected(&again) == reflected(&SAMPLE.bytes), "the pipeline changed on its way through the structs");
    assert_eq!(again.len(), SAMPLE.bytes.len());
}

#[test]
fn json_says_the_same_as_the_bytes() {
    let pipeline: pb::Pipeline = json::decode(&SAMPLE.json).expect("what Python printed");
    assert!(pipeline == SAMPLE.pipeline, "JSON and bytes give different pipelines");
}

#[test]
fn every_windowing_strategy_is_written_back_as_it_was() {
    assert!(components().windowing_strategies.len() >= 7);
    for (id, wire) in &components().windowing_strategies {
        let mut problems = Problems::new();
        let strategy = windowing_strategy::from_wire(wire, &Path::root(id), &mut problems);
        let strategy = problems.finish(strategy).expect("Python's windowing is right");
        assert_eq!(&windowing_strategy::to_wire(&strategy), wire);
    }
}

#[test]
fn windowing_means_what_the_program_said() {
    let fixed = strategy("Fixed");
    assert_eq!(fixed.window_fn, WindowFn::Fixed { size: Millis(10_000), offset: Millis(3_000) });
    assert_eq!((fixed.merge_status, fixed.trigger), (MergeStatus::NonMerging, Trigger::Default));
    assert_eq!(fixed.accumulation, AccumulationMode::Discarding);
    assert!(fixed.environment_id.as_ref().map(EnvironmentId::as_str).is_some_and(|id| !id.is_empty()));

    let sliding = strategy("Sliding");
    let bounds = WindowFn::Sliding { size: Millis(60_000), period: Millis(500), offset: Millis(0) };
    let delay = TimestampTransform::Delay(Millis(5_000));
    let early = Some(Box::new(Trigger::AfterProcessingTime { transforms: vec![delay] }));
    let late = Some(Box::new(Trigger::ElementCount { count: 7 }));
    assert_eq!((sliding.window_fn, sliding.trigger), (bounds, Trigger::AfterEndOfWindow { early, late }));
    assert_eq!(sliding.accumulation, AccumulationMode::Accumulating);
    assert_eq!(
        (sliding.allowed_lateness, sliding.timestamp_combiner),
        (Millis(3_600_000), TimestampCombiner::Earliest)
    );

    let sessions = strategy("Sessions");
    let end = Trigger::AfterEndOfWindow { early: None, late: None };
    let any = Trigger::AfterAny(vec![Trigger::ElementCount { count: 2 }, end]);
    assert_eq!(sessions.window_fn, WindowFn::Session { gap: Millis(600_000) });
    assert_eq!((sessions.merge_status, sessions.trigger), (MergeStatus::NeedsMerge, Trigger::Repeat(Box::new(any))));
    assert_eq!(sessions.timestamp_combiner, TimestampCombiner::Latest);

    let ordered = strategy("Ordered");
    let all = Trigger::AfterAll(vec![Trigger::ElementCount { count: 1 }, Trigger::Always]);
    let finally = Box::new(Trigger::ElementCount { count: 9 });
    let or_finally = Trigger::OrFinally { main: Box::new(Trigger::Default), finally };
    assert_eq!((ordered.window_fn, ordered.trigger), (WindowFn::Global, Trigger::AfterEach(vec![all, or_finally])));

    let custom = |name: &str| match strategy(name).window_fn {
        WindowFn::Custom { urn, payload } => (urn, payload.is_empty()),
        other => panic!("{name} is {other:?}"),
    };
    assert_eq!(custom("Custom"), ("beam:window_fn:pickled_python:v1".to_owned(), false));
    assert_eq!(custom("TooFine"), (urns::fixed_windows_payload::PROPERTIES.to_owned(), false));
}

#[test]
fn pythons_window_into_payload_holds_the_same_function() {
    for name in ["Fixed", "Sliding", "Sessions", "Ordered", "Custom", "TooFine"] {
        let spec = transform(name).spec.as_ref().expect("a spec");
        assert_eq!(spec.urn, urns::standard_ptransforms::primitives::ASSIGN_WINDOWS);
        let mut problems = Problems::new();
        let read = window_fn::from_window_into(&spec.payload, &Path::root(name), &mut problems);
        assert_eq!(problems.finish(read), Ok(strategy(name).window_fn));
    }
}

#[test]
fn every_coder_is_read_and_those_of_python_are_unknown() {
    let mut problems = Problems::new();
    let coders = coder::from_components(&components().coders, &Path::root("coders"), &mut problems);
    let coders = problems.finish(Some(coders)).expect("Python's coders are right");
    assert_eq!(coders.len(), components().coders.len());
    let of_output = |unique_name: &str| {
        let output = transform(unique_name).outputs.values().next().expect("an output");
        coders[components().pcollections[output].coder_id.as_str()].to_string()
    };
    assert_eq!(of_output("Pair"), "kv<string_utf8, varint>");
    assert_eq!(of_output("Read/Read/Impulse"), "bytes");
    let unknown = |coder: &Coder| matches!(coder, Coder::Unknown(_));
    let urns: BTreeSet<&str> = coders.values().filter(|it| unknown(it)).map(|it| it.urn()).collect();
    assert_eq!(urns, BTreeSet::from(["beam:coder:pickled_python:v1"]));
}

#[test]
fn a_damaged_pipeline_is_read_or_refused_but_never_panics() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        // xorshift: any fixed sequence will do.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 1).expect("63 bits") % below
    };
    // Pickled functions are most of a pipeline, and are not looked into; what is left gets all the damage.
    let mut plain = components().clone();
    plain.coders.values_mut().filter_map(|it| it.spec.as_mut()).for_each(|spec| spec.payload.truncate(4));
    plain.windowing_strategies.retain(|_, it| it.window_fn.as_ref().is_some_and(|spec| spec.payload.len() < 100));
    let plain =
        pb::Components { coders: plain.coders, windowing_strategies: plain.windowing_strategies, ..Default::default() };
    let (mut decoded, mut faulty) = (0, 0);
    for _ in 0..2_000 {
        let mut bytes = plain.encode_to_vec();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            bytes[at] = u8::try_from(random(256)).expect("a byte");
        }
        let Ok(components) = pb::Components::decode(bytes.as_slice()) else {
            continue;
        };
        let mut problems = Problems::new();
        let root = Path::root("components");
        let _ = coder::from_components(&components.coders, &root, &mut problems);
        for (id, wire) in &components.windowing_strategies {
            let _ = windowing_strategy::from_wire(wire, &root.key(id), &mut problems);
        }
        (decoded, faulty) = (decoded + 1, faulty + usize::from(!problems.is_empty()));
        for spec in components.windowing_strategies.values().filter_map(|it| it.window_fn.as_ref()) {
            let _ = window_fn::from_window_into(&spec.payload, &root, &mut problems);
        }
        let _ = problems.to_string();
    }
    assert!(decoded > 200 && faulty > 50, "{decoded} were decoded and {faulty} had faults: too few to show anything");
}

#[test]
fn what_the_sdk_wrote_uses_the_urns_of_the_table() {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for transform in components().transforms.values() {
        *found.entry(transform.spec.as_ref().map_or("", |spec| &spec.urn)).or_default() += 1;
    }
    assert_eq!(found.get(urns::standard_ptransforms::primitives::IMPULSE), Some(&1));
    assert_eq!(found.get(urns::standard_ptransforms::composites::COMBINE_PER_KEY), Some(&6));
}
