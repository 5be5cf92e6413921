//! Append-once grouping: the lane's queue is the buffer; when the input is complete, group and emit.
//!
//! ```text
//!   batches of lanes ─ fits in memory? ─ yes ─► share: two passes ─────────────► KV<K, Iterable<V>>
//!                        ▲      └─ no ─► divide by further bits of the hash ─┐         ▲
//!                        └────────────── child ◄─────────────────────────────┴─ one group: streamed to extents
//! ```
//! For bounded input, and no early or late panes: each key and window has one pane, its only one, on time. Windows that
//! merge do so first, key by key. Values keep their order of arrival. What is in memory at once is bounded by a share, however
//! large the input, a lane or a group is.

mod divide;
mod group_table;
mod large_group;
mod merger;
mod share;
mod window_table;

use std::collections::BTreeSet;

use purlin_model::coder::Coder;
use purlin_model::element::Header;
use purlin_model::time::EventTime;
use purlin_model::window::BoundedWindow;
use purlin_model::windowing_strategy::{MergeStatus, TimestampCombiner, WindowingStrategy};

use super::GROUP_BYTES_MAX;
use crate::core::stage::OutputSpec;
use crate::data::{BatchInput, ElementBatch, ElementBatchBuilder, LaneWriter};
use crate::kernel::{KernelDone, KernelError, KernelIo};
use divide::{By, Child, DIVISIONS_MAX};
use large_group::LargeGroup;
use merger::Merger;

/// Groups above this go to extents, where the coder of the output allows it.
const LARGE_BYTES: u64 = 1 << 20;

/// Groups the elements of whole lanes. `input` is the collection that they came from.
///
/// # Errors
/// If an element's key or windows cannot be read, a group is too large, or an answer is wrong.
pub fn group(
    input: &OutputSpec,
    strategy: &WindowingStrategy,
    io: &mut KernelIo<'_>,
    output: &OutputSpec,
) -> Result<KernelDone, KernelError> {
    let answers = io.merged.load()?;
    let mut grouper = Grouper {
        input,
        output,
        strategy,
        by_reference: is_state_backed(&output.coder),
        share_bytes: io.share_bytes,
        merger: Merger::new(strategy, input.windows, &answers)?,
        out: io.out,
    };
    grouper.group_part(&io.input, 0, strategy.merge_status == MergeStatus::NeedsMerge)?;
    let Grouper { merger, out, .. } = grouper;
    match merger.finish() {
        Some(questions) => Ok(KernelDone::NeedMerge(out.put_aside(questions)?)),
        None => Ok(KernelDone::Whole),
    }
}

/// Whether whoever reads groups of this coder understands a reference to their values.
fn is_state_backed(coder: &Coder) -> bool {
    matches!(coder, Coder::Kv(_, values) if matches!(**values, Coder::StateBackedIterable(_)))
}

struct Grouper<'a> {
    input: &'a OutputSpec,
    output: &'a OutputSpec,
    strategy: &'a WindowingStrategy,
    by_reference: bool,
    /// How many bytes of elements may be grouped in memory at once.
    share_bytes: u64,
    merger: Merger<'a>,
    out: &'a mut LaneWriter,
}

