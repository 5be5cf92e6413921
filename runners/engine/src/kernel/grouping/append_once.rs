//! Append-once grouping: the lane's queue is the buffer; when the input is complete, sort and emit.
//!
//! ```text
//!   batches of a lane ─► records (window, hash of key, arrival) ─sort─► runs of equal window and key ─► KV<K, Iterable<V>>
//! ```
//! For bounded input, and no early or late panes: each key and window has one pane, its only one, on time. Windows that
//! merge do so first, key by key. Values keep their order of arrival. Costs a sort of one small record per element; values are
//! copied once, into the output.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use purlin_model::element::{Header, HeaderError};
use purlin_model::key_group::hash_key;
use purlin_model::pane::PaneInfo;
use purlin_model::time::EventTime;
use purlin_model::window::{BoundedWindow, WindowCoder, WindowFn};
use purlin_model::windowing_strategy::{MergeStatus, TimestampCombiner, WindowingStrategy};

use super::merge::{self, Answers, Questions};
use crate::core::stage::{OutputId, OutputSpec};
use crate::data::{BatchSlice, ElementBatch, ElementView};
use crate::kernel::{KernelDone, KernelError, KernelIo};

/// An element of the wire format holds less than this: its count of values has 31 bits, and a batch 30.
const GROUP_BYTES_MAX: usize = 1 << 29;

/// One element in one window. Sorting these brings equal windows and keys together.
#[derive(Clone, Copy)]
struct Record {
    /// Index into the table of windows, which is sorted, so that its order is that of the windows.
    window: u32,
    hash: u64,
    batch: u32,
    index: u32,
    key_length: u32,
    timestamp: EventTime,
}

/// Groups the elements of whole lanes. `input` is the collection that they came from.
///
/// # Errors
/// If an element's key or windows cannot be read, a group is too large, or an answer is wrong.
pub fn group(
    input: &OutputSpec,
    strategy: &WindowingStrategy,
    io: &mut KernelIo<'_>,
    output: OutputId,
) -> Result<KernelDone, KernelError> {
    let KernelIo { input: batches, merged, out, .. } = io;
    let batches = batches.as_slice();
    let mut windows = WindowTable::default();
    let mut records = read_records(input, batches, &mut windows)?;
    if strategy.merge_status == MergeStatus::NeedsMerge
        && let Some(questions) = merge_windows(strategy, input.windows, batches, merged, &mut records, &mut windows)?
    {
        return Ok(KernelDone::NeedMerge(out.put_aside(questions)?));
    }
    windows.renumber(&mut records);
    let element = |record: &Record| batches[record.batch as usize].0.get(record.index as usize);
    let key = |record: &Record| &element(record).value[..record.key_length as usize];
    records.sort_unstable_by(|a, b| {
        (a.window, a.hash)
            .cmp(&(b.window, b.hash))
            // Hashes almost never collide, so that keys are compared only among equals.
            .then_with(|| key(a).cmp(key(b)))
            .then_with(|| (a.batch, a.index).cmp(&(b.batch, b.index)))
    });
    let mut value = Vec::new();
    let mut header = Vec::new();
    for group in records.chunk_by(|a, b| a.window == b.window && a.hash == b.hash && key(a) == key(b)) {
        let Some(first) = group.first() else { continue };
        let window = &windows.windows[first.window as usize];
        let timestamp = output_timestamp(strategy.timestamp_combiner, window, group);
        header.clear();
        Header::new(timestamp, window.clone(), PaneInfo::ON_TIME_AND_ONLY).encode(&mut header);
        write_group(key(first), group, element, &mut value)?;
        out.push(output, &header, timestamp, &value)?;
    }
    Ok(KernelDone::Whole)
}

/// Moves the records of each key into the windows that theirs become, or returns what an SDK must be asked first.
fn merge_windows(
    strategy: &WindowingStrategy,
    coder: WindowCoder,
    batches: &[(Arc<ElementBatch>, BatchSlice)],
    answers: &[(Arc<ElementBatch>, BatchSlice)],
    records: &mut [Record],
    windows: &mut WindowTable,
) -> Result<Option<ElementBatch>, KernelError> {
    let key = |record: &Record| {
        &batches[record.batch as usize].0.get(record.index as usize).value[..record.key_length as usize]
    };
    records.sort_unstable_by(|a, b| a.hash.cmp(&b.hash).then_with(|| key(a).cmp(key(b))));
    let wrong = |key: &[u8], problem: String| KernelError::Merge {
        window_fn: strategy.window_fn.urn().to_owned(),
        problem: format!("key {}: {problem}", key.escape_ascii()),
    };
    let answers = match answers {
        [] => None,
        answers => Some(Answers::read(answers, coder).map_err(|problem| wrong(&[], problem))?),
    };
    let mut questions = Questions::default();
    let same_key = |a: &Record, b: &Record| a.hash == b.hash && key(a) == key(b);
    for (nonce, group) in records.chunk_by_mut(same_key).enumerate() {
        let numbers: BTreeSet<u32> = group.iter().map(|record| record.window).collect();
        if numbers.len() < 2 {
            continue;
        }
        let distinct: BTreeSet<&BoundedWindow> =
            numbers.iter().map(|number| &windows.windows[*number as usize]).collect();
        let becomes = match (&strategy.window_fn, &answers) {
            (WindowFn::Session { .. }, _) => merge::sessions(distinct),
            (_, Some(answers)) => {
                answers.of(nonce as u64, &distinct).map_err(|problem| wrong(key(&group[0]), problem))?
            }
            (_, None) => {
                questions.ask(nonce as u64, &distinct);
                continue;
            }
        };
        let renumbered: BTreeMap<u32, u32> = numbers
            .into_iter()
            .filter_map(|number| {
                let into = becomes.get(&windows.windows[number as usize])?.clone();
                Some((number, windows.number(into)))
            })
            .collect();
        for record in group {
            record.window = renumbered.get(&record.window).copied().unwrap_or(record.window);
        }
    }
    Ok(questions.finish())
}

