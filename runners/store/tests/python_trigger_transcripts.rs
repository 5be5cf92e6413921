//! Beam's own transcripts of triggers, `trigger_transcripts.yaml`, read from the installed package and run through the
//! kernels.
//!
//! ```text
//!   transcript: window_fn, trigger_fn, … ─► WindowingStrategy
//!   input, watermark ─► key-major grouping ─► panes       expect: exactly these, by the attributes that are named
//! ```
//! Numbers are seconds, and what comes out is cut to seconds, as in Beam's own runner of these transcripts. One of them
//! moves timestamps by Python code, which no Fn API runner can be told of, so that it is left out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod call;
mod grouping;
#[path = "../../../model/proto/tests/python/mod.rs"]
mod python;

use call::{Call, parse};
use grouping::{Element, Groups, Pane, interval};
use purlin_engine::core::stage::Grouping;
use purlin_model::ids::CoderId;
use purlin_model::pane::PaneTiming;
use purlin_model::time::{EventTime, Millis};
use purlin_model::trigger::{TimestampTransform, Trigger};
use purlin_model::window::{BoundedWindow, WindowCoder, WindowFn};
use purlin_model::windowing_strategy::{AccumulationMode, MergeStatus, TimestampCombiner, WindowingStrategy};
use serde_yaml_ng::Value as Yaml;

/// Handed on as JSON, for the file is written for Python's own reader of YAML.
const FILE: &str = r#"
import json, pathlib, sys
import apache_beam, yaml
(path,) = pathlib.Path(apache_beam.__file__).parent.rglob("trigger_transcripts.yaml")
json.dump([spec for spec in yaml.safe_load_all(path.read_text()) if spec], sys.stdout)
"#;

/// A combiner of Python's alone.
const TRANSFORMED: &str = "OUTPUT_AT_EARLIEST_TRANSFORMED";

#[test]
fn beams_transcripts_hold() {
    let text = String::from_utf8(python::run(FILE)).expect("the file is UTF-8");
    let specs: Vec<Yaml> = serde_yaml_ng::from_str(&text).expect("JSON is YAML");
    let mut ran = 0;
    for spec in specs.iter().filter(|spec| text_of(spec, "timestamp_combiner") != Some(TRANSFORMED)) {
        let name = text_of(spec, "name").unwrap_or("unnamed");
        match (run(spec), text_of(spec, "error")) {
            (Ok(()), None) => {}
            (Err(told), Some(error)) => assert!(told.contains(error), "{name}: {told}"),
            (Ok(()), Some(error)) => panic!("{name} holds, but should say: {error}"),
            (Err(told), None) => panic!("{name}: {told}"),
        }
        ran += 1;
    }
    assert_eq!((ran, specs.len()), (17, 18), "transcripts of the installed package");
}

fn run(spec: &Yaml) -> Result<(), String> {
    let strategy = strategy(spec);
    let windows = if strategy.window_fn == WindowFn::Global { WindowCoder::Global } else { WindowCoder::Interval };
    let mut groups = Groups::new(&strategy, windows, Grouping::KeyMajor);
    let mut panes: Vec<Pane> = Vec::new();
    for step in spec["transcript"].as_sequence().unwrap() {
        let (action, told) = step.as_mapping().unwrap().iter().next().unwrap();
        let action = action.as_str().unwrap();
        if action != "expect" && !panes.is_empty() {
            return Err(format!("Unexpected output: {panes:?} before {action}"));
        }
        match action {
            "input" => {
                let numbers = told.as_sequence().unwrap().iter().map(|number| number.as_i64().unwrap());
                let elements: Vec<_> = numbers.map(|number| element(&strategy.window_fn, number)).collect();
                panes = groups.elements(&elements);
                panes.extend(groups.fire_due());
            }
            "watermark" => panes = groups.watermark(EventTime::from_millis(told.as_i64().unwrap() * 1000)),
            "expect" => {
                for expected in told.as_sequence().unwrap() {
                    let found = panes.iter().position(|pane| matches(pane, expected));
                    let found = found.ok_or_else(|| format!("Unmatched output {expected:?} in {panes:?}"))?;
                    panes.remove(found);
                }
            }
            // What is kept of a window is the runner's own business; Beam's runner of transcripts does not look either.
            "state" => {}
            other => panic!("no such action: {other}"),
        }
    }
    if panes.is_empty() { Ok(()) } else { Err(format!("Unexpected output: {panes:?}")) }
}

