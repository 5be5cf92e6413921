//! Coders: how values stand as bytes (Beam's `standard_coders.yaml`).
//!
//! ```text
//!                  ┌─ skip      ─► where a value ends        the data plane: no allocation, no value
//!   bytes, Coder ──┼─ split_kv  ─► key bytes, value bytes
//!                  └─ decode    ─► Value ── encode ─► bytes  tests, tools, rows of configuration
//! ```
//! One file for each family of coders says what its bytes are. Input is not trusted: nothing panics, no count on the
//! wire decides how much memory is taken, and every error names the coder, the byte and the reason.
//!
//! Does not know which SDK understands which coder, nor that coders have ids.

mod cursor;
mod error;
mod iterable;
mod kv;
mod length_prefix;
mod nullable;
mod opaque;
mod row;
mod scalar;
pub mod schema;
mod sharded_key;
mod spec;
mod text;
mod timer;
pub mod urns;
pub mod value;
pub mod varint;
mod window;
mod windowed_value;
mod wire;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

pub use cursor::DEPTH_MAX;
pub use error::{CoderError, CoderFault};
pub use kv::KvParts;
pub use spec::{CODER_SIZE_MAX, CoderSpecError};
pub use windowed_value::ConstantHeader;

use cursor::{Reader, Writer};
use schema::Schema;
use value::Value;
use wire::Wire;

/// Whether something follows a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// Something may follow, so the value says where it ends: on the data plane, in keys, windows, timers, iterables.
    Nested,
    /// The value is the whole buffer: inside a length prefix, in the elements of a TestStream.
    Outer,
}

/// One of Beam's standard coders, or one that only its SDK knows.
///
/// Cloning is cheap; components are shared. A coder from outside is made by [`Coder::from_urn`], which bounds its size.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Coder {
    /// `beam:coder:bytes:v1`
    Bytes,
    /// `beam:coder:string_utf8:v1`
    StringUtf8,
    /// `beam:coder:bool:v1`
    Bool,
    /// `beam:coder:varint:v1`
    VarInt,
    /// `beam:coder:double:v1`
    Double,
    /// `beam:coder:kv:v1`: key, value.
    Kv(Arc<Self>, Arc<Self>),
    /// `beam:coder:iterable:v1`
    Iterable(Arc<Self>),
    /// `beam:coder:state_backed_iterable:v1`. Its payload is a hint for the SDK that writes, and is not kept.
    StateBackedIterable(Arc<Self>),
    /// `beam:coder:length_prefix:v1`
    LengthPrefix(Arc<Self>),
    /// `beam:coder:nullable:v1`
    Nullable(Arc<Self>),
    /// `beam:coder:sharded_key:v1`: over the coder of the key.
    ShardedKey(Arc<Self>),
    /// `beam:coder:row:v1`
    Row(Arc<Schema>),
    /// `beam:coder:global_window:v1`
    GlobalWindow,
    /// `beam:coder:interval_window:v1`
    IntervalWindow,
    /// `beam:coder:custom_window:v1`
    CustomWindow(Arc<Self>),
    /// `beam:coder:windowed_value:v1`
    WindowedValue {
        /// The coder of the value.
        value: Arc<Self>,
        /// The coder of each window.
        window: Arc<Self>,
    },
    /// `beam:coder:param_windowed_value:v1`
    ParamWindowedValue {
        /// The coder of the value.
        value: Arc<Self>,
        /// The coder of each window.
        window: Arc<Self>,
        /// The payload.
        constant: Arc<ConstantHeader>,
    },
    /// `beam:coder:timer:v1`
    Timer {
        /// The coder of the key.
        key: Arc<Self>,
        /// The coder of each window.
        window: Arc<Self>,
    },
    /// Any other: opaque.
    Unknown(Arc<UnknownCoder>),
}

/// A coder that only its SDK can read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnknownCoder {
    /// `Coder.spec.urn`
    pub urn: String,
    /// `Coder.spec.payload`
    pub payload: Bytes,
    /// `Coder.component_coder_ids`, resolved.
    pub components: Vec<Arc<Coder>>,
}

