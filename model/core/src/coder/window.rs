//! `global_window`, `interval_window` and `custom_window`.
//!
//! ```text
//!   global              (no bytes)
//!   interval [0, 10 s)  80 00 00 00 00 00 27 10 │ 90 4e            end │ length in ms
//!   custom              80 00 00 00 00 00 27 0f │ …                last instant │ the window, nested
//! ```
//! Instants and windows outside Beam's range are refused. The data plane reads windows with
//! [`element`](crate::element) instead, which knows just these three.

use crate::time::EventTime;
use crate::window::BoundedWindow;

use super::cursor::{Reader, Writer, fault, mismatch};
use super::error::{CoderError, CoderFault};
use super::value::{CustomWindow, Value};
use super::wire::Wire;
use super::{Coder, Context};

pub(super) fn read_global(from: &mut Reader<'_>) -> Result<Value, CoderError> {
    from.spend_empty(1)?;
    Ok(Value::Window(BoundedWindow::Global))
}

pub(super) fn write_global(value: &Value) -> Result<(), CoderError> {
    match value {
        Value::Window(BoundedWindow::Global) => Ok(()),
        other => Err(mismatch("the global window", other)),
    }
}

pub(super) fn read_interval(from: &mut Reader<'_>) -> Result<Value, CoderError> {
    let end = from.timestamp().map_err(|error| error.within("end"))?;
    let length = from.varint().map_err(|error| error.within("length"))?;
    let start = end.millis().checked_sub(length).filter(|start| length >= 0 && *start >= EventTime::MIN.millis());
    match start {
        Some(start) => Ok(Value::Window(BoundedWindow::Interval { start: EventTime::from_millis(start), end })),
        None => Err(from.fault(CoderFault::WindowLength { end: end.millis(), length })),
    }
}

pub(super) fn write_interval(value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    let Value::Window(BoundedWindow::Interval { start, end }) = value else {
        return Err(mismatch("an interval window", value));
    };
    let length = end.millis() - start.millis();
    if length < 0 {
        return Err(fault(CoderFault::WindowLength { end: end.millis(), length }));
    }
    to.timestamp(*end);
    to.varint(length);
    Ok(())
}

pub(super) fn pass_interval(from: &mut Reader<'_>) -> Result<(), CoderError> {
    from.array::<8>().map_err(|error| error.within("end"))?;
    from.varint().map(|_| ()).map_err(|error| error.within("length"))
}

pub(super) fn read_custom(inner: &Coder, from: &mut Reader<'_>) -> Result<Value, CoderError> {
    let max_timestamp = from.timestamp().map_err(|error| error.within("last instant"))?;
    let window = inner.read(from, Context::Nested).map_err(|error| error.within("window"))?;
    Ok(Value::CustomWindow(Box::new(CustomWindow { max_timestamp, window })))
}

pub(super) fn write_custom(inner: &Coder, value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    let Value::CustomWindow(it) = value else {
        return Err(mismatch("a custom window", value));
    };
    to.timestamp(it.max_timestamp);
    inner.write(&it.window, Context::Nested, to).map_err(|error| error.within("window"))
}

pub(super) fn pass_custom(inner: &Coder, from: &mut Reader<'_>) -> Result<(), CoderError> {
    from.array::<8>().map_err(|error| error.within("last instant"))?;
    inner.pass(from, Context::Nested).map_err(|error| error.within("window"))
}
