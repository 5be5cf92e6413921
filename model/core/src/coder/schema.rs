//! Schemas: the fields of a row and their types (`schema.proto`), as far as they decide how a row stands on the wire.
//!
//! ```text
//!   payload of beam:coder:row:v1 ──proto::convert──► Schema ──► row.rs reads and writes by it
//! ```
//! Descriptions, options and the arguments of logical types do not change the encoding and are not kept, with one
//! exception: the option `beam:option:row:static_encoding`. Does not know protobuf.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::cursor::DEPTH_MAX;
use super::wire::Wire;

/// The most fields that a schema may hold, those of the rows inside it included.
pub const SCHEMA_SIZE_MAX: usize = 1 << 16;

/// The fields of a row, and the order in which they stand on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schema {
    id: String,
    fields: Vec<Field>,
    /// The index of the field at each encoding position: a permutation of `0..fields.len()`.
    order: Vec<u32>,
    static_encoding: bool,
    /// Whether a row has no bytes at all. Kept, because the data plane asks.
    takes_no_bytes: bool,
    /// How deep the types are nested, and how many there are; at most [`DEPTH_MAX`] and [`SCHEMA_SIZE_MAX`].
    measure: Measure,
}

/// One field of a schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// `Field.name`
    pub name: String,
    /// `Field.type`
    pub field_type: FieldType,
}

/// The type of a field, of an element or of a map's side (`FieldType`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldType {
    /// Whether the value may be null.
    pub nullable: bool,
    /// What it is if it is not null.
    pub kind: FieldKind,
}

/// `FieldType.type_info`, the atomic types side by side with the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// A byte, signed.
    Byte,
    /// Two bytes, big endian.
    Int16,
    /// A varint of the 32-bit two's complement.
    Int32,
    /// A varint.
    Int64,
    /// Four bytes, big endian.
    Float,
    /// Eight bytes, big endian.
    Double,
    /// A length and UTF-8.
    String,
    /// One byte.
    Boolean,
    /// A length and bytes.
    Bytes,
    /// An `ArrayType`: written like an iterable.
    Array(Box<FieldType>),
    /// An `IterableType`.
    Iterable(Box<FieldType>),
    /// A `MapType`: a count, then keys and values.
    Map(Box<(FieldType, FieldType)>),
    /// A row inside the row.
    Row(Arc<Schema>),
    /// A `LogicalType`.
    Logical(Box<LogicalType>),
}

/// A type with a meaning beyond its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogicalType {
    urn: String,
    representation: Option<FieldType>,
    encoding: LogicalEncoding,
}

/// How a logical type stands on the wire. Chosen by the URN, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogicalEncoding {
    /// Like its representation: the rule.
    Representation,
    /// Like a timestamp, whatever the representation says.
    MillisInstant,
    /// A varint scale, then the unscaled number as nested bytes, whatever the representation says.
    Decimal,
    /// In a way that only the SDK knows.
    Opaque,
}

/// `beam:logical_type:millis_instant:v1`, declared over INT64 and not encoded as one.
pub const MILLIS_INSTANT_URN: &str = "beam:logical_type:millis_instant:v1";
/// `beam:logical_type:decimal:v1`, declared over BYTES and not encoded as them.
pub const DECIMAL_URN: &str = "beam:logical_type:decimal:v1";
/// What Python uses for fields of any type; its bytes are Python's own, whatever the representation says.
pub const PYTHON_ANY_URN: &str = "beam:logical:pythonsdk_any:v1";

impl LogicalType {
    /// The logical type `urn` over `representation`.
    pub fn new(urn: impl Into<String>, representation: Option<FieldType>) -> Self {
        let urn = urn.into();
        let encoding = match urn.as_str() {
            MILLIS_INSTANT_URN => LogicalEncoding::MillisInstant,
            DECIMAL_URN => LogicalEncoding::Decimal,
            PYTHON_ANY_URN => LogicalEncoding::Opaque,
            _ if representation.is_none() => LogicalEncoding::Opaque,
            _ => LogicalEncoding::Representation,
        };
        Self { urn, representation, encoding }
    }

    /// `LogicalType.urn`
    pub fn urn(&self) -> &str {
        &self.urn
    }

    /// `LogicalType.representation`
    pub fn representation(&self) -> Option<&FieldType> {
        self.representation.as_ref()
    }

    /// How it stands on the wire.
    pub fn encoding(&self) -> LogicalEncoding {
        self.encoding
    }
}

/// Why fields are not a schema.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SchemaError {
    /// The encoding positions leave a gap or name a place twice.
    #[error("the encoding positions {found:?} are not the numbers from 0 to {}, each once; number all fields or none", found.len().saturating_sub(1))]
    Positions {
        /// The positions, in the order of the fields.
        found: Vec<u32>,
    },
    /// The number of positions is not the number of fields.
    #[error("{positions} encoding positions are given for {fields} fields")]
    PositionCount {
        /// How many positions.
        positions: usize,
        /// How many fields.
        fields: usize,
    },
    /// Types inside types inside types.
    #[error("types are nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// More fields than Purlin follows.
    #[error("there are more than {SCHEMA_SIZE_MAX} fields and types")]
    TooLarge,
}

