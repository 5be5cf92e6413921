//! Typed values and their nested encodings, for native stages.

use purlin_model::coder::Coder;
use purlin_model::coder::varint::{read_varint, write_varint};

use crate::bundle::NativeError;

/// Encodes and decodes values of one type as a Beam coder does.
pub trait Codec: Send + Sync + 'static {
    /// The Rust type.
    type Value: Send + 'static;

    /// The Beam coder whose bytes these are.
    fn coder() -> Coder;

    /// Reads one value and moves past it.
    ///
    /// # Errors
    /// If the bytes are not one.
    fn decode(bytes: &mut &[u8]) -> Result<Self::Value, NativeError>;

    /// Appends one value.
    fn encode(value: &Self::Value, out: &mut Vec<u8>);
}

/// `i64` as `beam:coder:varint:v1`.
#[derive(Clone, Copy, Debug)]
pub struct Int;

/// Bytes as `beam:coder:bytes:v1`.
#[derive(Clone, Copy, Debug)]
pub struct Text;

/// A pair as `beam:coder:kv:v1`.
#[derive(Clone, Copy, Debug)]
pub struct Pair<K, V>(std::marker::PhantomData<fn() -> (K, V)>);

/// Values as `beam:coder:iterable:v1`.
#[derive(Clone, Copy, Debug)]
pub struct Repeated<V>(std::marker::PhantomData<fn() -> V>);

impl Codec for Int {
    type Value = i64;

    fn coder() -> Coder {
        Coder::VarInt
    }

    fn decode(bytes: &mut &[u8]) -> Result<i64, NativeError> {
        read_varint(bytes).map_err(|why| broken("a varint", &why))
    }

    fn encode(value: &i64, out: &mut Vec<u8>) {
        write_varint(*value, out);
    }
}

impl Codec for Text {
    type Value = Vec<u8>;

    fn coder() -> Coder {
        Coder::Bytes
    }

    fn decode(bytes: &mut &[u8]) -> Result<Vec<u8>, NativeError> {
        let length = read_varint(bytes).map_err(|why| broken("bytes", &why))?;
        let taken = usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length));
        let (value, rest) = taken.ok_or_else(|| broken("bytes", &"they are cut short"))?;
        *bytes = rest;
        Ok(value.to_vec())
    }

    fn encode(value: &Vec<u8>, out: &mut Vec<u8>) {
        write_varint(value.len() as i64, out);
        out.extend_from_slice(value);
    }
}

impl<K: Codec, V: Codec> Codec for Pair<K, V> {
    type Value = (K::Value, V::Value);

    fn coder() -> Coder {
        Coder::kv(K::coder(), V::coder())
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self::Value, NativeError> {
        Ok((K::decode(bytes)?, V::decode(bytes)?))
    }

    fn encode((key, value): &Self::Value, out: &mut Vec<u8>) {
        K::encode(key, out);
        V::encode(value, out);
    }
}

impl<V: Codec> Codec for Repeated<V> {
    type Value = Vec<V::Value>;

    fn coder() -> Coder {
        Coder::iterable(V::coder())
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self::Value, NativeError> {
        let (count, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| broken("an iterable", &"it is cut short"))?;
        *bytes = rest;
        let count = i32::from_be_bytes(*count);
        // The runner's own groupings know their sizes.
        let count = usize::try_from(count).map_err(|_| broken("an iterable", &"its size is not known"))?;
        (0..count).map(|_| V::decode(bytes)).collect()
    }

    fn encode(values: &Self::Value, out: &mut Vec<u8>) {
        out.extend_from_slice(&(values.len() as i32).to_be_bytes());
        for value in values {
            V::encode(value, out);
        }
    }
}

fn broken(expected: &'static str, why: &dyn std::fmt::Display) -> NativeError {
    NativeError::Decode { expected, why: why.to_string() }
}
