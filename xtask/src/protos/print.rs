//! Prints one file of a descriptor pool as `.proto` text.
//!
//! ```text
//!   FileDescriptor ──► header, imports, enums, messages, extensions, services ──► String
//! ```
//!
//! Everything stands in the order of the descriptor, so the text changes only where the interface does. Types are
//! called by the shortest name that protobuf's scoping resolves to them. Does not know where the text goes.

use std::fmt::Write;

use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, FileDescriptor,
    Kind, MapKey, MessageDescriptor, MethodDescriptor, OneofDescriptor, ServiceDescriptor, Value,
};

/// Columns by which a block is indented.
const WIDTH: usize = 2;

/// The text of `file`, as it is committed.
pub(super) fn file(file: &FileDescriptor, beam_version: &str) -> String {
    let mut printer = Printer { pool: file.parent_pool().clone(), text: String::new(), depth: 0 };
    printer.file(file, beam_version);
    printer.text
}

struct Printer {
    pool: DescriptorPool,
    text: String,
    depth: usize,
}

impl Printer {
    fn file(&mut self, file: &FileDescriptor, beam_version: &str) {
        self.line(&format!("// Beam's interface as of apache-beam {beam_version}: {}.", file.name()));
        self.line("// Printed by `cargo xtask protos` from the descriptors of that package; not edited by hand.");
        self.blank();
        self.line("syntax = \"proto3\";");
        self.blank();
        self.line(&format!("package {};", file.package_name()));
        if file.dependencies().len() > 0 {
            self.blank();
        }
        for dependency in file.dependencies() {
            self.line(&format!("import \"{}\";", dependency.name()));
        }
        for it in file.enums() {
            self.blank();
            self.enumeration(&it);
        }
        for it in file.messages() {
            self.blank();
            self.message(&it);
        }
        for it in file.extensions() {
            self.blank();
            self.extension(&it);
        }
        for it in file.services() {
            self.blank();
            self.service(&it);
        }
    }

