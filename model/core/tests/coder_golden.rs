//! The bytes of each standard coder, as the SDKs write them, and the words for bytes that are wrong.
//!
//! Beam's own examples are run from the installed package where the wire crate is; here stand the cases that Purlin
//! met with real SDKs, and the ones that Beam's file leaves out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::Arc;

use bytes::Bytes;
use purlin_model::coder::schema::{Field, FieldKind, FieldType, LogicalType, PYTHON_ANY_URN, Schema};
use purlin_model::coder::value::{
    CustomWindow, Decimal, Float, ShardedKey, StateBacked, Timer, TimerFiring, Value, WindowedValue,
};
use purlin_model::coder::{Coder, CoderFault, Context, UnknownCoder};
use purlin_model::pane::{PaneInfo, PaneTiming};
use purlin_model::time::EventTime;
use purlin_model::window::BoundedWindow;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    assert_eq!(digits.len() % 2, 0, "{text}");
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// Both directions in one context.
fn check(coder: &Coder, context: Context, value: &Value, bytes: &str) {
    let bytes = hex(bytes);
    let mut out = vec![0xaa];
    coder.encode(value, context, &mut out).unwrap_or_else(|error| panic!("{coder}: {error}"));
    assert_eq!(out[1..], bytes, "{coder} wrote {value}");
    check_read(coder, context, value, &bytes);
}

/// One direction: a form that is read and never written.
fn check_read(coder: &Coder, context: Context, value: &Value, bytes: &[u8]) {
    let mut rest = bytes;
    let read = coder.decode(&mut rest, context).unwrap_or_else(|error| panic!("{coder}: {error}"));
    assert_eq!((&read, rest), (value, &[][..]), "{coder} read {bytes:02x?}");
    let mut rest = bytes;
    coder.skip(&mut rest, context).unwrap_or_else(|error| panic!("{coder}: {error}"));
    assert!(rest.is_empty(), "{coder} passed over {} of {} bytes", bytes.len() - rest.len(), bytes.len());
}

fn both(coder: &Coder, value: &Value, bytes: &str) {
    check(coder, Context::Nested, value, bytes);
    check(coder, Context::Outer, value, bytes);
}

/// What is said about bytes that are not a value.
fn refused(coder: &Coder, context: Context, bytes: &str, message: &str) {
    let bytes = hex(bytes);
    let mut rest = &bytes[..];
    let error = coder.decode(&mut rest, context).expect_err("bytes that are wrong");
    assert_eq!(error.to_string(), message);
    assert_eq!(rest, bytes, "what could not be read stays");
}

fn at(millis: i64) -> EventTime {
    EventTime::from_millis(millis)
}

fn global() -> Value {
    Value::Window(BoundedWindow::Global)
}

fn interval(start: i64, end: i64) -> Value {
    Value::Window(BoundedWindow::Interval { start: at(start), end: at(end) })
}

fn string_kv() -> Coder {
    Coder::kv(Coder::StringUtf8, Coder::StringUtf8)
}

fn unknown(urn: &str) -> Coder {
    Coder::Unknown(Arc::new(UnknownCoder { urn: urn.to_owned(), payload: Bytes::new(), components: vec![] }))
}

fn text_kv(key: &str, value: &str) -> Value {
    Value::kv(Value::string(key), Value::string(value))
}

fn row_coder(fields: Vec<(&str, FieldType)>) -> Coder {
    Coder::Row(Arc::new(schema(fields)))
}

fn schema(fields: Vec<(&str, FieldType)>) -> Schema {
    Schema::new("", named(fields)).expect("a small schema")
}

fn named(fields: Vec<(&str, FieldType)>) -> Vec<Field> {
    fields.into_iter().map(|(name, field_type)| Field { name: name.to_owned(), field_type }).collect()
}

#[test]
fn bytes_and_text_drop_their_length_in_the_outer_context() {
    check(&Coder::Bytes, Context::Nested, &Value::bytes("ab"), "02 6162");
    check(&Coder::Bytes, Context::Outer, &Value::bytes("ab"), "6162");
    check(&Coder::StringUtf8, Context::Nested, &Value::string("é"), "02 c3a9");
    check(&Coder::StringUtf8, Context::Outer, &Value::string(""), "");
}