impl Schema {
    /// A schema whose fields stand on the wire in the order of the list.
    ///
    /// # Errors
    /// When the fields are too many or nested too deep.
    pub fn new(id: impl Into<String>, fields: Vec<Field>) -> Result<Self, SchemaError> {
        let order = (0..fields.len() as u32).collect();
        Self::ordered(id.into(), fields, order)
    }

    /// A schema with `encoding_positions_set`: `positions` holds `Field.encoding_position` of each field.
    ///
    /// # Errors
    /// Those of [`new`](Self::new), and when the positions are not a permutation.
    pub fn with_positions(id: impl Into<String>, fields: Vec<Field>, positions: Vec<u32>) -> Result<Self, SchemaError> {
        if positions.len() != fields.len() {
            return Err(SchemaError::PositionCount { positions: positions.len(), fields: fields.len() });
        }
        let mut order = vec![u32::MAX; fields.len()];
        for (index, &position) in positions.iter().enumerate() {
            match order.get_mut(position as usize) {
                Some(slot @ &mut u32::MAX) => *slot = index as u32,
                Some(_) | None => return Err(SchemaError::Positions { found: positions }),
            }
        }
        Self::ordered(id.into(), fields, order)
    }

    fn ordered(id: String, fields: Vec<Field>, order: Vec<u32>) -> Result<Self, SchemaError> {
        let mut measure = Measure { depth: 0, size: 0 };
        for field in &fields {
            measure = measure.beside(Measure::of(&field.field_type));
        }
        let measure = measure.checked()?;
        Ok(Self { id, fields, order, static_encoding: false, takes_no_bytes: false, measure })
    }

    /// The same schema with the option `beam:option:row:static_encoding`: rows stand on the wire without the count of
    /// fields and the bits for nulls, and hold no nulls.
    #[must_use]
    pub fn with_static_encoding(mut self) -> Self {
        self.static_encoding = true;
        self.takes_no_bytes = self.fields.iter().all(|field| field.field_type.kind.takes_no_bytes());
        self
    }

    /// `Schema.id`
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The fields, in the order of the list.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether rows are written without count and null bits.
    pub fn static_encoding(&self) -> bool {
        self.static_encoding
    }

    /// The index and the field at each encoding position.
    pub fn in_wire_order(&self) -> impl ExactSizeIterator<Item = (usize, &Field)> {
        self.order.iter().map(|&index| (index as usize, &self.fields[index as usize]))
    }

    /// Whether every field can be read without the SDK that made it. Cost: the size of the schema.
    pub fn is_transparent(&self) -> bool {
        self.fields.iter().all(|field| field.field_type.is_transparent())
    }

    /// Whether a row has no bytes at all.
    pub(super) fn takes_no_bytes(&self) -> bool {
        self.takes_no_bytes
    }

    pub(super) fn depth(&self) -> usize {
        self.measure.depth
    }
}

impl FieldType {
    /// A type whose values are never null.
    pub fn required(kind: FieldKind) -> Self {
        Self { nullable: false, kind }
    }

    /// A type whose values may be null.
    pub fn nullable(kind: FieldKind) -> Self {
        Self { nullable: true, kind }
    }

    fn is_transparent(&self) -> bool {
        match &self.kind {
            FieldKind::Byte
            | FieldKind::Int16
            | FieldKind::Int32
            | FieldKind::Int64
            | FieldKind::Float
            | FieldKind::Double
            | FieldKind::String
            | FieldKind::Boolean
            | FieldKind::Bytes => true,
            FieldKind::Array(element) | FieldKind::Iterable(element) => element.is_transparent(),
            FieldKind::Map(sides) => sides.0.is_transparent() && sides.1.is_transparent(),
            FieldKind::Row(schema) => schema.is_transparent(),
            FieldKind::Logical(logical) => match logical.encoding {
                LogicalEncoding::MillisInstant | LogicalEncoding::Decimal => true,
                LogicalEncoding::Opaque => false,
                LogicalEncoding::Representation => logical.representation.as_ref().is_some_and(Self::is_transparent),
            },
        }
    }
}

/// How deep and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Measure {
    depth: usize,
    size: usize,
}

