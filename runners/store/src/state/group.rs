//! What is committed of the state of one stage and key group.
//!
//! ```text
//!   delta ──apply──► cells by address · timers · windows by when they are collected · how many bytes
//!                      └─evict─► base, on disk: what is in memory stands over it
//! ```
//! What is kept is copied out of what it came in: a few bytes of state would hold on to a whole message otherwise. Names
//! are shared. Of a group that was never evicted nothing is looked up in the base.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use purlin_engine::store::{Cell, StoreError};
use purlin_model::time::EventTime;

use super::base::{Base, Blocks, Stands};
use super::cost;
use super::delta::{CellDelta, GroupDelta};
use super::page::Paging;
use super::timers::{TimerId, Timers};
use crate::segment::SegmentStore;

/// Appended bytes that are longer than this are kept as they came: they are most of what they came in.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// State of one stage and key group.
#[derive(Debug, Default)]
pub(super) struct GroupState {
    cells: BTreeMap<Cell, Extents>,
    /// How long all extents in memory are.
    bytes: u64,
    /// What the cells in memory take, and what the windows do.
    cells_cost: u64,
    windows_cost: u64,
    pub(super) timers: Timers,
    /// Windows that have cells or timers, by the instant behind which they are collected.
    pub(super) windows: BTreeSet<(EventTime, Bytes)>,
    /// Of transforms, states and families.
    names: BTreeSet<Arc<str>>,
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
        cell: &Cell,
        page: &mut Paging,
        blocks: &mut Blocks,
        segments: &SegmentStore,
    ) -> Result<(), StoreError> {
        let held = self.cells.get(cell);
        if !self.base.is_empty() && held.is_none_or(|extents| extents.stands() == Stands::Behind) {
            self.base.read(cell, page, blocks, segments)?;
        }
        if let Some(extents) = held {
            page.take_all(extents.as_slice());
        }
        Ok(())
    }

    /// The map keys of a multimap that hold anything.
    pub(super) fn map_keys(&self, map: &Cell, segments: &SegmentStore) -> Result<BTreeSet<Bytes>, StoreError> {
        let mut keys = if self.base.is_empty() { BTreeSet::new() } else { self.base.map_keys(map, segments)? };
        let first = Cell { map_key: Some(Bytes::new()), ..map.clone() };
        for (cell, extents) in self.cells.range(first..).take_while(|(cell, _)| same_map(cell, map)) {
            let Some(key) = &cell.map_key else { continue };
            if extents.as_slice().is_empty() {
                keys.remove(key)
            } else {
                keys.insert(key.clone())
            };
        }
        Ok(keys)
    }

    /// How many bytes of a cell are in memory.
    pub(super) fn length(&self, cell: &Cell) -> u64 {
        self.cells.get(cell).map_or(0, |extents| length(extents.as_slice()))
    }

    /// How many bytes of a window's cells are on disk.
    pub(super) fn bytes_on_disk_of_window(&self, window: &Bytes) -> u64 {
        self.base.bytes_of_window(window)
    }

    /// Cells in memory, from an address on, in order.
    fn cells_from(&self, first: Cell) -> impl Iterator<Item = &Cell> {
        self.cells.range(first..).map(|(cell, _)| cell)
    }

    /// The cells of a window in memory. Costs a look-up for each state that there is, and what is found.
    pub(super) fn cells_of_window(&self, window: &Bytes) -> Vec<&Cell> {
        let mut found = Vec::new();
        let mut next = self.cells.keys().next();
        while let Some(Cell { transform, state, .. }) = next {
            let at = |state: Arc<str>, window: Bytes| Cell {
                transform: transform.clone(),
                state,
                window,
                key: Bytes::new(),
                map_key: None,
            };
            let of_state = self.cells_from(at(state.clone(), window.clone()));
            found.extend(
                of_state
                    .take_while(|cell| cell.window == window && cell.state == *state && cell.transform == *transform),
            );
            // No name lies between a name and itself with this behind it.
            next = self.cells_from(at(format!("{state}\0").into(), Bytes::new())).next();
        }
        found
    }

    /// Makes what a bundle wrote count.
    pub(super) fn apply(&mut self, delta: GroupDelta) {
        let GroupDelta { cells, timers, windows, collected } = delta;
        for window in collected {
            let cells: Vec<Cell> = self.cells_of_window(&window.1).into_iter().cloned().collect();
            for cell in cells {
                self.remove(&cell);
            }
            self.base.forget(&window.1);
            if self.windows.remove(&window) {
                self.windows_cost -= cost::of_window(&window.1);
            }
        }
        for (cell, written) in cells {
            self.write(&cell, written);
        }
        for (id, times) in timers {
            match times {
                Some(times) => {
                    let names = &mut self.names;
                    self.timers.set(&id, times, |id| kept_id(names, id));
                }
                None => drop(self.timers.remove(&id)),
            }
        }
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
        let left_out: Vec<&Cell> = cells
            .iter()
            .filter(|(cell, extents)| extents.as_slice().is_empty() && !base.may_hold(cell))
            .map(|(cell, _)| cell)
            .collect();
        let mut left_out = left_out.into_iter().peekable();
        let written = cells.iter().filter(|(cell, _)| left_out.next_if_eq(cell).is_none());
        base.write(written.map(|(cell, extents)| (cell, extents.stands(), extents.as_slice())), segments)?;
        (self.bytes, self.cells_cost) = (0, 0);
        self.cells.clear();
        self.base.tidy(segments)
    }

    fn write(&mut self, cell: &Cell, written: CellDelta) {
        if written.cleared {
            self.clear(cell);
        }
        let (added, extents_cost) = (length(&written.appended), cost::of_extents(&written.appended));
        let mut appended = written.appended.into_iter().map(detached);
        if let Some(extents) = self.cells.get_mut(cell) {
            appended.for_each(|extent| extents.push(extent));
        } else if appended.len() > 0 {
            let in_place = written.cleared || self.base.is_empty() || !self.base.may_hold(cell);
            let extents = if in_place && appended.len() == 1 {
                Extents::One(appended.next().unwrap_or_default())
            } else {
                let stands = if in_place { Stands::InPlace } else { Stands::Behind };
                Extents::Many(Box::new(Many { stands, extents: appended.collect() }))
            };
            let cell = kept_cell(&mut self.names, cell);
            self.cells_cost += cost::of_cell(&cell);
            self.cells.insert(cell, extents);
        } else {
            return;
        }
        self.bytes += added;
        self.cells_cost += extents_cost;
    }

    fn remove(&mut self, cell: &Cell) {
        if let Some(extents) = self.cells.remove(cell) {
            self.bytes -= length(extents.as_slice());
            self.cells_cost -= cost::of_cell(cell) + cost::of_extents(extents.as_slice());
        }
    }

    fn clear(&mut self, cell: &Cell) {
        self.remove(cell);
        if !self.base.is_empty() && self.base.may_hold(cell) {
            let cell = kept_cell(&mut self.names, cell);
            self.cells_cost += cost::of_cell(&cell);
            let cleared = Many { stands: Stands::InPlace, extents: Vec::new() };
            self.cells.insert(cell, Extents::Many(Box::new(cleared)));
        }
    }
}

