//! What is committed of the state of one stage and key group.
//!
//! ```text
//!   delta ──apply──► cells by address · timers · windows by when they are collected · how many bytes
//!                      └─evict─► base, on disk: what is in memory stands over it
//! ```
//! What is kept is copied out of what it came in: a few bytes of state would hold on to a whole message otherwise. Names
//! are shared. Of a group that was never evicted nothing is looked up in the base.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use purlin_engine::store::StoreError;
use purlin_model::time::EventTime;

use super::address::{self, Address};
use super::base::{Base, Blocks, Stands};
use super::cost;
use super::delta::{CellDelta, GroupDelta};
use super::page::Paging;
use super::timers::Timers;
use crate::segment::SegmentStore;

/// Appended bytes that are longer than this are kept as they came: they are most of what they came in.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// State of one stage and key group.
#[derive(Debug, Default)]
pub(super) struct GroupState {
    cells: BTreeMap<Address, Extents>,
    /// How long all extents in memory are.
    bytes: u64,
    /// What the cells in memory take, and what the windows do.
    cells_cost: u64,
    windows_cost: u64,
    pub(super) timers: Timers,
    /// Windows that have cells or timers, by the instant behind which they are collected.
    pub(super) windows: BTreeSet<(EventTime, Bytes)>,
    /// What is on disk.
    base: Base,
    /// How much of the reserved memory is its own. Less than it takes only if there was no more when it was charged.
    charged: u64,
}

/// What was appended to a cell. Most cells hold one value, and this is no larger than that.
#[derive(Debug)]
enum Extents {
    /// In the place of what is on disk.
    One(Bytes),
    Many(Box<Many>),
}

#[derive(Debug)]
struct Many {
    stands: Stands,
    /// None: the cell was cleared, and may be on disk.
    extents: Vec<Bytes>,
}

impl Extents {
    fn new(stands: Stands, mut extents: impl ExactSizeIterator<Item = Bytes>) -> Self {
        match (stands, extents.len()) {
            (Stands::InPlace, 1) => Self::One(extents.next().unwrap_or_default()),
            _ => Self::Many(Box::new(Many { stands, extents: extents.collect() })),
        }
    }

    fn as_slice(&self) -> &[Bytes] {
        match self {
            Self::One(extent) => std::slice::from_ref(extent),
            Self::Many(many) => &many.extents,
        }
    }

    fn stands(&self) -> Stands {
        match self {
            Self::One(_) => Stands::InPlace,
            Self::Many(many) => many.stands,
        }
    }

    fn push(&mut self, extent: Bytes) {
        match self {
            Self::One(first) => {
                let extents = vec![std::mem::take(first), extent];
                *self = Self::Many(Box::new(Many { stands: Stands::InPlace, extents }));
            }
            Self::Many(many) => many.extents.push(extent),
        }
    }
}

