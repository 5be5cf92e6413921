//! Schemas: the `Schema` message, which is the payload of `beam:coder:row:v1`.
//!
//! ```text
//!   pb::Schema (optional everywhere) ◄──► model Schema (complete)
//! ```
//!
//! Kept is what decides how rows stand on the wire; see [`purlin_model::coder::schema`]. Descriptions, other options and
//! the arguments of logical types are not, so where an SDK sent a schema its own bytes are handed on. Nesting is bounded
//! by [`DEPTH_MAX`], so that no message can exhaust the stack.

use std::sync::Arc;

use prost::Name;
use purlin_model::coder::DEPTH_MAX;
use purlin_model::coder::schema::{Field, FieldKind, FieldType, LogicalType, Schema};

use super::problem::{Fault, Path, Problems};
use crate::pipeline::v1 as pb;
use crate::pipeline::v1::atomic_type_value;
use crate::pipeline::v1::field_type::TypeInfo;
use crate::pipeline::v1::field_value::FieldValue;

/// The option that leaves the count of fields and the null bits out of rows. Not in the interface; Java and Python set
/// it on representations of types whose encoding was there before rows were.
const STATIC_ENCODING: &str = "beam:option:row:static_encoding";

const ATOMIC: &str = "BYTE, INT16, INT32, INT64, FLOAT, DOUBLE, STRING, BOOLEAN, BYTES";
const TYPE: Fault = Fault::Missing { expected: "the type" };

/// Reads a schema with the rows inside it.
pub fn from_wire(wire: &pb::Schema, at: &Path<'_>, problems: &mut Problems) -> Option<Schema> {
    Reader { problems, depth: 0 }.schema(wire, at)
}

/// Writes a schema; [`from_wire`] reads it back.
pub fn to_wire(schema: &Schema) -> pb::Schema {
    let mut fields: Vec<pb::Field> = schema.fields().iter().map(field_to_wire).collect();
    let mut encoding_positions_set = false;
    for (position, (index, _)) in schema.in_wire_order().enumerate() {
        fields[index].encoding_position = i32::try_from(position).expect("the size of a schema is bounded");
        encoding_positions_set |= position != index;
    }
    let options = if schema.static_encoding() { vec![static_encoding_to_wire()] } else { vec![] };
    pb::Schema { id: schema.id().to_owned(), fields, options, encoding_positions_set }
}

fn field_to_wire(field: &Field) -> pb::Field {
    pb::Field { name: field.name.clone(), r#type: Some(type_to_wire(&field.field_type)), ..Default::default() }
}

fn type_to_wire(field_type: &FieldType) -> pb::FieldType {
    let boxed = |it: &FieldType| Some(Box::new(type_to_wire(it)));
    let atomic = |it: pb::AtomicType| TypeInfo::AtomicType(it.into());
    let type_info = match &field_type.kind {
        FieldKind::Byte => atomic(pb::AtomicType::Byte),
        FieldKind::Int16 => atomic(pb::AtomicType::Int16),
        FieldKind::Int32 => atomic(pb::AtomicType::Int32),
        FieldKind::Int64 => atomic(pb::AtomicType::Int64),
        FieldKind::Float => atomic(pb::AtomicType::Float),
        FieldKind::Double => atomic(pb::AtomicType::Double),
        FieldKind::String => atomic(pb::AtomicType::String),
        FieldKind::Boolean => atomic(pb::AtomicType::Boolean),
        FieldKind::Bytes => atomic(pb::AtomicType::Bytes),
        FieldKind::Array(element) => TypeInfo::ArrayType(Box::new(pb::ArrayType { element_type: boxed(element) })),
        FieldKind::Iterable(element) => {
            TypeInfo::IterableType(Box::new(pb::IterableType { element_type: boxed(element) }))
        }
        FieldKind::Map(sides) => {
            TypeInfo::MapType(Box::new(pb::MapType { key_type: boxed(&sides.0), value_type: boxed(&sides.1) }))
        }
        FieldKind::Row(schema) => TypeInfo::RowType(pb::RowType { schema: Some(to_wire(schema)) }),
        FieldKind::Logical(logical) => TypeInfo::LogicalType(Box::new(pb::LogicalType {
            urn: logical.urn().to_owned(),
            representation: logical.representation().and_then(boxed),
            ..Default::default()
        })),
    };
    pb::FieldType { nullable: field_type.nullable, type_info: Some(type_info) }
}

fn static_encoding_to_wire() -> pb::Option {
    let value = pb::AtomicTypeValue { value: Some(atomic_type_value::Value::Boolean(true)) };
    let boolean = TypeInfo::AtomicType(pb::AtomicType::Boolean.into());
    pb::Option {
        name: STATIC_ENCODING.to_owned(),
        r#type: Some(pb::FieldType { nullable: false, type_info: Some(boolean) }),
        value: Some(pb::FieldValue { field_value: Some(FieldValue::AtomicValue(value)) }),
    }
}

struct Reader<'a> {
    problems: &'a mut Problems,
    depth: usize,
}

