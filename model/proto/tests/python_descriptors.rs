//! Our compiled descriptors say exactly what those of the installed `apache-beam` package say.
//!
//! ```text
//!   FILE_DESCRIPTOR_SET (protox) ──► facts ─┐
//!                                           ├──► every difference, in one failure
//!   *_pb2.DESCRIPTOR    (Python) ──► facts ─┘
//! ```
//!
//! A fact is one line about one named thing. Both sides are read from the raw descriptor protos; only option values
//! go through reflection, which keeps extensions. Left out: file options and `ctype`, which concern the code generators
//! of other languages and not the wire.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod python;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto, field_descriptor_proto,
};

const DUMP: &str = r#"
import importlib, pkgutil, sys
import apache_beam.portability.api.org as root
from google.protobuf import descriptor_pb2

found = {}
def visit(file):
    if file.name not in found:
        for dependency in file.dependencies:
            visit(dependency)
        found[file.name] = file
for module in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
    if module.name.endswith("_pb2"):
        visit(importlib.import_module(module.name).DESCRIPTOR)
files = descriptor_pb2.FileDescriptorSet()
for file in found.values():
    if not file.name.startswith("google/"):
        files.file.add().ParseFromString(file.serialized_pb)
sys.stdout.buffer.write(files.SerializeToString())
"#;

