//! `row`: the fields of a schema, one behind the other.
//!
//! ```text
//!   03           │ 01 02      │ 01 61 │ 01 7a        ('a', null, b'z')
//!   how many     │ null bits, │ the fields that are not null, nested,
//!   fields       │ as bytes   │ in the order of their encoding positions
//! ```
//! - A row may hold fewer fields than its schema: it was written before fields were added, and they are null.
//! - Bit `i` of the null bits (byte `i / 8`, counted from its least bit) speaks of the field at encoding position `i`.
//!   Python counts in the order of the list instead; the two differ only in schemas with positions of their own, which
//!   only Java makes, and only Java's order survives a change of the schema. Trailing zero bytes are left out.
//! - With the option `beam:option:row:static_encoding` the count and the null bits are not there.
//! - Nulls inside arrays and maps are written like `nullable`.

use super::Context;
use super::cursor::{Reader, Writer, fault, mismatch};
use super::error::{CoderError, CoderFault};
use super::schema::{FieldKind, FieldType, LogicalEncoding, LogicalType, Schema};
use super::value::Value;
use super::wire::Wire;
use super::{iterable, nullable, scalar, text};

/// The front of a row.
struct Front<'a> {
    /// How many fields follow, null ones included.
    fields: usize,
    nulls: &'a [u8],
}

impl<'a> Front<'a> {
    fn read(schema: &Schema, from: &mut Reader<'a>) -> Result<Self, CoderError> {
        let expected = schema.fields().len();
        if schema.static_encoding() {
            return Ok(Self { fields: expected, nulls: &[] });
        }
        let found = from.varint().map_err(|error| error.within("count of fields"))?;
        match usize::try_from(found) {
            Ok(fields) if fields <= expected => {
                let nulls = from.prefixed().map_err(|error| error.within("null bits"))?;
                Ok(Self { fields, nulls })
            }
            // Only who knows the types of the fields beyond could find the end of the row.
            Ok(_) | Err(_) => Err(from.fault(CoderFault::FieldCount { found, expected })),
        }
    }

    fn is_null(&self, position: usize) -> bool {
        self.nulls.get(position / 8).is_some_and(|byte| byte >> (position % 8) & 1 == 1)
    }
}

pub(super) fn read(schema: &Schema, from: &mut Reader<'_>) -> Result<Value, CoderError> {
    let front = Front::read(schema, from)?;
    // The row and one value for each field, for which no bytes need stand.
    from.spend_empty(1 + schema.fields().len())?;
    let mut values = vec![Value::Null; schema.fields().len()];
    for (position, (index, field)) in schema.in_wire_order().enumerate().take(front.fields) {
        if !front.is_null(position) {
            values[index] =
                field.field_type.kind.read(from, Context::Nested).map_err(|error| in_field(error, &field.name))?;
        }
    }
    Ok(Value::Row(values))
}

pub(super) fn pass(schema: &Schema, from: &mut Reader<'_>) -> Result<(), CoderError> {
    let front = Front::read(schema, from)?;
    for (position, (_, field)) in schema.in_wire_order().enumerate().take(front.fields) {
        if !front.is_null(position) {
            field.field_type.kind.pass(from, Context::Nested).map_err(|error| in_field(error, &field.name))?;
        }
    }
    Ok(())
}

pub(super) fn write(schema: &Schema, value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    let Value::Row(values) = value else {
        return Err(mismatch("a row", value));
    };
    if values.len() != schema.fields().len() {
        return Err(fault(CoderFault::FieldCount { found: values.len() as i64, expected: schema.fields().len() }));
    }
    if !schema.static_encoding() {
        to.varint(values.len() as i64);
        to.prefixed(&null_bits(schema, values));
    }
    for (index, field) in schema.in_wire_order() {
        let written = match &values[index] {
            Value::Null if field.field_type.nullable && !schema.static_encoding() => Ok(()),
            Value::Null => Err(fault(CoderFault::UnexpectedNull)),
            value => field.field_type.kind.write(value, Context::Nested, to),
        };
        written.map_err(|error| in_field(error, &field.name))?;
    }
    Ok(())
}

fn null_bits(schema: &Schema, values: &[Value]) -> Vec<u8> {
    let mut bits = Vec::new();
    for (position, (index, _)) in schema.in_wire_order().enumerate() {
        if values[index] == Value::Null {
            bits.resize(position / 8 + 1, 0);
            bits[position / 8] |= 1 << (position % 8);
        }
    }
    bits
}

fn in_field(error: CoderError, name: &str) -> CoderError {
    error.within(format!("field {name:?}"))
}

/// A type as an element of an array or a side of a map, where a null takes a byte of its own.
impl Wire for FieldType {
    fn read(&self, from: &mut Reader<'_>, context: Context) -> Result<Value, CoderError> {
        if self.nullable { nullable::read(&self.kind, from, context) } else { self.kind.read(from, context) }
    }

    fn write(&self, value: &Value, context: Context, to: &mut Writer<'_>) -> Result<(), CoderError> {
        if self.nullable {
            nullable::write(&self.kind, value, context, to)
        } else {
            self.kind.write(value, context, to)
        }
    }

