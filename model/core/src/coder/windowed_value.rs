//! `windowed_value` and `param_windowed_value`.
//!
//! ```text
//!   windowed_value        timestamp 8 │ windows: count 4, then each │ pane ≥ 1 │ value
//!   param_windowed_value  value          the rest stands once, in the coder's payload
//! ```
//! The value stands in the windowed value's own context; on the data plane that is the nested one. The data plane
//! itself reads the front of an element with [`element`](crate::element).

use crate::pane::PaneInfo;
use crate::time::EventTime;

use super::cursor::{Reader, Writer, mismatch};
use super::error::CoderError;
use super::value::{Value, WindowedValue};
use super::wire::Wire;
use super::{Coder, Context, iterable};

/// What every value of a `param_windowed_value` coder has in common: the coder's payload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConstantHeader {
    /// The timestamp of every value.
    pub timestamp: EventTime,
    /// The windows of every value.
    pub windows: Vec<Value>,
    /// The pane of every value.
    pub pane: PaneInfo,
}

impl ConstantHeader {
    /// Reads the payload of a `param_windowed_value` coder: a windowed value whose value does not matter.
    ///
    /// # Errors
    /// When the payload does not begin with a timestamp, windows of `window` and a pane.
    pub fn from_payload(payload: &[u8], window: &Coder) -> Result<Self, CoderError> {
        read_header(window, &mut Reader::new(payload)).map_err(|error| error.within("payload"))
    }

    /// The payload that [`from_payload`](Self::from_payload) reads back; its value is the empty byte string, as Java's.
    ///
    /// # Errors
    /// When the windows are not windows of `window`.
    pub fn to_payload(&self, window: &Coder) -> Result<Vec<u8>, CoderError> {
        let mut out = Vec::new();
        let mut to = Writer::new(&mut out);
        write_header(window, self, &mut to)?;
        to.prefixed(&[]);
        Ok(out)
    }
}

fn read_header(window: &Coder, from: &mut Reader<'_>) -> Result<ConstantHeader, CoderError> {
    let timestamp = from.timestamp().map_err(|error| error.within("timestamp"))?;
    let windows = iterable::read_list(window, from).map_err(|error| error.within("windows"))?;
    let pane = from.pane().map_err(|error| error.within("pane"))?;
    Ok(ConstantHeader { timestamp, windows, pane })
}

fn write_header(window: &Coder, header: &ConstantHeader, to: &mut Writer<'_>) -> Result<(), CoderError> {
    to.timestamp(header.timestamp);
    iterable::write_list(window, &header.windows, to).map_err(|error| error.within("windows"))?;
    header.pane.encode(to.out);
    Ok(())
}

pub(super) fn read(
    value: &Coder,
    window: &Coder,
    from: &mut Reader<'_>,
    context: Context,
) -> Result<Value, CoderError> {
    let ConstantHeader { timestamp, windows, pane } = read_header(window, from)?;
    let value = value.read(from, context).map_err(in_value)?;
    Ok(Value::Windowed(Box::new(WindowedValue { value, timestamp, windows, pane })))
}

pub(super) fn write(
    coder: &Coder,
    window: &Coder,
    value: &Value,
    context: Context,
    to: &mut Writer<'_>,
) -> Result<(), CoderError> {
    let Value::Windowed(it) = value else {
        return Err(mismatch("a windowed value", value));
    };
    to.timestamp(it.timestamp);
    iterable::write_list(window, &it.windows, to).map_err(|error| error.within("windows"))?;
    it.pane.encode(to.out);
    coder.write(&it.value, context, to).map_err(in_value)
}

pub(super) fn pass(value: &Coder, window: &Coder, from: &mut Reader<'_>, context: Context) -> Result<(), CoderError> {
    from.array::<8>().map_err(|error| error.within("timestamp"))?;
    iterable::pass_list(window, from).map_err(|error| error.within("windows"))?;
    from.skip_pane().map_err(|error| error.within("pane"))?;
    value.pass(from, context).map_err(in_value)
}

pub(super) fn read_param(
    value: &Coder,
    constant: &ConstantHeader,
    from: &mut Reader<'_>,
    context: Context,
) -> Result<Value, CoderError> {
    let value = value.read(from, context).map_err(in_value)?;
    // The header is copied for each value, though it takes no bytes of the input.
    from.spend_empty(constant.windows.len())?;
    let ConstantHeader { timestamp, windows, pane } = constant.clone();
    Ok(Value::Windowed(Box::new(WindowedValue { value, timestamp, windows, pane })))
}

/// As Beam defines it, the timestamp, the windows and the pane of the value are dropped.
pub(super) fn write_param(
    coder: &Coder,
    value: &Value,
    context: Context,
    to: &mut Writer<'_>,
) -> Result<(), CoderError> {
    match value {
        Value::Windowed(it) => coder.write(&it.value, context, to).map_err(in_value),
        other => Err(mismatch("a windowed value", other)),
    }
}

fn in_value(error: CoderError) -> CoderError {
    error.within("value")
}