impl Grouper<'_> {
    /// Groups a part of the input. `division` tells how often it was divided; with `merge`, its windows merge first.
    fn group_part(&mut self, part: &BatchInput, division: u32, merge: bool) -> Result<(), KernelError> {
        if part.bytes() <= self.share_bytes {
            return self.group_in_memory(&part.load()?, merge);
        }
        let by = match merge {
            _ if division >= DIVISIONS_MAX => By::First { with_window: !merge },
            true => By::Key,
            false => By::KeyAndWindow,
        };
        for child in self.divide(part, division, by)? {
            self.group_child(&child, division + 1, merge)?;
        }
        Ok(())
    }

    fn group_child(&mut self, child: &Child, division: u32, merge: bool) -> Result<(), KernelError> {
        let input = child.input();
        if input.bytes() <= self.share_bytes {
            return self.group_in_memory(&input.load()?, merge);
        }
        match (child.one_key, child.one_window) {
            (true, true) => self.stream_group(child),
            (true, false) if merge => self.merge_one_key(child),
            (_, _) => self.group_part(&input, division, merge),
        }
    }

    /// Merges the windows of a key whose elements do not fit into memory, in two readings.
    fn merge_one_key(&mut self, child: &Child) -> Result<(), KernelError> {
        let Some((key, _)) = child.first() else { return Ok(()) };
        let input = child.input();
        let mut windows = BTreeSet::new();
        let mut last = Vec::new();
        for loaded in input.stream() {
            let (batch, slice) = loaded?;
            for view in batch.iter(slice.first as usize, slice.last as usize) {
                if view.header != last.as_slice() {
                    last = view.header.to_vec();
                    windows.extend(Header::decode(&mut &view.header[..], self.input.windows)?.windows);
                }
            }
        }
        let Some(becomes) = self.merger.becomes(key, &windows.iter().collect())? else { return Ok(()) };
        for merged in self.divide(&input, 0, By::Merged(&becomes))? {
            self.group_child(&merged, 1, false)?;
        }
        Ok(())
    }

    /// Writes the one group that a child is, as it is read.
    fn stream_group(&mut self, child: &Child) -> Result<(), KernelError> {
        let Some((key, window)) = child.first().filter(|_| !self.merger.is_asking()) else { return Ok(()) };
        let (header, timestamp) = self.header(window, child.least, child.latest);
        if self.is_large(child.values, child.value_bytes) {
            let mut group = LargeGroup::new(key);
            for loaded in child.input().stream() {
                let (batch, slice) = loaded?;
                for view in batch.iter(slice.first as usize, slice.last as usize) {
                    group.push(&view.value[key.len()..], self.out)?;
                }
            }
            return Ok(group.finish(self.output.id, &header, timestamp, self.out)?);
        }
        let (count, bytes) = self.check_inline(key, window, child.values, child.value_bytes)?;
        let mut value = Vec::with_capacity(key.len() + 4 + bytes);
        value.extend_from_slice(key);
        value.extend_from_slice(&count.to_be_bytes());
        for loaded in child.input().stream() {
            let (batch, slice) = loaded?;
            for view in batch.iter(slice.first as usize, slice.last as usize) {
                value.extend_from_slice(&view.value[key.len()..]);
            }
        }
        let mut builder = ElementBatchBuilder::new();
        builder.push(&header, timestamp, &value);
        drop(value);
        self.emit(builder.finish())
    }

    fn is_large(&self, values: u64, bytes: u64) -> bool {
        self.by_reference && (bytes > LARGE_BYTES || i32::try_from(values).is_err())
    }

    /// How many values a group has and how many bytes, if it can stand in one element.
    fn check_inline(
        &self,
        key: &[u8],
        window: &BoundedWindow,
        values: u64,
        bytes: u64,
    ) -> Result<(i32, usize), KernelError> {
        match (i32::try_from(values), usize::try_from(bytes)) {
            (Ok(count), Ok(length)) if bytes <= GROUP_BYTES_MAX => Ok((count, length)),
            _ => Err(KernelError::GroupTooLarge {
                key: key.escape_ascii().to_string(),
                window: format!("{window:?}"),
                values,
                bytes,
                max: GROUP_BYTES_MAX,
            }),
        }
    }

    fn emit(&mut self, batch: ElementBatch) -> Result<(), KernelError> {
        let timestamp = |header: &[u8]| {
            let timestamp = header.first_chunk::<8>().and_then(|bytes| EventTime::from_wire(*bytes));
            timestamp.expect("this kernel wrote the header, and wrote a timestamp in front")
        };
        Ok(self.out.push_batch(self.output.id, batch, timestamp)?)
    }

    fn output_timestamp(&self, window: &BoundedWindow, least: EventTime, latest: EventTime) -> EventTime {
        let max = window.max_timestamp();
        match self.strategy.timestamp_combiner {
            TimestampCombiner::EndOfWindow => max,
            TimestampCombiner::Latest => latest.min(max),
            TimestampCombiner::Earliest => least.min(max),
        }
    }
}
