//! Stages that tests and benchmarks are made of.

use std::sync::{Arc, Mutex, PoisonError};

use purlin_model::element::Header;
use purlin_model::window::WindowCoder;

use crate::bundle::{NativeBundle, NativeError, NativeStage};
use crate::codec::{Codec, Int, Pair, Repeated, Text};
use crate::typed::{Chunk, timestamp_of, typed};

/// Emits what it takes, unread.
pub fn identity() -> impl NativeStage {
    Identity
}

#[derive(Debug)]
struct Identity;

impl NativeStage for Identity {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                bundle.emit(0, element.header, timestamp_of(element.header)?, element.value)?;
            }
        }
        Ok(())
    }
}

/// From bytes to `KV<first bytes, bytes>`.
pub fn key_by_prefix(length: usize) -> impl NativeStage {
    typed::<Text, Pair<Text, Text>, _>(move |chunk: Chunk<'_, Vec<u8>>, out: &mut Vec<(Vec<u8>, Vec<u8>)>| {
        out.extend(chunk.values.iter().map(|value| (value[..length.min(value.len())].to_vec(), value.clone())));
        Ok(())
    })
}

/// From `KV<bytes, Iterable<bytes>>` to `KV<bytes, how many>`.
pub fn count_per_key() -> impl NativeStage {
    typed::<Pair<Text, Repeated<Text>>, Pair<Text, Int>, _>(
        |chunk: Chunk<'_, (Vec<u8>, Vec<Vec<u8>>)>, out: &mut Vec<(Vec<u8>, i64)>| {
            out.extend(chunk.values.iter().map(|(key, values)| (key.clone(), values.len() as i64)));
            Ok(())
        },
    )
}

/// What a [`collect`] stage has seen: each element's header and decoded value, in order of arrival.
pub type Collected<T> = Arc<Mutex<Vec<(Header, T)>>>;

/// Keeps all that it takes, for tests. Emits nothing.
///
/// A bundle that is retried is kept twice: this is an effect outside the job, as in any SDK.
pub fn collect<C: Codec>(windows: WindowCoder) -> (impl NativeStage, Collected<C::Value>) {
    let collected: Collected<C::Value> = Arc::default();
    (Collect::<C> { windows, collected: collected.clone() }, collected)
}

struct Collect<C: Codec> {
    windows: WindowCoder,
    collected: Collected<C::Value>,
}

impl<C: Codec> std::fmt::Debug for Collect<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Collect")
    }
}

impl<C: Codec> NativeStage for Collect<C> {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        while let Some((batch, slice)) = bundle.next_batch()? {
            let mut taken = Vec::with_capacity(slice.len() as usize);
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let header = Header::decode(&mut &element.header[..], self.windows)
                    .map_err(|why| NativeError::Decode { expected: "a header", why: why.to_string() })?;
                taken.push((header, C::decode(&mut &element.value[..])?));
            }
            self.collected.lock().unwrap_or_else(PoisonError::into_inner).extend(taken);
        }
        Ok(())
    }
}
