//! Where elements wait to be distributed to the lanes of their key groups.
//!
//! ```text
//!   push ─► values, behind one another + a record each ─take─► counted per group ─► one batch per group, exactly sized
//! ```
//! Pushing into 128 growing batches would copy each of them again and again as it grows; one pass that counts makes
//! every batch the right size at once.

use purlin_model::key_group::{KEY_GROUPS, KeyGroup};
use purlin_model::time::EventTime;

use crate::data::{ElementBatch, ElementBatchBuilder};

/// Room for values to begin with, in bytes.
const VALUES_FIRST: usize = 1 << 10;

#[derive(Debug, Default)]
pub(super) struct KeyGroupStage {
    values: Vec<u8>,
    records: Vec<Record>,
    /// Each header that differed from the one before it, and where it ends in `header_bytes`.
    headers: Vec<(u32, EventTime)>,
    header_bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// Where the value ends in `values`; it begins where the one before it ends.
    end: u32,
    header: u32,
    group: u8,
}

impl KeyGroupStage {
    /// How many bytes wait.
    pub(super) fn bytes(&self) -> usize {
        self.values.len() + self.records.len() * size_of::<Record>() + self.header_bytes.len()
    }

    /// How many bytes of memory it takes, room to grow included.
    pub(super) fn capacity(&self) -> usize {
        self.values.capacity()
            + self.records.capacity() * size_of::<Record>()
            + self.headers.capacity() * size_of::<(u32, EventTime)>()
            + self.header_bytes.capacity()
    }

    /// Adds an element. `bytes_max` is about how much there will be before it is taken.
    #[inline]
    pub(super) fn push(
        &mut self,
        group: KeyGroup,
        header: &[u8],
        timestamp: EventTime,
        value: &[u8],
        bytes_max: usize,
    ) {
        if self.values.capacity() - self.values.len() < value.len() {
            self.grow(value.len(), bytes_max);
        }
        if self.headers.is_empty() || self.header(self.headers.len() - 1) != header {
            self.header_bytes.extend_from_slice(header);
            self.headers.push((self.header_bytes.len() as u32, timestamp));
        }
        self.values.extend_from_slice(value);
        self.records.push(Record {
            end: self.values.len() as u32,
            header: self.headers.len() as u32 - 1,
            group: group.index(),
        });
    }

    /// Makes room for a value: twice as much as there is, but no more than will be used.
    #[cold]
    fn grow(&mut self, needed: usize, bytes_max: usize) {
        let doubled = (2 * self.values.capacity()).clamp(VALUES_FIRST, bytes_max.max(VALUES_FIRST));
        self.values.reserve_exact(needed.max(doubled.saturating_sub(self.values.len())));
    }

    /// Everything that waits, as a batch per key group, each in order of arrival. Keeps its memory for what comes, but not
    /// more than about `keep` bytes.
    pub(super) fn take(&mut self, keep: usize) -> Vec<(KeyGroup, ElementBatch)> {
        let mut counts = [(0usize, 0usize); KEY_GROUPS as usize];
        let mut start = 0;
        for record in &self.records {
            let count = &mut counts[usize::from(record.group)];
            count.0 += 1;
            count.1 += (record.end - start) as usize;
            start = record.end;
        }
        let mut builders: Vec<_> =
            counts.iter().map(|(elements, bytes)| ElementBatchBuilder::with_capacity(*elements, *bytes)).collect();
        let mut start = 0;
        for record in &self.records {
            let value = &self.values[start as usize..record.end as usize];
            let timestamp = self.headers[record.header as usize].1;
            builders[usize::from(record.group)].push(self.header(record.header as usize), timestamp, value);
            start = record.end;
        }
        self.values.clear();
        self.records.clear();
        self.headers.clear();
        self.header_bytes.clear();
        if self.capacity() > 2 * keep {
            *self = Self::default();
        }
        let batches = builders.into_iter().enumerate().filter(|(_, builder)| !builder.is_empty());
        batches.filter_map(|(index, mut builder)| Some((KeyGroup::new(index as u8)?, builder.finish()))).collect()
    }

    #[inline]
    fn header(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.headers[index - 1].0 as usize };
        &self.header_bytes[start..self.headers[index].0 as usize]
    }
}