impl Reader<'_> {
    fn schema(&mut self, wire: &pb::Schema, at: &Path<'_>) -> Option<Schema> {
        let list = at.field("fields");
        // All fields are read before the first failure counts, so that all faults are told.
        let fields: Vec<_> =
            wire.fields.iter().enumerate().map(|(index, field)| self.field(field, &list.index(index))).collect();
        let positions = if wire.encoding_positions_set { self.positions(wire, &list)? } else { vec![] };
        let fields = fields.into_iter().collect::<Option<Vec<_>>>()?;
        let schema = if wire.encoding_positions_set {
            Schema::with_positions(wire.id.as_str(), fields, positions)
        } else {
            Schema::new(wire.id.as_str(), fields)
        };
        match schema {
            Ok(schema) if is_static(wire) => Some(schema.with_static_encoding()),
            Ok(schema) => Some(schema),
            Err(error) => {
                self.problems.report(at, Fault::Malformed { message: pb::Schema::NAME, reason: error.to_string() });
                None
            }
        }
    }

    fn field(&mut self, wire: &pb::Field, at: &Path<'_>) -> Option<Field> {
        let field_type = self.required(wire.r#type.as_ref(), &at.field("type"))?;
        Some(Field { name: wire.name.clone(), field_type })
    }

    fn positions(&mut self, wire: &pb::Schema, list: &Path<'_>) -> Option<Vec<u32>> {
        let mut positions = Some(Vec::with_capacity(wire.fields.len()));
        for (index, field) in wire.fields.iter().enumerate() {
            match u32::try_from(field.encoding_position) {
                Ok(position) => positions.iter_mut().for_each(|all| all.push(position)),
                Err(_) => {
                    let value = field.encoding_position.to_string();
                    let at = list.index(index);
                    self.problems.report(
                        &at.field("encoding_position"),
                        Fault::OutOfRange { value, expected: "less than the number of fields, and not negative" },
                    );
                    positions = None;
                }
            }
        }
        positions
    }

    fn required(&mut self, wire: Option<&pb::FieldType>, at: &Path<'_>) -> Option<FieldType> {
        match wire {
            Some(wire) => self.field_type(wire, at),
            None => self.missing(at),
        }
    }

    fn missing<T>(&mut self, at: &Path<'_>) -> Option<T> {
        self.problems.report(at, TYPE);
        None
    }

    fn field_type(&mut self, wire: &pb::FieldType, at: &Path<'_>) -> Option<FieldType> {
        if self.depth == DEPTH_MAX {
            self.problems.report(at, Fault::TooDeep { max: DEPTH_MAX });
            return None;
        }
        self.depth += 1;
        let kind = self.kind(wire, at);
        self.depth -= 1;
        Some(FieldType { nullable: wire.nullable, kind: kind? })
    }

    fn kind(&mut self, wire: &pb::FieldType, at: &Path<'_>) -> Option<FieldKind> {
        match &wire.type_info {
            None => self.missing(at),
            Some(TypeInfo::AtomicType(number)) => self.atomic(*number, &at.field("atomic_type")),
            Some(TypeInfo::ArrayType(array)) => {
                let at = at.field("array_type");
                let element = self.required(array.element_type.as_deref(), &at.field("element_type"))?;
                Some(FieldKind::Array(Box::new(element)))
            }
            Some(TypeInfo::IterableType(iterable)) => {
                let at = at.field("iterable_type");
                let element = self.required(iterable.element_type.as_deref(), &at.field("element_type"))?;
                Some(FieldKind::Iterable(Box::new(element)))
            }
            Some(TypeInfo::MapType(map)) => {
                let at = at.field("map_type");
                let key = self.required(map.key_type.as_deref(), &at.field("key_type"));
                let value = self.required(map.value_type.as_deref(), &at.field("value_type"));
                Some(FieldKind::Map(Box::new((key?, value?))))
            }
            Some(TypeInfo::RowType(row)) => {
                let at = at.field("row_type");
                let at = at.field("schema");
                match &row.schema {
                    Some(schema) => Some(FieldKind::Row(Arc::new(self.schema(schema, &at)?))),
                    None => {
                        self.problems.report(&at, Fault::Missing { expected: "a schema" });
                        None
                    }
                }
            }
            Some(TypeInfo::LogicalType(logical)) => self.logical(logical, &at.field("logical_type")),
        }
    }

    fn atomic(&mut self, number: i32, at: &Path<'_>) -> Option<FieldKind> {
        match pb::AtomicType::try_from(number) {
            Ok(pb::AtomicType::Byte) => Some(FieldKind::Byte),
            Ok(pb::AtomicType::Int16) => Some(FieldKind::Int16),
            Ok(pb::AtomicType::Int32) => Some(FieldKind::Int32),
            Ok(pb::AtomicType::Int64) => Some(FieldKind::Int64),
            Ok(pb::AtomicType::Float) => Some(FieldKind::Float),
            Ok(pb::AtomicType::Double) => Some(FieldKind::Double),
            Ok(pb::AtomicType::String) => Some(FieldKind::String),
            Ok(pb::AtomicType::Boolean) => Some(FieldKind::Boolean),
            Ok(pb::AtomicType::Bytes) => Some(FieldKind::Bytes),
            Ok(pb::AtomicType::Unspecified) | Err(_) => {
                self.problems.report(at, Fault::UnknownNumber { number, expected: ATOMIC });
                None
            }
        }
    }

    /// Some SDKs leave out the representation of a type that only they can read; the model knows such types as opaque.
    fn logical(&mut self, wire: &pb::LogicalType, at: &Path<'_>) -> Option<FieldKind> {
        let representation = match &wire.representation {
            Some(representation) => Some(self.field_type(representation, &at.field("representation"))?),
            None => None,
        };
        Some(FieldKind::Logical(Box::new(LogicalType::new(wire.urn.as_str(), representation))))
    }
}

