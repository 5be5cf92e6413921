//! `bytes` and `string_utf8`.
//!
//! ```text
//!   outer   61 62            nested   02 61 62
//! ```
//! Text is checked when it is read as a value, not when it is passed over.

use bytes::Bytes;

use super::Context;
use super::cursor::{Reader, Writer, mismatch};
use super::error::CoderError;
use super::value::Value;

fn take<'a>(from: &mut Reader<'a>, context: Context) -> Result<&'a [u8], CoderError> {
    match context {
        Context::Nested => from.prefixed(),
        Context::Outer => Ok(from.all()),
    }
}

fn put(bytes: &[u8], context: Context, to: &mut Writer<'_>) {
    match context {
        Context::Nested => to.prefixed(bytes),
        Context::Outer => to.bytes(bytes),
    }
}

pub(super) fn read_bytes(from: &mut Reader<'_>, context: Context) -> Result<Value, CoderError> {
    take(from, context).map(|bytes| Value::Bytes(Bytes::copy_from_slice(bytes)))
}

pub(super) fn read_string(from: &mut Reader<'_>, context: Context) -> Result<Value, CoderError> {
    read_text(from, context).map(Value::String)
}

pub(super) fn read_text(from: &mut Reader<'_>, context: Context) -> Result<String, CoderError> {
    let bytes = take(from, context)?;
    from.utf8(bytes).map(str::to_owned)
}

pub(super) fn write_bytes(value: &Value, context: Context, to: &mut Writer<'_>) -> Result<(), CoderError> {
    match value {
        Value::Bytes(bytes) => {
            put(bytes, context, to);
            Ok(())
        }
        other => Err(mismatch("bytes", other)),
    }
}

pub(super) fn write_string(value: &Value, context: Context, to: &mut Writer<'_>) -> Result<(), CoderError> {
    match value {
        Value::String(text) => {
            put(text.as_bytes(), context, to);
            Ok(())
        }
        other => Err(mismatch("a string", other)),
    }
}

#[inline]
pub(super) fn pass(from: &mut Reader<'_>, context: Context) -> Result<(), CoderError> {
    take(from, context).map(|_| ())
}
