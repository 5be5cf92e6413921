//! Values of any coder, known only at run time: for tests, for tools that print elements, for rows of configuration.
//!
//! ```text
//!   bytes ──Coder::decode──► Value ──Display──► ("a", [1, 2])
//!         ◄──Coder::encode──
//! ```
//! The data plane never makes them: it moves encoded bytes. Values compare by what they encode to, floating-point
//! numbers by their bits. Does not know coders.

use std::fmt;

use bytes::Bytes;

use crate::pane::PaneInfo;
use crate::time::EventTime;
use crate::window::BoundedWindow;

/// A value of one of Beam's standard coders.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// The absent value of `nullable`, and of a nullable field in a row.
    Null,
    /// `bytes`, and whatever only an SDK can read.
    Bytes(Bytes),
    /// `string_utf8`.
    String(String),
    /// `bool`.
    Bool(bool),
    /// `varint`, and every whole number in a row.
    Int(i64),
    /// A 32-bit number in a row.
    Float(Float),
    /// `double`.
    Double(Double),
    /// A `beam:logical_type:decimal:v1` in a row.
    Decimal(Decimal),
    /// A `beam:logical_type:millis_instant:v1` in a row: milliseconds since the epoch, not bound to Beam's range.
    Instant(i64),
    /// `kv`: key and value.
    Kv(Box<(Self, Self)>),
    /// `iterable`, and `state_backed_iterable` when all elements are inline; arrays and iterables in a row.
    Iterable(Vec<Self>),
    /// `state_backed_iterable` whose later elements wait in state.
    StateBacked(Box<StateBacked>),
    /// A map in a row, in the order of the wire.
    Map(Vec<(Self, Self)>),
    /// `row`: a value for each field, in the order of the schema's fields.
    Row(Vec<Self>),
    /// `global_window` and `interval_window`.
    Window(BoundedWindow),
    /// `custom_window`.
    CustomWindow(Box<CustomWindow>),
    /// `windowed_value` and `param_windowed_value`.
    Windowed(Box<WindowedValue>),
    /// `timer`.
    Timer(Box<Timer>),
    /// `sharded_key`.
    ShardedKey(Box<ShardedKey>),
}

impl Value {
    /// A key and a value.
    pub fn kv(key: Self, value: Self) -> Self {
        Self::Kv(Box::new((key, value)))
    }

    /// Bytes, copied.
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// Text.
    pub fn string(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// A double.
    pub fn double(number: f64) -> Self {
        Self::Double(Double(number))
    }

    /// What kind of value this is, in words: for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bytes(_) => "bytes",
            Self::String(_) => "a string",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a 32-bit float",
            Self::Double(_) => "a double",
            Self::Decimal(_) => "a decimal",
            Self::Instant(_) => "an instant",
            Self::Kv(_) => "a key and a value",
            Self::Iterable(_) => "an iterable",
            Self::StateBacked(_) => "an iterable that continues in state",
            Self::Map(_) => "a map",
            Self::Row(_) => "a row",
            Self::Window(BoundedWindow::Global) => "the global window",
            Self::Window(BoundedWindow::Interval { .. }) => "an interval window",
            Self::Window(BoundedWindow::Custom { .. }) | Self::CustomWindow(_) => "a custom window",
            Self::Windowed(_) => "a windowed value",
            Self::Timer(_) => "a timer",
            Self::ShardedKey(_) => "a sharded key",
        }
    }
}

/// A 64-bit floating-point number that equals those with the same bits: a NaN equals itself, and -0 is not 0.
#[derive(Clone, Copy, Debug)]
pub struct Double(pub f64);

impl PartialEq for Double {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Double {}

impl std::hash::Hash for Double {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// A 32-bit floating-point number, compared like [`Double`].
#[derive(Clone, Copy, Debug)]
pub struct Float(pub f32);

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Float {}

impl std::hash::Hash for Float {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// A decimal number of any size: `unscaled × 10^(-scale)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// How many digits stand behind the point. Kept as the wire has it: for a negative scale Python writes the 64-bit
    /// form and Java the 32-bit form, which reads as 2³² more.
    pub scale: i64,
    /// Two's complement, big endian, at least one byte.
    pub unscaled: Bytes,
}

impl Decimal {
    /// `unscaled × 10^(-scale)`, in the shortest form.
    pub fn new(unscaled: i128, scale: i64) -> Self {
        let bytes = unscaled.to_be_bytes();
        // A leading byte can go while the next one already carries the sign.
        let redundant = bytes
            .windows(2)
            .take_while(|pair| (pair[0] == 0 && pair[1] < 0x80) || (pair[0] == 0xff && pair[1] >= 0x80))
            .count();
        Self { scale, unscaled: Bytes::copy_from_slice(&bytes[redundant..]) }
    }

    /// The unscaled number, if it fits.
    pub fn unscaled_i128(&self) -> Option<i128> {
        let first = *self.unscaled.first()?;
        let mut bytes = [if first >= 0x80 { 0xff } else { 0 }; 16];
        let start = bytes.len().checked_sub(self.unscaled.len())?;
        bytes[start..].copy_from_slice(&self.unscaled);
        Some(i128::from_be_bytes(bytes))
    }
}

/// The part of an iterable that came inline, and the token for the rest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StateBacked {
    /// The first elements.
    pub elements: Vec<Value>,
    /// What `StateKey.Runner` asks the runner for, to get the rest.
    pub token: Bytes,
}

/// A window with its last instant in front.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CustomWindow {
    /// The last instant inside the window.
    pub max_timestamp: EventTime,
    /// The window, by the component coder.
    pub window: Value,
}