#[test]
fn numbers() {
    both(&Coder::VarInt, &Value::Int(300), "ac02");
    both(&Coder::VarInt, &Value::Int(-1), "ffffffffffffffffff01");
    both(&Coder::Double, &Value::double(1.0), "3ff0000000000000");
    both(&Coder::Bool, &Value::Bool(false), "00");
    both(&Coder::Bool, &Value::Bool(true), "01");
    refused(
        &Coder::Bool,
        Context::Nested,
        "02",
        "bool, at byte 0: found the byte 0x02; it must be 00 (false) or 01 (true)",
    );
}

#[test]
fn a_pair_gives_its_own_context_to_its_value() {
    let coder = Coder::kv(Coder::Bytes, Coder::Bytes);
    let value = Value::kv(Value::bytes("k"), Value::bytes("v"));
    check(&coder, Context::Outer, &value, "01 6b 76");
    check(&coder, Context::Nested, &value, "01 6b 01 76");

    let deep = Coder::kv(Coder::Bytes, coder);
    let value = Value::kv(Value::bytes("a"), value);
    check(&deep, Context::Outer, &value, "01 61 01 6b 76");
}

#[test]
fn a_pair_is_taken_apart_without_being_decoded() {
    let coder = Coder::kv(Coder::VarInt, Coder::iterable(Coder::Bytes));
    let bytes = hex("ac02 00000001 02 6162  ff");
    let mut rest = &bytes[..];
    let parts = coder.split_kv(&mut rest, Context::Nested).expect("a pair");
    assert_eq!((parts.key, parts.value), (&hex("ac02")[..], &hex("00000001 02 6162")[..]));
    assert_eq!(rest, [0xff]);

    let coder = Coder::kv(Coder::Bytes, Coder::Bytes);
    let mut rest = &b"\x01kvalue"[..];
    let parts = coder.split_kv(&mut rest, Context::Outer).expect("a pair");
    assert_eq!((parts.key, parts.value, rest), (&b"\x01k"[..], &b"value"[..], &b""[..]));

    let mut rest = &b"\x01k\x09v"[..];
    let error = coder.split_kv(&mut rest, Context::Nested).expect_err("cut short");
    assert_eq!(error.to_string(), "kv > value > bytes, at byte 2: a length of 9 bytes is claimed and 1 are left");
    assert_eq!(rest.len(), 4);
    let error = Coder::Bytes.split_kv(&mut rest, Context::Nested).expect_err("no pair");
    assert_eq!(error.fault(), &CoderFault::NotKv);
}

#[test]
fn iterables_have_two_forms() {
    let coder = Coder::iterable(Coder::VarInt);
    let three = Value::Iterable(vec![Value::Int(1), Value::Int(2), Value::Int(300)]);
    both(&coder, &three, "00000003 01 02 ac02");
    check_read(&coder, Context::Nested, &three, &hex("ffffffff 02 01 02 01 ac02 00"));
    check_read(&coder, Context::Nested, &Value::Iterable(vec![]), &hex("ffffffff 00"));
    refused(
        &coder,
        Context::Nested,
        "ffffffff 01 05 ffffffffffffffffff01 00",
        "iterable, at byte 16: -1 elements are claimed where 1 bytes are left",
    );
    refused(&coder, Context::Nested, "fffffffe", "iterable, at byte 4: -2 elements are claimed where 0 bytes are left");
    refused(
        &coder,
        Context::Nested,
        "7fffffff 01",
        "iterable, at byte 4: 2147483647 elements are claimed where 1 bytes are left",
    );
}

#[test]
fn the_rest_of_an_iterable_may_wait_in_state() {
    let coder = Coder::StateBackedIterable(Arc::new(Coder::VarInt));
    let backed = |elements: Vec<Value>| {
        Value::StateBacked(Box::new(StateBacked { elements, token: Bytes::from_static(b"token") }))
    };
    both(&coder, &backed(vec![Value::Int(1)]), "ffffffff 01 01 ffffffffffffffffff01 05 746f6b656e");
    both(&coder, &backed(vec![]), "ffffffff ffffffffffffffffff01 05 746f6b656e");
    both(&coder, &Value::Iterable(vec![Value::Int(7)]), "00000001 07");
    check_read(&coder, Context::Nested, &Value::Iterable(vec![Value::Int(7)]), &hex("ffffffff 01 07 00"));
}

