//! Why bytes are not a value of a coder, or a value cannot be written by it: what, where inside the element, at which byte.
//!
//! ```text
//!   fault at byte 9 ──► string_utf8 ──► element 3 ──► iterable ──► value ──► kv      (pushed on the way out)
//!   kv > value > iterable > element 3 > string_utf8, at byte 9: is not UTF-8 after 2 bytes
//! ```
//! Does not know the transform or the PCollection; who called adds them.

use std::borrow::Cow;
use std::fmt;

use thiserror::Error;

use crate::time::EventTime;

/// What is wrong, in one place.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CoderFault {
    /// The bytes end too early.
    #[error("{needed} more bytes are needed and {left} are left")]
    Truncated {
        /// How many bytes the next part takes.
        needed: usize,
        /// How many there are.
        left: usize,
    },
    /// The bytes end inside a varint.
    #[error("a varint is cut short")]
    VarintTruncated,
    /// A varint of more than 64 bits.
    #[error("a varint runs past 64 bits")]
    VarintOverflow,
    /// A length prefix that is negative, or longer than what follows.
    #[error("a length of {length} bytes is claimed and {left} are left")]
    Length {
        /// What the prefix says.
        length: i64,
        /// How many bytes follow.
        left: usize,
    },
    /// A count that is negative, or that the bytes left cannot hold.
    #[error("{count} elements are claimed where {left} bytes are left")]
    Count {
        /// What the wire says.
        count: i64,
        /// How many bytes follow.
        left: usize,
    },
    /// Far more values than bytes: nulls and windows of zero bytes, repeated.
    #[error("it claims too many values that take no bytes")]
    TooManyEmpty,
    /// Text that is not UTF-8.
    #[error("is not UTF-8 after {valid} bytes")]
    NotUtf8 {
        /// How many bytes are good.
        valid: usize,
    },
    /// A byte that must be 0 or 1.
    #[error("found the byte {found:#04x}; it must be 00 ({zero}) or 01 ({one})")]
    Flag {
        /// The byte.
        found: u8,
        /// What 0 would mean.
        zero: &'static str,
        /// What 1 would mean.
        one: &'static str,
    },
    /// A timestamp outside Beam's range.
    #[error("the timestamp {millis} ms lies outside Beam's range of {} to {} ms", EventTime::MIN.millis(), EventTime::MAX.millis())]
    Timestamp {
        /// What the wire says.
        millis: i64,
    },
    /// An interval window whose start lies outside Beam's range, or after its end.
    #[error("a window that ends at {end} ms cannot be {length} ms long")]
    WindowLength {
        /// The end of the window.
        end: i64,
        /// Its length.
        length: i64,
    },
    /// A pane that is cut short, or has a form that Purlin never asks for.
    #[error("the pane is cut short or has an unknown form")]
    Pane,
    /// A whole number that its type cannot hold.
    #[error("{value} is not {expected}")]
    Range {
        /// The number.
        value: i64,
        /// The type, in words.
        expected: &'static str,
    },
    /// A decimal with no digits at all.
    #[error("the unscaled number of a decimal has no bytes")]
    EmptyDecimal,
    /// A row with more fields than its schema describes, or the wrong number of them.
    #[error("{found} fields, where the schema has {expected}")]
    FieldCount {
        /// How many there are.
        found: i64,
        /// How many the schema describes.
        expected: usize,
    },
    /// A null where the schema, or the place, allows none.
    #[error("is null, and nulls are not allowed here")]
    UnexpectedNull,
    /// Bytes after the end of a value that should fill them.
    #[error("{left} bytes follow the end of the value")]
    Trailing {
        /// How many.
        left: usize,
    },
    /// A coder that only its SDK can read, where its end must be found.
    #[error("only the SDK that made {urn:?} can find its end; wrap it in beam:coder:length_prefix:v1")]
    Opaque {
        /// The URN of the coder or the logical type.
        urn: String,
    },
    /// Coders are nested deeper than Purlin follows.
    #[error("coders are nested deeper than {max} levels")]
    TooDeep {
        /// The bound.
        max: usize,
    },
    /// A key is looked for in what has none.
    #[error("is not a kv coder, so its values have no key")]
    NotKv,
    /// A value of another kind than the coder writes.
    #[error("cannot write {found}; the coder takes {expected}")]
    Mismatch {
        /// What the coder takes.
        expected: &'static str,
        /// What it was given.
        found: &'static str,
    },
    /// A collection with more elements than the wire can count.
    #[error("{count} elements are more than the wire can count")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// A [`CoderFault`] with its place: the way through the coders, and the byte offset when bytes were being read.
#[derive(Clone, PartialEq, Eq)]
pub struct CoderError(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    /// Innermost first.
    path: Vec<Cow<'static, str>>,
    offset: Option<usize>,
    fault: CoderFault,
}

impl CoderError {
    #[cold]
    pub(super) fn new(offset: Option<usize>, fault: CoderFault) -> Self {
        Self(Box::new(Inner { path: Vec::new(), offset, fault }))
    }

    /// The same error, seen from one level further out.
    #[cold]
    pub(super) fn within(mut self, step: impl Into<Cow<'static, str>>) -> Self {
        self.0.path.push(step.into());
        self
    }

    /// What is wrong.
    pub fn fault(&self) -> &CoderFault {
        &self.0.fault
    }

    /// How many bytes into the value the fault stands; `None` if a value was being written.
    pub fn offset(&self) -> Option<usize> {
        self.0.offset
    }

    /// The way from the outermost coder to the one at fault, for example `kv > value > bool`.
    pub fn path(&self) -> String {
        self.0.path.iter().rev().map(AsRef::as_ref).collect::<Vec<&str>>().join(" > ")
    }
}

impl fmt::Display for CoderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())?;
        if let Some(offset) = self.offset() {
            write!(f, ", at byte {offset}")?;
        }
        write!(f, ": {}", self.fault())
    }
}

impl fmt::Debug for CoderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CoderError({self})")
    }
}

impl std::error::Error for CoderError {}