#[test]
fn every_message_field_enum_and_method_is_as_in_the_installed_package() {
    let (ours, theirs) = (facts(purlin_proto::FILE_DESCRIPTOR_SET), facts(&python::run(DUMP)));
    assert!(theirs.len() > 1_000, "Python showed only {} facts", theirs.len());
    let differences = differences(&ours, &theirs);
    assert!(
        differences.is_empty(),
        "{} differences from the installed apache-beam (`cargo xtask protos` prints its interface):\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn the_comparison_sees_every_kind_of_change() {
    type Change = fn(&mut FileDescriptorProto);
    let changes: [(&str, Change); 14] = [
        ("a message renamed", |file| *file.message_type[0].name.as_mut().expect("named") += "X"),
        ("a field renumbered", |file| field(file).number = Some(4_999)),
        ("a field's type", |file| field(file).set_type(field_descriptor_proto::Type::Fixed64)),
        ("a field's label", |file| field(file).set_label(field_descriptor_proto::Label::Repeated)),
        ("a field's JSON name", |file| field(file).json_name = Some("other".to_owned())),
        ("a field removed", |file| drop(message(file).field.remove(0))),
        ("a field in another oneof", |file| field(file).oneof_index = None),
        ("a reserved range", |file| message(file).reserved_range.clear()),
        ("an enum value", |file| enumeration(file).value[0].number = Some(77)),
        ("an enum value's URN", |file| enumeration(file).value[0].options = None),
        ("a method's input", |file| file.service[0].method[0].input_type = Some(".google.protobuf.Struct".to_owned())),
        ("a method's streaming", |file| file.service[0].method[0].server_streaming = None),
        ("a method removed", |file| drop(file.service[0].method.pop())),
        ("an import", |file| drop(file.dependency.pop())),
    ];
    let before = sample();
    let told = facts_of_set(&FileDescriptorSet { file: vec![before.clone()] }, &BTreeMap::new());
    for (what, change) in changes {
        let mut after = before.clone();
        change(&mut after);
        let changed = facts_of_set(&FileDescriptorSet { file: vec![after] }, &BTreeMap::new());
        assert_ne!(differences(&told, &changed), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn the_comparison_sees_one_letter_of_a_urn() {
    let (urn, other) = (b"beam:transform:pardo:v1", b"beam:transform:pardo:v2");
    let mut bytes = purlin_proto::FILE_DESCRIPTOR_SET.to_vec();
    let at = bytes.windows(urn.len()).position(|window| window == urn).expect("the URN of ParDo");
    bytes[at..at + urn.len()].copy_from_slice(other);
    let differences = differences(&facts(purlin_proto::FILE_DESCRIPTOR_SET), &facts(&bytes));
    assert_eq!(differences.len(), 1);
    assert!(differences[0].contains("StandardPTransforms.Primitives.PAR_DO"), "{}", differences[0]);
}

/// A message with a reserved range, one with an enum of URNs, one with a oneof, and the control service, in one file.
fn sample() -> FileDescriptorProto {
    let ours = FileDescriptorSet::decode(purlin_proto::FILE_DESCRIPTOR_SET).expect("compiled by the build script");
    let file = |end: &str| ours.file.iter().find(|file| file.name().ends_with(end)).expect(end).clone();
    let (fn_api, runner_api) = (file("/beam_fn_api.proto"), file("/beam_runner_api.proto"));
    let pick = |file: &FileDescriptorProto, name: &str| {
        file.message_type.iter().find(|message| message.name() == name).expect(name).clone()
    };
    FileDescriptorProto {
        message_type: vec![
            pick(&runner_api, "Environment"),
            pick(&runner_api, "StandardPTransforms"),
            pick(&fn_api, "StateKey"),
        ],
        service: fn_api.service.into_iter().filter(|service| service.name() == "BeamFnControl").collect(),
        dependency: fn_api.dependency,
        ..Default::default()
    }
}

/// A field in a oneof.
fn field(file: &mut FileDescriptorProto) -> &mut FieldDescriptorProto {
    &mut file.message_type[2].field[0]
}

/// A message with a reserved range.
fn message(file: &mut FileDescriptorProto) -> &mut DescriptorProto {
    &mut file.message_type[0]
}

fn enumeration(file: &mut FileDescriptorProto) -> &mut EnumDescriptorProto {
    &mut file.message_type[1].enum_type[0]
}

/// What is said about each named thing.
type Facts = BTreeMap<String, String>;

fn facts(bytes: &[u8]) -> Facts {
    let mut pool = DescriptorPool::global();
    pool.decode_file_descriptor_set(bytes).expect("descriptors that fit together");
    let mut options = BTreeMap::new();
    for it in pool.all_enums() {
        for value in it.values() {
            options.insert(format!("{}.{}", it.full_name(), value.name()), message_text(&value.options()));
        }
    }
    let mut set = FileDescriptorSet::decode(bytes).expect("a set of files");
    set.file.retain(|file| !file.name().starts_with("google/"));
    facts_of_set(&set, &options)
}

fn facts_of_set(set: &FileDescriptorSet, options: &BTreeMap<String, String>) -> Facts {
    let mut collector = Collector { facts: Facts::new(), options };
    for file in &set.file {
        collector.file(file);
    }
    collector.facts
}

fn differences(ours: &Facts, theirs: &Facts) -> Vec<String> {
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let told = |facts: &Facts, name: &String| facts.get(name).map_or("nothing", String::as_str).to_owned();
    names
        .into_iter()
        .map(|name| (name, told(ours, name), told(theirs, name)))
        .filter(|(_, ours, theirs)| ours != theirs)
        .map(|(name, ours, theirs)| format!("{name}\n    ours:   {ours}\n    theirs: {theirs}"))
        .collect()
}

struct Collector<'a> {
    facts: Facts,
    /// The options of each enum value, by the enum's full name and the value's.
    options: &'a BTreeMap<String, String>,
}

impl Collector<'_> {
    fn tell(&mut self, name: &str, fact: String) {
        let before = self.facts.insert(name.to_owned(), fact);
        assert_eq!(before, None, "{name} is there twice");
    }

    fn file(&mut self, file: &FileDescriptorProto) {
        let imports: BTreeSet<&String> = file.dependency.iter().collect();
        let fact = format!(
            "package {}, {}, imports {imports:?}, public {:?}, weak {:?}",
            file.package(),
            file.syntax(),
            file.public_dependency,
            file.weak_dependency
        );
        self.tell(&format!("file {}", file.name()), fact);
        let scope = file.package();
        file.message_type.iter().for_each(|it| self.message(it, scope));
        file.enum_type.iter().for_each(|it| self.enumeration(it, scope));
        file.extension.iter().for_each(|it| self.field("extension", it, scope, &[]));
        file.service.iter().for_each(|it| self.service(it, scope));
    }

    fn message(&mut self, message: &DescriptorProto, scope: &str) {
        let name = format!("{scope}.{}", message.name());
        let mut reserved: Vec<(i32, i32)> =
            message.reserved_range.iter().map(|range| (range.start(), range.end())).collect();
        reserved.sort_unstable();
        let oneofs: BTreeSet<&str> = message.oneof_decl.iter().map(prost_types::OneofDescriptorProto::name).collect();
        let options = message.options.clone().unwrap_or_default();
        let fact = format!(
            "reserved {reserved:?} {:?}, extensible {:?}, oneofs {oneofs:?}, map entry {}, deprecated {}",
            message.reserved_name.iter().collect::<BTreeSet<_>>(),
            message.extension_range,
            options.map_entry(),
            options.deprecated()
        );
        self.tell(&format!("message {name}"), fact);
        message.field.iter().for_each(|it| self.field("field", it, &name, &message.oneof_decl));
        message.extension.iter().for_each(|it| self.field("extension", it, &name, &[]));
        message.nested_type.iter().for_each(|it| self.message(it, &name));
        message.enum_type.iter().for_each(|it| self.enumeration(it, &name));
    }

    fn field(
        &mut self,
        kind: &str,
        field: &FieldDescriptorProto,
        scope: &str,
        oneofs: &[prost_types::OneofDescriptorProto],
    ) {
        let oneof = field.oneof_index.map(|index| {
            let index = usize::try_from(index).expect("an index");
            oneofs[index].name()
        });
        // The descriptors inside Python's modules leave out the JSON names that follow from the rule.
        let json_name = match field.json_name.as_deref() {
            Some(name) => name.to_owned(),
            None if kind == "field" => json_name(field.name()),
            None => String::new(),
        };
        let json_name = if kind == "field" { json_name } else { String::new() };
        let options = field.options.clone().unwrap_or_default();
        let fact = format!(
            "number {}, {:?} {:?} {}, oneof {oneof:?}, optional {}, JSON {json_name:?}, default {:?}, extends {:?}, \
             packed {:?}, deprecated {}",
            field.number(),
            field.label(),
            field.r#type(),
            field.type_name(),
            field.proto3_optional(),
            field.default_value,
            field.extendee,
            options.packed,
            options.deprecated()
        );
        self.tell(&format!("{kind} {scope}.{}", field.name()), fact);
    }

    fn enumeration(&mut self, it: &EnumDescriptorProto, scope: &str) {
        let name = format!("{scope}.{}", it.name());
        let mut reserved: Vec<(i32, i32)> =
            it.reserved_range.iter().map(|range| (range.start(), range.end())).collect();
        reserved.sort_unstable();
        let order: Vec<&str> = it.value.iter().map(prost_types::EnumValueDescriptorProto::name).collect();
        let options = it.options.clone().unwrap_or_default();
        let fact = format!(
            "values {order:?}, reserved {reserved:?} {:?}, aliases {}",
            it.reserved_name.iter().collect::<BTreeSet<_>>(),
            options.allow_alias()
        );
        self.tell(&format!("enum {name}"), fact);
        for value in &it.value {
            let full_name = format!("{name}.{}", value.name());
            let options = self.options.get(&full_name).cloned();
            let fact = format!("number {}, options {} {:?}", value.number(), value.options.is_some(), options);
            self.tell(&format!("value {full_name}"), fact);
        }
    }

    fn service(&mut self, service: &ServiceDescriptorProto, scope: &str) {
        let name = format!("{scope}.{}", service.name());
        self.tell(&format!("service {name}"), String::new());
        for method in &service.method {
            let stream = |yes: bool| if yes { "stream " } else { "" };
            let fact = format!(
                "{}{} -> {}{}",
                stream(method.client_streaming()),
                method.input_type(),
                stream(method.server_streaming()),
                method.output_type()
            );
            self.tell(&format!("method {name}.{}", method.name()), fact);
        }
    }
}

/// The name that protobuf derives: underscores go, and the letter behind one is capital.
fn json_name(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |json, part| {
        let mut letters = part.chars();
        let capital = letters.next().map(|letter| letter.to_ascii_uppercase());
        json + &capital.into_iter().chain(letters).collect::<String>()
    })
}

/// A message by its fields' numbers, the same for equal messages.
fn message_text(message: &DynamicMessage) -> String {
    let fields = message.fields().map(|(field, value)| (field.number(), field.full_name().to_owned(), value));
    let extensions = message.extensions().map(|(field, value)| (field.number(), field.full_name().to_owned(), value));
    let mut parts: Vec<(u32, String)> = fields
        .chain(extensions)
        .map(|(number, name, value)| (number, format!("{name} = {}", value_text(value))))
        .collect();
    parts.sort();
    assert_eq!(message.unknown_fields().count(), 0, "an option that nobody declared");
    parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("; ")
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Message(it) => format!("{{{}}}", message_text(it)),
        Value::List(items) => format!("[{}]", items.iter().map(value_text).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{key:?}: {}", value_text(value)));
            format!("{:?}", entries.collect::<BTreeSet<_>>())
        }
        Value::Bool(_)
        | Value::I32(_)
        | Value::I64(_)
        | Value::U32(_)
        | Value::U64(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::String(_)
        | Value::Bytes(_)
        | Value::EnumNumber(_) => format!("{value:?}"),
    }
}
