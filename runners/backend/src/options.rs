//! Options of a job, as the user gave them, and what a runner takes.

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

/// What kind of value an option takes (`PipelineOptionType.Enum`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// A text.
    String,
    /// A flag.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Several texts.
    Array,
}

/// An option that a runner takes: described to SDKs, validated, documented.
#[derive(Clone, Debug, PartialEq)]
pub struct OptionSpec {
    /// In snake case, as the user writes it behind `--`.
    pub name: &'static str,
    /// What kind of value.
    pub kind: OptionKind,
    /// What it does, in a sentence or two.
    pub help: &'static str,
    /// As text; `None` if it has none.
    pub default: Option<&'static str>,
    /// The least value of a whole number; `None` if all will do.
    pub least: Option<i64>,
}

impl OptionSpec {
    /// Its value as a whole number, within its range.
    ///
    /// # Errors
    /// If it is something else.
    pub fn integer(&self, options: &JobOptions) -> Result<Option<i64>, OptionError> {
        let value = options.integer(self.name)?;
        match (value, self.least) {
            (Some(value), Some(least)) if value < least => {
                Err(OptionError::new(self.name, &format!("a whole number of at least {least}"), &value.into()))
            }
            _ => Ok(value),
        }
    }

    /// The same, or what it is if the job does not say; `None` if that is nothing.
    ///
    /// # Errors
    /// If it is something else.
    pub fn integer_or_default(&self, options: &JobOptions) -> Result<Option<i64>, OptionError> {
        Ok(self.integer(options)?.or_else(|| self.default?.parse().ok()))
    }

    /// What is wrong with the value that a job gives, if it gives any.
    ///
    /// # Errors
    /// What it must be, and is not.
    pub fn check(&self, options: &JobOptions) -> Result<(), OptionError> {
        match self.kind {
            OptionKind::Integer => self.integer(options).map(drop),
            OptionKind::Boolean => options.boolean(self.name).map(drop),
            OptionKind::String => options.string(self.name).map(drop),
            OptionKind::Number => match options.get(self.name) {
                None | Some(Value::Number(_)) => Ok(()),
                Some(Value::String(text)) if text.trim().parse::<f64>().is_ok() => Ok(()),
                Some(other) => Err(OptionError::new(self.name, "a number", other)),
            },
            OptionKind::Array => match options.get(self.name) {
                None | Some(Value::Array(_)) => Ok(()),
                Some(other) => Err(OptionError::new(self.name, "a list of texts", other)),
            },
        }
    }

    /// Whether a job says something of it that does not go without saying. SDKs send the defaults that they were told.
    pub fn is_set(&self, options: &JobOptions) -> bool {
        let Some(value) = options.get(self.name) else { return false };
        match (self.default, value) {
            (Some(default), Value::String(text)) => text != default,
            (Some(default), value) => *value.to_string() != *default,
            (None, Value::String(text)) => !text.is_empty(),
            (None, Value::Bool(flag)) => *flag,
            (None, Value::Array(list)) => !list.is_empty(),
            (None, _) => true,
        }
    }
}

/// The pipeline options of a job: a map from snake-case names to JSON values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobOptions {
    values: BTreeMap<String, Value>,
}

impl JobOptions {
    /// Takes the options as SDKs send them: `beam:option:<name>:v1` or the bare name.
    pub fn from_wire(options: impl IntoIterator<Item = (String, Value)>) -> Self {
        let values = options.into_iter().map(|(key, value)| (Self::bare(&key).to_owned(), value)).collect();
        Self { values }
    }

    /// The name of an option, as which SDKs send it in one form or the other.
    pub fn bare(key: &str) -> &str {
        key.strip_prefix("beam:option:").and_then(|rest| rest.strip_suffix(":v1")).unwrap_or(key)
    }

