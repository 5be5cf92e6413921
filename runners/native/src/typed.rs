//! Typed stages: closures over slices of values that share timestamp, windows and pane.
//!
//! ```text
//!   batch ─decode─► [I; ≤ 4096] ─closure, closure, …─► [O] ─encode─► LaneWriter
//! ```
//! Closures are composed by type, so that a chain of them is one function; between two stages, and only there,
//! values are encoded.

use std::fmt;
use std::marker::PhantomData;

use purlin_model::time::EventTime;

use crate::bundle::{CHUNK_ELEMENTS_MAX, NativeBundle, NativeError, NativeStage};
use crate::codec::Codec;

/// A slice of values that came in with the same header.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a, T> {
    /// Timestamp, windows and pane, as they stand on the wire.
    pub header: &'a [u8],
    /// The timestamp of all values.
    pub timestamp: EventTime,
    /// The values.
    pub values: &'a [T],
}

/// A stage made of one typed function; see [`typed`].
pub struct TypedStage<I, O, F> {
    function: F,
    codecs: PhantomData<fn() -> (I, O)>,
}

impl<I, O, F> fmt::Debug for TypedStage<I, O, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypedStage")
    }
}

/// A stage that calls `function` with each chunk of its input; what it pushes is emitted into the stage's first
/// output with the chunk's header. An error ends the job.
///
/// ```
/// use purlin_native::{Chunk, Int, typed};
/// let doubled = typed::<Int, Int, _>(|chunk: Chunk<'_, i64>, out: &mut Vec<i64>| {
///     out.extend(chunk.values.iter().map(|value| value * 2));
///     Ok(())
/// });
/// # let _ = doubled;
/// ```
pub fn typed<I, O, F>(function: F) -> TypedStage<I, O, F>
where
    I: Codec,
    O: Codec,
    F: Fn(Chunk<'_, I::Value>, &mut Vec<O::Value>) -> Result<(), NativeError> + Send + Sync + 'static,
{
    TypedStage { function, codecs: PhantomData }
}

impl<I, O, F> NativeStage for TypedStage<I, O, F>
where
    I: Codec,
    O: Codec,
    F: Fn(Chunk<'_, I::Value>, &mut Vec<O::Value>) -> Result<(), NativeError> + Send + Sync + 'static,
{
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        let mut values = Vec::with_capacity(CHUNK_ELEMENTS_MAX);
        let mut emitted = Vec::with_capacity(CHUNK_ELEMENTS_MAX);
        let mut encoded = Vec::new();
        while let Some((batch, slice)) = bundle.next_batch()? {
            let (mut next, last) = (slice.first as usize, slice.last as usize);
            while next < last {
                bundle.check_aborted()?;
                let header = batch.get(next).header;
                values.clear();
                while next < last && values.len() < CHUNK_ELEMENTS_MAX {
                    let element = batch.get(next);
                    if element.header != header {
                        break;
                    }
                    values.push(I::decode(&mut &element.value[..])?);
                    next += 1;
                }
                let timestamp = timestamp_of(header)?;
                emitted.clear();
                (self.function)(Chunk { header, timestamp, values: &values }, &mut emitted)?;
                for value in &emitted {
                    encoded.clear();
                    O::encode(value, &mut encoded);
                    bundle.emit(0, header, timestamp, &encoded)?;
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn timestamp_of(header: &[u8]) -> Result<EventTime, NativeError> {
    header
        .first_chunk::<8>()
        .and_then(|bytes| EventTime::from_wire(*bytes))
        .ok_or_else(|| NativeError::Decode { expected: "a header", why: "it has no timestamp".to_owned() })
}