#[test]
fn four_bytes_cannot_ask_for_two_billion_windows() {
    let coder = Coder::iterable(Coder::GlobalWindow);
    refused(
        &coder,
        Context::Nested,
        "7fffffff",
        "iterable > element 65600 > global_window, at byte 4: it claims too many values that take no bytes",
    );
    both(&coder, &Value::Iterable(vec![global(), global()]), "00000002");
}

#[test]
fn a_length_prefix_holds_the_outer_encoding() {
    let check = |inner: Coder, value: Value, bytes: &str| both(&Coder::length_prefix(inner), &value, bytes);
    check(Coder::Bytes, Value::bytes("ab"), "02 6162");
    check(string_kv(), text_kv("k", "v"), "03 01 6b 76");
    check(unknown("beam:go:coder:custom:v1"), Value::bytes("??"), "02 3f3f");
    check(Coder::Nullable(Arc::new(Coder::Bytes)), Value::bytes("ab"), "03 01 6162");
    check(Coder::Bytes, Value::bytes([7; 200]), &format!("c801 {}", "07".repeat(200)));
    refused(
        &Coder::length_prefix(Coder::kv(Coder::Bool, Coder::VarInt)),
        Context::Nested,
        "03 01 05 06",
        "length_prefix, at byte 3: 1 bytes follow the end of the value",
    );
    refused(
        &Coder::length_prefix(string_kv()),
        Context::Outer,
        "04 01 6b 61 ff",
        "length_prefix > kv > value > string_utf8, at byte 4: is not UTF-8 after 1 bytes",
    );
}

#[test]
fn an_unknown_coder_needs_a_length_prefix() {
    let coder = Coder::kv(unknown("beam:coder:pickled_python:v1"), Coder::Bytes);
    assert!(!coder.is_transparent());
    refused(
        &coder,
        Context::Nested,
        "80 04",
        "kv > key > unknown coder, at byte 0: only the SDK that made \"beam:coder:pickled_python:v1\" can find its end; \
         wrap it in beam:coder:length_prefix:v1",
    );
    assert!(coder.skip(&mut &[0x80, 4][..], Context::Nested).is_err());
    check(&unknown("u"), Context::Outer, &Value::bytes([0x80, 4]), "80 04");
    assert!(Coder::length_prefix(coder).is_transparent());
}

#[test]
fn a_nullable_gives_its_own_context_to_its_value() {
    let coder = Coder::Nullable(Arc::new(Coder::Bytes));
    both(&coder, &Value::Null, "00");
    check(&coder, Context::Nested, &Value::bytes("ab"), "01 02 6162");
    check(&coder, Context::Outer, &Value::bytes("ab"), "01 6162");
    refused(
        &coder,
        Context::Nested,
        "07",
        "nullable, at byte 0: found the byte 0x07; it must be 00 (null) or 01 (a value follows)",
    );
}

#[test]
fn a_sharded_key_has_its_shard_in_front() {
    let coder = Coder::ShardedKey(Arc::new(Coder::StringUtf8));
    let value = ShardedKey { shard_id: Bytes::from_static(b"id"), key: Value::string("key") };
    both(&coder, &Value::ShardedKey(Box::new(value)), "02 6964 03 6b6579");
}

#[test]
fn windows() {
    both(&Coder::GlobalWindow, &global(), "");
    both(&Coder::IntervalWindow, &interval(0, 10_000), "8000000000002710 904e");
    let value = Value::CustomWindow(Box::new(CustomWindow {
        max_timestamp: at(9_999),
        window: Value::bytes(hex("8000000000002710 904e")),
    }));
    let custom = Coder::CustomWindow(Arc::new(Coder::length_prefix(unknown("w"))));
    both(&custom, &value, "800000000000270f 0a 8000000000002710904e");
    refused(
        &Coder::IntervalWindow,
        Context::Nested,
        "7fdf3b645a1cac09 01",
        "interval_window, at byte 9: a window that ends at -9223372036854775 ms cannot be 1 ms long",
    );
    refused(
        &Coder::IntervalWindow,
        Context::Nested,
        "ffffffffffffffff 01",
        "interval_window > end, at byte 0: the timestamp 9223372036854775807 ms lies outside Beam's range of \
         -9223372036854775 to 9223372036854775 ms",
    );
}

