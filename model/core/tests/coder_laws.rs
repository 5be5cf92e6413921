//! The laws of coders, for any coder and any of its values.
//!
//! - What was encoded is decoded again, nested and outer, and passing over it ends at the same byte.
//! - No proper beginning of a nested encoding is a value, and the error says a byte within it.
//! - Any bytes at all give a value or an error, never a panic; where decoding succeeds, passing over agrees.

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use purlin_model::coder::schema::{DECIMAL_URN, Field, FieldKind, FieldType, LogicalType, MILLIS_INSTANT_URN, Schema};
use purlin_model::coder::value::{
    CustomWindow, Decimal, Float, ShardedKey, StateBacked, Timer, TimerFiring, Value, WindowedValue,
};
use purlin_model::coder::{Coder, ConstantHeader, Context, UnknownCoder};
use purlin_model::pane::{PaneInfo, PaneTiming};
use purlin_model::time::EventTime;
use purlin_model::window::BoundedWindow;

// Coders.

fn leaf() -> impl Strategy<Value = Coder> {
    prop_oneof![
        Just(Coder::Bytes),
        Just(Coder::StringUtf8),
        Just(Coder::Bool),
        Just(Coder::VarInt),
        Just(Coder::Double),
        Just(Coder::GlobalWindow),
        Just(Coder::IntervalWindow),
        Just(Coder::length_prefix(unknown())),
    ]
}

fn unknown() -> Coder {
    Coder::Unknown(Arc::new(UnknownCoder { urn: "u".to_owned(), payload: Bytes::new(), components: vec![] }))
}

fn window_coder() -> impl Strategy<Value = Coder> {
    prop_oneof![
        Just(Coder::GlobalWindow),
        Just(Coder::IntervalWindow),
        Just(Coder::CustomWindow(Arc::new(Coder::length_prefix(unknown())))),
        Just(Coder::CustomWindow(Arc::new(Coder::IntervalWindow))),
    ]
}

/// A coder of at most a few levels.
fn any_coder() -> BoxedStrategy<Coder> {
    leaf().prop_recursive(3, 12, 2, |inner| composite(inner.boxed()).boxed()).boxed()
}

fn composite(inner: BoxedStrategy<Coder>) -> impl Strategy<Value = Coder> {
    prop_oneof![
        kv(inner.clone()),
        inner.clone().prop_map(Coder::iterable),
        state_backed(inner.clone()),
        inner.clone().prop_map(Coder::length_prefix),
        nullable(inner.clone()),
        inner.clone().prop_map(|key| Coder::ShardedKey(Arc::new(key))),
        inner.clone().prop_map(|window| Coder::CustomWindow(Arc::new(window))),
        windowed_value(inner.clone()),
        param_windowed_value(inner.clone()),
        timer(inner),
        row(),
    ]
}

fn kv(inner: BoxedStrategy<Coder>) -> BoxedStrategy<Coder> {
    (inner.clone(), inner).prop_map(|(key, value)| Coder::kv(key, value)).boxed()
}

fn state_backed(inner: BoxedStrategy<Coder>) -> BoxedStrategy<Coder> {
    inner.prop_map(|element| Coder::StateBackedIterable(Arc::new(element))).boxed()
}

fn nullable(inner: BoxedStrategy<Coder>) -> BoxedStrategy<Coder> {
    // A nullable inside a nullable is one nullable in every SDK.
    let inner = inner.prop_map(|inner| match inner {
        Coder::Nullable(inner) => inner,
        inner => Arc::new(inner),
    });
    inner.prop_map(Coder::Nullable).boxed()
}

fn windowed_value(inner: BoxedStrategy<Coder>) -> BoxedStrategy<Coder> {
    (inner, window_coder())
        .prop_map(|(value, window)| Coder::WindowedValue { value: Arc::new(value), window: Arc::new(window) })
        .boxed()
}

fn timer(inner: BoxedStrategy<Coder>) -> BoxedStrategy<Coder> {
    (inner, window_coder())
        .prop_map(|(key, window)| Coder::Timer { key: Arc::new(key), window: Arc::new(window) })
        .boxed()
}

