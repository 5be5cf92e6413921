//! What a bundle brings to a grouping: its elements by key and window.
//!
//! ```text
//!   batches ─► records (hash of key, key, window, arrival) ─sort─► key ─► window: values with timestamps
//! ```
//! Values keep their order of arrival, and stay where they are. Knows nothing of triggers, lateness or state.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use purlin_model::element::Header;
use purlin_model::key_group::hash_key;
use purlin_model::time::EventTime;
use purlin_model::window::BoundedWindow;

use crate::core::stage::OutputSpec;
use crate::data::{BatchSlice, ElementBatch};
use crate::kernel::KernelError;

/// What a bundle brings to a window of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival<'a> {
    pub(super) window: BoundedWindow,
    pub(super) values: Vec<Value<'a>>,
}

/// A value, encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) timestamp: EventTime,
}

/// One element in one window.
#[derive(Clone, Copy)]
struct Record {
    hash: u64,
    window: u32,
    batch: u32,
    index: u32,
    key_length: u32,
    timestamp: EventTime,
}

/// The elements that are not refused, by key and then by window. `input` is the collection that they came from; with `one_key`
/// none of them has a key; `take` tells whether a window takes elements.
///
/// # Errors
/// If an element's key or windows cannot be read.
pub(super) fn by_key<'a>(
    input: &OutputSpec,
    one_key: bool,
    batches: &'a [(Arc<ElementBatch>, BatchSlice)],
    mut take: impl FnMut(&BoundedWindow) -> bool,
) -> Result<Vec<(Bytes, Vec<Arrival<'a>>)>, KernelError> {
    let mut numbers = BTreeMap::<BoundedWindow, u32>::new();
    let mut records = Vec::new();
    // Most elements repeat the header of the one before.
    let (mut header, mut timestamp, mut current) = (Vec::new(), EventTime::MIN, Vec::new());
    for (position, (batch, slice)) in batches.iter().enumerate() {
        for index in slice.first..slice.last {
            let view = batch.get(index as usize);
            let key = if one_key { &[] } else { input.coder.key_of(view.value).map_err(KernelError::Key)? };
            if header != view.header {
                let read = Header::decode(&mut &view.header[..], input.windows)?;
                header = view.header.to_vec();
                timestamp = read.timestamp;
                current.clear();
                for window in read.windows {
                    let next = numbers.len() as u32;
                    current.push((*numbers.entry(window.clone()).or_insert(next), window));
                }
            }
            let (hash, key_length, batch) = (hash_key(key), key.len() as u32, position as u32);
            for (window, _) in current.iter().filter(|(_, window)| take(window)) {
                records.push(Record { hash, window: *window, batch, index, key_length, timestamp });
            }
        }
    }
    let mut windows: Vec<(BoundedWindow, u32)> = numbers.into_iter().collect();
    windows.sort_unstable_by_key(|(_, number)| *number);
    let value = |record: &Record| -> &'a [u8] { batches[record.batch as usize].0.get(record.index as usize).value };
    let key = |record: &Record| &value(record)[..record.key_length as usize];
    let window = |record: &Record| &windows[record.window as usize].0;
    records.sort_unstable_by(|a, b| {
        a.hash
            .cmp(&b.hash)
            // Hashes almost never collide, so that keys are compared only among equals.
            .then_with(|| key(a).cmp(key(b)))
            .then_with(|| if a.window == b.window { std::cmp::Ordering::Equal } else { window(a).cmp(window(b)) })
            .then_with(|| (a.batch, a.index).cmp(&(b.batch, b.index)))
    });
    let of_window = |records: &[Record]| {
        let of_record = |record: &Record| {
            let bytes: &'a [u8] = &value(record)[record.key_length as usize..];
            Value { bytes, timestamp: record.timestamp }
        };
        Arrival { window: window(&records[0]).clone(), values: records.iter().map(of_record).collect() }
    };
    let of_key = |records: &[Record]| {
        // A copy, because what is kept outlives the batch.
        let arrivals = records.chunk_by(|a, b| a.window == b.window).map(of_window).collect();
        (Bytes::copy_from_slice(key(&records[0])), arrivals)
    };
    Ok(records.chunk_by(|a, b| a.hash == b.hash && key(a) == key(b)).map(of_key).collect())
}
