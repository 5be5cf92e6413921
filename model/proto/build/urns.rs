//! Writes the table of URNs as Rust constants.
//!
//! ```text
//!   enum values with beam_urn, beam_constant, label_props, monitoring_info_spec ──► nested modules of `pub const`
//! ```
//!
//! The naming rule stands in `src/urns.rs`, where users read it. Knows the four options by name, and no enum.

use std::collections::BTreeMap;
use std::fmt::Write;

use protox::prost_reflect::{DescriptorPool, DynamicMessage, EnumDescriptor, EnumValueDescriptor, Value};

const PACKAGE: &str = "org.apache.beam.model.pipeline.v1";

/// The whole table, to be included inside a module.
pub(crate) fn table(pool: &DescriptorPool) -> String {
    let mut root = Module::default();
    for it in pool.all_enums() {
        let constants: Vec<Constant> = it.values().filter_map(|value| constant(&value)).collect();
        if constants.is_empty() {
            continue;
        }
        let mut module = &mut root;
        for part in module_path(&it) {
            module = module.children.entry(snake_case(part)).or_default();
            module.beam_name = part.to_owned();
        }
        module.beam_name = it.full_name().to_owned();
        module.constants.extend(constants);
    }
    let mut text = String::new();
    root.write(&mut text);
    text
}

#[derive(Default)]
struct Module {
    beam_name: String,
    constants: Vec<Constant>,
    children: BTreeMap<String, Self>,
}

struct Constant {
    name: String,
    doc: String,
    kind: &'static str,
    value: String,
}

impl Module {
    fn write(&self, text: &mut String) {
        for Constant { name, doc, kind, value } in &self.constants {
            writeln!(text, "/// {doc}\npub const {name}: {kind} = {value};").expect("writing to a String cannot fail");
        }
        for (name, child) in &self.children {
            let doc = &child.beam_name;
            writeln!(text, "/// `{doc}`.\npub mod {name} {{").expect("writing to a String cannot fail");
            child.write(text);
            text.push_str("}\n");
        }
    }
}

/// The enum's name without its package and without a last part that says only `Enum`.
fn module_path(it: &EnumDescriptor) -> Vec<&str> {
    let local = it.full_name().strip_prefix(it.package_name()).unwrap_or(it.full_name());
    let mut parts: Vec<&str> = local.split('.').filter(|part| !part.is_empty()).collect();
    if parts.len() > 1 && parts.last() == Some(&"Enum") {
        parts.pop();
    }
    parts
}

/// `StandardPTransforms` becomes `standard_ptransforms`: an underscore stands where lower case turns into upper case.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let mut lower_before = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && lower_before {
            snake.push('_');
        }
        lower_before = !letter.is_ascii_uppercase();
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn constant(value: &EnumValueDescriptor) -> Option<Constant> {
    let options = value.options();
    let named = |doc: String, kind: &'static str, text: String| {
        Some(Constant { name: value.name().to_owned(), doc, kind, value: text })
    };
    if let Some(urn) = text_option(value, &options, "beam_urn") {
        return named(format!("`{urn}`"), "&str", format!("{urn:?}"));
    }
    if let Some(constant) = text_option(value, &options, "beam_constant") {
        return match constant.parse::<i64>() {
            Ok(number) => named(format!("`{number}`"), "i64", number.to_string()),
            Err(_) => named(format!("`{constant}`"), "&str", format!("{constant:?}")),
        };
    }
    if let Some(props) = message_option(value, &options, "label_props") {
        let name = text_field(&props, "name");
        return named(format!("The label `{name}`"), "&str", format!("{name:?}"));
    }
    if let Some(spec) = message_option(value, &options, "monitoring_info_spec") {
        let (urn, type_urn) = (text_field(&spec, "urn"), text_field(&spec, "type"));
        let labels: Vec<String> = match spec.get_field_by_name("required_labels").as_deref() {
            Some(Value::List(labels)) => labels.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let text = format!(
            "crate::urns::MonitoringInfoSpec {{ urn: {urn:?}, type_urn: {type_urn:?}, required_labels: &{labels:?} }}"
        );
        return named(format!("`{urn}`, a `{type_urn}`"), "crate::urns::MonitoringInfoSpec", text);
    }
    None
}

fn extension(value: &EnumValueDescriptor, options: &DynamicMessage, name: &str) -> Option<Value> {
    let extension = value.parent_pool().get_extension_by_name(&format!("{PACKAGE}.{name}"))?;
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}

fn text_option(value: &EnumValueDescriptor, options: &DynamicMessage, name: &str) -> Option<String> {
    extension(value, options, name)?.as_str().map(str::to_owned)
}

fn message_option(value: &EnumValueDescriptor, options: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    extension(value, options, name)?.as_message().cloned()
}

fn text_field(message: &DynamicMessage, name: &str) -> String {
    let value = message.get_field_by_name(name);
    value.as_deref().and_then(Value::as_str).unwrap_or_default().to_owned()
}
