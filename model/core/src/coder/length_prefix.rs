//! `length_prefix`: a length, then the *outer* encoding of the value inside.
//!
//! ```text
//!   length_prefix<bytes>   02 │ 61 62              not 03 02 61 62
//!   length_prefix<kv>      03 │ 01 6b 76           the last part of the pair has no length of its own
//! ```
//! Whoever knows the length need not know the coder inside: that is how data of SDKs' own coders is moved.

use super::cursor::{Reader, Writer};
use super::error::CoderError;
use super::value::Value;
use super::varint;
use super::wire::Wire;
use super::{Coder, Context};

pub(super) fn read(inner: &Coder, from: &mut Reader<'_>) -> Result<Value, CoderError> {
    let part = from.prefixed()?;
    from.inside(part, |from| inner.read(from, Context::Outer))
}

pub(super) fn write(inner: &Coder, value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    let start = to.out.len();
    inner.write(value, Context::Outer, to)?;
    // The length is known only now: it is written behind and turned to the front.
    let length = to.out.len() - start;
    varint::write_length(length, to.out);
    to.out[start..].rotate_left(length);
    Ok(())
}