#[test]
fn the_ends_of_time() {
    for (instant, bytes) in [
        (EventTime::MIN, "7fdf3b645a1cac09"),
        (EventTime::MAX, "8020c49ba5e353f7"),
        (EventTime::GLOBAL_WINDOW_MAX, "8020c49ba0bcf7f7"),
        (EventTime::GLOBAL_WINDOW_MAX_PYTHON, "8020c49ba0bcf7f6"),
        (at(0), "8000000000000000"),
    ] {
        let window = Value::Window(BoundedWindow::Interval { start: instant, end: instant });
        both(&Coder::IntervalWindow, &window, &format!("{bytes} 00"));
    }
}

#[test]
fn windowed_values_and_panes() {
    let coder = Coder::WindowedValue { value: Arc::new(Coder::Bytes), window: Arc::new(Coder::GlobalWindow) };
    let in_pane = |is_first, is_last, timing, index, non_speculative_index| {
        let pane = PaneInfo { is_first, is_last, timing, index, non_speculative_index };
        Value::Windowed(Box::new(WindowedValue {
            value: Value::bytes("v"),
            timestamp: at(0),
            windows: vec![global()],
            pane,
        }))
    };
    let check_pane = |value: Value, pane: &str| {
        check(&coder, Context::Nested, &value, &format!("8000000000000000 00000001 {pane} 01 76"));
        check(&coder, Context::Outer, &value, &format!("8000000000000000 00000001 {pane} 76"));
    };
    check_pane(in_pane(true, true, PaneTiming::Unknown, 0, 0), "0f");
    check_pane(in_pane(true, true, PaneTiming::OnTime, 0, 0), "07");
    check_pane(in_pane(true, false, PaneTiming::Early, 0, -1), "11 00");
    check_pane(in_pane(false, false, PaneTiming::Early, 1, -1), "10 01");
    check_pane(in_pane(false, false, PaneTiming::OnTime, 2, 0), "24 02 00");
    check_pane(in_pane(false, false, PaneTiming::Late, 1, 1), "18 01");
    check_pane(in_pane(false, true, PaneTiming::Late, 3, 1), "2a 03 01");
    refused(
        &coder,
        Context::Nested,
        "8000000000000000 00000001 30 01 76",
        "windowed_value > pane, at byte 12: the pane is cut short or has an unknown form",
    );
}

#[test]
fn a_param_windowed_value_carries_only_the_value() {
    let components = || vec![Arc::new(Coder::Bytes), Arc::new(Coder::IntervalWindow)];
    let payload = hex("80000000000003e8 00000001 8000000000000014 0a 0f 00");
    let coder = Coder::from_urn("beam:coder:param_windowed_value:v1", &payload, components()).expect("a good payload");
    let value = Value::Windowed(Box::new(WindowedValue {
        value: Value::bytes("v"),
        timestamp: at(1000),
        windows: vec![interval(10, 20)],
        pane: PaneInfo::NO_FIRING,
    }));
    check(&coder, Context::Nested, &value, "01 76");
    check(&coder, Context::Outer, &value, "76");
    let Coder::ParamWindowedValue { window, constant, .. } = coder else { unreachable!("made above") };
    assert_eq!(constant.to_payload(&window).expect("its own windows"), payload);
}

#[test]
fn timers_are_set_and_cleared() {
    let coder = Coder::Timer { key: Arc::new(Coder::Bytes), window: Arc::new(Coder::GlobalWindow) };
    let timer = |dynamic_tag: &str, firing| {
        Value::Timer(Box::new(Timer {
            key: Value::bytes("k"),
            dynamic_tag: dynamic_tag.to_owned(),
            windows: vec![global()],
            firing,
        }))
    };
    let firing = TimerFiring { fire: at(1000), hold: at(2000), pane: PaneInfo::NO_FIRING };
    let set = "01 6b 03 746167 00000001 00 80000000000003e8 80000000000007d0 0f";
    both(&coder, &timer("tag", Some(firing)), set);
    both(&coder, &timer("", None), "01 6b 00 00000001 01");

    // A Timers message is several, one behind the other.
    let bytes = hex(&format!("{set} 01 6b 00 00000001 01"));
    let mut rest = &bytes[..];
    assert_eq!(coder.decode(&mut rest, Context::Nested), Ok(timer("tag", Some(firing))));
    assert_eq!(coder.decode(&mut rest, Context::Nested), Ok(timer("", None)));
    assert!(rest.is_empty());
}

