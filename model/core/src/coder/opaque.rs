//! Coders that only an SDK can read: their bytes are carried, never looked into.
//!
//! ```text
//!   length_prefix<beam:coder:pickled_python:v1>   05 │ five bytes of its own
//! ```
//! In the outer context the bytes are whatever is left. Nested, nobody but the SDK could find their end; the plan
//! wraps such coders in a length prefix.

use bytes::Bytes;

use super::cursor::{Reader, Writer, fault, mismatch};
use super::error::{CoderError, CoderFault};
use super::value::Value;
use super::{Context, UnknownCoder};

fn opaque(unknown: &UnknownCoder) -> CoderFault {
    CoderFault::Opaque { urn: unknown.urn.clone() }
}

pub(super) fn read(unknown: &UnknownCoder, from: &mut Reader<'_>, context: Context) -> Result<Value, CoderError> {
    match context {
        Context::Nested => Err(from.fault(opaque(unknown))),
        Context::Outer => Ok(Value::Bytes(Bytes::copy_from_slice(from.all()))),
    }
}

pub(super) fn write(
    unknown: &UnknownCoder,
    value: &Value,
    context: Context,
    to: &mut Writer<'_>,
) -> Result<(), CoderError> {
    match (context, value) {
        (Context::Nested, _) => Err(fault(opaque(unknown))),
        (Context::Outer, Value::Bytes(bytes)) => {
            to.bytes(bytes);
            Ok(())
        }
        (Context::Outer, other) => Err(mismatch("bytes that the SDK encoded", other)),
    }
}

pub(super) fn pass(unknown: &UnknownCoder, from: &mut Reader<'_>, context: Context) -> Result<(), CoderError> {
    match context {
        Context::Nested => Err(from.fault(opaque(unknown))),
        Context::Outer => {
            from.all();
            Ok(())
        }
    }
}
