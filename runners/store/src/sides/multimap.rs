//! The elements of one window of a multimap side input, sorted so that a key's are found without looking at the others.
//!
//! ```text
//!   elements ─divided by hash─► parts that fit into memory ─sorted─► blocks, and the first hash of each: a run
//!   more elements, later ─► another run        too many runs ─► one
//! ```
//! A run is in order of (hash of key, key, arrival). Only the first hash of each block is in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::{SideSpec, StageId};
use purlin_engine::data::{BatchId, ElementBatch, ElementBatchBuilder};
use purlin_engine::store::{BatchPlace, BatchStore, MemoryClass, StoreError};
use purlin_model::key_group::hash_key;
use purlin_model::time::EventTime;

use super::elements::{Elements, PAGE_BYTES};

/// How much is read to find one key.
const BLOCK_BYTES: usize = 64 << 10;

/// A key is looked up in each run.
const RUNS_MAX: usize = 8;

/// What is sorted at once takes at most this share of the memory.
const SORT_SHARE: u64 = 32;

/// And at least this much.
const SORT_BYTES_MIN: u64 = 256 << 10;

/// Bits of the hash by which one pass divides.
const DIVIDE_BITS: u32 = 6;

/// Elements in order of key.
#[derive(Debug)]
pub(super) struct Run {
    store: Arc<dyn BatchStore>,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    first_hash: u64,
    batch: BatchId,
    /// How many elements there are up to its end.
    until: u64,
}

impl Drop for Run {
    fn drop(&mut self) {
        let batches: Vec<_> = self.blocks.iter().map(|block| block.batch).collect();
        self.store.free(&batches);
    }
}

/// All runs of a window, oldest first, and what is not in one yet.
#[derive(Debug)]
pub(super) struct Multimap {
    pub(super) unsorted: Elements,
    runs: Vec<Arc<Run>>,
}

/// Who reads keys out of elements, and keeps what is sorted.
pub(super) struct Sorter<'a> {
    pub(super) store: &'a Arc<dyn BatchStore>,
    pub(super) spec: &'a SideSpec,
}

impl Multimap {
    pub(super) fn new(unsorted: Elements) -> Self {
        Self { unsorted, runs: Vec::new() }
    }

    /// The runs, with everything in them.
    pub(super) fn runs(&mut self, sorter: &Sorter<'_>) -> Result<Vec<Arc<Run>>, StoreError> {
        if !self.unsorted.is_empty() {
            self.unsorted.close()?;
            let batches: Vec<_> =
                self.unsorted.extents().iter().map(|extent| (extent.batch, extent.first, extent.last)).collect();
            let run = sorter.sort(&batches, self.unsorted.bytes())?;
            self.runs.push(Arc::new(run));
            self.unsorted = Elements::new(sorter.store.clone(), sorter.spec.materialize);
            if self.runs.len() > RUNS_MAX {
                self.one_run(sorter)?;
            }
        }
        Ok(self.runs.clone())
    }

    /// The only run, for those who read all keys.
    pub(super) fn one_run(&mut self, sorter: &Sorter<'_>) -> Result<Option<Arc<Run>>, StoreError> {
        if !self.unsorted.is_empty() {
            self.runs(sorter)?;
        }
        if self.runs.len() > 1 {
            let blocks = self.runs.iter().flat_map(|run| &run.blocks).map(|block| (block.batch, 0, u32::MAX));
            let blocks: Vec<_> = blocks.collect();
            let bytes = blocks.len() as u64 * BLOCK_BYTES as u64;
            self.runs = vec![Arc::new(sorter.sort(&blocks, bytes)?)];
        }
        Ok(self.runs.first().cloned())
    }
}