impl Coder {
    /// Keys and values.
    pub fn kv(key: Self, value: Self) -> Self {
        Self::Kv(Arc::new(key), Arc::new(value))
    }

    /// Many of `element`.
    pub fn iterable(element: Self) -> Self {
        Self::Iterable(Arc::new(element))
    }

    /// `inner` behind its length.
    pub fn length_prefix(inner: Self) -> Self {
        Self::LengthPrefix(Arc::new(inner))
    }

    /// Moves past one value. Allocates nothing, and looks only at what it needs to find the end: a few nanoseconds for
    /// a pair of byte strings, and a pass over the counts of an iterable.
    ///
    /// # Errors
    /// When the bytes end before the value does, or the end cannot be found; `bytes` then stays where it was.
    #[inline]
    pub fn skip(&self, bytes: &mut &[u8], context: Context) -> Result<(), CoderError> {
        let mut from = Reader::new(bytes);
        self.pass(&mut from, context)?;
        end(&from, context, self).map(|rest| *bytes = rest)
    }

    /// Takes the pair at the front apart and moves past it, at the cost of [`skip`](Self::skip).
    ///
    /// # Errors
    /// Those of [`skip`](Self::skip), and a fault when this is not a `kv` coder.
    #[inline]
    pub fn split_kv<'a>(&self, bytes: &mut &'a [u8], context: Context) -> Result<KvParts<'a>, CoderError> {
        let Self::Kv(key, value) = self else {
            return Err(CoderError::new(Some(0), CoderFault::NotKv).within(self.name()));
        };
        let mut from = Reader::new(bytes);
        let parts = kv::split(key, value, &mut from, context).map_err(|error| error.within(self.name()))?;
        end(&from, context, self).map(|rest| *bytes = rest)?;
        Ok(parts)
    }

    /// The key's bytes of the pair at the front of `bytes`, which is nested. Does not look at the value.
    ///
    /// # Errors
    /// Those of [`skip`](Self::skip) for the key, and a mismatch when this is not a `kv` coder.
    #[inline]
    pub fn key_of<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], CoderError> {
        let Self::Kv(key, _) = self else {
            let fault = CoderFault::Mismatch { expected: self.name(), found: "a key and a value" };
            return Err(CoderError::new(Some(0), fault).within(self.name()));
        };
        let mut rest = bytes;
        key.skip(&mut rest, Context::Nested)?;
        Ok(&bytes[..bytes.len() - rest.len()])
    }

    /// Reads one value and moves past it. In the outer context the value must fill `bytes`.
    ///
    /// Law: what [`encode`](Self::encode) wrote is read back, and [`skip`](Self::skip) ends at the same byte.
    ///
    /// # Errors
    /// When the bytes are not a value of this coder; `bytes` then stays where it was.
    pub fn decode(&self, bytes: &mut &[u8], context: Context) -> Result<Value, CoderError> {
        let mut from = Reader::new(bytes);
        let value = self.read(&mut from, context)?;
        end(&from, context, self).map(|rest| *bytes = rest)?;
        Ok(value)
    }

    /// Appends `value`.
    ///
    /// # Errors
    /// When this coder does not write such values; `out` is then as it was.
    pub fn encode(&self, value: &Value, context: Context, out: &mut Vec<u8>) -> Result<(), CoderError> {
        let start = out.len();
        let written = self.write(value, context, &mut Writer::new(out));
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    /// The URN.
    pub fn urn(&self) -> &str {
        match self {
            Self::Bytes => urns::BYTES,
            Self::StringUtf8 => urns::STRING_UTF8,
            Self::Bool => urns::BOOL,
            Self::VarInt => urns::VARINT,
            Self::Double => urns::DOUBLE,
            Self::Kv(..) => urns::KV,
            Self::Iterable(_) => urns::ITERABLE,
            Self::StateBackedIterable(_) => urns::STATE_BACKED_ITERABLE,
            Self::LengthPrefix(_) => urns::LENGTH_PREFIX,
            Self::Nullable(_) => urns::NULLABLE,
            Self::ShardedKey(_) => urns::SHARDED_KEY,
            Self::Row(_) => urns::ROW,
            Self::GlobalWindow => urns::GLOBAL_WINDOW,
            Self::IntervalWindow => urns::INTERVAL_WINDOW,
            Self::CustomWindow(_) => urns::CUSTOM_WINDOW,
            Self::WindowedValue { .. } => urns::WINDOWED_VALUE,
            Self::ParamWindowedValue { .. } => urns::PARAM_WINDOWED_VALUE,
            Self::Timer { .. } => urns::TIMER,
            Self::Unknown(unknown) => &unknown.urn,
        }
    }

    /// The components, in Beam's order.
    pub fn components(&self) -> Vec<&Arc<Self>> {
        match self {
            Self::Bytes
            | Self::StringUtf8
            | Self::Bool
            | Self::VarInt
            | Self::Double
            | Self::GlobalWindow
            | Self::IntervalWindow
            | Self::Row(_) => vec![],
            Self::Iterable(inner)
            | Self::StateBackedIterable(inner)
            | Self::LengthPrefix(inner)
            | Self::Nullable(inner)
            | Self::ShardedKey(inner)
            | Self::CustomWindow(inner) => vec![inner],
            Self::Kv(first, second)
            | Self::WindowedValue { value: first, window: second }
            | Self::ParamWindowedValue { value: first, window: second, constant: _ }
            | Self::Timer { key: first, window: second } => vec![first, second],
            Self::Unknown(unknown) => unknown.components.iter().collect(),
        }
    }

    /// Whether the runner can find the end of every nested value without the SDK: no unknown coder stands outside a
    /// length prefix. Cost: the size of the coder.
    pub fn is_transparent(&self) -> bool {
        match self {
            Self::LengthPrefix(_) => true,
            Self::Unknown(_) => false,
            Self::Row(schema) => schema.is_transparent(),
            other => other.components().into_iter().all(|component| component.is_transparent()),
        }
    }

    /// The middle of the URN, for messages.
    fn name(&self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::StringUtf8 => "string_utf8",
            Self::Bool => "bool",
            Self::VarInt => "varint",
            Self::Double => "double",
            Self::Kv(..) => "kv",
            Self::Iterable(_) => "iterable",
            Self::StateBackedIterable(_) => "state_backed_iterable",
            Self::LengthPrefix(_) => "length_prefix",
            Self::Nullable(_) => "nullable",
            Self::ShardedKey(_) => "sharded_key",
            Self::Row(_) => "row",
            Self::GlobalWindow => "global_window",
            Self::IntervalWindow => "interval_window",
            Self::CustomWindow(_) => "custom_window",
            Self::WindowedValue { .. } => "windowed_value",
            Self::ParamWindowedValue { .. } => "param_windowed_value",
            Self::Timer { .. } => "timer",
            Self::Unknown(_) => "unknown coder",
        }
    }
}

/// What follows a value, which in the outer context is nothing.
#[inline]
fn end<'a>(from: &Reader<'a>, context: Context, coder: &Coder) -> Result<&'a [u8], CoderError> {
    match context {
        Context::Nested => Ok(from.rest()),
        Context::Outer => match from.finish() {
            Ok(()) => Ok(from.rest()),
            Err(error) => Err(error.within(coder.name())),
        },
    }
}

impl fmt::Display for Coder {
    /// For example `kv<bytes, iterable<varint>>`. An unknown coder prints its URN, a row its fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(unknown) => f.write_str(&unknown.urn)?,
            Self::Row(schema) => return write!(f, "{schema}"),
            other => f.write_str(other.name())?,
        }
        let components = self.components();
        for (place, component) in components.iter().enumerate() {
            write!(f, "{}{component}", if place == 0 { "<" } else { ", " })?;
        }
        f.write_str(if components.is_empty() { "" } else { ">" })
    }
}