fn param_windowed_value(inner: BoxedStrategy<Coder>) -> BoxedStrategy<Coder> {
    let window = window_coder().prop_flat_map(|window| (vec(value_of(&window), 0..3), Just(window)));
    (inner, window, instant(), pane())
        .prop_map(|(value, (windows, window), timestamp, pane)| {
            let payload = ConstantHeader { timestamp, windows, pane }.to_payload(&window).expect("its own windows");
            let components = vec![Arc::new(value), Arc::new(window)];
            Coder::from_urn("beam:coder:param_windowed_value:v1", &payload, components).expect("a payload just written")
        })
        .boxed()
}

fn row() -> BoxedStrategy<Coder> {
    schema(field_type()).prop_map(|schema| Coder::Row(Arc::new(schema))).boxed()
}

fn schema(field_type: BoxedStrategy<FieldType>) -> BoxedStrategy<Schema> {
    let fields = vec(field_type, 0..11).prop_map(|types| {
        let named = |(index, field_type)| Field { name: format!("f{index}"), field_type };
        types.into_iter().enumerate().map(named).collect::<Vec<_>>()
    });
    let ordered = fields.prop_flat_map(|fields| {
        let positions: Vec<u32> = (0..fields.len() as u32).collect();
        (Just(fields), Just(positions).prop_shuffle())
    });
    (ordered, any::<bool>(), any::<bool>())
        .prop_map(|((fields, positions), in_order, static_encoding)| {
            let schema = if in_order {
                Schema::new("", fields).expect("a small schema")
            } else {
                Schema::with_positions("", fields, positions).expect("a permutation")
            };
            if static_encoding { schema.with_static_encoding() } else { schema }
        })
        .boxed()
}

fn field_type() -> BoxedStrategy<FieldType> {
    let logical =
        |urn: &str, kind| FieldKind::Logical(Box::new(LogicalType::new(urn, Some(FieldType::required(kind)))));
    let atomic = prop_oneof![
        Just(FieldKind::Byte),
        Just(FieldKind::Int16),
        Just(FieldKind::Int32),
        Just(FieldKind::Int64),
        Just(FieldKind::Float),
        Just(FieldKind::Double),
        Just(FieldKind::String),
        Just(FieldKind::Boolean),
        Just(FieldKind::Bytes),
        Just(logical(MILLIS_INSTANT_URN, FieldKind::Int64)),
        Just(logical(DECIMAL_URN, FieldKind::Bytes)),
        Just(logical("beam:logical_type:date:v1", FieldKind::Int64)),
    ];
    let typed = |kind: BoxedStrategy<FieldKind>| {
        (any::<bool>(), kind).prop_map(|(nullable, kind)| FieldType { nullable, kind })
    };
    typed(atomic.boxed())
        .prop_recursive(2, 8, 2, move |inner| {
            let kind = prop_oneof![
                inner.clone().prop_map(|element| FieldKind::Array(Box::new(element))),
                inner.clone().prop_map(|element| FieldKind::Iterable(Box::new(element))),
                (inner.clone(), inner.clone()).prop_map(|sides| FieldKind::Map(Box::new(sides))),
                schema(inner.boxed()).prop_map(|schema| FieldKind::Row(Arc::new(schema))),
            ];
            typed(kind.boxed())
        })
        .boxed()
}

// Values.

fn instant() -> impl Strategy<Value = EventTime> {
    prop_oneof![
        (EventTime::MIN.millis()..=EventTime::MAX.millis()).prop_map(EventTime::from_millis),
        Just(EventTime::MIN),
        Just(EventTime::MAX),
    ]
}

fn whole() -> impl Strategy<Value = i64> {
    (any::<i64>(), 0u32..64).prop_map(|(bits, shift)| bits >> shift)
}

fn data() -> impl Strategy<Value = Bytes> {
    prop_oneof![9 => vec(any::<u8>(), 0..6), 1 => vec(any::<u8>(), 120..140)].prop_map(Bytes::from)
}

