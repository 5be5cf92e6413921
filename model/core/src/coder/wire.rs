//! The three things that are done with a coder: read a value, write one, pass over one.
//!
//! ```text
//!            ┌─ read  ─► Value
//!   Reader ──┤
//!            └─ pass  ─► nothing: only where the value ends      Value ── write ─► Writer
//! ```
//! A coder's name joins the path of an error here. What the bytes are is said in the file of each coder.

use super::cursor::{Reader, Writer};
use super::error::CoderError;
use super::value::Value;
use super::{Coder, Context, iterable, kv, length_prefix, nullable, opaque, row, scalar, sharded_key, timer, window};
use super::{text, windowed_value};

/// What can stand inside another coder: a coder, or the type of a schema's field.
pub(super) trait Wire {
    fn read(&self, from: &mut Reader<'_>, context: Context) -> Result<Value, CoderError>;

    fn write(&self, value: &Value, context: Context, to: &mut Writer<'_>) -> Result<(), CoderError>;

    /// Moves past a value. Looks only at what it needs to find the end: text need not be UTF-8, nor a bool be 0 or 1.
    fn pass(&self, from: &mut Reader<'_>, context: Context) -> Result<(), CoderError>;

    /// Whether the nested encoding of every value has no bytes. All others take at least one.
    fn takes_no_bytes(&self) -> bool;
}

impl Wire for Coder {
    fn read(&self, from: &mut Reader<'_>, context: Context) -> Result<Value, CoderError> {
        from.enter().map_err(|error| error.within(self.name()))?;
        let value = match self {
            Self::Bytes => text::read_bytes(from, context),
            Self::StringUtf8 => text::read_string(from, context),
            Self::Bool => scalar::read_bool(from),
            Self::VarInt => scalar::read_varint(from),
            Self::Double => scalar::read_double(from),
            Self::Kv(key, value) => kv::read(key, value, from, context),
            Self::Iterable(element) => iterable::read(&**element, from),
            Self::StateBackedIterable(element) => iterable::read_state_backed(&**element, from),
            Self::LengthPrefix(inner) => length_prefix::read(inner, from),
            Self::Nullable(inner) => nullable::read(&**inner, from, context),
            Self::ShardedKey(key) => sharded_key::read(key, from),
            Self::Row(schema) => row::read(schema, from),
            Self::GlobalWindow => window::read_global(from),
            Self::IntervalWindow => window::read_interval(from),
            Self::CustomWindow(inner) => window::read_custom(inner, from),
            Self::WindowedValue { value, window } => windowed_value::read(value, window, from, context),
            Self::ParamWindowedValue { value, window: _, constant } => {
                windowed_value::read_param(value, constant, from, context)
            }
            Self::Timer { key, window } => timer::read(key, window, from),
            Self::Unknown(unknown) => opaque::read(unknown, from, context),
        };
        from.leave();
        value.map_err(|error| error.within(self.name()))
    }

    fn write(&self, value: &Value, context: Context, to: &mut Writer<'_>) -> Result<(), CoderError> {
        to.enter().map_err(|error| error.within(self.name()))?;
        let written = match self {
            Self::Bytes => text::write_bytes(value, context, to),
            Self::StringUtf8 => text::write_string(value, context, to),
            Self::Bool => scalar::write_bool(value, to),
            Self::VarInt => scalar::write_varint(value, to),
            Self::Double => scalar::write_double(value, to),
            Self::Kv(key_coder, value_coder) => kv::write(key_coder, value_coder, value, context, to),
            Self::Iterable(element) => iterable::write(&**element, value, to),
            Self::StateBackedIterable(element) => iterable::write_state_backed(&**element, value, to),
            Self::LengthPrefix(inner) => length_prefix::write(inner, value, to),
            Self::Nullable(inner) => nullable::write(&**inner, value, context, to),
            Self::ShardedKey(key) => sharded_key::write(key, value, to),
            Self::Row(schema) => row::write(schema, value, to),
            Self::GlobalWindow => window::write_global(value),
            Self::IntervalWindow => window::write_interval(value, to),
            Self::CustomWindow(inner) => window::write_custom(inner, value, to),
            Self::WindowedValue { value: coder, window } => windowed_value::write(coder, window, value, context, to),
            Self::ParamWindowedValue { value: coder, window: _, constant: _ } => {
                windowed_value::write_param(coder, value, context, to)
            }
            Self::Timer { key, window } => timer::write(key, window, value, to),
            Self::Unknown(unknown) => opaque::write(unknown, value, context, to),
        };
        to.leave();
        written.map_err(|error| error.within(self.name()))
    }

    #[inline]
    fn pass(&self, from: &mut Reader<'_>, context: Context) -> Result<(), CoderError> {
        // Without a call: nearly all keys and values are one of these.
        match self {
            Self::Bytes | Self::StringUtf8 | Self::LengthPrefix(_) if context == Context::Nested => {
                from.prefixed().map(|_| ()).map_err(|error| error.within(self.name()))
            }
            other => other.pass_any(from, context),
        }
    }

    fn takes_no_bytes(&self) -> bool {
        match self {
            Self::GlobalWindow => true,
            Self::Kv(key, value) => key.takes_no_bytes() && value.takes_no_bytes(),
            Self::ParamWindowedValue { value, .. } => value.takes_no_bytes(),
            Self::Row(schema) => schema.takes_no_bytes(),
            Self::Bytes
            | Self::StringUtf8
            | Self::Bool
            | Self::VarInt
            | Self::Double
            | Self::Iterable(_)
            | Self::StateBackedIterable(_)
            | Self::LengthPrefix(_)
            | Self::Nullable(_)
            | Self::ShardedKey(_)
            | Self::IntervalWindow
            | Self::CustomWindow(_)
            | Self::WindowedValue { .. }
            | Self::Timer { .. }
            | Self::Unknown(_) => false,
        }
    }
}

impl Coder {
    fn pass_any(&self, from: &mut Reader<'_>, context: Context) -> Result<(), CoderError> {
        match self {
            Self::Bytes | Self::StringUtf8 => text::pass(from, context),
            Self::LengthPrefix(_) => from.prefixed().map(|_| ()),
            Self::VarInt => from.varint().map(|_| ()),
            Self::Bool => from.byte().map(|_| ()),
            Self::Double => from.array::<8>().map(|_| ()),
            Self::GlobalWindow => Ok(()),
            Self::IntervalWindow => window::pass_interval(from),
            Self::Unknown(unknown) => opaque::pass(unknown, from, context),
            Self::Kv(key, value) => deeper(from, |from| kv::pass(key, value, from, context)),
            Self::Iterable(element) => deeper(from, |from| iterable::pass(&**element, from)),
            Self::StateBackedIterable(element) => deeper(from, |from| iterable::pass_state_backed(&**element, from)),
            Self::Nullable(inner) => deeper(from, |from| nullable::pass(&**inner, from, context)),
            Self::ShardedKey(key) => deeper(from, |from| sharded_key::pass(key, from)),
            Self::Row(schema) => deeper(from, |from| row::pass(schema, from)),
            Self::CustomWindow(inner) => deeper(from, |from| window::pass_custom(inner, from)),
            Self::WindowedValue { value, window } => {
                deeper(from, |from| windowed_value::pass(value, window, from, context))
            }
            Self::ParamWindowedValue { value, window: _, constant: _ } => {
                deeper(from, |from| value.pass(from, context))
            }
            Self::Timer { key, window } => deeper(from, |from| timer::pass(key, window, from)),
        }
        .map_err(|error| error.within(self.name()))
    }
}

/// Counts one level of nesting around `pass`.
#[inline]
fn deeper<'a>(
    from: &mut Reader<'a>,
    pass: impl FnOnce(&mut Reader<'a>) -> Result<(), CoderError>,
) -> Result<(), CoderError> {
    from.enter()?;
    pass(from)?;
    from.leave();
    Ok(())
}
