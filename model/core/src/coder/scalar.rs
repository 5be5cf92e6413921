//! Numbers: `bool`, `varint`, `double`, and the ones that stand only in rows.
//!
//! ```text
//!   bool true  01           varint 300  ac 02       double 1.0  3f f0 00 00 00 00 00 00
//!   int16 -2   ff fe        int32 -1    ff ff ff ff 0f           decimal 1.25  02 01 7d
//!   byte -1    ff           float 1.0   3f 80 00 00              millis_instant 1500  80 00 00 00 00 00 05 dc
//! ```
//! None of them looks at the context: each finds its own end.

use bytes::Bytes;

use super::cursor::{Reader, Writer, fault, mismatch};
use super::error::{CoderError, CoderFault};
use super::value::{Decimal, Double, Float, Value};

const WHOLE: &str = "a whole number";

pub(super) fn read_bool(from: &mut Reader<'_>) -> Result<Value, CoderError> {
    from.flag("false", "true").map(Value::Bool)
}

pub(super) fn write_bool(value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    match value {
        Value::Bool(bool) => {
            to.bytes(&[u8::from(*bool)]);
            Ok(())
        }
        other => Err(mismatch("a bool", other)),
    }
}

pub(super) fn read_varint(from: &mut Reader<'_>) -> Result<Value, CoderError> {
    from.varint().map(Value::Int)
}

pub(super) fn write_varint(value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    to.varint(whole(value)?);
    Ok(())
}

pub(super) fn read_double(from: &mut Reader<'_>) -> Result<Value, CoderError> {
    from.array().map(|bytes| Value::Double(Double(f64::from_be_bytes(bytes))))
}

pub(super) fn write_double(value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    match value {
        Value::Double(number) => {
            to.bytes(&number.0.to_be_bytes());
            Ok(())
        }
        other => Err(mismatch("a double", other)),
    }
}

pub(super) fn read_float(from: &mut Reader<'_>) -> Result<Value, CoderError> {
    from.array().map(|bytes| Value::Float(Float(f32::from_be_bytes(bytes))))
}

pub(super) fn write_float(value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    match value {
        Value::Float(number) => {
            to.bytes(&number.0.to_be_bytes());
            Ok(())
        }
        other => Err(mismatch("a 32-bit float", other)),
    }
}

pub(super) fn read_byte(from: &mut Reader<'_>) -> Result<Value, CoderError> {
    from.array().map(|bytes| Value::Int(i8::from_be_bytes(bytes).into()))
}

pub(super) fn write_byte(value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    to.bytes(&narrow::<i8>(value, "between -128 and 127")?.to_be_bytes());
    Ok(())
}

pub(super) fn read_int16(from: &mut Reader<'_>) -> Result<Value, CoderError> {
    from.array().map(|bytes| Value::Int(i16::from_be_bytes(bytes).into()))
}

pub(super) fn write_int16(value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    to.bytes(&narrow::<i16>(value, "a 16-bit number")?.to_be_bytes());
    Ok(())
}

/// Java and Python write a negative number as the 32-bit two's complement, in five bytes; Go writes the 64-bit form.
pub(super) fn read_int32(from: &mut Reader<'_>) -> Result<Value, CoderError> {
    let value = from.varint()?;
    match (i32::try_from(value), u32::try_from(value)) {
        (Ok(number), _) => Ok(Value::Int(number.into())),
        (Err(_), Ok(bits)) => Ok(Value::Int((bits as i32).into())),
        (Err(_), Err(_)) => Err(from.fault(CoderFault::Range { value, expected: "a 32-bit number" })),
    }
}

pub(super) fn write_int32(value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    to.varint((narrow::<i32>(value, "a 32-bit number")? as u32).into());
    Ok(())
}

pub(super) fn read_instant(from: &mut Reader<'_>) -> Result<Value, CoderError> {
    from.array().map(|bytes| Value::Instant(i64::from_be_bytes(bytes) ^ i64::MIN))
}

pub(super) fn write_instant(value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    match value {
        Value::Instant(millis) => {
            to.bytes(&(millis ^ i64::MIN).to_be_bytes());
            Ok(())
        }
        other => Err(mismatch("an instant", other)),
    }
}

pub(super) fn read_decimal(from: &mut Reader<'_>) -> Result<Value, CoderError> {
    let scale = from.varint().map_err(|error| error.within("scale"))?;
    let unscaled = from.prefixed().map_err(|error| error.within("unscaled number"))?;
    if unscaled.is_empty() {
        return Err(from.fault(CoderFault::EmptyDecimal));
    }
    Ok(Value::Decimal(Decimal { scale, unscaled: Bytes::copy_from_slice(unscaled) }))
}

pub(super) fn write_decimal(value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    match value {
        Value::Decimal(decimal) if decimal.unscaled.is_empty() => Err(fault(CoderFault::EmptyDecimal)),
        Value::Decimal(decimal) => {
            to.varint(decimal.scale);
            to.prefixed(&decimal.unscaled);
            Ok(())
        }
        other => Err(mismatch("a decimal", other)),
    }
}

pub(super) fn pass_decimal(from: &mut Reader<'_>) -> Result<(), CoderError> {
    from.varint().map_err(|error| error.within("scale"))?;
    from.prefixed().map(|_| ()).map_err(|error| error.within("unscaled number"))
}

fn whole(value: &Value) -> Result<i64, CoderError> {
    match value {
        Value::Int(number) => Ok(*number),
        other => Err(mismatch(WHOLE, other)),
    }
}

fn narrow<T: TryFrom<i64>>(value: &Value, expected: &'static str) -> Result<T, CoderError> {
    let value = whole(value)?;
    T::try_from(value).map_err(|_| fault(CoderFault::Range { value, expected }))
}