/// Whether a cell belongs to a multimap, which is the same cell without a map key.
pub(super) fn same_map(candidate: &Cell, map: &Cell) -> bool {
    candidate.map_key.is_some()
        && (&candidate.transform, &candidate.state, &candidate.window, &candidate.key)
            == (&map.transform, &map.state, &map.window, &map.key)
}

/// How long extents are together.
pub(super) fn length(extents: &[Bytes]) -> u64 {
    extents.iter().map(|extent| extent.len() as u64).sum()
}

fn detached(extent: Bytes) -> Bytes {
    if extent.len() > COPIED_BYTES_MAX { extent } else { Bytes::copy_from_slice(&extent) }
}

fn kept_name(names: &mut BTreeSet<Arc<str>>, name: &Arc<str>) -> Arc<str> {
    match names.get(name) {
        Some(known) => known.clone(),
        None => {
            names.insert(name.clone());
            name.clone()
        }
    }
}

fn kept_cell(names: &mut BTreeSet<Arc<str>>, cell: &Cell) -> Cell {
    Cell {
        transform: kept_name(names, &cell.transform),
        state: kept_name(names, &cell.state),
        window: Bytes::copy_from_slice(&cell.window),
        key: Bytes::copy_from_slice(&cell.key),
        map_key: cell.map_key.as_deref().map(Bytes::copy_from_slice),
    }
}

fn kept_id(names: &mut BTreeSet<Arc<str>>, id: &TimerId) -> TimerId {
    TimerId {
        key: Bytes::copy_from_slice(&id.key),
        transform: kept_name(names, &id.transform),
        family: kept_name(names, &id.family),
        window: Bytes::copy_from_slice(&id.window),
        tag: Bytes::copy_from_slice(&id.tag),
    }
}