    fn message(&mut self, message: &MessageDescriptor) {
        self.open(&format!("message {} {{", message.name()));
        self.reserved(
            message.reserved_ranges().map(|range| (i64::from(range.start), i64::from(range.end) - 1)),
            message.reserved_names(),
        );
        for it in message.child_enums() {
            self.enumeration(&it);
        }
        for it in message.child_messages().filter(|it| !it.is_map_entry()) {
            self.message(&it);
        }
        for it in message.child_extensions() {
            self.extension(&it);
        }
        // `fields()` is sorted by number; the descriptor keeps the order in which they were written.
        let mut oneofs_printed = Vec::new();
        for field in &message.descriptor_proto().field {
            let Some(field) = message.get_field_by_name(field.name()) else {
                continue;
            };
            match field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
                None => self.field(&field, message.full_name()),
                Some(oneof) if oneofs_printed.contains(&oneof) => {}
                Some(oneof) => {
                    self.oneof(&oneof, message);
                    oneofs_printed.push(oneof);
                }
            }
        }
        self.close();
    }

    fn oneof(&mut self, oneof: &OneofDescriptor, message: &MessageDescriptor) {
        self.open(&format!("oneof {} {{", oneof.name()));
        for field in &message.descriptor_proto().field {
            let Some(field) = message.get_field_by_name(field.name()) else {
                continue;
            };
            if field.containing_oneof().as_ref() == Some(oneof) {
                self.field(&field, message.full_name());
            }
        }
        self.close();
    }

    fn field(&mut self, field: &FieldDescriptor, scope: &str) {
        let kind = if field.is_map() {
            let Kind::Message(entry) = field.kind() else { unreachable!("a map field is a repeated message") };
            let key = self.kind(&entry.map_entry_key_field().kind(), scope);
            let value = self.kind(&entry.map_entry_value_field().kind(), scope);
            format!("map<{key}, {value}>")
        } else {
            let proto3_optional = field.field_descriptor_proto().proto3_optional();
            let label = label(field.cardinality(), proto3_optional);
            format!("{label}{}", self.kind(&field.kind(), scope))
        };
        let mut options = Vec::new();
        if field.json_name() != default_json_name(field.name()) {
            options.push(format!("json_name = {}", quoted(field.json_name())));
        }
        if field.field_descriptor_proto().options.as_ref().is_some_and(|options| options.deprecated()) {
            options.push("deprecated = true".to_owned());
        }
        let options = if options.is_empty() { String::new() } else { format!(" [{}]", options.join(", ")) };
        self.line(&format!("{kind} {} = {}{options};", field.name(), field.number()));
    }

    fn extension(&mut self, extension: &ExtensionDescriptor) {
        let scope = extension
            .parent_message()
            .map_or_else(|| extension.package_name().to_owned(), |parent| parent.full_name().to_owned());
        let extendee = self.shortest(extension.containing_message().full_name(), &scope);
        self.open(&format!("extend {extendee} {{"));
        let proto3_optional = extension.field_descriptor_proto().proto3_optional();
        let label = label(extension.cardinality(), proto3_optional);
        let kind = self.kind(&extension.kind(), &scope);
        self.line(&format!("{label}{kind} {} = {};", extension.name(), extension.number()));
        self.close();
    }

    fn enumeration(&mut self, it: &EnumDescriptor) {
        self.open(&format!("enum {} {{", it.name()));
        if it.enum_descriptor_proto().options.as_ref().is_some_and(|options| options.allow_alias()) {
            self.line("option allow_alias = true;");
        }
        self.reserved(
            it.reserved_ranges().map(|range| (i64::from(*range.start()), i64::from(*range.end()))),
            it.reserved_names(),
        );
        // `values()` is sorted by number; the first written value is the default, so the order matters.
        for value in &it.enum_descriptor_proto().value {
            let Some(value) = it.get_value_by_name(value.name()) else {
                continue;
            };
            let head = format!("{} = {}", value.name(), value.number());
            let options = value.options();
            let mut parts: Vec<String> = Vec::new();
            if matches!(options.get_field_by_name("deprecated").as_deref(), Some(Value::Bool(true))) {
                parts.push("deprecated = true".to_owned());
            }
            for (extension, value) in options.extensions() {
                let name = self.shortest(extension.full_name(), it.full_name());
                parts.push(format!("({name}) = {}", aggregate(value, self.depth)));
            }
            let options = if parts.is_empty() { String::new() } else { format!(" [{}]", parts.join(", ")) };
            self.line(&format!("{head}{options};"));
        }
        self.close();
    }

    fn service(&mut self, service: &ServiceDescriptor) {
        self.open(&format!("service {} {{", service.name()));
        for method in service.methods() {
            let line = self.method(&method, service.full_name());
            self.line(&line);
        }
        self.close();
    }

    fn method(&self, method: &MethodDescriptor, scope: &str) -> String {
        let side = |streaming: bool, message: &MessageDescriptor| {
            let stream = if streaming { "stream " } else { "" };
            format!("({stream}{})", self.shortest(message.full_name(), scope))
        };
        let input = side(method.is_client_streaming(), &method.input());
        let output = side(method.is_server_streaming(), &method.output());
        format!("rpc {}{input} returns {output};", method.name())
    }

    fn reserved<'a>(
        &mut self,
        ranges: impl Iterator<Item = (i64, i64)>,
        names: impl ExactSizeIterator<Item = &'a str>,
    ) {
        for (first, last) in ranges {
            let range = if first == last { first.to_string() } else { format!("{first} to {last}") };
            self.line(&format!("reserved {range};"));
        }
        if names.len() > 0 {
            let names: Vec<String> = names.map(quoted).collect();
            self.line(&format!("reserved {};", names.join(", ")));
        }
    }

    fn kind(&self, kind: &Kind, scope: &str) -> String {
        match kind {
            Kind::Message(message) => self.shortest(message.full_name(), scope),
            Kind::Enum(it) => self.shortest(it.full_name(), scope),
            Kind::Double
            | Kind::Float
            | Kind::Int32
            | Kind::Int64
            | Kind::Uint32
            | Kind::Uint64
            | Kind::Sint32
            | Kind::Sint64
            | Kind::Fixed32
            | Kind::Fixed64
            | Kind::Sfixed32
            | Kind::Sfixed64
            | Kind::Bool
            | Kind::String
            | Kind::Bytes => format!("{kind:?}").to_lowercase(),
        }
    }

    /// The shortest spelling of `full_name` that means it inside `scope`.
    ///
    /// Protobuf looks for the first part of a name in the innermost scope first, and does not look further out once it
    /// has found something there; so each candidate is resolved the same way before it is taken.
    fn shortest(&self, full_name: &str, scope: &str) -> String {
        let starts = std::iter::once(0).chain(full_name.match_indices('.').map(|(at, _)| at + 1));
        let mut candidates: Vec<&str> = starts.map(|at| &full_name[at..]).collect();
        candidates.reverse();
        candidates
            .into_iter()
            .find(|candidate| self.resolve(candidate, scope) == full_name)
            .map_or_else(|| format!(".{full_name}"), str::to_owned)
    }

    fn resolve(&self, name: &str, scope: &str) -> String {
        let first = name.split('.').next().unwrap_or(name);
        let mut scope = scope;
        loop {
            let prefix = if scope.is_empty() { String::new() } else { format!("{scope}.") };
            if self.is_symbol(&format!("{prefix}{first}")) {
                return format!("{prefix}{name}");
            }
            match scope.rfind('.') {
                Some(at) => scope = &scope[..at],
                None if scope.is_empty() => return String::new(),
                None => scope = "",
            }
        }
    }

    fn is_symbol(&self, full_name: &str) -> bool {
        let package = format!("{full_name}.");
        self.pool.get_message_by_name(full_name).is_some()
            || self.pool.get_enum_by_name(full_name).is_some()
            || self.pool.get_extension_by_name(full_name).is_some()
            || self.pool.get_service_by_name(full_name).is_some()
            || self.pool.files().any(|file| format!("{}.", file.package_name()).starts_with(&package))
            || self.is_member(full_name)
    }

    /// Fields, values and methods are names in their scope too, and hide outer ones.
    fn is_member(&self, full_name: &str) -> bool {
        let Some((scope, name)) = full_name.rsplit_once('.') else {
            return false;
        };
        let is_field = self.pool.get_message_by_name(scope).is_some_and(|message| {
            message.get_field_by_name(name).is_some() || message.oneofs().any(|oneof| oneof.name() == name)
        });
        let is_method = || {
            let service = self.pool.get_service_by_name(scope);
            service.is_some_and(|service| service.methods().any(|method| method.name() == name))
        };
        // The values of an enum are siblings of the enum, as in C++.
        let is_value = || {
            let message = self.pool.get_message_by_name(scope);
            message.is_some_and(|it| it.child_enums().any(|it| it.get_value_by_name(name).is_some()))
        };
        is_field || is_method() || is_value()
    }

    fn open(&mut self, text: &str) {
        self.line(text);
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.line("}");
    }

    fn line(&mut self, text: &str) {
        let indent = self.depth * WIDTH;
        writeln!(self.text, "{:indent$}{text}", "").expect("writing to a String cannot fail");
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }
}