fn pane() -> impl Strategy<Value = PaneInfo> {
    let timing = prop_oneof![
        Just(PaneTiming::Early),
        Just(PaneTiming::OnTime),
        Just(PaneTiming::Late),
        Just(PaneTiming::Unknown)
    ];
    (any::<bool>(), any::<bool>(), timing, 0i64..300, 0i64..3).prop_map(|(is_first, is_last, timing, index, later)| {
        let (index, non_speculative_index) = match timing {
            PaneTiming::Early => (index, -1),
            PaneTiming::OnTime | PaneTiming::Late => (index, index.min(later)),
            PaneTiming::Unknown => (index, later),
        };
        PaneInfo { is_first, is_last, timing, index, non_speculative_index }
    })
}

/// A value that `coder` writes, when it stands outside or behind a length.
fn value_of(coder: &Coder) -> BoxedStrategy<Value> {
    match coder {
        Coder::Bytes | Coder::Unknown(_) => data().prop_map(Value::Bytes).boxed(),
        Coder::StringUtf8 => ".{0,4}".prop_map(Value::String).boxed(),
        Coder::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Coder::VarInt => whole().prop_map(Value::Int).boxed(),
        Coder::Double => any::<f64>().prop_map(Value::double).boxed(),
        Coder::Kv(key, value) => {
            (value_of(key), value_of(value)).prop_map(|(key, value)| Value::kv(key, value)).boxed()
        }
        Coder::Iterable(element) => vec(value_of(element), 0..4).prop_map(Value::Iterable).boxed(),
        Coder::StateBackedIterable(element) => (vec(value_of(element), 0..4), proptest::option::of(data()))
            .prop_map(|(elements, token)| match token {
                Some(token) => Value::StateBacked(Box::new(StateBacked { elements, token })),
                None => Value::Iterable(elements),
            })
            .boxed(),
        Coder::LengthPrefix(inner) => value_of(inner),
        Coder::Nullable(inner) => or_null(value_of(inner)),
        Coder::ShardedKey(key) => (data(), value_of(key))
            .prop_map(|(shard_id, key)| Value::ShardedKey(Box::new(ShardedKey { shard_id, key })))
            .boxed(),
        Coder::Row(schema) => row_of(schema),
        Coder::GlobalWindow => Just(Value::Window(BoundedWindow::Global)).boxed(),
        Coder::IntervalWindow => (instant(), instant())
            .prop_map(|(a, b)| Value::Window(BoundedWindow::Interval { start: a.min(b), end: a.max(b) }))
            .boxed(),
        Coder::CustomWindow(inner) => (instant(), value_of(inner))
            .prop_map(|(max_timestamp, window)| Value::CustomWindow(Box::new(CustomWindow { max_timestamp, window })))
            .boxed(),
        Coder::WindowedValue { value, window } => (value_of(value), instant(), vec(value_of(window), 0..3), pane())
            .prop_map(|(value, timestamp, windows, pane)| {
                Value::Windowed(Box::new(WindowedValue { value, timestamp, windows, pane }))
            })
            .boxed(),
        Coder::ParamWindowedValue { value, window: _, constant } => {
            let ConstantHeader { timestamp, windows, pane } = (**constant).clone();
            value_of(value)
                .prop_map(move |value| {
                    Value::Windowed(Box::new(WindowedValue { value, timestamp, windows: windows.clone(), pane }))
                })
                .boxed()
        }
        Coder::Timer { key, window } => {
            let firing = (instant(), instant(), pane()).prop_map(|(fire, hold, pane)| TimerFiring { fire, hold, pane });
            (value_of(key), ".{0,3}", vec(value_of(window), 0..3), proptest::option::of(firing))
                .prop_map(|(key, dynamic_tag, windows, firing)| {
                    Value::Timer(Box::new(Timer { key, dynamic_tag, windows, firing }))
                })
                .boxed()
        }
    }
}

fn or_null(value: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Null), 3 => value].boxed()
}