fn read_records(
    input: &OutputSpec,
    batches: &[(Arc<ElementBatch>, BatchSlice)],
    windows: &mut WindowTable,
) -> Result<Vec<Record>, KernelError> {
    let elements: usize = batches.iter().map(|(_, slice)| slice.len() as usize).sum();
    let mut records = Vec::with_capacity(elements);
    for (batch_index, (batch, slice)) in batches.iter().enumerate() {
        for index in slice.first..slice.last {
            let view = batch.get(index as usize);
            let key = input.coder.key_of(view.value).map_err(KernelError::Key)?;
            windows.read(view.header, input.windows)?;
            for window in &windows.current {
                records.push(Record {
                    window: *window,
                    hash: hash_key(key),
                    batch: batch_index as u32,
                    index,
                    key_length: key.len() as u32,
                    timestamp: windows.timestamp,
                });
            }
        }
    }
    Ok(records)
}

/// Key, count, values: the encoding of `KV<K, Iterable<V>>` with a known count.
fn write_group<'a>(
    key: &[u8],
    group: &[Record],
    element: impl Fn(&Record) -> ElementView<'a>,
    value: &mut Vec<u8>,
) -> Result<(), KernelError> {
    value.clear();
    value.extend_from_slice(key);
    // A group of 2^31 values has at least as many bytes, unless values are empty; the count is checked all the same.
    let count = i32::try_from(group.len())
        .map_err(|_| KernelError::GroupTooLarge { bytes: group.len(), max: GROUP_BYTES_MAX })?;
    value.extend_from_slice(&count.to_be_bytes());
    for record in group {
        value.extend_from_slice(&element(record).value[record.key_length as usize..]);
        if value.len() > GROUP_BYTES_MAX {
            let bytes = group.iter().map(|record| element(record).value.len() - record.key_length as usize).sum();
            return Err(KernelError::GroupTooLarge { bytes, max: GROUP_BYTES_MAX });
        }
    }
    Ok(())
}

fn output_timestamp(combiner: TimestampCombiner, window: &BoundedWindow, group: &[Record]) -> EventTime {
    let max = window.max_timestamp();
    let timestamps = group.iter().map(|record| record.timestamp);
    match combiner {
        TimestampCombiner::EndOfWindow => Some(max),
        TimestampCombiner::Latest => timestamps.max(),
        TimestampCombiner::Earliest => timestamps.min(),
    }
    .map_or(max, |timestamp| timestamp.min(max))
}

/// The windows seen, numbered; remembers the header seen last, because most elements repeat it.
struct WindowTable {
    windows: Vec<BoundedWindow>,
    numbers: BTreeMap<BoundedWindow, u32>,
    header: Vec<u8>,
    current: Vec<u32>,
    timestamp: EventTime,
}

impl Default for WindowTable {
    fn default() -> Self {
        Self {
            windows: Vec::new(),
            numbers: BTreeMap::new(),
            header: Vec::new(),
            current: Vec::new(),
            timestamp: EventTime::MIN,
        }
    }
}

impl WindowTable {
    /// Makes `current` and `timestamp` those of this header.
    #[inline]
    fn read(&mut self, header: &[u8], coder: WindowCoder) -> Result<(), HeaderError> {
        if self.header == header {
            return Ok(());
        }
        let read = Header::decode(&mut &header[..], coder)?;
        self.header.clear();
        self.header.extend_from_slice(header);
        self.timestamp = read.timestamp;
        self.current.clear();
        for window in read.windows {
            let number = self.number(window);
            self.current.push(number);
        }
        Ok(())
    }

    /// The number of a window, the same one each time.
    fn number(&mut self, window: BoundedWindow) -> u32 {
        let next = self.windows.len() as u32;
        let windows = &mut self.windows;
        *self.numbers.entry(window).or_insert_with_key(|window| {
            windows.push(window.clone());
            next
        })
    }

    /// Numbers the windows in their own order, so that groups come out by window, earliest end first.
    fn renumber(&mut self, records: &mut [Record]) {
        let mut order: Vec<(BoundedWindow, u32)> = std::mem::take(&mut self.numbers).into_iter().collect();
        order.sort_by(|(a, _), (b, _)| a.max_timestamp().cmp(&b.max_timestamp()).then_with(|| a.cmp(b)));
        let mut renumbered = vec![0; order.len()];
        for (position, (_, number)) in order.iter().enumerate() {
            renumbered[*number as usize] = position as u32;
        }
        self.windows = order.into_iter().map(|(window, _)| window).collect();
        if self.windows.len() > 1 {
            for record in records {
                record.window = renumbered[record.window as usize];
            }
        }
    }
}
