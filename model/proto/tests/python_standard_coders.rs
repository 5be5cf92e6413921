//! Beam's own examples of its standard coders, `standard_coders.yaml`, read from the installed package.
//!
//! ```text
//!   coder spec ──convert::coder──► Coder ─┬─ decode(bytes) = value
//!   example: bytes ↔ value ───────────────┼─ encode(value) = bytes, unless the spec says non-deterministic
//!                                         └─ skip(bytes) ends at the last one
//! ```
//!
//! Each example runs in the contexts that its section names, with the coder made from a `Coder` message as a pipeline
//! would hold it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod python;

use std::collections::{BTreeMap, BTreeSet};

use purlin_model::coder::schema::{DECIMAL_URN, FieldKind, FieldType, MILLIS_INSTANT_URN, Schema};
use purlin_model::coder::value::{
    CustomWindow, Decimal, Float, ShardedKey, Timer, TimerFiring, Value as Model, WindowedValue,
};
use purlin_model::coder::{Coder, Context, urns};
use purlin_model::pane::{PaneInfo, PaneTiming};
use purlin_model::time::EventTime;
use purlin_model::window::BoundedWindow;
use purlin_proto::convert::coder::from_components;
use purlin_proto::convert::problem::{Path, Problems};
use purlin_proto::pipeline::v1 as pb;
use serde_yaml_ng::{Deserializer, Value as Yaml};

const FILE: &str = r#"
import pathlib, sys
import apache_beam
(path,) = pathlib.Path(apache_beam.__file__).parent.rglob("standard_coders.yaml")
sys.stdout.buffer.write(path.read_bytes())
"#;

/// A section of the file.
struct Section {
    coder: Coder,
    contexts: Vec<Context>,
    non_deterministic: bool,
    /// What stands in state behind each token, encoded.
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    examples: Vec<(Vec<u8>, Yaml)>,
}

#[test]
fn every_example_of_beam_holds_in_both_directions() {
    let text = String::from_utf8(python::run(FILE)).expect("the file is UTF-8");
    let sections: Vec<Yaml> = Deserializer::from_str(&text)
        .map(|section| serde::Deserialize::deserialize(section).expect("every section is YAML"))
        .filter(|section: &Yaml| !section.is_null())
        .collect();

    let (mut examples, mut decoded, mut encoded) = (0, 0, 0);
    let mut covered = BTreeSet::new();
    for section in &sections {
        let section = read_section(section);
        covered.insert(section.coder.urn().to_owned());
        for (bytes, expected) in &section.examples {
            examples += 1;
            for &context in &section.contexts {
                check_decode(&section, context, bytes, expected);
                decoded += 1;
                if !section.non_deterministic {
                    check_encode(&section, context, bytes, expected);
                    encoded += 1;
                }
            }
        }
    }

    // The file has no section for a length prefix, nor for `schema`, whose payload holds code of an SDK.
    let standard: BTreeSet<_> = STANDARD.iter().map(|&urn| urn.to_owned()).collect();
    assert_eq!(covered, standard, "the file speaks of these coders");
    println!("{} sections, {examples} examples: {decoded} decoded, {encoded} encoded", sections.len());
    assert!(examples > 100 && decoded > 200 && encoded > 150, "{examples} examples, {decoded}, {encoded}");
}

const STANDARD: [&str; 17] = [
    urns::BYTES,
    urns::STRING_UTF8,
    urns::BOOL,
    urns::VARINT,
    urns::DOUBLE,
    urns::KV,
    urns::ITERABLE,
    urns::STATE_BACKED_ITERABLE,
    urns::NULLABLE,
    urns::SHARDED_KEY,
    urns::ROW,
    urns::GLOBAL_WINDOW,
    urns::INTERVAL_WINDOW,
    urns::CUSTOM_WINDOW,
    urns::WINDOWED_VALUE,
    urns::PARAM_WINDOWED_VALUE,
    urns::TIMER,
];

fn check_decode(section: &Section, context: Context, bytes: &[u8], expected: &Yaml) {
    let coder = &section.coder;
    let mut rest = bytes;
    let value = coder.decode(&mut rest, context).unwrap_or_else(|error| panic!("{coder} {context:?}: {error}"));
    assert!(rest.is_empty(), "{coder} {context:?} left {} bytes of {bytes:02x?}", rest.len());
    assert_eq!(resolved(section, value), to_model(coder, expected), "{coder} {context:?} from {bytes:02x?}");
    let mut rest = bytes;
    coder.skip(&mut rest, context).unwrap_or_else(|error| panic!("{coder} {context:?}: {error}"));
    assert!(rest.is_empty(), "{coder} {context:?} passed over too little of {bytes:02x?}");

    if context == Context::Nested {
        // Something that follows is left alone.
        let more = [bytes, &[0x2a]].concat();
        let (mut decoded, mut skipped) = (&more[..], &more[..]);
        coder.decode(&mut decoded, context).expect("as before");
        coder.skip(&mut skipped, context).expect("as before");
        assert_eq!((decoded, skipped), (&[0x2a][..], &[0x2a][..]), "{coder} at the end of {bytes:02x?}");
    }
}

