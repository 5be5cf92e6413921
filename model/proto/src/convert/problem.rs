//! What is wrong with a message from outside, and where in it.
//!
//! ```text
//!   Path (borrowed, on the stack) ─┐
//!   Fault ─────────────────────────┴─► Problem ──► Problems ──► one error that tells all of them
//! ```
//!
//! Does not know which conversions exist.

use std::fmt;

/// Where a field stands: the names, keys and indices that lead to it from a root that the caller names.
///
/// A path costs nothing until it is printed; each step borrows the one before.
///
/// ```
/// use purlin_proto::convert::problem::Path;
///
/// let root = Path::root("windowing_strategies");
/// let strategy = root.key("w1");
/// assert_eq!(strategy.field("trigger").to_string(), "windowing_strategies[\"w1\"].trigger");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    before: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Name(&'a str),
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The beginning of a path: the name of a message, a map or a file.
    pub const fn root(name: &'a str) -> Self {
        Self { before: None, step: Step::Name(name) }
    }

    /// The field `name` of the message that stands here.
    pub const fn field<'b>(&'b self, name: &'b str) -> Path<'b> {
        Path { before: Some(self), step: Step::Name(name) }
    }

    /// The entry `key` of the map that stands here.
    pub const fn key<'b>(&'b self, key: &'b str) -> Path<'b> {
        Path { before: Some(self), step: Step::Key(key) }
    }

    /// The item number `index` of the list that stands here.
    pub const fn index(&self, index: usize) -> Path<'_> {
        Path { before: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // From the root on, and without recursion: paths come from outside and may be long.
        let steps = std::iter::successors(Some(self), |path| path.before);
        let mut steps: Vec<Step<'_>> = steps.map(|path| path.step).collect();
        steps.reverse();
        for (place, step) in steps.into_iter().enumerate() {
            match step {
                Step::Name(name) if place == 0 => write!(f, "{name}")?,
                Step::Name(name) => write!(f, ".{name}")?,
                Step::Key(key) => write!(f, "[{key:?}]")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// What can be wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A field that the model needs is not set.
    #[error("is not set; send {expected}")]
    Missing {
        /// What should stand there.
        expected: &'static str,
    },
    /// An enum has a number that Beam 2.77 does not define for it.
    #[error("has the number {number}, which this version of Beam does not know; send one of {expected}")]
    UnknownNumber {
        /// The number on the wire.
        number: i32,
        /// The values that are understood.
        expected: &'static str,
    },
    /// A value that Beam defines and no runner executes.
    #[error("is {value}, which is not supported; use {instead}")]
    Unsupported {
        /// The value as Beam spells it.
        value: &'static str,
        /// What can be used.
        instead: &'static str,
    },
    /// A number lies outside what its field allows.
    #[error("is {value}; it must be {expected}")]
    OutOfRange {
        /// The value, with its unit.
        value: String,
        /// The bounds, in words.
        expected: &'static str,
    },
    /// A list has the wrong number of items.
    #[error("has {found} items; it must have {expected}")]
    WrongCount {
        /// How many there are.
        found: usize,
        /// How many there may be, in words.
        expected: &'static str,
    },
    /// A payload is not the message that its URN promises.
    #[error("is not a valid {message}: {reason}")]
    Malformed {
        /// The message that was expected.
        message: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// Messages are nested deeper than any SDK nests them.
    #[error("is nested deeper than {max} levels")]
    TooDeep {
        /// The bound.
        max: usize,
    },
    /// An id refers to nothing.
    #[error("names the {what} {id:?}, which the pipeline does not hold")]
    Dangling {
        /// What the id is an id of.
        what: &'static str,
        /// The id.
        id: String,
    },
    /// An id leads back to itself.
    #[error("contains itself: {}", ids.join(" -> "))]
    Cycle {
        /// The ids along the way, of which a long way shows only the ends; the first is also the last.
        ids: Vec<String>,
    },
}

/// One fault and the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} {fault}")]
pub struct Problem {
    /// The field, as [`Path`] prints it.
    pub path: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// Every problem of a conversion, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// No problem so far.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Notes that `fault` is true of the field at `at`.
    pub fn report(&mut self, at: &Path<'_>, fault: Fault) {
        self.0.push(Problem { path: at.to_string(), fault });
    }

    /// Whether nothing has been reported.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems, in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// What a conversion returned, as a result.
    ///
    /// # Errors
    /// All problems, if there is at least one.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            Some(_) | None => Err(self),
        }
    }
}

impl fmt::Display for Problems {
    /// One problem a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_a_sentence_with_its_place() {
        let root = Path::root("coders");
        let (coder, mut problems) = (root.key("c\"1"), Problems::new());
        let components = coder.field("component_coder_ids");
        problems.report(&components, Fault::WrongCount { found: 3, expected: "2" });
        problems.report(&components.index(2), Fault::Dangling { what: "coder", id: "x".to_owned() });
        assert_eq!(
            problems.to_string(),
            "coders[\"c\\\"1\"].component_coder_ids has 3 items; it must have 2\n\
             coders[\"c\\\"1\"].component_coder_ids[2] names the coder \"x\", which the pipeline does not hold"
        );
    }

    #[test]
    fn a_value_with_problems_is_not_a_value() {
        assert_eq!(Problems::new().finish(Some(1)), Ok(1));
        let mut problems = Problems::new();
        problems.report(&Path::root("it"), Fault::TooDeep { max: 1 });
        assert_eq!(problems.clone().finish(Some(1)), Err(problems));
    }
}