/// A value with its timestamp, windows and pane.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WindowedValue {
    /// The value itself.
    pub value: Value,
    /// Its timestamp.
    pub timestamp: EventTime,
    /// The windows that it stands in.
    pub windows: Vec<Value>,
    /// Which firing it came from.
    pub pane: PaneInfo,
}

/// A timer that is set or cleared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timer {
    /// The key that it belongs to.
    pub key: Value,
    /// Tells timers of one family, key and window apart.
    pub dynamic_tag: String,
    /// The windows that it stands in; mostly one.
    pub windows: Vec<Value>,
    /// When it fires; `None` clears it.
    pub firing: Option<TimerFiring>,
}

/// When a timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerFiring {
    /// When, in the timer's own domain.
    pub fire: EventTime,
    /// The timestamp of what it will output, in event time.
    pub hold: EventTime,
    /// The pane in which it was set.
    pub pane: PaneInfo,
}

/// A key that was split into shards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShardedKey {
    /// Which shard; opaque.
    pub shard_id: Bytes,
    /// The user's key.
    pub key: Value,
}

impl fmt::Display for Value {
    /// Short, for people: `("a", [1, 2])`. Bytes print as `b"…"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
            Self::String(text) => write!(f, "{text:?}"),
            Self::Bool(bool) => write!(f, "{bool}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{:?}", number.0),
            Self::Double(number) => write!(f, "{:?}", number.0),
            Self::Decimal(decimal) => write!(f, "{decimal}"),
            Self::Instant(millis) => write!(f, "@{millis}"),
            Self::Kv(kv) => write!(f, "({}, {})", kv.0, kv.1),
            Self::Iterable(elements) => write_list(f, "[", elements, "]"),
            Self::StateBacked(it) => {
                write_list(f, "[", &it.elements, "")?;
                write!(f, " … state b\"{}\"]", it.token.escape_ascii())
            }
            Self::Map(entries) => {
                f.write_str("{")?;
                for (place, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if place == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
            Self::Row(fields) => write_list(f, "row(", fields, ")"),
            Self::Window(window) => write!(f, "{window:?}"),
            Self::CustomWindow(it) => write!(f, "custom(max {}, {})", it.max_timestamp, it.window),
            Self::Windowed(it) => {
                write!(f, "{} @{} in ", it.value, it.timestamp)?;
                write_list(f, "[", &it.windows, "]")
            }
            Self::Timer(it) => {
                write!(f, "timer({}, {:?}, ", it.key, it.dynamic_tag)?;
                write_list(f, "[", &it.windows, "]")?;
                match it.firing {
                    Some(firing) => write!(f, ", fire {}, hold {})", firing.fire, firing.hold),
                    None => f.write_str(", clear)"),
                }
            }
            Self::ShardedKey(it) => write!(f, "{}#{}", it.key, it.shard_id.escape_ascii()),
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, open: &str, items: &[Value], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (place, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if place == 0 { "" } else { ", " })?;
    }
    f.write_str(close)
}

impl fmt::Display for Decimal {
    /// As a plain number when it is of ordinary size, else as its parts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.unscaled_i128(), usize::try_from(self.scale)) {
            (Some(unscaled), Ok(0)) => write!(f, "{unscaled}"),
            (Some(unscaled), Ok(scale @ ..=38)) => {
                // At least one digit stands before the point.
                let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                write!(f, "{}{whole}.{fraction}", if unscaled < 0 { "-" } else { "" })
            }
            (Some(unscaled), _) => write!(f, "{unscaled}e{}", self.scale.wrapping_neg()),
            (None, _) => {
                f.write_str("0x")?;
                self.unscaled.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                write!(f, "e{}", self.scale.wrapping_neg())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_short() {
        let value =
            Value::kv(Value::bytes(b"a\0"), Value::Iterable(vec![Value::Int(1), Value::Null, Value::double(0.5)]));
        assert_eq!(value.to_string(), r#"(b"a\x00", [1, null, 0.5])"#);
        let map = Value::Map(vec![(Value::string("k"), Value::Bool(true))]);
        assert_eq!(Value::Row(vec![map, Value::Instant(7)]).to_string(), r#"row({"k": true}, @7)"#);
    }

    #[test]
    fn decimals_print_as_numbers_and_keep_the_shortest_form() {
        let check = |unscaled: i128, scale: i64, text: &str, bytes: &[u8]| {
            let decimal = Decimal::new(unscaled, scale);
            assert_eq!(decimal.to_string(), text);
            assert_eq!(decimal.unscaled, bytes);
            assert_eq!(decimal.unscaled_i128(), Some(unscaled));
        };
        check(0, 1, "0.0", &[0]);
        check(125, 2, "1.25", &[0x7d]);
        check(-5, 2, "-0.05", &[0xfb]);
        check(128, 0, "128", &[0, 0x80]);
        check(-128, -3, "-128e3", &[0x80]);
        check(i128::MIN, 40, "-170141183460469231731687303715884105728e-40", &i128::MIN.to_be_bytes());
        let huge = Decimal { scale: 2, unscaled: Bytes::from_static(&[1; 17]) };
        assert_eq!(huge.unscaled_i128(), None);
        assert_eq!(huge.to_string(), format!("0x{}e-2", "01".repeat(17)));
    }

    #[test]
    fn numbers_compare_by_their_bits() {
        assert_eq!(Value::double(f64::NAN), Value::double(f64::NAN));
        assert_ne!(Value::double(0.0), Value::double(-0.0));
    }
}