impl Sorter<'_> {
    fn key<'a>(&self, value: &'a [u8]) -> Result<&'a [u8], StoreError> {
        self.spec.coder.key_of(value).map_err(|why| StoreError::Io {
            doing: format!("read the key of an element of {}", self.spec.id),
            why: why.to_string(),
        })
    }

    /// Sorts these elements of these batches.
    fn sort(&self, batches: &[(BatchId, u32, u32)], bytes: u64) -> Result<Run, StoreError> {
        let mut writer = RunWriter {
            run: Run { store: self.store.clone(), blocks: Vec::new() },
            stage: self.spec.materialize,
            open: ElementBatchBuilder::new(),
            first_hash: 0,
            elements: 0,
        };
        self.sort_part(batches, bytes, 0, &mut writer)?;
        writer.close()?;
        Ok(writer.run)
    }

    /// Sorts what fits into memory, and divides what does not by the next bits of the hash.
    fn sort_part(
        &self,
        batches: &[(BatchId, u32, u32)],
        bytes: u64,
        depth: u32,
        writer: &mut RunWriter,
    ) -> Result<(), StoreError> {
        let bytes_max = (self.store.memory().budget() / SORT_SHARE).max(SORT_BYTES_MIN);
        if bytes <= bytes_max || depth * DIVIDE_BITS >= 48 {
            return self.sort_in_memory(batches, bytes, writer);
        }
        let mut parts: BTreeMap<u64, Elements> = BTreeMap::new();
        let mut only: Option<Vec<u8>> = None;
        let mut differ = false;
        for (batch, first, last) in batches {
            let batch = self.store.get(*batch)?;
            for element in batch.iter(*first as usize, *last as usize) {
                let key = self.key(element.value)?;
                let hash = hash_key(key);
                differ = differ || *only.get_or_insert_with(|| key.to_vec()) != key;
                let part = (hash << (depth * DIVIDE_BITS)) >> (64 - DIVIDE_BITS);
                parts
                    .entry(part)
                    .or_insert_with(|| Elements::new(self.store.clone(), self.spec.materialize))
                    .push(element.value)?;
            }
        }
        if let (Some(key), false) = (only, differ) {
            return self.pass_on(batches, hash_key(&key), writer);
        }
        for part in parts.values_mut() {
            part.close()?;
        }
        while let Some((_, part)) = parts.pop_first() {
            let batches: Vec<_> =
                part.extents().iter().map(|extent| (extent.batch, extent.first, extent.last)).collect();
            self.sort_part(&batches, part.bytes(), depth + 1, writer)?;
        }
        Ok(())
    }

    /// The elements of one key are in order as they are.
    fn pass_on(&self, batches: &[(BatchId, u32, u32)], hash: u64, writer: &mut RunWriter) -> Result<(), StoreError> {
        for (batch, first, last) in batches {
            let batch = self.store.get(*batch)?;
            for element in batch.iter(*first as usize, *last as usize) {
                writer.push(hash, element.value)?;
            }
        }
        Ok(())
    }

    fn sort_in_memory(
        &self,
        batches: &[(BatchId, u32, u32)],
        bytes: u64,
        writer: &mut RunWriter,
    ) -> Result<(), StoreError> {
        let _held = self.store.memory().reserve(MemoryClass::Sides, bytes / 4);
        let loaded = batches.iter().map(|(batch, ..)| self.store.get(*batch)).collect::<Result<Vec<_>, _>>()?;
        let mut records = Vec::new();
        for (number, (batch, (_, first, last))) in loaded.iter().zip(batches).enumerate() {
            for index in *first..(*last).min(batch.len() as u32) {
                let key = self.key(batch.get(index as usize).value)?;
                records.push((hash_key(key), key, number, index));
            }
        }
        records.sort_unstable();
        for (hash, _, number, index) in records {
            writer.push(hash, loaded[number].get(index as usize).value)?;
        }
        Ok(())
    }
}

struct RunWriter {
    run: Run,
    stage: StageId,
    open: ElementBatchBuilder,
    first_hash: u64,
    elements: u64,
}