    /// An option's value as JSON.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    /// An option that is a text.
    ///
    /// # Errors
    /// If it is something else.
    pub fn string(&self, name: &'static str) -> Result<Option<&str>, OptionError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(OptionError::new(name, "a text", other)),
        }
    }

    /// An option that is a whole number. Python sends numbers as texts.
    ///
    /// # Errors
    /// If it is something else.
    pub fn integer(&self, name: &'static str) -> Result<Option<i64>, OptionError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_i64()
                .or_else(|| value.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as i64))
                .or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()))
                .map(Some)
                .ok_or_else(|| OptionError::new(name, "a whole number", value)),
        }
    }

    /// An option that is a flag.
    ///
    /// # Errors
    /// If it is something else.
    pub fn boolean(&self, name: &'static str) -> Result<Option<bool>, OptionError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(other) => Err(OptionError::new(name, "true or false", other)),
        }
    }

    /// What stands behind `name=` in the list of experiments, or an empty text for a bare `name`.
    pub fn experiment(&self, name: &str) -> Option<&str> {
        self.get("experiments")?.as_array()?.iter().filter_map(Value::as_str).find_map(|experiment| {
            match experiment.split_once('=') {
                Some((key, value)) if key == name => Some(value),
                None if experiment == name => Some(""),
                Some(_) | None => None,
            }
        })
    }

    /// All options, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// An option that cannot be used as it was given.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("pipeline option --{name} must be {expected}, but is {found}")]
pub struct OptionError {
    /// Which option.
    pub name: &'static str,
    /// What it must be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl OptionError {
    /// An option that is not what it must be.
    pub fn new(name: &'static str, expected: &str, found: &Value) -> Self {
        Self { name, expected: expected.to_owned(), found: found.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn options(value: &Value) -> JobOptions {
        JobOptions::from_wire(value.as_object().expect("an object").clone())
    }

    #[test]
    fn keys_are_taken_bare_or_wrapped_and_numbers_as_texts() {
        let options = options(&json!({
            "beam:option:workers:v1": "4", "plain": 3.0, "beam:option:streaming:v1": true, "beam:option:none:v1": null
        }));
        assert_eq!(options.integer("workers"), Ok(Some(4)));
        assert_eq!(options.integer("plain"), Ok(Some(3)));
        assert_eq!(options.boolean("streaming"), Ok(Some(true)));
        assert_eq!(options.string("none"), Ok(None));
        assert!(options.integer("streaming").is_err());
    }

    #[test]
    fn values_are_checked_and_defaults_go_without_saying() {
        let spec =
            OptionSpec { name: "slats_max", kind: OptionKind::Integer, help: "", default: Some("64"), least: Some(1) };
        let told = |value: Value| spec.check(&options(&json!({"slats_max": value}))).map_err(|error| error.to_string());
        assert_eq!((told(json!(1)), told(json!("7")), told(Value::Null)), (Ok(()), Ok(()), Ok(())));
        let range = "pipeline option --slats_max must be a whole number of at least 1, but is 0";
        assert_eq!(told(json!("0")), Err(range.to_owned()));
        let kind = "pipeline option --slats_max must be a whole number, but is \"many\"";
        assert_eq!(told(json!("many")), Err(kind.to_owned()));
        let set = |value: Value| spec.is_set(&options(&json!({"slats_max": value})));
        assert_eq!((set(json!("64")), set(json!(64)), set(Value::Null), set(json!(65))), (false, false, false, true));
        let bare = OptionSpec { default: None, ..spec };
        assert!(bare.is_set(&options(&json!({"slats_max": 0}))));
    }

    #[test]
    fn experiments_are_found_with_and_without_a_value() {
        let options = options(&json!({"beam:option:experiments:v1": ["beam_fn_api", "purlin_runner=direct"]}));
        assert_eq!(options.experiment("beam_fn_api"), Some(""));
        assert_eq!(options.experiment("purlin_runner"), Some("direct"));
        assert_eq!(options.experiment("purlin"), None);
    }
}