fn row_of(schema: &Schema) -> BoxedStrategy<Value> {
    let nulls_allowed = !schema.static_encoding();
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| match &field.field_type {
            FieldType { nullable: true, kind } if nulls_allowed => or_null(kind_of(kind)),
            FieldType { nullable: _, kind } => kind_of(kind),
        })
        .collect();
    fields.prop_map(Value::Row).boxed()
}

fn type_of(field_type: &FieldType) -> BoxedStrategy<Value> {
    let value = kind_of(&field_type.kind);
    if field_type.nullable { or_null(value) } else { value }
}

fn kind_of(kind: &FieldKind) -> BoxedStrategy<Value> {
    match kind {
        FieldKind::Byte => any::<i8>().prop_map(|number| Value::Int(number.into())).boxed(),
        FieldKind::Int16 => any::<i16>().prop_map(|number| Value::Int(number.into())).boxed(),
        FieldKind::Int32 => any::<i32>().prop_map(|number| Value::Int(number.into())).boxed(),
        FieldKind::Int64 => whole().prop_map(Value::Int).boxed(),
        FieldKind::Float => any::<f32>().prop_map(|number| Value::Float(Float(number))).boxed(),
        FieldKind::Double => any::<f64>().prop_map(Value::double).boxed(),
        FieldKind::String => ".{0,4}".prop_map(Value::String).boxed(),
        FieldKind::Boolean => any::<bool>().prop_map(Value::Bool).boxed(),
        FieldKind::Bytes => data().prop_map(Value::Bytes).boxed(),
        FieldKind::Array(element) | FieldKind::Iterable(element) => {
            vec(type_of(element), 0..4).prop_map(Value::Iterable).boxed()
        }
        FieldKind::Map(sides) => vec((type_of(&sides.0), type_of(&sides.1)), 0..3).prop_map(Value::Map).boxed(),
        FieldKind::Row(schema) => row_of(schema),
        FieldKind::Logical(logical) => match (logical.urn(), logical.representation()) {
            (MILLIS_INSTANT_URN, _) => any::<i64>().prop_map(Value::Instant).boxed(),
            (DECIMAL_URN, _) => (any::<i128>(), 0u32..128, any::<i8>())
                .prop_map(|(bits, shift, scale)| Value::Decimal(Decimal::new(bits >> shift, scale.into())))
                .boxed(),
            (_, Some(representation)) => type_of(representation),
            (urn, None) => unreachable!("{urn} is made above with a representation"),
        },
    }
}

// Laws.

fn with_value(coder: BoxedStrategy<Coder>) -> impl Strategy<Value = (Coder, Value)> {
    coder.prop_flat_map(|coder| (value_of(&coder), Just(coder))).prop_map(|(value, coder)| (coder, value))
}

fn check_round_trip(coder: &Coder, value: &Value, tail: &[u8]) -> Result<(), TestCaseError> {
    let mut nested = Vec::new();
    coder.encode(value, Context::Nested, &mut nested)?;
    let end = nested.len();
    nested.extend_from_slice(tail);
    let mut rest = &nested[..];
    prop_assert_eq!(&coder.decode(&mut rest, Context::Nested)?, value);
    prop_assert_eq!(rest, tail);
    let mut rest = &nested[..];
    coder.skip(&mut rest, Context::Nested)?;
    prop_assert_eq!(rest, tail);
    if let Coder::Kv(key_coder, _) = coder {
        let mut rest = &nested[..];
        let parts = coder.split_kv(&mut rest, Context::Nested)?;
        prop_assert_eq!(rest, tail);
        prop_assert_eq!([parts.key, parts.value].concat(), &nested[..end]);
        let Value::Kv(kv) = value else { unreachable!("a pair was made for it") };
        prop_assert_eq!(&key_coder.decode(&mut { parts.key }, Context::Nested)?, &kv.0);
    }

    let mut outer = Vec::new();
    coder.encode(value, Context::Outer, &mut outer)?;
    let mut rest = &outer[..];
    prop_assert_eq!(&coder.decode(&mut rest, Context::Outer)?, value);
    prop_assert!(rest.is_empty());
    let mut rest = &outer[..];
    coder.skip(&mut rest, Context::Outer)?;
    prop_assert!(rest.is_empty());

    for cut in 0..end {
        let short = &nested[..cut];
        let error = coder.decode(&mut { short }, Context::Nested).expect_err("a value cut short");
        prop_assert!(error.offset().is_some_and(|offset| offset <= cut), "{}", error);
        let error = coder.skip(&mut { short }, Context::Nested).expect_err("a value cut short");
        prop_assert!(error.offset().is_some_and(|offset| offset <= cut), "{}", error);
        // Some beginnings of an outer encoding are values; none may panic.
        let _ = coder.decode(&mut &outer[..cut.min(outer.len())], Context::Outer);
    }
    Ok(())
}