impl Measure {
    fn of(field_type: &FieldType) -> Self {
        match &field_type.kind {
            FieldKind::Byte
            | FieldKind::Int16
            | FieldKind::Int32
            | FieldKind::Int64
            | FieldKind::Float
            | FieldKind::Double
            | FieldKind::String
            | FieldKind::Boolean
            | FieldKind::Bytes => Self { depth: 1, size: 1 },
            FieldKind::Array(element) | FieldKind::Iterable(element) => Self::of(element).below(),
            FieldKind::Map(sides) => Self::of(&sides.0).beside(Self::of(&sides.1)).below(),
            FieldKind::Row(schema) => schema.measure.below(),
            FieldKind::Logical(logical) => {
                logical.representation.as_ref().map_or(Self { depth: 0, size: 0 }, Self::of).below()
            }
        }
    }

    fn beside(self, other: Self) -> Self {
        Self { depth: self.depth.max(other.depth), size: self.size.saturating_add(other.size) }
    }

    fn below(self) -> Self {
        Self { depth: self.depth + 1, size: self.size.saturating_add(1) }
    }

    fn checked(self) -> Result<Self, SchemaError> {
        if self.depth > DEPTH_MAX {
            Err(SchemaError::TooDeep)
        } else if self.size > SCHEMA_SIZE_MAX {
            Err(SchemaError::TooLarge)
        } else {
            Ok(self)
        }
    }
}

impl fmt::Display for Schema {
    /// For example `row{name: string, age: int64?}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("row{")?;
        for (place, field) in self.fields.iter().enumerate() {
            write!(f, "{}{}: {}", if place == 0 { "" } else { ", " }, field.name, field.field_type)?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FieldKind::Byte => f.write_str("byte"),
            FieldKind::Int16 => f.write_str("int16"),
            FieldKind::Int32 => f.write_str("int32"),
            FieldKind::Int64 => f.write_str("int64"),
            FieldKind::Float => f.write_str("float"),
            FieldKind::Double => f.write_str("double"),
            FieldKind::String => f.write_str("string"),
            FieldKind::Boolean => f.write_str("boolean"),
            FieldKind::Bytes => f.write_str("bytes"),
            FieldKind::Array(element) => write!(f, "array<{element}>"),
            FieldKind::Iterable(element) => write!(f, "iterable<{element}>"),
            FieldKind::Map(sides) => write!(f, "map<{}, {}>", sides.0, sides.1),
            FieldKind::Row(schema) => write!(f, "{schema}"),
            FieldKind::Logical(logical) => f.write_str(logical.urn()),
        }?;
        f.write_str(if self.nullable { "?" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, kind: FieldKind) -> Field {
        Field { name: name.to_owned(), field_type: FieldType::required(kind) }
    }

    #[test]
    fn positions_must_be_a_permutation() {
        let fields = || vec![field("a", FieldKind::Byte), field("b", FieldKind::Bytes)];
        let schema = Schema::with_positions("", fields(), vec![1, 0]).expect("a permutation");
        assert_eq!(schema.in_wire_order().map(|(index, _)| index).collect::<Vec<_>>(), [1, 0]);
        let error = Schema::with_positions("", fields(), vec![1, 1]).expect_err("twice the same");
        assert_eq!(
            error.to_string(),
            "the encoding positions [1, 1] are not the numbers from 0 to 1, each once; number all fields or none"
        );
        assert!(Schema::with_positions("", fields(), vec![0, 2]).is_err());
        assert!(Schema::with_positions("", fields(), vec![0]).is_err());
    }

    #[test]
    fn deep_and_large_schemas_are_refused() {
        let mut inner = Schema::new("", vec![]).expect("empty");
        let refused =
            (0..).find_map(|_| match Schema::new("", vec![field("f", FieldKind::Row(Arc::new(inner.clone())))]) {
                Ok(schema) => {
                    inner = schema;
                    None
                }
                Err(error) => Some(error),
            });
        assert_eq!(refused, Some(SchemaError::TooDeep));

        let mut inner = Schema::new("", vec![field("a", FieldKind::Byte)]).expect("one field");
        let refused = (0..).find_map(|_| {
            let shared = Arc::new(inner.clone());
            match Schema::new("", vec![field("f", FieldKind::Row(shared.clone())), field("g", FieldKind::Row(shared))])
            {
                Ok(schema) => {
                    inner = schema;
                    None
                }
                Err(error) => Some(error),
            }
        });
        assert_eq!(refused, Some(SchemaError::TooLarge));
    }

    #[test]
    fn a_schema_prints_as_fields_and_types() {
        let any = FieldKind::Logical(Box::new(LogicalType::new(PYTHON_ANY_URN, None)));
        let map = FieldKind::Map(Box::new((
            FieldType::required(FieldKind::String),
            FieldType::nullable(FieldKind::Array(Box::new(FieldType::required(FieldKind::Int32)))),
        )));
        let schema = Schema::new("id", vec![field("m", map), field("x", any)]).expect("small");
        assert_eq!(schema.to_string(), "row{m: map<string, array<int32>?>, x: beam:logical:pythonsdk_any:v1}");
        assert!(!schema.is_transparent());
    }
}
