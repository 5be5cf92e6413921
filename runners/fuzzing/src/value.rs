//! Values of coders: whatever the bytes, a value or an error, and all ways of reading agree.

use std::sync::Arc;

use crate::chance::Chance;
use purlin_model::coder::schema::{Field, FieldKind, FieldType, LogicalType, Schema};
use purlin_model::coder::{Coder, CoderFault, Context, UnknownCoder};

use crate::mutate_bytes::mutate_bytes;
use crate::target::Broken;

pub(crate) fn run(random: &mut Chance) -> Result<(), Broken> {
    let coder = any_coder(random, 0);
    let mut bytes = Vec::new();
    write_some(&coder, &mut bytes, random);
    if random.percent(90) {
        mutate_bytes(&mut bytes, random);
    }
    let context = if random.percent(50) { Context::Nested } else { Context::Outer };
    check(&coder, context, &bytes).map_err(|what| Broken(format!("{coder}, {context:?}, {bytes:02x?}: {what}")))
}

fn check(coder: &Coder, context: Context, bytes: &[u8]) -> Result<(), String> {
    let (mut skipped, mut decoded, mut split) = (bytes, bytes, bytes);
    let skip = coder.skip(&mut skipped, context);
    let value = coder.decode(&mut decoded, context);
    if let Ok(value) = &value {
        if skip.is_err() || skipped.len() != decoded.len() {
            return Err(format!("decode takes {} bytes, and skip says {skip:?}", bytes.len() - decoded.len()));
        }
        let mut again = Vec::new();
        match coder.encode(value, context, &mut again) {
            Ok(()) => {}
            // A row that was written before its schema grew holds nulls that nobody may write today.
            Err(error) if *error.fault() == CoderFault::UnexpectedNull => return Ok(()),
            Err(error) => return Err(format!("{value} is not written back: {error}")),
        }
        match coder.decode(&mut &again[..], context) {
            Ok(read) if read == *value => {}
            // Fewer bytes may stand for fewer values without any.
            Err(error) if *error.fault() == CoderFault::TooManyEmpty => {}
            Ok(_) | Err(_) => return Err(format!("{value} is not read back from {again:02x?}")),
        }
    }
    if let Err(error) = &skip
        && error.path().is_empty()
    {
        return Err(format!("{error} does not name the coder"));
    }
    let parts = coder.split_kv(&mut split, context);
    if matches!(coder, Coder::Kv(..)) && parts.is_ok() != skip.is_ok() {
        return Err(format!("split_kv says {parts:?}, and skip {skip:?}"));
    }
    std::hint::black_box((coder.key_of(bytes).is_ok(), value.is_ok()));
    Ok(())
}

/// A coder of at most a few levels, of every kind.
pub(crate) fn any_coder(random: &mut Chance, depth: u64) -> Coder {
    let inner = |random: &mut Chance| Arc::new(any_coder(random, depth + 1));
    match random.below(if depth > 3 { 9 } else { 21 }) {
        0 => Coder::Bytes,
        1 => Coder::StringUtf8,
        2 => Coder::Bool,
        3 => Coder::VarInt,
        4 => Coder::Double,
        5 => Coder::GlobalWindow,
        6 => Coder::IntervalWindow,
        7 => unknown(),
        8 => Coder::length_prefix(unknown()),
        9 | 10 => Coder::Kv(inner(random), inner(random)),
        11 | 12 => Coder::Iterable(inner(random)),
        13 => Coder::StateBackedIterable(inner(random)),
        14 => Coder::LengthPrefix(inner(random)),
        15 => match any_coder(random, depth + 1) {
            // A nullable inside a nullable is one nullable in every SDK.
            Coder::Nullable(inner) => Coder::Nullable(inner),
            other => Coder::Nullable(Arc::new(other)),
        },
        16 => Coder::ShardedKey(inner(random)),
        17 => Coder::CustomWindow(inner(random)),
        18 => Coder::WindowedValue { value: inner(random), window: Arc::new(Coder::IntervalWindow) },
        19 => Coder::Timer { key: inner(random), window: Arc::new(Coder::GlobalWindow) },
        _ => row(random, depth),
    }
}

fn unknown() -> Coder {
    Coder::Unknown(Arc::new(UnknownCoder { urn: "u".to_owned(), payload: Default::default(), components: vec![] }))
}

fn row(random: &mut Chance, depth: u64) -> Coder {
    let fields =
        (0..random.below(10)).map(|at| Field { name: format!("f{at}"), field_type: field_type(random, depth) });
    match Schema::new("", fields.collect()) {
        Ok(schema) if random.percent(20) => Coder::Row(Arc::new(schema.with_static_encoding())),
        Ok(schema) => Coder::Row(Arc::new(schema)),
        Err(_) => Coder::Bytes,
    }
}

