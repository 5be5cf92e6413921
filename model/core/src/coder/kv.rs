//! `kv`: a key and a value, one behind the other.
//!
//! ```text
//!   outer   01 6b │ 76          nested   01 6b │ 01 76
//!           key   │ value                key   │ value
//! ```
//! The key is always nested; the value stands in the pair's own context. Grouping compares the bytes of the key.

use super::cursor::{Reader, Writer, mismatch};
use super::error::CoderError;
use super::value::Value;
use super::wire::Wire;
use super::{Coder, Context};

/// A pair, taken apart without being decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvParts<'a> {
    /// The key's nested encoding: what groups, hashes and state keys are made of.
    pub key: &'a [u8],
    /// The value, in the context of the pair.
    pub value: &'a [u8],
}

pub(super) fn read(key: &Coder, value: &Coder, from: &mut Reader<'_>, context: Context) -> Result<Value, CoderError> {
    let key = key.read(from, Context::Nested).map_err(in_key)?;
    let value = value.read(from, context).map_err(in_value)?;
    Ok(Value::kv(key, value))
}

pub(super) fn write(
    key_coder: &Coder,
    value_coder: &Coder,
    value: &Value,
    context: Context,
    to: &mut Writer<'_>,
) -> Result<(), CoderError> {
    let Value::Kv(kv) = value else {
        return Err(mismatch("a key and a value", value));
    };
    key_coder.write(&kv.0, Context::Nested, to).map_err(in_key)?;
    value_coder.write(&kv.1, context, to).map_err(in_value)
}

#[inline]
pub(super) fn pass(key: &Coder, value: &Coder, from: &mut Reader<'_>, context: Context) -> Result<(), CoderError> {
    key.pass(from, Context::Nested).map_err(in_key)?;
    value.pass(from, context).map_err(in_value)
}

#[inline]
pub(super) fn split<'a>(
    key: &Coder,
    value: &Coder,
    from: &mut Reader<'a>,
    context: Context,
) -> Result<KvParts<'a>, CoderError> {
    let whole = from.rest();
    key.pass(from, Context::Nested).map_err(in_key)?;
    let (key, rest) = whole.split_at(whole.len() - from.left());
    value.pass(from, context).map_err(in_value)?;
    Ok(KvParts { key, value: &rest[..rest.len() - from.left()] })
}

fn in_key(error: CoderError) -> CoderError {
    error.within("key")
}

fn in_value(error: CoderError) -> CoderError {
    error.within("value")
}