fn check_encode(section: &Section, context: Context, bytes: &[u8], expected: &Yaml) {
    let coder = &section.coder;
    let mut out = Vec::new();
    let value = to_model(coder, expected);
    coder.encode(&value, context, &mut out).unwrap_or_else(|error| panic!("{coder} {context:?}: {error}"));
    assert_eq!(out, bytes, "{coder} {context:?} to {value}");
}

/// An iterable with what its token stands for.
fn resolved(section: &Section, value: Model) -> Model {
    match (&section.coder, value) {
        (Coder::StateBackedIterable(element), Model::StateBacked(it)) => {
            let mut elements = it.elements;
            let mut rest = &section.state[&it.token[..]][..];
            while !rest.is_empty() {
                elements.push(element.decode(&mut rest, Context::Nested).expect("the section's state is good"));
            }
            Model::Iterable(elements)
        }
        (_, value) => value,
    }
}

// Sections.

fn read_section(section: &Yaml) -> Section {
    let known = ["coder", "nested", "examples"];
    let keys = section.as_mapping().expect("a section is a mapping").keys();
    for key in keys {
        assert!(known.contains(&text(key)), "Beam says something new about its coders: {key:?}");
    }
    let spec = &section["coder"];
    let state = match &spec["state"] {
        Yaml::Mapping(state) => state.iter().map(|(token, bytes)| (latin1(token), latin1(bytes))).collect(),
        _ => BTreeMap::new(),
    };
    let examples = section["examples"].as_mapping().expect("examples are a mapping");
    Section {
        coder: read_coder(spec),
        contexts: match section["nested"].as_bool() {
            Some(true) => vec![Context::Nested],
            Some(false) => vec![Context::Outer],
            None => vec![Context::Nested, Context::Outer],
        },
        non_deterministic: spec["non_deterministic"].as_bool().unwrap_or(false),
        state,
        examples: examples.iter().map(|(bytes, value)| (latin1(bytes), value.clone())).collect(),
    }
}

/// The coder as a pipeline would bring it: messages that name each other by id.
fn read_coder(spec: &Yaml) -> Coder {
    let mut messages = BTreeMap::new();
    let root = add_coder(spec, &mut messages);
    let mut problems = Problems::new();
    let coders = from_components(&messages, &Path::root("coders"), &mut problems);
    assert!(problems.is_empty(), "{problems}");
    (*coders[root.as_str()]).clone()
}

fn add_coder(spec: &Yaml, messages: &mut BTreeMap<String, pb::Coder>) -> String {
    let components = spec["components"].as_sequence().map(Vec::as_slice).unwrap_or_default();
    let component_coder_ids = components.iter().map(|component| add_coder(component, messages)).collect();
    let payload = if spec["payload"].is_null() { vec![] } else { latin1(&spec["payload"]) };
    let function = pb::FunctionSpec { urn: text(&spec["urn"]).to_owned(), payload: payload.into() };
    let id = format!("coder {}", messages.len());
    messages.insert(id.clone(), pb::Coder { spec: Some(function), component_coder_ids });
    id
}

/// The file writes bytes as text, a character below 256 for each.
fn latin1(value: &Yaml) -> Vec<u8> {
    text(value).chars().map(|char| u8::try_from(u32::from(char)).expect("a byte")).collect()
}

fn text(value: &Yaml) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value:?} is no text"))
}

// Values.

