//! The options of a job about dead letters: whether elements that user code cannot take are put aside, where, and how many.

use std::path::PathBuf;

use crate::options::{JobOptions, OptionError, OptionKind, OptionSpec};

/// Where dead letters go.
pub const DEAD_LETTER_DIR: OptionSpec = OptionSpec {
    name: "dead_letter_dir",
    kind: OptionKind::String,
    help: "A folder on the server's machine. With it, an element that user code fails on is found, written to a file there, and passed \
           over; `purlin dead-letters` shows it. In a stateful stage it is written, its key is told, and the job ends. Without the \
           folder, the first failure ends the job. SDKs that do not pass it on take it as an experiment: \
           --experiments=dead_letter_dir=FOLDER.",
    default: None,
    least: None,
};

/// How many there may be.
pub const DEAD_LETTER_MAX: OptionSpec = OptionSpec {
    name: "dead_letter_max",
    kind: OptionKind::Integer,
    help: "With --dead_letter_dir: how many elements may fail before the job does.",
    default: Some("1000"),
    least: Some(1),
};

/// What a job wants of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterOptions {
    /// The folder that they go to.
    pub folder: PathBuf,
    /// How many there may be.
    pub count_max: u64,
}

impl DeadLetterOptions {
    /// What a job's options say; `None` if it keeps none.
    ///
    /// # Errors
    /// If a value is not what its option takes, or there is a number without a folder.
    pub fn of(options: &JobOptions) -> Result<Option<Self>, OptionError> {
        let folder = options.string(DEAD_LETTER_DIR.name)?.or_else(|| options.experiment(DEAD_LETTER_DIR.name));
        let count_max = DEAD_LETTER_MAX.integer_or_default(options)?;
        let Some(folder) = folder.filter(|folder| !folder.is_empty()) else {
            if DEAD_LETTER_MAX.is_set(options) {
                let expected = "left out, or given together with --dead_letter_dir";
                return Err(OptionError::new(DEAD_LETTER_MAX.name, expected, &count_max.into()));
            }
            return Ok(None);
        };
        // It has a default.
        let count_max = count_max.map_or(u64::MAX, i64::unsigned_abs);
        Ok(Some(Self { folder: PathBuf::from(folder), count_max }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(options: Value, expected: Result<Option<(&str, u64)>, &str>) {
        let Value::Object(options) = options else { panic!("an object") };
        let found = DeadLetterOptions::of(&JobOptions::from_wire(options));
        let expected = expected.map(|it| it.map(|(folder, count_max)| (PathBuf::from(folder), count_max)));
        let found = found.map(|it| it.map(|it| (it.folder, it.count_max))).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn a_folder_turns_them_on() {
        check(json!({}), Ok(None));
        check(json!({"dead_letter_dir": "", "dead_letter_max": "1000"}), Ok(None));
        check(json!({"beam:option:dead_letter_dir:v1": "a"}), Ok(Some(("a", 1_000))));
        check(json!({"dead_letter_dir": "a", "dead_letter_max": 3}), Ok(Some(("a", 3))));
        check(json!({"experiments": ["dead_letter_dir=b"]}), Ok(Some(("b", 1_000))));
    }

    #[test]
    fn wrong_values_are_told() {
        check(
            json!({"dead_letter_dir": "a", "dead_letter_max": 0}),
            Err("pipeline option --dead_letter_max must be a whole number of at least 1, but is 0"),
        );
        check(json!({"dead_letter_dir": 3}), Err("pipeline option --dead_letter_dir must be a text, but is 3"));
        check(
            json!({"dead_letter_max": 5}),
            Err(
                "pipeline option --dead_letter_max must be left out, or given together with --dead_letter_dir, but is 5",
            ),
        );
    }
}
