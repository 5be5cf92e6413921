//! `iterable`, `state_backed_iterable`, and the arrays and maps of rows.
//!
//! ```text
//!   size known    00 00 00 02 │ e1 e2
//!   size unknown  ff ff ff ff │ 02 e1 e2 │ 01 e3 │ 00
//!   in state      ff ff ff ff │ 02 e1 e2 │ ff ff ff ff ff ff ff ff ff 01 │ 05 token
//!   map           00 00 00 01 │ k v
//! ```
//! Elements are nested. Written are the first form, and the third when elements wait in state. A count is believed
//! only as far as the bytes behind it go. Does not know how to get elements from state.

use bytes::Bytes;

use super::Context;
use super::cursor::{Reader, Writer, mismatch};
use super::error::{CoderError, CoderFault};
use super::value::{StateBacked, Value};
use super::wire::Wire;

/// Stands for "size unknown" as a count, and for "the rest is in state" as the count of a chunk.
const UNKNOWN: i64 = -1;

/// The most room made before the first element is seen.
const RESERVE_MAX: usize = 1024;

pub(super) fn read(element: &impl Wire, from: &mut Reader<'_>) -> Result<Value, CoderError> {
    let mut elements = Vec::new();
    walk(from, |from, count| read_elements(element, count, &mut elements, from), refuse_token)?;
    Ok(Value::Iterable(elements))
}

pub(super) fn read_state_backed(element: &impl Wire, from: &mut Reader<'_>) -> Result<Value, CoderError> {
    let mut elements = Vec::new();
    let token = walk(from, |from, count| read_elements(element, count, &mut elements, from), take_token)?;
    Ok(match token {
        Some(token) => Value::StateBacked(Box::new(StateBacked { elements, token: Bytes::copy_from_slice(token) })),
        None => Value::Iterable(elements),
    })
}

pub(super) fn write(element: &impl Wire, value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    match value {
        Value::Iterable(elements) => {
            to.count(elements.len())?;
            write_elements(element, elements, to)
        }
        other => Err(mismatch("an iterable", other)),
    }
}

pub(super) fn write_state_backed(element: &impl Wire, value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    let Value::StateBacked(it) = value else {
        return write(element, value, to);
    };
    to.bytes(&(UNKNOWN as i32).to_be_bytes());
    // A chunk of no elements would end the iterable.
    if !it.elements.is_empty() {
        to.varint(it.elements.len() as i64);
        write_elements(element, &it.elements, to)?;
    }
    to.varint(UNKNOWN);
    to.prefixed(&it.token);
    Ok(())
}

pub(super) fn pass(element: &impl Wire, from: &mut Reader<'_>) -> Result<(), CoderError> {
    walk(from, |from, count| pass_elements(element, count, from), refuse_token).map(|_| ())
}

pub(super) fn pass_state_backed(element: &impl Wire, from: &mut Reader<'_>) -> Result<(), CoderError> {
    walk(from, |from, count| pass_elements(element, count, from), take_token).map(|_| ())
}

/// Goes over either form, chunk by chunk; gives the token, if there is one.
fn walk<'a>(
    from: &mut Reader<'a>,
    mut chunk: impl FnMut(&mut Reader<'a>, i64) -> Result<(), CoderError>,
    at_token: impl FnOnce(&mut Reader<'a>) -> Result<&'a [u8], CoderError>,
) -> Result<Option<&'a [u8]>, CoderError> {
    let count = from.count().map_err(|error| error.within("count"))?;
    if i64::from(count) != UNKNOWN {
        return chunk(from, count.into()).map(|()| None);
    }
    loop {
        match from.varint().map_err(|error| error.within("chunk's count"))? {
            0 => return Ok(None),
            UNKNOWN => return at_token(from).map(Some),
            count => chunk(from, count)?,
        }
    }
}

fn take_token<'a>(from: &mut Reader<'a>) -> Result<&'a [u8], CoderError> {
    from.prefixed().map_err(|error| error.within("state token"))
}

fn refuse_token<'a>(from: &mut Reader<'a>) -> Result<&'a [u8], CoderError> {
    Err(from.fault(CoderFault::Count { count: UNKNOWN, left: from.left() }))
}