impl GroupState {
    /// How long all extents are. On disk those count too that others have taken the place of.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.base.bytes()
    }

    /// How long the extents in memory are.
    pub(super) fn bytes_in_memory(&self) -> u64 {
        self.bytes
    }

    /// How long the extents on disk are.
    pub(super) fn bytes_on_disk(&self) -> u64 {
        self.base.bytes()
    }

    /// How many cells in memory hold anything.
    pub(super) fn cell_count(&self) -> usize {
        self.cells.values().filter(|extents| !extents.as_slice().is_empty()).count()
    }

    /// Whether no cell holds anything, in memory or on disk.
    pub(super) fn has_no_cells(&self) -> bool {
        self.cells.is_empty() && self.base.is_empty()
    }

    /// About how much memory it takes.
    fn cost(&self) -> u64 {
        self.cells_cost + self.windows_cost + self.timers.cost() + self.base.cost()
    }

    /// Charges it with what it takes, as far as this goes and what it was charged with before; returns what is left of both.
    pub(super) fn charge(&mut self, more: u64) -> u64 {
        let there = self.charged + more;
        self.charged = self.cost().min(there);
        there - self.charged
    }

    /// About how much of it can be evicted.
    pub(super) fn evictable(&self) -> u64 {
        self.cells_cost
    }

    /// Adds what was appended to a cell to a page.
    pub(super) fn read(
        &self,
        address: &[u8],
        page: &mut Paging,
        blocks: &mut Blocks,
        segments: &SegmentStore,
    ) -> Result<(), StoreError> {
        let held = self.cells.get(address);
        if !self.base.is_empty() && held.is_none_or(|extents| extents.stands() == Stands::Behind) {
            self.base.read(address, page, blocks, segments)?;
        }
        if let Some(extents) = held {
            page.take_all(extents.as_slice());
        }
        Ok(())
    }

    /// The map keys of a multimap that hold anything, by how the addresses of its cells begin.
    pub(super) fn map_keys(&self, map: &[u8], segments: &SegmentStore) -> Result<BTreeSet<Bytes>, StoreError> {
        let mut keys = if self.base.is_empty() { BTreeSet::new() } else { self.base.map_keys(map, segments)? };
        for (address, extents) in beginning_with(&self.cells, map) {
            let key = Bytes::copy_from_slice(&address.bytes()[map.len()..]);
            if extents.as_slice().is_empty() {
                keys.remove(&key)
            } else {
                keys.insert(key)
            };
        }
        Ok(keys)
    }

    /// How many bytes of a cell are in memory.
    pub(super) fn length(&self, address: &[u8]) -> u64 {
        self.cells.get(address).map_or(0, |extents| length(extents.as_slice()))
    }

    /// How many bytes of a window's cells are on disk.
    pub(super) fn bytes_on_disk_of_window(&self, window: &Bytes) -> u64 {
        self.base.bytes_of_window(window)
    }

    /// The cells of a window in memory. Costs a look-up for each state that there is, and what is found.
    pub(super) fn cells_of_window(&self, window: &Bytes) -> Vec<&Address> {
        let mut found = Vec::new();
        let mut next = self.cells.keys().next();
        while let Some(number) = next.and_then(|address| address::number_of(address.bytes())) {
            let of_state = address::of_window(number, window);
            found.extend(beginning_with(&self.cells, &of_state).map(|(address, _)| address));
            let behind = (number + 1).to_be_bytes();
            let behind = self.cells.range::<[u8], _>((Bound::Included(&behind[..]), Bound::Unbounded));
            next = behind.map(|(address, _)| address).next();
        }
        found
    }

    /// Makes what a bundle wrote count.
    pub(super) fn apply(&mut self, delta: GroupDelta) {
        let GroupDelta { cells, timers, fired, windows, collected } = delta;
        for window in collected {
            let cells: Vec<Address> = self.cells_of_window(&window.1).into_iter().cloned().collect();
            for cell in cells {
                self.remove(cell.bytes());
            }
            self.base.forget(&window.1);
            if self.windows.remove(&window) {
                self.windows_cost -= cost::of_window(&window.1);
            }
        }
        for (address, written) in cells {
            self.write(address, written);
        }
        for (id, times) in timers {
            match times {
                Some(times) => self.timers.set(id, times),
                None => self.timers.remove(&id),
            }
        }
        self.timers.note_fired(fired);
        for (at, window) in windows {
            if !self.windows.contains(&(at, window.clone())) {
                self.windows_cost += cost::of_window(&window);
                self.windows.insert((at, Bytes::copy_from_slice(&window)));
            }
        }
    }

    /// Writes the cells in memory to disk. If that fails they stay as they are.
    pub(super) fn evict(&mut self, segments: &SegmentStore) -> Result<(), StoreError> {
        let Self { cells, base, .. } = self;
        // What was cleared need not be told to a base that has never heard of it.
        let left_out: Vec<&Address> = cells
            .iter()
            .filter(|(address, extents)| extents.as_slice().is_empty() && !base.may_hold(address.bytes()))
            .map(|(address, _)| address)
            .collect();
        let mut left_out = left_out.into_iter().peekable();
        let written = cells.iter().filter(|(address, _)| left_out.next_if_eq(address).is_none());
        let written = written.map(|(address, extents)| (address.bytes(), extents.stands(), extents.as_slice()));
        base.write(cells.len(), written, segments)?;
        (self.bytes, self.cells_cost) = (0, 0);
        self.cells.clear();
        self.base.tidy(segments)
    }

    fn write(&mut self, address: Address, written: CellDelta) {
        let (added, extents_cost) = (length(&written.appended), cost::of_extents(&written.appended));
        let appended = written.appended.into_iter().map(detached);
        // On disk there may be something that this is to stand behind, or in the place of.
        let may_hold = |address: &Address, base: &Base| base.may_hold(address.bytes());
        match self.cells.entry(address) {
            Entry::Occupied(held) if written.cleared => {
                self.bytes -= length(held.get().as_slice());
                self.cells_cost -= cost::of_extents(held.get().as_slice());
                if appended.len() > 0 || may_hold(held.key(), &self.base) {
                    *held.into_mut() = Extents::new(Stands::InPlace, appended);
                } else {
                    self.cells_cost -= cost::of_cell(held.key().bytes());
                    held.remove();
                }
            }
            Entry::Occupied(held) => {
                let held = held.into_mut();
                appended.for_each(|extent| held.push(extent));
            }
            Entry::Vacant(free) => {
                let older = may_hold(free.key(), &self.base);
                if appended.len() > 0 || (written.cleared && older) {
                    let stands = if older && !written.cleared { Stands::Behind } else { Stands::InPlace };
                    self.cells_cost += cost::of_cell(free.key().bytes());
                    free.insert(Extents::new(stands, appended));
                }
            }
        }
        self.bytes += added;
        self.cells_cost += extents_cost;
    }

    fn remove(&mut self, address: &[u8]) {
        if let Some(extents) = self.cells.remove(address) {
            self.bytes -= length(extents.as_slice());
            self.cells_cost -= cost::of_cell(address) + cost::of_extents(extents.as_slice());
        }
    }
}

/// What stands at the addresses that begin with this, in order.
pub(super) fn beginning_with<'a, T>(
    cells: &'a BTreeMap<Address, T>,
    prefix: &[u8],
) -> impl Iterator<Item = (&'a Address, &'a T)> {
    let behind = cells.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
    behind.take_while(move |(address, _)| address.bytes().starts_with(prefix))
}

/// How long extents are together.
pub(super) fn length(extents: &[Bytes]) -> u64 {
    extents.iter().map(|extent| extent.len() as u64).sum()
}

fn detached(extent: Bytes) -> Bytes {
    if extent.len() > COPIED_BYTES_MAX { extent } else { Bytes::copy_from_slice(&extent) }
}
