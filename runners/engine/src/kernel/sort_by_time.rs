//! Sorting by time of bounded input: what a DoFn with `requires_time_sorted_input` sees, key by key.
//!
//! ```text
//!   whole lanes ─► records (hash of key, key, timestamp, arrival) ─sort─► the same elements, in order of time per key
//! ```
//! Runs when the input is complete, so that no element comes too late. Elements pass as they stand on the wire.

use std::sync::Arc;

use purlin_model::element::skip_header;
use purlin_model::key_group::hash_key;
use purlin_model::time::EventTime;

use super::KernelError;
use crate::core::stage::{OutputId, OutputSpec};
use crate::data::{BatchSlice, ElementBatch, LaneWriter};

/// One element.
#[derive(Clone, Copy)]
struct Record {
    hash: u64,
    timestamp: EventTime,
    batch: u32,
    index: u32,
    key_length: u32,
}

/// Sorts the elements of whole lanes. `input` is the collection that they came from.
///
/// # Errors
/// If an element's key or header cannot be read.
pub(super) fn sort(
    input: &OutputSpec,
    batches: &[(Arc<ElementBatch>, BatchSlice)],
    output: OutputId,
    out: &mut LaneWriter,
) -> Result<(), KernelError> {
    let elements: usize = batches.iter().map(|(_, slice)| slice.len() as usize).sum();
    let mut records = Vec::with_capacity(elements);
    for (batch_index, (batch, slice)) in batches.iter().enumerate() {
        for index in slice.first..slice.last {
            let view = batch.get(index as usize);
            let key = input.coder.key_of(view.value).map_err(KernelError::Key)?;
            let (_, timestamp) = skip_header(view.header, input.windows)?;
            let (hash, key_length, batch) = (hash_key(key), key.len() as u32, batch_index as u32);
            records.push(Record { hash, timestamp, batch, index, key_length });
        }
    }
    let element = |record: &Record| batches[record.batch as usize].0.get(record.index as usize);
    let key = |record: &Record| &element(record).value[..record.key_length as usize];
    records.sort_unstable_by(|a, b| {
        a.hash
            .cmp(&b.hash)
            .then_with(|| key(a).cmp(key(b)))
            .then_with(|| (a.timestamp, a.batch, a.index).cmp(&(b.timestamp, b.batch, b.index)))
    });
    for record in &records {
        let view = element(record);
        out.push(output, view.header, record.timestamp, view.value)?;
    }
    Ok(())
}