fn to_model(coder: &Coder, value: &Yaml) -> Model {
    match coder {
        Coder::Bytes => Model::bytes(latin1(value)),
        Coder::StringUtf8 => Model::string(text(value)),
        Coder::Bool => Model::Bool(value.as_bool().expect("a bool")),
        Coder::VarInt => Model::Int(whole(value)),
        Coder::Double => Model::double(float(value)),
        Coder::Kv(key_coder, value_coder) => {
            Model::kv(to_model(key_coder, &value["key"]), to_model(value_coder, &value["value"]))
        }
        Coder::Iterable(element) | Coder::StateBackedIterable(element) => Model::Iterable(list(element, value)),
        Coder::Nullable(inner) if !value.is_null() => to_model(inner, value),
        Coder::Nullable(_) => Model::Null,
        Coder::ShardedKey(key) => Model::ShardedKey(Box::new(ShardedKey {
            shard_id: latin1(&value["shardId"]).into(),
            key: to_model(key, &value["key"]),
        })),
        Coder::Row(schema) => row(schema, value),
        Coder::GlobalWindow => {
            assert!(["", "global"].contains(&text(value)));
            Model::Window(BoundedWindow::Global)
        }
        Coder::IntervalWindow => {
            let (end, span) = (whole(&value["end"]), whole(&value["span"]));
            Model::Window(BoundedWindow::Interval { start: exactly(end - span), end: exactly(end) })
        }
        Coder::CustomWindow(inner) => {
            let window = to_model(inner, &value["window"]);
            let Model::Window(bounded) = &window else { panic!("{window} is not a window of the model") };
            Model::CustomWindow(Box::new(CustomWindow { max_timestamp: bounded.max_timestamp(), window }))
        }
        Coder::WindowedValue { value: inner, window } | Coder::ParamWindowedValue { value: inner, window, .. } => {
            Model::Windowed(Box::new(WindowedValue {
                value: to_model(inner, &value["value"]),
                timestamp: instant(&value["timestamp"]),
                windows: list(window, &value["windows"]),
                pane: pane(&value["pane"]),
            }))
        }
        Coder::Timer { key, window } => {
            let firing = || TimerFiring {
                fire: instant(&value["fireTimestamp"]),
                hold: instant(&value["holdTimestamp"]),
                pane: pane(&value["pane"]),
            };
            Model::Timer(Box::new(Timer {
                key: to_model(key, &value["userKey"]),
                dynamic_tag: text(&value["dynamicTimerTag"]).to_owned(),
                windows: list(window, &value["windows"]),
                firing: (!value["clearBit"].as_bool().expect("a bool")).then(firing),
            }))
        }
        Coder::LengthPrefix(_) | Coder::Unknown(_) => panic!("the file has a new coder, {coder}: say how to read it"),
    }
}

fn list(element: &Coder, value: &Yaml) -> Vec<Model> {
    value.as_sequence().expect("a list").iter().map(|item| to_model(element, item)).collect()
}

fn row(schema: &Schema, value: &Yaml) -> Model {
    let fields = value.as_mapping().expect("a row is a mapping");
    assert_eq!(fields.len(), schema.fields().len(), "{schema}");
    Model::Row(schema.fields().iter().map(|field| typed(&field.field_type, &fields[field.name.as_str()])).collect())
}

fn typed(field_type: &FieldType, value: &Yaml) -> Model {
    if value.is_null() {
        assert!(field_type.nullable, "{field_type}");
        return Model::Null;
    }
    match &field_type.kind {
        FieldKind::Byte | FieldKind::Int16 | FieldKind::Int32 | FieldKind::Int64 => Model::Int(whole(value)),
        FieldKind::Float => Model::Float(Float(text(value).parse().expect("a float"))),
        FieldKind::Double => Model::double(float(value)),
        FieldKind::String => Model::string(text(value)),
        FieldKind::Boolean => Model::Bool(value.as_bool().expect("a bool")),
        FieldKind::Bytes => Model::bytes(latin1(value)),
        FieldKind::Array(element) | FieldKind::Iterable(element) => {
            Model::Iterable(value.as_sequence().expect("a list").iter().map(|item| typed(element, item)).collect())
        }
        FieldKind::Map(sides) => {
            let entries = value.as_mapping().expect("a map").iter();
            Model::Map(entries.map(|(key, value)| (typed(&sides.0, key), typed(&sides.1, value))).collect())
        }
        FieldKind::Row(schema) => row(schema, value),
        FieldKind::Logical(logical) => match (logical.urn(), logical.representation()) {
            // The file gives the eight bytes as a number, and leaves the flipped sign bit in it.
            (MILLIS_INSTANT_URN, _) => Model::Instant(whole(value) ^ i64::MIN),
            (DECIMAL_URN, _) => decimal(text(value)),
            (_, Some(representation)) => typed(representation, value),
            (urn, None) => panic!("the file has a logical type without representation: {urn}"),
        },
    }
}

fn decimal(digits: &str) -> Model {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let unscaled = format!("{whole}{fraction}").parse().expect("digits");
    Model::Decimal(Decimal::new(unscaled, fraction.len() as i64))
}

fn whole(value: &Yaml) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value:?} is no whole number"))
}

/// The file writes floating-point numbers as text.
fn float(value: &Yaml) -> f64 {
    text(value).parse().expect("a float")
}

fn instant(value: &Yaml) -> EventTime {
    exactly(whole(value))
}

fn exactly(millis: i64) -> EventTime {
    let instant = EventTime::from_millis(millis);
    assert_eq!(instant.millis(), millis, "the file stays within Beam's range");
    instant
}

fn pane(value: &Yaml) -> PaneInfo {
    let flag = |name: &str| value[name].as_bool().expect("a bool");
    PaneInfo {
        is_first: flag("is_first"),
        is_last: flag("is_last"),
        timing: match text(&value["timing"]) {
            "EARLY" => PaneTiming::Early,
            "ON_TIME" => PaneTiming::OnTime,
            "LATE" => PaneTiming::Late,
            "UNKNOWN" => PaneTiming::Unknown,
            other => panic!("{other} is no timing"),
        },
        index: whole(&value["index"]),
        non_speculative_index: whole(&value["on_time_index"]),
    }
}