fn field_type(random: &mut Chance, depth: u64) -> FieldType {
    let boxed = |random: &mut Chance| Box::new(field_type(random, depth + 1));
    let kind = match random.below(if depth > 2 { 11 } else { 15 }) {
        0 => FieldKind::Byte,
        1 => FieldKind::Int16,
        2 => FieldKind::Int32,
        3 => FieldKind::Int64,
        4 => FieldKind::Float,
        5 => FieldKind::Double,
        6 => FieldKind::String,
        7 => FieldKind::Boolean,
        8 => FieldKind::Bytes,
        9 => logical("beam:logical_type:millis_instant:v1", FieldKind::Int64),
        10 => logical("beam:logical_type:decimal:v1", FieldKind::Bytes),
        11 => FieldKind::Array(boxed(random)),
        12 => FieldKind::Iterable(boxed(random)),
        13 => FieldKind::Map(Box::new((field_type(random, depth + 1), field_type(random, depth + 1)))),
        _ => match row(random, depth + 1) {
            Coder::Row(schema) => FieldKind::Row(schema),
            _ => FieldKind::Byte,
        },
    };
    FieldType { nullable: random.percent(50), kind }
}

fn logical(urn: &str, kind: FieldKind) -> FieldKind {
    FieldKind::Logical(Box::new(LogicalType::new(urn, Some(FieldType::required(kind)))))
}

/// Bytes that are nearly a value of this coder, nested: mutations take it from there.
pub(crate) fn write_some(coder: &Coder, out: &mut Vec<u8>, random: &mut Chance) {
    match coder {
        Coder::Bytes | Coder::StringUtf8 => {
            let length = random.below(6) as u8;
            out.push(length);
            out.extend((0..length).map(|_| b'a' + random.below(26) as u8));
        }
        Coder::Bool => out.push(random.below(2) as u8),
        Coder::VarInt => out.push(random.below(128) as u8),
        Coder::Double => out.extend(random.number().to_be_bytes()),
        Coder::GlobalWindow => {}
        Coder::IntervalWindow => {
            out.extend([0x80, 0, 0, 0, 0, 0, 1, random.below(256) as u8]);
            out.push(random.below(128) as u8);
        }
        Coder::Unknown(_) => out.extend([1, 2]),
        Coder::Kv(key, value) => {
            write_some(key, out, random);
            write_some(value, out, random);
        }
        Coder::Iterable(element) | Coder::StateBackedIterable(element) => write_many(element, out, random),
        Coder::LengthPrefix(inner) => {
            let mut content = Vec::new();
            write_some(inner, &mut content, random);
            purlin_model::coder::varint::write_length(content.len(), out);
            out.extend(content);
        }
        Coder::Nullable(inner) => {
            let present = random.percent(70);
            out.push(present.into());
            if present {
                write_some(inner, out, random);
            }
        }
        Coder::ShardedKey(key) => {
            out.extend([1, 0]);
            write_some(key, out, random);
        }
        Coder::CustomWindow(inner) => {
            out.extend([0x80, 0, 0, 0, 0, 0, 1, 0]);
            write_some(inner, out, random);
        }
        Coder::WindowedValue { value, window } => {
            out.extend([0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
            write_some(window, out, random);
            out.push(0x0f);
            write_some(value, out, random);
        }
        Coder::ParamWindowedValue { value, .. } => write_some(value, out, random),
        Coder::Timer { key, window } => {
            write_some(key, out, random);
            out.extend([1, b't', 0, 0, 0, 1]);
            write_some(window, out, random);
            if random.percent(50) {
                out.push(1);
            } else {
                out.extend([0, 0x80, 0, 0, 0, 0, 0, 1, 0, 0x80, 0, 0, 0, 0, 0, 1, 0, 0x0f]);
            }
        }
        Coder::Row(schema) => {
            if !schema.static_encoding() {
                out.extend([schema.fields().len() as u8, 0]);
            }
            for (_, field) in schema.in_wire_order() {
                write_field(&field.field_type.kind, out, random);
            }
        }
    }
}

fn write_many(element: &Coder, out: &mut Vec<u8>, random: &mut Chance) {
    let count = random.below(4) as u8;
    if random.percent(70) {
        out.extend([0, 0, 0, count]);
    } else {
        out.extend([0xff, 0xff, 0xff, 0xff, count]);
    }
    for _ in 0..count {
        write_some(element, out, random);
    }
    if random.percent(30) {
        out.push(0);
    }
}

fn write_field(kind: &FieldKind, out: &mut Vec<u8>, random: &mut Chance) {
    match kind {
        FieldKind::Byte | FieldKind::Boolean | FieldKind::Int32 | FieldKind::Int64 => out.push(random.below(2) as u8),
        FieldKind::Int16 => out.extend([0, 1]),
        FieldKind::Float => out.extend([0; 4]),
        FieldKind::Double => out.extend([0; 8]),
        FieldKind::String | FieldKind::Bytes => out.extend([1, b'x']),
        FieldKind::Array(element) | FieldKind::Iterable(element) => {
            out.extend([0, 0, 0, 1]);
            write_field(&element.kind, out, random);
        }
        FieldKind::Map(sides) => {
            out.extend([0, 0, 0, 1]);
            write_field(&sides.0.kind, out, random);
            write_field(&sides.1.kind, out, random);
        }
        FieldKind::Row(schema) => write_some(&Coder::Row(schema.clone()), out, random),
        FieldKind::Logical(logical) => match logical.representation().map(|it| &it.kind) {
            Some(FieldKind::Int64) => out.extend([0x80, 0, 0, 0, 0, 0, 0, 9]),
            _ => out.extend([2, 1, 5]),
        },
    }
}
