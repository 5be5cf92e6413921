//! The options of a pipeline as they arrive (`google.protobuf.Struct`), and which runner they choose.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use purlin_backend::{JobOptions, OptionError, OptionKind, OptionSpec};
use serde_json::Value;
use thiserror::Error;

/// The option, and the experiment, that names the runner of a job.
pub const RUNNER_OPTION: &str = "purlin_runner";

/// How the option that names the runner is described to SDKs.
pub const RUNNER_SPEC: OptionSpec = OptionSpec {
    name: RUNNER_OPTION,
    kind: OptionKind::String,
    help: "Which of Purlin's runners runs this job. SDKs that do not pass it on take it as an experiment: \
           --experiments=purlin_runner=NAME. With `auto`, the first that does all that the pipeline needs.",
    default: None,
    least: None,
};

/// Up to here every whole number is exact.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// The options as the runners read them.
pub(crate) fn from_wire(options: &prost_types::Struct) -> JobOptions {
    JobOptions::from_wire(options.fields.iter().map(|(key, value)| (key.clone(), to_json(value))))
}

/// Puts these options into those of a job, in the place of what it says of them.
pub fn add_options(options: &mut prost_types::Struct, added: &BTreeMap<String, String>) {
    for (name, text) in added {
        options.fields.retain(|key, _| JobOptions::bare(key) != name);
        let value = prost_types::Value { kind: Some(Kind::StringValue(text.clone())) };
        options.fields.insert(format!("beam:option:{name}:v1"), value);
    }
}

/// A map of options, or any other message of this kind, as JSON.
pub fn struct_to_json(fields: &prost_types::Struct) -> Value {
    Value::Object(fields.fields.iter().map(|(key, value)| (key.clone(), to_json(value))).collect())
}

/// As deep as the decoder of messages goes, which bounds it.
fn to_json(value: &prost_types::Value) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        // JSON's readers tell whole numbers from others, and this message does not.
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < WHOLE_MAX => {
            Value::from(*number as i64)
        }
        Some(Kind::NumberValue(number)) => serde_json::Number::from_f64(*number).map_or(Value::Null, Value::Number),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::BoolValue(flag)) => Value::Bool(*flag),
        Some(Kind::StructValue(fields)) => struct_to_json(fields),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(to_json).collect()),
    }
}

/// The runner that a job chooses, by option or by experiment.
///
/// # Errors
/// If the option is no text, or option and experiment contradict each other.
pub(crate) fn chosen_runner(options: &JobOptions) -> Result<Option<&str>, RunnerChoiceError> {
    let by_option = options.string(RUNNER_OPTION)?.filter(|name| !name.is_empty());
    let by_experiment = options.experiment(RUNNER_OPTION).filter(|name| !name.is_empty());
    match (by_option, by_experiment) {
        (Some(option), Some(experiment)) if option != experiment => {
            Err(RunnerChoiceError::Contradiction { option: option.to_owned(), experiment: experiment.to_owned() })
        }
        (Some(name), _) | (None, Some(name)) => Ok(Some(name)),
        (None, None) => Ok(None),
    }
}

/// Why it is not clear which runner a job wants.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RunnerChoiceError {
    /// It is not a name.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// It says two things.
    #[error(
        "the pipeline option --purlin_runner={option} and the experiment purlin_runner={experiment} contradict each \
         other; give only one of them"
    )]
    Contradiction {
        /// What the option says.
        option: String,
        /// What the experiment says.
        experiment: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: Value, expected: Result<Option<&str>, &str>) {
        let Value::Object(options) = options else { panic!("an object") };
        let options = JobOptions::from_wire(options);
        let chosen = chosen_runner(&options);
        assert_eq!(chosen.as_ref().copied().map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn a_job_names_its_runner_by_option_or_by_experiment() {
        use serde_json::json;
        check(json!({}), Ok(None));
        check(json!({"beam:option:purlin_runner:v1": "direct"}), Ok(Some("direct")));
        check(json!({"experiments": ["x", "purlin_runner=direct"]}), Ok(Some("direct")));
        check(json!({"purlin_runner": "direct", "experiments": ["purlin_runner=direct"]}), Ok(Some("direct")));
        check(
            json!({"purlin_runner": "direct", "experiments": ["purlin_runner=other"]}),
            Err("the pipeline option --purlin_runner=direct and the experiment purlin_runner=other contradict each \
                 other; give only one of them"),
        );
        check(json!({"purlin_runner": 3}), Err("pipeline option --purlin_runner must be a text, but is 3"));
    }

    #[test]
    fn every_kind_of_value_arrives() {
        let number = |number| prost_types::Value { kind: Some(Kind::NumberValue(number)) };
        let list =
            prost_types::ListValue { values: vec![number(1.5), number(f64::NAN), prost_types::Value::default()] };
        let nested = prost_types::Struct {
            fields: [("list".to_owned(), prost_types::Value { kind: Some(Kind::ListValue(list)) })].into(),
        };
        let options = from_wire(&prost_types::Struct {
            fields: [("go_options".to_owned(), prost_types::Value { kind: Some(Kind::StructValue(nested)) })].into(),
        });
        assert_eq!(options.get("go_options"), Some(&serde_json::json!({"list": [1.5, null, null]})));
    }
}