#[test]
fn rows_leave_out_nulls() {
    let coder = row_coder(vec![
        ("a", FieldType::required(FieldKind::String)),
        ("b", FieldType::nullable(FieldKind::Int64)),
        ("c", FieldType::required(FieldKind::Bytes)),
    ]);
    let row = |b: Value| Value::Row(vec![Value::string("a"), b, Value::bytes("z")]);
    both(&coder, &row(Value::Null), "03 01 02 01 61 01 7a");
    both(&coder, &row(Value::Int(5)), "03 00 01 61 05 01 7a");
    // Python writes all bytes of the null bits, Java leaves out trailing zeros.
    check_read(&coder, Context::Nested, &row(Value::Null), &hex("03 02 02 00 01 61 01 7a"));
    // Written before `b` and `c` were added.
    let old = Value::Row(vec![Value::string("a"), Value::Null, Value::Null]);
    check_read(&coder, Context::Nested, &old, &hex("01 00 01 61"));

    refused(&coder, Context::Nested, "04 00 01 61 05 01 7a", "row, at byte 1: 4 fields, where the schema has 3");
    let mut out = vec![];
    let error = coder.encode(&Value::Row(vec![Value::Null; 3]), Context::Nested, &mut out).expect_err("a is required");
    assert_eq!(error.to_string(), "row > field \"a\": is null, and nulls are not allowed here");
    assert!(out.is_empty());
}

#[test]
fn encoding_positions_order_the_fields_and_their_null_bits() {
    let fields =
        named(vec![("a", FieldType::nullable(FieldKind::String)), ("b", FieldType::nullable(FieldKind::Int64))]);
    let coder = Coder::Row(Arc::new(Schema::with_positions("", fields, vec![1, 0]).expect("a permutation")));
    both(&coder, &Value::Row(vec![Value::string("x"), Value::Int(5)]), "02 00 05 01 78");
    both(&coder, &Value::Row(vec![Value::Null, Value::Int(5)]), "02 01 02 05");
    both(&coder, &Value::Row(vec![Value::string("x"), Value::Null]), "02 01 01 01 78");
    // Written before `a` was added, which is the last on the wire and the first of the list.
    let old = Value::Row(vec![Value::Null, Value::Int(5)]);
    check_read(&coder, Context::Nested, &old, &hex("01 00 05"));
}

#[test]
fn whole_numbers_in_rows_keep_their_width() {
    let check_type = |kind: FieldKind, value: i64, bytes: &str| {
        both(
            &row_coder(vec![("f", FieldType::required(kind))]),
            &Value::Row(vec![Value::Int(value)]),
            &format!("01 00 {bytes}"),
        );
    };
    check_type(FieldKind::Byte, -1, "ff");
    check_type(FieldKind::Int16, -2, "fffe");
    check_type(FieldKind::Int32, -1, "ffffffff0f");
    check_type(FieldKind::Int64, -1, "ffffffffffffffffff01");
    let int32 = row_coder(vec![("f", FieldType::required(FieldKind::Int32))]);
    // Go writes a negative 32-bit number in the 64-bit form.
    check_read(&int32, Context::Nested, &Value::Row(vec![Value::Int(-1)]), &hex("01 00 ffffffffffffffffff01"));
    refused(
        &int32,
        Context::Nested,
        "01 00 8080808010",
        "row > field \"f\", at byte 7: 4294967296 is not a 32-bit number",
    );
    let byte = row_coder(vec![("f", FieldType::required(FieldKind::Byte))]);
    let error = byte.encode(&Value::Row(vec![Value::Int(200)]), Context::Nested, &mut vec![]).expect_err("too large");
    assert_eq!(error.to_string(), "row > field \"f\": 200 is not between -128 and 127");
}

