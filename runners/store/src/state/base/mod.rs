//! What was written out of the state of a key group: runs of cells on disk, each over the older ones.
//!
//! ```text
//!   cells in memory ──write──► run ─┐
//!                                   ├─ each older run at least twice as large; else they are merged
//!   read, map_keys ◄── runs ◄───────┘   forget(window): struck from all of them, without a look at the disk
//! ```
//! A run never changes but for the windows that are struck from it. Does not know what is in memory.

mod filter;
mod merge;
mod run;

use std::collections::BTreeSet;

use bytes::Bytes;
use purlin_engine::store::StoreError;

pub(super) use self::run::{Blocks, Stands};
use self::run::{Run, RunWriter};
use super::address::window_of;
use super::page::Paging;
use crate::segment::SegmentStore;

/// What is on disk of a key group.
#[derive(Debug, Default)]
pub(super) struct Base {
    /// Oldest first.
    runs: Vec<Run>,
    next_run: u64,
}

impl Base {
    /// Whether nothing is on disk.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// About how much memory it takes.
    pub(super) fn cost(&self) -> u64 {
        self.runs.iter().map(Run::cost).sum()
    }

    /// How long all extents are, those too that newer runs have put others in the place of.
    pub(super) fn bytes(&self) -> u64 {
        self.runs.iter().map(Run::payload_bytes).sum()
    }

    /// The same of a window.
    pub(super) fn bytes_of_window(&self, window: &Bytes) -> u64 {
        self.runs.iter().map(|run| run.payload_of_window(window)).sum()
    }

    /// Whether a look at the disk may find a cell.
    pub(super) fn may_hold(&self, address: &[u8]) -> bool {
        self.runs.iter().any(|run| run.may_hold(address))
    }

    /// Adds the extents of a cell to a page.
    pub(super) fn read(
        &self,
        address: &[u8],
        page: &mut Paging,
        blocks: &mut Blocks,
        segments: &SegmentStore,
    ) -> Result<(), StoreError> {
        let mut parts = Vec::new();
        for run in self.runs.iter().rev() {
            let Some(found) = run.find(address, blocks, segments)? else { continue };
            parts.push((run, found));
            if found.stands == Stands::InPlace {
                break;
            }
        }
        for (run, found) in parts.into_iter().rev() {
            let from = page.skips().min(found.extents);
            page.pass(from);
            if from < found.extents && !page.is_full() {
                run.extents(address, found, from, blocks, segments, &mut |extent| {
                    page.take(&extent);
                    !page.is_full()
                })?;
            }
        }
        Ok(())
    }

    /// The map keys of a multimap that hold anything, by how the addresses of its cells begin.
    pub(super) fn map_keys(&self, map: &[u8], segments: &SegmentStore) -> Result<BTreeSet<Bytes>, StoreError> {
        let mut keys = BTreeSet::new();
        for run in self.runs.iter().filter(|run| run.holds_window(window_of(map))) {
            run.scan(map, segments, |address, extents| {
                let key = Bytes::copy_from_slice(&address[map.len()..]);
                // Nothing is written behind what others hold but extents.
                if extents > 0 {
                    keys.insert(key)
                } else {
                    keys.remove(&key)
                };
            })?;
        }
        Ok(keys)
    }

    /// Forgets the cells of a window.
    pub(super) fn forget(&mut self, window: &Bytes) {
        self.runs.retain_mut(|run| run.strike(window));
    }

    /// Writes cells, which come in the order of their addresses, over what there is; about so many. If they cannot be written, all is
    /// as it was.
    pub(super) fn write<'a>(
        &mut self,
        count: usize,
        cells: impl Iterator<Item = (&'a [u8], Stands, &'a [Bytes])>,
        segments: &SegmentStore,
    ) -> Result<(), StoreError> {
        let mut writer = RunWriter::new(self.next_run, count as u64, segments);
        for (address, stands, extents) in cells {
            writer.begin(address, stands, extents.len() as u64);
            for extent in extents {
                writer.extent(extent)?;
            }
            writer.end()?;
        }
        self.runs.push(writer.finish()?);
        self.next_run += 1;
        Ok(())
    }

    /// Merges the newest runs, until each older one is at least twice as large. Runs that cannot be merged stay.
    pub(super) fn tidy(&mut self, segments: &SegmentStore) -> Result<(), StoreError> {
        let Some((last, older)) = self.runs.split_last() else { return Ok(()) };
        let mut sum = last.live_bytes();
        let mut first = older.len();
        for (number, run) in older.iter().enumerate().rev() {
            if run.live_bytes() >= 2 * sum {
                break;
            }
            sum += run.live_bytes();
            first = number;
        }
        if first == older.len() {
            return Ok(());
        }
        let merged = merge::merge(&self.runs[first..], first == 0, self.next_run, segments)?;
        self.next_run += 1;
        self.runs.truncate(first);
        if merged.cells() > 0 {
            self.runs.push(merged);
        }
        Ok(())
    }
}