    fn pass(&self, from: &mut Reader<'_>, context: Context) -> Result<(), CoderError> {
        if self.nullable { nullable::pass(&self.kind, from, context) } else { self.kind.pass(from, context) }
    }

    fn takes_no_bytes(&self) -> bool {
        !self.nullable && self.kind.takes_no_bytes()
    }
}

/// A value that is not null. How deep kinds are nested is bounded where the schema is made.
impl Wire for FieldKind {
    fn read(&self, from: &mut Reader<'_>, context: Context) -> Result<Value, CoderError> {
        match self {
            Self::Byte => scalar::read_byte(from),
            Self::Int16 => scalar::read_int16(from),
            Self::Int32 => scalar::read_int32(from),
            Self::Int64 => scalar::read_varint(from),
            Self::Float => scalar::read_float(from),
            Self::Double => scalar::read_double(from),
            Self::String => text::read_string(from, context),
            Self::Boolean => scalar::read_bool(from),
            Self::Bytes => text::read_bytes(from, context),
            Self::Array(element) | Self::Iterable(element) => iterable::read(&**element, from),
            Self::Map(sides) => iterable::read_map(&sides.0, &sides.1, from),
            Self::Row(schema) => read(schema, from),
            Self::Logical(logical) => match encoding_of(logical) {
                Encoding::Like(representation) => representation.read(from, context),
                Encoding::MillisInstant => scalar::read_instant(from),
                Encoding::Decimal => scalar::read_decimal(from),
                Encoding::Opaque(fault) => Err(from.fault(fault)),
            },
        }
    }

    fn write(&self, value: &Value, context: Context, to: &mut Writer<'_>) -> Result<(), CoderError> {
        match self {
            Self::Byte => scalar::write_byte(value, to),
            Self::Int16 => scalar::write_int16(value, to),
            Self::Int32 => scalar::write_int32(value, to),
            Self::Int64 => scalar::write_varint(value, to),
            Self::Float => scalar::write_float(value, to),
            Self::Double => scalar::write_double(value, to),
            Self::String => text::write_string(value, context, to),
            Self::Boolean => scalar::write_bool(value, to),
            Self::Bytes => text::write_bytes(value, context, to),
            Self::Array(element) | Self::Iterable(element) => iterable::write(&**element, value, to),
            Self::Map(sides) => iterable::write_map(&sides.0, &sides.1, value, to),
            Self::Row(schema) => write(schema, value, to),
            Self::Logical(logical) => match encoding_of(logical) {
                Encoding::Like(representation) => representation.write(value, context, to),
                Encoding::MillisInstant => scalar::write_instant(value, to),
                Encoding::Decimal => scalar::write_decimal(value, to),
                Encoding::Opaque(opaque) => Err(fault(opaque)),
            },
        }
    }

    fn pass(&self, from: &mut Reader<'_>, context: Context) -> Result<(), CoderError> {
        match self {
            Self::Byte | Self::Boolean => from.byte().map(|_| ()),
            Self::Int16 => from.array::<2>().map(|_| ()),
            Self::Int32 | Self::Int64 => from.varint().map(|_| ()),
            Self::Float => from.array::<4>().map(|_| ()),
            Self::Double => from.array::<8>().map(|_| ()),
            Self::String | Self::Bytes => text::pass(from, context),
            Self::Array(element) | Self::Iterable(element) => iterable::pass(&**element, from),
            Self::Map(sides) => iterable::pass_map(&sides.0, &sides.1, from),
            Self::Row(schema) => pass(schema, from),
            Self::Logical(logical) => match encoding_of(logical) {
                Encoding::Like(representation) => representation.pass(from, context),
                Encoding::MillisInstant => from.array::<8>().map(|_| ()),
                Encoding::Decimal => scalar::pass_decimal(from),
                Encoding::Opaque(fault) => Err(from.fault(fault)),
            },
        }
    }

    fn takes_no_bytes(&self) -> bool {
        match self {
            Self::Row(schema) => schema.takes_no_bytes(),
            Self::Logical(logical) => match encoding_of(logical) {
                Encoding::Like(representation) => Wire::takes_no_bytes(representation),
                Encoding::MillisInstant | Encoding::Decimal | Encoding::Opaque(_) => false,
            },
            Self::Byte
            | Self::Int16
            | Self::Int32
            | Self::Int64
            | Self::Float
            | Self::Double
            | Self::String
            | Self::Boolean
            | Self::Bytes
            | Self::Array(_)
            | Self::Iterable(_)
            | Self::Map(_) => false,
        }
    }
}

/// How a logical type stands on the wire, with what is needed for it.
enum Encoding<'a> {
    Like(&'a FieldType),
    MillisInstant,
    Decimal,
    Opaque(CoderFault),
}

fn encoding_of(logical: &LogicalType) -> Encoding<'_> {
    match (logical.encoding(), logical.representation()) {
        (LogicalEncoding::MillisInstant, _) => Encoding::MillisInstant,
        (LogicalEncoding::Decimal, _) => Encoding::Decimal,
        (LogicalEncoding::Representation, Some(representation)) => Encoding::Like(representation),
        (LogicalEncoding::Representation, None) | (LogicalEncoding::Opaque, _) => {
            Encoding::Opaque(CoderFault::Opaque { urn: logical.urn().to_owned() })
        }
    }
}