fn label(cardinality: Cardinality, proto3_optional: bool) -> &'static str {
    match (cardinality, proto3_optional) {
        (Cardinality::Repeated, _) => "repeated ",
        (Cardinality::Required, _) => "required ",
        (Cardinality::Optional, true) => "optional ",
        (Cardinality::Optional, false) => "",
    }
}

/// The name that protoc derives: underscores go, and the letter behind one is capital.
fn default_json_name(name: &str) -> String {
    let mut json_name = String::new();
    let mut capital = false;
    for letter in name.chars() {
        if letter == '_' {
            capital = true;
        } else {
            json_name.push(if capital { letter.to_ascii_uppercase() } else { letter });
            capital = false;
        }
    }
    json_name
}

/// An option's value; messages become `{ name: value … }` over several lines.
fn aggregate(value: &Value, depth: usize) -> String {
    match value {
        Value::Bool(it) => it.to_string(),
        Value::I32(it) | Value::EnumNumber(it) => it.to_string(),
        Value::I64(it) => it.to_string(),
        Value::U32(it) => it.to_string(),
        Value::U64(it) => it.to_string(),
        Value::F32(it) => it.to_string(),
        Value::F64(it) => it.to_string(),
        Value::String(it) => quoted(it),
        Value::Bytes(it) => quoted(&it.escape_ascii().to_string()),
        Value::Message(it) => braces(&members(it, depth + 1), depth),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|it| aggregate(it, depth)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => {
            // prost-reflect keeps maps hashed; sorted, so that the text is the same in every run.
            let mut entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{{key: {} value: {}}}", map_key(key), aggregate(value, depth)))
                .collect();
            entries.sort();
            format!("[{}]", entries.join(", "))
        }
    }
}

fn members(message: &DynamicMessage, depth: usize) -> Vec<String> {
    let mut fields: Vec<_> = message.fields().collect();
    fields.sort_by_key(|(field, _)| field.number());
    fields.into_iter().map(|(field, value)| format!("{}: {}", field.name(), aggregate(value, depth))).collect()
}

fn braces(members: &[String], depth: usize) -> String {
    let (inner, outer) = ("  ".repeat(depth + 1), "  ".repeat(depth));
    let lines: Vec<String> = members.iter().map(|member| format!("{inner}{member}")).collect();
    format!("{{\n{}\n{outer}}}", lines.join("\n"))
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(it) => it.to_string(),
        MapKey::I32(it) => it.to_string(),
        MapKey::I64(it) => it.to_string(),
        MapKey::U32(it) => it.to_string(),
        MapKey::U64(it) => it.to_string(),
        MapKey::String(it) => quoted(it),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