#[test]
fn collections_in_rows() {
    let check_type = |kind: FieldKind, value: Value, bytes: &str| {
        both(&row_coder(vec![("f", FieldType::required(kind))]), &Value::Row(vec![value]), &format!("01 00 {bytes}"));
    };
    check_type(FieldKind::Float, Value::Float(Float(1.0)), "3f800000");
    let nullable = FieldType::nullable(FieldKind::String);
    let element = || Box::new(nullable.clone());
    let elements = || Value::Iterable(vec![Value::string("a"), Value::Null]);
    check_type(FieldKind::Array(element()), elements(), "00000002 01 01 61 00");
    check_type(FieldKind::Iterable(element()), elements(), "00000002 01 01 61 00");
    let map = FieldKind::Map(Box::new((FieldType::required(FieldKind::String), nullable.clone())));
    check_type(map, Value::Map(vec![(Value::string("k"), Value::Null)]), "00000001 01 6b 00");
    let inner = FieldKind::Row(Arc::new(schema(vec![("n", nullable)])));
    check_type(inner, Value::Row(vec![Value::Null]), "01 01 01");
}

#[test]
fn two_logical_types_do_not_follow_their_representation() {
    let check_type = |urn: &str, kind: FieldKind, value: Value, bytes: &str| {
        let logical = FieldKind::Logical(Box::new(LogicalType::new(urn, Some(FieldType::required(kind)))));
        both(
            &row_coder(vec![("f", FieldType::required(logical))]),
            &Value::Row(vec![value]),
            &format!("01 00 {bytes}"),
        );
    };
    check_type("beam:logical_type:millis_instant:v1", FieldKind::Int64, Value::Instant(1500), "80000000000005dc");
    let decimal = |unscaled, scale| Value::Decimal(Decimal::new(unscaled, scale));
    check_type("beam:logical_type:decimal:v1", FieldKind::Bytes, decimal(125, 2), "02 01 7d");
    check_type("beam:logical_type:decimal:v1", FieldKind::Bytes, decimal(-1, -3), "fdffffffffffffffff01 01 ff");

    check_type("beam:logical_type:date:v1", FieldKind::Int64, Value::Int(19_000), "b89401");
    check_type("beam:logical_type:var_bytes:v1", FieldKind::Bytes, Value::bytes("ab"), "02 6162");
    let micros = schema(vec![
        ("seconds", FieldType::required(FieldKind::Int64)),
        ("micros", FieldType::required(FieldKind::Int64)),
    ]);
    let instant = Value::Row(vec![Value::Int(1), Value::Int(500_000)]);
    check_type("beam:logical_type:micros_instant:v1", FieldKind::Row(Arc::new(micros)), instant, "02 00 01 a0c21e");
}

#[test]
fn a_field_of_any_python_type_is_opaque() {
    let representation = schema(vec![("payload", FieldType::required(FieldKind::Bytes))]).with_static_encoding();
    for representation in [None, Some(FieldType::required(FieldKind::Row(Arc::new(representation))))] {
        let any = FieldKind::Logical(Box::new(LogicalType::new(PYTHON_ANY_URN, representation)));
        let coder = row_coder(vec![("f", FieldType::nullable(any))]);
        assert!(!coder.is_transparent());
        both(&coder, &Value::Row(vec![Value::Null]), "01 01 01");
        refused(
            &coder,
            Context::Nested,
            "01 00 00",
            "row > field \"f\", at byte 2: only the SDK that made \"beam:logical:pythonsdk_any:v1\" can find its end; \
             wrap it in beam:coder:length_prefix:v1",
        );
    }
}

#[test]
fn static_encoding_leaves_out_the_front_of_a_row() {
    let fields =
        vec![("type", FieldType::required(FieldKind::Byte)), ("payload", FieldType::required(FieldKind::Bytes))];
    let coder = Coder::Row(Arc::new(schema(fields).with_static_encoding()));
    both(&coder, &Value::Row(vec![Value::Int(5), Value::bytes([1, 2])]), "05 02 0102");

    let nothing = Coder::iterable(Coder::Row(Arc::new(schema(vec![]).with_static_encoding())));
    both(&nothing, &Value::Iterable(vec![Value::Row(vec![]); 3]), "00000003");
    assert!(nothing.decode(&mut &hex("7fffffff")[..], Context::Nested).is_err());
    assert_eq!(nothing.skip(&mut &hex("7fffffff")[..], Context::Nested), Ok(()));
}