/// A count that the bytes left can hold, unless what is counted takes no bytes.
fn believe(count: i64, takes_no_bytes: bool, from: &Reader<'_>) -> Result<usize, CoderError> {
    match usize::try_from(count) {
        Ok(believed) if believed <= from.left() || takes_no_bytes => Ok(believed),
        Ok(_) | Err(_) => Err(from.fault(CoderFault::Count { count, left: from.left() })),
    }
}

fn read_elements(
    element: &impl Wire,
    count: i64,
    elements: &mut Vec<Value>,
    from: &mut Reader<'_>,
) -> Result<(), CoderError> {
    let count = believe(count, element.takes_no_bytes(), from)?;
    elements.reserve(count.min(RESERVE_MAX));
    for _ in 0..count {
        let next = element.read(from, Context::Nested).map_err(|error| at(error, elements.len()))?;
        elements.push(next);
    }
    Ok(())
}

fn pass_elements(element: &impl Wire, count: i64, from: &mut Reader<'_>) -> Result<(), CoderError> {
    let count = believe(count, element.takes_no_bytes(), from)?;
    if element.takes_no_bytes() {
        return Ok(());
    }
    for index in 0..count {
        element.pass(from, Context::Nested).map_err(|error| at(error, index))?;
    }
    Ok(())
}

fn write_elements(element: &impl Wire, elements: &[Value], to: &mut Writer<'_>) -> Result<(), CoderError> {
    for (index, value) in elements.iter().enumerate() {
        element.write(value, Context::Nested, to).map_err(|error| at(error, index))?;
    }
    Ok(())
}

/// A list whose size is always known: the windows of an element.
pub(super) fn read_list(element: &impl Wire, from: &mut Reader<'_>) -> Result<Vec<Value>, CoderError> {
    let mut elements = Vec::new();
    let count = from.count()?;
    read_elements(element, count.into(), &mut elements, from)?;
    Ok(elements)
}

pub(super) fn write_list(element: &impl Wire, elements: &[Value], to: &mut Writer<'_>) -> Result<(), CoderError> {
    to.count(elements.len())?;
    write_elements(element, elements, to)
}

pub(super) fn pass_list(element: &impl Wire, from: &mut Reader<'_>) -> Result<(), CoderError> {
    let count = from.count()?;
    pass_elements(element, count.into(), from)
}

pub(super) fn read_map(key: &impl Wire, value: &impl Wire, from: &mut Reader<'_>) -> Result<Value, CoderError> {
    let count = from.count()?;
    let count = believe(count.into(), key.takes_no_bytes() && value.takes_no_bytes(), from)?;
    let mut entries = Vec::with_capacity(count.min(RESERVE_MAX));
    for index in 0..count {
        let key = key.read(from, Context::Nested).map_err(|error| at_key(error, index))?;
        let value = value.read(from, Context::Nested).map_err(|error| at_value(error, index))?;
        entries.push((key, value));
    }
    Ok(Value::Map(entries))
}

pub(super) fn write_map(
    key_coder: &impl Wire,
    value_coder: &impl Wire,
    value: &Value,
    to: &mut Writer<'_>,
) -> Result<(), CoderError> {
    let Value::Map(entries) = value else {
        return Err(mismatch("a map", value));
    };
    to.count(entries.len())?;
    for (index, (key, value)) in entries.iter().enumerate() {
        key_coder.write(key, Context::Nested, to).map_err(|error| at_key(error, index))?;
        value_coder.write(value, Context::Nested, to).map_err(|error| at_value(error, index))?;
    }
    Ok(())
}

pub(super) fn pass_map(key: &impl Wire, value: &impl Wire, from: &mut Reader<'_>) -> Result<(), CoderError> {
    let count = from.count()?;
    let takes_no_bytes = key.takes_no_bytes() && value.takes_no_bytes();
    let count = believe(count.into(), takes_no_bytes, from)?;
    for index in 0..if takes_no_bytes { 0 } else { count } {
        key.pass(from, Context::Nested).map_err(|error| at_key(error, index))?;
        value.pass(from, Context::Nested).map_err(|error| at_value(error, index))?;
    }
    Ok(())
}

fn at_key(error: CoderError, index: usize) -> CoderError {
    at(error.within("key"), index)
}

fn at_value(error: CoderError, index: usize) -> CoderError {
    at(error.within("value"), index)
}

fn at(error: CoderError, index: usize) -> CoderError {
    error.within(format!("element {index}"))
}