macro_rules! round_trips {
    ($($name:ident: $coder:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(96))]
            $(
                #[test]
                fn $name((coder, value) in with_value($coder.boxed()), tail in vec(any::<u8>(), 0..3)) {
                    check_round_trip(&coder, &value, &tail)?;
                }
            )*
        }
    };
}

round_trips! {
    bytes: Just(Coder::Bytes);
    string_utf8: Just(Coder::StringUtf8);
    bool: Just(Coder::Bool);
    varint: Just(Coder::VarInt);
    double: Just(Coder::Double);
    global_window: Just(Coder::GlobalWindow);
    interval_window: Just(Coder::IntervalWindow);
    kv_of_any: kv(any_coder());
    iterable_of_any: any_coder().prop_map(Coder::iterable);
    state_backed_iterable_of_any: state_backed(any_coder());
    length_prefix_of_any: any_coder().prop_map(Coder::length_prefix);
    nullable_of_any: nullable(any_coder());
    sharded_key_of_any: any_coder().prop_map(|key| Coder::ShardedKey(Arc::new(key)));
    custom_window_of_any: any_coder().prop_map(|window| Coder::CustomWindow(Arc::new(window)));
    windowed_value_of_any: windowed_value(any_coder());
    param_windowed_value_of_any: param_windowed_value(any_coder());
    timer_of_any: timer(any_coder());
    row_of_any: row();
}

/// Bytes that look like an encoding until they do not.
fn almost(coder: BoxedStrategy<Coder>) -> impl Strategy<Value = (Coder, Vec<u8>)> {
    (with_value(coder), any::<bool>(), vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)).prop_map(
        |((coder, value), nested, changes)| {
            let context = if nested { Context::Nested } else { Context::Outer };
            let mut bytes = Vec::new();
            coder.encode(&value, context, &mut bytes).expect("a value of the coder");
            for (place, byte) in changes {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = byte;
                }
            }
            (coder, bytes)
        },
    )
}

fn check_hostile(coder: &Coder, bytes: &[u8]) -> Result<(), TestCaseError> {
    for context in [Context::Nested, Context::Outer] {
        let (mut decoded, mut skipped) = (bytes, bytes);
        match coder.decode(&mut decoded, context) {
            Ok(value) => {
                prop_assert_eq!(coder.skip(&mut skipped, context), Ok(()));
                prop_assert_eq!(skipped.len(), decoded.len());
                let _ = (value.to_string(), coder.encode(&value, context, &mut Vec::new()));
            }
            Err(error) => {
                prop_assert_eq!(decoded.len(), bytes.len());
                prop_assert!(error.offset().is_some_and(|offset| offset <= bytes.len()), "{}", error);
                let _ = coder.skip(&mut skipped, context);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_give_a_value_or_an_error(coder in any_coder(), bytes in vec(any::<u8>(), 0..80)) {
        check_hostile(&coder, &bytes)?;
    }

    #[test]
    fn changed_bytes_give_a_value_or_an_error((coder, bytes) in almost(any_coder())) {
        check_hostile(&coder, &bytes)?;
    }

    #[test]
    fn any_payload_gives_a_coder_or_an_error(payload in vec(any::<u8>(), 0..40), window in window_coder()) {
        let components = vec![Arc::new(Coder::Bytes), Arc::new(window)];
        let _ = Coder::from_urn("beam:coder:param_windowed_value:v1", &payload, components);
    }
}