fn is_static(wire: &pb::Schema) -> bool {
    wire.options.iter().any(|option| {
        let value = option.value.as_ref().and_then(|value| value.field_value.as_ref());
        let set = match value {
            Some(FieldValue::AtomicValue(value)) => value.value == Some(atomic_type_value::Value::Boolean(true)),
            Some(_) | None => false,
        };
        set && option.name == STATIC_ENCODING
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn atomic(atomic_type: pb::AtomicType) -> pb::FieldType {
        pb::FieldType { nullable: false, type_info: Some(TypeInfo::AtomicType(atomic_type.into())) }
    }

    fn field(name: &str, encoding_position: i32, field_type: pb::FieldType) -> pb::Field {
        pb::Field { name: name.to_owned(), encoding_position, r#type: Some(field_type), ..Default::default() }
    }

    fn problems_of(wire: &pb::Schema) -> String {
        let mut problems = Problems::new();
        let schema = from_wire(wire, &Path::root("schema"), &mut problems);
        problems.finish(schema).expect_err("a schema with problems").to_string()
    }

    #[test]
    fn a_schema_is_read_with_its_order_and_its_nested_types() {
        let map = pb::MapType {
            key_type: Some(Box::new(atomic(pb::AtomicType::String))),
            value_type: Some(Box::new(pb::FieldType { nullable: true, ..atomic(pb::AtomicType::Int64) })),
        };
        let map = pb::FieldType { nullable: false, type_info: Some(TypeInfo::MapType(Box::new(map))) };
        let wire = pb::Schema {
            id: "id".to_owned(),
            fields: vec![field("a", 1, map), field("b", 0, atomic(pb::AtomicType::Byte))],
            encoding_positions_set: true,
            ..Default::default()
        };
        let mut problems = Problems::new();
        let schema = from_wire(&wire, &Path::root("schema"), &mut problems);
        let schema = problems.finish(schema).expect("nothing is wrong with it");
        assert_eq!(schema.to_string(), "row{a: map<string, int64?>, b: byte}");
        assert_eq!(schema.in_wire_order().map(|(index, _)| index).collect::<Vec<_>>(), [1, 0]);
        assert!(!schema.static_encoding());
    }

    #[test]
    fn the_option_of_static_encoding_is_seen() {
        let with = |name: &str, boolean: bool| {
            let value = pb::AtomicTypeValue { value: Some(atomic_type_value::Value::Boolean(boolean)) };
            let value = Some(pb::FieldValue { field_value: Some(FieldValue::AtomicValue(value)) });
            let option = pb::Option { name: name.to_owned(), value, ..Default::default() };
            let wire = pb::Schema { options: vec![option], ..Default::default() };
            from_wire(&wire, &Path::root("schema"), &mut Problems::new()).expect("an empty schema").static_encoding()
        };
        assert!(with(STATIC_ENCODING, true));
        assert!(!with(STATIC_ENCODING, false));
        assert!(!with("beam:option:other", true));
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        let array = pb::ArrayType { element_type: None };
        let array = pb::FieldType { nullable: false, type_info: Some(TypeInfo::ArrayType(Box::new(array))) };
        let wire = pb::Schema {
            fields: vec![
                field("a", 0, array),
                field("b", 0, atomic(pb::AtomicType::Unspecified)),
                pb::Field { name: "c".to_owned(), encoding_position: -1, ..Default::default() },
            ],
            encoding_positions_set: true,
            ..Default::default()
        };
        assert_eq!(
            problems_of(&wire),
            "schema.fields[0].type.array_type.element_type is not set; send the type\n\
             schema.fields[1].type.atomic_type has the number 0, which this version of Beam does not know; send one of \
             BYTE, INT16, INT32, INT64, FLOAT, DOUBLE, STRING, BOOLEAN, BYTES\n\
             schema.fields[2].type is not set; send the type\n\
             schema.fields[2].encoding_position is -1; it must be less than the number of fields, and not negative"
        );
        let twice = pb::Schema {
            fields: vec![field("a", 0, atomic(pb::AtomicType::Byte)), field("b", 0, atomic(pb::AtomicType::Byte))],
            encoding_positions_set: true,
            ..Default::default()
        };
        assert_eq!(
            problems_of(&twice),
            "schema is not a valid Schema: the encoding positions [0, 0] are not the numbers from 0 to 1, each once; \
             number all fields or none"
        );
    }

    #[test]
    fn deep_types_are_refused() {
        let mut deep = atomic(pb::AtomicType::Byte);
        for _ in 0..1000 {
            let array = pb::ArrayType { element_type: Some(Box::new(deep)) };
            deep = pb::FieldType { nullable: false, type_info: Some(TypeInfo::ArrayType(Box::new(array))) };
        }
        let wire = pb::Schema { fields: vec![field("a", 0, deep)], ..Default::default() };
        assert!(problems_of(&wire).ends_with("is nested deeper than 100 levels"));
    }

    /// Schemas of a few levels, with every kind of type.
    pub(crate) fn schemas() -> impl Strategy<Value = Schema> {
        schema_of(types())
    }

    fn types() -> BoxedStrategy<FieldType> {
        let atomic = prop::sample::select(vec![
            FieldKind::Byte,
            FieldKind::Int16,
            FieldKind::Int32,
            FieldKind::Int64,
            FieldKind::Float,
            FieldKind::Double,
            FieldKind::String,
            FieldKind::Boolean,
            FieldKind::Bytes,
            FieldKind::Logical(Box::new(LogicalType::new("some:opaque:type", None))),
        ]);
        let typed = |kind: BoxedStrategy<FieldKind>| {
            (any::<bool>(), kind).prop_map(|(nullable, kind)| FieldType { nullable, kind })
        };
        typed(atomic.boxed())
            .prop_recursive(3, 12, 2, move |inner| {
                let logical = |of| FieldKind::Logical(Box::new(LogicalType::new("some:type", Some(of))));
                let kind = prop_oneof![
                    inner.clone().prop_map(|element| FieldKind::Array(Box::new(element))),
                    inner.clone().prop_map(|element| FieldKind::Iterable(Box::new(element))),
                    (inner.clone(), inner.clone()).prop_map(|sides| FieldKind::Map(Box::new(sides))),
                    inner.clone().prop_map(logical),
                    schema_of(inner.boxed()).prop_map(|schema| FieldKind::Row(Arc::new(schema))),
                ];
                typed(kind.boxed())
            })
            .boxed()
    }

    fn schema_of(types: BoxedStrategy<FieldType>) -> BoxedStrategy<Schema> {
        let fields = prop::collection::vec((".{0,3}", types), 0..5);
        let ordered = fields.prop_flat_map(|fields| {
            let positions: Vec<u32> = (0..fields.len() as u32).collect();
            (Just(fields), Just(positions).prop_shuffle())
        });
        (".{0,3}", ordered, any::<bool>())
            .prop_map(|(id, (fields, positions), static_encoding)| {
                let fields = fields.into_iter().map(|(name, field_type)| Field { name, field_type }).collect();
                let schema = Schema::with_positions(id, fields, positions).expect("small, and a permutation");
                if static_encoding { schema.with_static_encoding() } else { schema }
            })
            .boxed()
    }

    proptest! {
        #[test]
        fn every_schema_is_read_back(schema in schemas()) {
            let bytes = to_wire(&schema).encode_to_vec();
            let wire = pb::Schema::decode(&bytes[..]).expect("bytes just written");
            let mut problems = Problems::new();
            let read = from_wire(&wire, &Path::root("schema"), &mut problems);
            prop_assert_eq!(problems.finish(read), Ok(schema));
        }

        #[test]
        fn any_payload_gives_a_schema_or_problems(payload in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(wire) = pb::Schema::decode(&payload[..]) {
                let mut problems = Problems::new();
                let schema = from_wire(&wire, &Path::root("schema"), &mut problems);
                prop_assert_eq!(schema.is_some(), problems.is_empty());
            }
        }
    }
}