fn element(window_fn: &WindowFn, number: i64) -> Element {
    let at = EventTime::from_millis(number * 1000);
    let window = match window_fn {
        WindowFn::Session { gap } => interval(at.millis(), at.millis() + gap.0),
        other => other.last_window_of(at).unwrap(),
    };
    let value = u8::try_from(number).expect("the numbers of transcripts are small");
    Element { key: b'k', value, timestamp: at.millis(), windows: vec![window] }
}

fn matches(pane: &Pane, expected: &Yaml) -> bool {
    let seconds = |at: EventTime| at.millis().div_euclid(1000);
    let numbers = |list: &Yaml| -> Vec<i64> {
        list.as_sequence().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
    };
    expected.as_mapping().unwrap().iter().all(|(name, told)| match name.as_str().unwrap() {
        "window" => {
            let start = match pane.window {
                BoundedWindow::Interval { start, .. } => seconds(start),
                BoundedWindow::Global | BoundedWindow::Custom { .. } => i64::MIN,
            };
            numbers(told) == [start, seconds(pane.window.max_timestamp())]
        }
        "values" => {
            let mut values: Vec<i64> = pane.values.iter().map(|value| i64::from(*value)).collect();
            values.sort_unstable();
            numbers(told) == values
        }
        "timestamp" => told.as_i64() == Some(seconds(pane.timestamp)),
        "index" => told.as_i64() == Some(pane.info.index),
        "nonspeculative_index" => told.as_i64() == Some(pane.info.non_speculative_index),
        "early" => told.as_bool() == Some(pane.info.timing == PaneTiming::Early),
        "late" => told.as_bool() == Some(pane.info.timing == PaneTiming::Late),
        "final" => told.as_bool() == Some(pane.info.is_last),
        other => panic!("no such attribute of a pane: {other}"),
    })
}

fn strategy(spec: &Yaml) -> WindowingStrategy {
    let window_fn = window_fn(&parse(text_of(spec, "window_fn").unwrap_or("GlobalWindows")));
    WindowingStrategy {
        merge_status: if window_fn.is_session() { MergeStatus::NeedsMerge } else { MergeStatus::NonMerging },
        window_fn,
        trigger: trigger(&parse(text_of(spec, "trigger_fn").unwrap_or("Default"))),
        accumulation: match text_of(spec, "accumulation_mode").unwrap_or("accumulating") {
            "discarding" => AccumulationMode::Discarding,
            _ => AccumulationMode::Accumulating,
        },
        timestamp_combiner: match text_of(spec, "timestamp_combiner").unwrap_or("OUTPUT_AT_EOW") {
            "OUTPUT_AT_EOW" => TimestampCombiner::EndOfWindow,
            "OUTPUT_AT_EARLIEST" => TimestampCombiner::Earliest,
            "OUTPUT_AT_LATEST" => TimestampCombiner::Latest,
            other => panic!("no such combiner: {other}"),
        },
        allowed_lateness: Millis(spec["allowed_lateness"].as_i64().unwrap_or(0) * 1000),
        ..WindowingStrategy::global(CoderId::new("windows"))
    }
}

fn window_fn(call: &Call) -> WindowFn {
    let seconds = |position: usize| Millis(call.args[position].number() * 1000);
    match call.name.as_str() {
        "GlobalWindows" => WindowFn::Global,
        "FixedWindows" | "CustomTimestampingFixedWindowsWindowFn" => {
            WindowFn::Fixed { size: seconds(0), offset: Millis(0) }
        }
        "Sessions" => WindowFn::Session { gap: seconds(0) },
        other => panic!("no such window function: {other}"),
    }
}

fn trigger(call: &Call) -> Trigger {
    let subs = || call.args.iter().map(trigger).collect();
    let named = |name: &str| call.named.get(name).map(|sub| Box::new(trigger(sub)));
    match call.name.as_str() {
        "Default" => Trigger::Default,
        "AfterCount" => Trigger::ElementCount { count: call.args[0].number() as i32 },
        "AfterWatermark" => Trigger::AfterEndOfWindow { early: named("early"), late: named("late") },
        "AfterProcessingTime" => Trigger::AfterProcessingTime {
            transforms: vec![TimestampTransform::Delay(Millis(call.args[0].number() * 1000))],
        },
        "Repeatedly" => Trigger::Repeat(Box::new(trigger(&call.args[0]))),
        "AfterAny" => Trigger::AfterAny(subs()),
        "AfterAll" => Trigger::AfterAll(subs()),
        "AfterEach" => Trigger::AfterEach(subs()),
        other => panic!("no such trigger: {other}"),
    }
}

fn text_of<'a>(spec: &'a Yaml, name: &str) -> Option<&'a str> {
    spec.get(name)?.as_str()
}