#[test]
fn a_few_bytes_cannot_ask_for_gigabytes_of_nulls() {
    let fields =
        (0..60_000).map(|index| Field { name: index.to_string(), field_type: FieldType::nullable(FieldKind::Boolean) });
    let wide = Schema::new("", fields.collect()).expect("within the bound");
    let coder = Coder::iterable(Coder::Row(Arc::new(wide)));
    let mut bytes = 10_000u32.to_be_bytes().to_vec();
    bytes.extend([0, 0].repeat(10_000));
    let error = coder.decode(&mut &bytes[..], Context::Nested).expect_err("600 million nulls");
    assert_eq!(error.fault(), &CoderFault::TooManyEmpty);
    assert_eq!(coder.skip(&mut &bytes[..], Context::Nested), Ok(()));
}

#[test]
fn coders_that_are_too_deep_are_refused_where_they_are_used() {
    let mut coder = Coder::Bool;
    for _ in 0..200 {
        coder = Coder::iterable(coder);
    }
    let bytes = 1u32.to_be_bytes().repeat(201);
    let deep = CoderFault::TooDeep { max: purlin_model::coder::DEPTH_MAX };
    assert_eq!(coder.decode(&mut &bytes[..], Context::Nested).expect_err("deep").fault(), &deep);
    assert_eq!(coder.skip(&mut &bytes[..], Context::Nested).expect_err("deep").fault(), &deep);
    let mut value = Value::Bool(true);
    for _ in 0..200 {
        value = Value::Iterable(vec![value]);
    }
    assert_eq!(coder.encode(&value, Context::Nested, &mut vec![]).expect_err("deep").fault(), &deep);
}

#[test]
fn a_value_of_another_kind_is_not_written() {
    let mut out = vec![9];
    let error = string_kv().encode(&Value::kv(Value::string("k"), Value::Int(1)), Context::Nested, &mut out);
    let message = error.expect_err("a number is no string").to_string();
    assert_eq!(message, "kv > value > string_utf8: cannot write a whole number; the coder takes a string");
    assert_eq!(out, [9], "nothing is left behind");
}

#[test]
fn values_that_have_no_bytes_are_not_written() {
    let refused = |coder: &Coder, value: Value, message: &str| {
        let error = coder.encode(&value, Context::Nested, &mut vec![]).expect_err("a value without bytes");
        assert_eq!(error.to_string(), message);
    };
    let one = row_coder(vec![("f", FieldType::required(FieldKind::Byte))]);
    refused(&one, Value::Row(vec![]), "row: 0 fields, where the schema has 1");
    refused(&one, Value::Row(vec![Value::Int(1); 2]), "row: 2 fields, where the schema has 1");
    let backwards = interval(20, 10);
    refused(&Coder::IntervalWindow, backwards, "interval_window: a window that ends at 10 ms cannot be -10 ms long");
    let decimal = LogicalType::new("beam:logical_type:decimal:v1", Some(FieldType::required(FieldKind::Bytes)));
    let decimal = row_coder(vec![("f", FieldType::required(FieldKind::Logical(Box::new(decimal))))]);
    let empty = Value::Decimal(Decimal { scale: 0, unscaled: Bytes::new() });
    refused(&decimal, Value::Row(vec![empty]), "row > field \"f\": the unscaled number of a decimal has no bytes");
}

#[test]
fn coders_print_as_they_are_nested() {
    let coder = Coder::kv(Coder::length_prefix(unknown("beam:go:coder:custom:v1")), Coder::iterable(Coder::VarInt));
    assert_eq!(coder.to_string(), "kv<length_prefix<beam:go:coder:custom:v1>, iterable<varint>>");
    let row = row_coder(vec![("n", FieldType::nullable(FieldKind::Int64))]);
    assert_eq!(Coder::Nullable(Arc::new(row)).to_string(), "nullable<row{n: int64?}>");
}
