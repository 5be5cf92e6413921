//! `nullable`: a byte that says whether there is a value, then the value.
//!
//! ```text
//!   null  00        outer "ab"  01 │ 61 62        nested "ab"  01 │ 02 61 62
//! ```
//! The value stands in the nullable's own context: Java and Python agree on that, the interface is silent.

use super::Context;
use super::cursor::{Reader, Writer};
use super::error::{CoderError, CoderFault};
use super::value::Value;
use super::wire::Wire;

fn present(from: &mut Reader<'_>) -> Result<bool, CoderError> {
    from.flag("null", "a value follows")
}

pub(super) fn read(inner: &impl Wire, from: &mut Reader<'_>, context: Context) -> Result<Value, CoderError> {
    if !present(from)? {
        return Ok(Value::Null);
    }
    match inner.read(from, context)? {
        // A nullable inside a nullable could not be told from the one outside.
        Value::Null => Err(from.fault(CoderFault::UnexpectedNull)),
        value => Ok(value),
    }
}

pub(super) fn write(inner: &impl Wire, value: &Value, context: Context, to: &mut Writer<'_>) -> Result<(), CoderError> {
    if *value == Value::Null {
        to.bytes(&[0]);
        return Ok(());
    }
    to.bytes(&[1]);
    inner.write(value, context, to)
}

pub(super) fn pass(inner: &impl Wire, from: &mut Reader<'_>, context: Context) -> Result<(), CoderError> {
    if present(from)? { inner.pass(from, context) } else { Ok(()) }
}