impl RunWriter {
    fn push(&mut self, hash: u64, value: &[u8]) -> Result<(), StoreError> {
        if self.open.is_empty() {
            self.first_hash = hash;
        }
        self.open.push(&[], EventTime::MIN, value);
        self.elements += 1;
        if self.open.bytes() >= BLOCK_BYTES {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        if self.open.is_empty() {
            return Ok(());
        }
        let place = BatchPlace { stage: self.stage, lane: Lane::Any, window_max: None, soon: false };
        for kept in self.run.store.put(&[place], self.open.finish())? {
            let (first_hash, until) = (self.first_hash, self.elements);
            self.run.blocks.push(Block { first_hash, batch: kept.id, until });
        }
        Ok(())
    }
}

impl Run {
    fn from(&self, block: usize) -> u64 {
        block.checked_sub(1).map_or(0, |before| self.blocks[before].until)
    }

    /// Calls `take` with each element from this block on, until it says no.
    fn scan(
        &self,
        block: usize,
        mut take: impl FnMut(u64, &ElementBatch, usize) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        for (number, block) in self.blocks.iter().enumerate().skip(block) {
            let batch = self.store.get(block.batch)?;
            let from = self.from(number);
            for index in 0..batch.len() {
                if !take(from + index as u64, &batch, index)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The block in which a key's elements begin, if there are any.
    fn block_of(&self, hash: u64) -> usize {
        // Blocks may begin with the same hash, and the one before may end with it.
        self.blocks.partition_point(|block| block.first_hash < hash).saturating_sub(1)
    }
}

/// A page of a key's values, from this one on; also the number of the first value of the next page.
pub(super) fn read_values(
    runs: &[Arc<Run>],
    sorter: &Sorter<'_>,
    key: &[u8],
    from: u64,
) -> Result<(Bytes, Option<u64>), StoreError> {
    let hash = hash_key(key);
    let (mut data, mut at, mut next) = (BytesMut::new(), 0u64, None);
    for run in runs {
        run.scan(run.block_of(hash), |_, batch, index| {
            let element = batch.get(index).value;
            let this = sorter.key(element)?;
            let (this_hash, value) = (hash_key(this), &element[this.len()..]);
            if (this_hash, this) < (hash, key) {
                return Ok(true);
            }
            if this_hash > hash || this != key {
                return Ok(false);
            }
            if at >= from {
                if !data.is_empty() && data.len() + value.len() > PAGE_BYTES {
                    next = Some(at);
                    return Ok(false);
                }
                data.extend_from_slice(value);
            }
            at += 1;
            Ok(true)
        })?;
        if next.is_some() {
            break;
        }
    }
    Ok((data.freeze(), next))
}

/// A page of keys, each with what `write` makes of its values, from the key whose elements begin here on.
pub(super) fn read_groups(
    run: &Run,
    sorter: &Sorter<'_>,
    from: u64,
    write: impl Fn(&[u8], &[Bytes], &mut BytesMut) -> Result<(), StoreError>,
) -> Result<(Bytes, Option<u64>), StoreError> {
    let mut data = BytesMut::new();
    let mut current: Option<(u64, Bytes, Vec<Bytes>)> = None;
    let mut next = None;
    let first = run.blocks.partition_point(|block| block.until <= from);
    run.scan(first, |at, batch, index| {
        if at < from {
            return Ok(true);
        }
        let element = batch.value_bytes(index);
        let length = sorter.key(&element)?.len();
        if let Some((_, key, values)) = &mut current
            && key[..] == element[..length]
        {
            values.push(element.slice(length..));
            return Ok(true);
        }
        if let Some((_, key, values)) = current.take() {
            write(&key, &values, &mut data)?;
        }
        if data.len() >= PAGE_BYTES {
            next = Some(at);
            return Ok(false);
        }
        current = Some((at, element.slice(..length), vec![element.slice(length..)]));
        Ok(true)
    })?;
    if let Some((_, key, values)) = current {
        write(&key, &values, &mut data)?;
    }
    Ok((data.freeze(), next))
}
