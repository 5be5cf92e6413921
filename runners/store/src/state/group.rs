//! What is committed of the state of one stage and key group.
//!
//! ```text
//!   delta ──apply──► cells by address · timers · windows by when they are collected · how many bytes
//! ```
//! What is kept is copied out of what it came in: a few bytes of state would hold on to a whole message otherwise. Names
//! are shared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use purlin_engine::store::Cell;
use purlin_model::time::EventTime;

use super::delta::{CellDelta, GroupDelta};
use super::timers::{TimerId, Timers};

/// Appended bytes that are longer than this are kept as they came: they are most of what they came in.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// State of one stage and key group.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupState {
    cells: BTreeMap<Cell, Extents>,
    /// How long all extents are.
    bytes: u64,
    pub(super) timers: Timers,
    /// Windows that have cells or timers, by the instant behind which they are collected.
    pub(super) windows: BTreeSet<(EventTime, Bytes)>,
    /// Of transforms, states and families.
    names: BTreeSet<Arc<str>>,
}

/// What was appended to a cell. Most cells hold one value.
#[derive(Clone, Debug)]
enum Extents {
    One(Bytes),
    Many(Vec<Bytes>),
}

impl Extents {
    fn as_slice(&self) -> &[Bytes] {
        match self {
            Self::One(extent) => std::slice::from_ref(extent),
            Self::Many(extents) => extents,
        }
    }

    fn push(&mut self, extent: Bytes) {
        match self {
            Self::One(first) => *self = Self::Many(vec![std::mem::take(first), extent]),
            Self::Many(extents) => extents.push(extent),
        }
    }
}

impl GroupState {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn cell_count(&self) -> usize {
        self.cells.len()
    }

    /// What was appended to a cell.
    pub(super) fn extents(&self, cell: &Cell) -> &[Bytes] {
        self.cells.get(cell).map_or(&[], Extents::as_slice)
    }

    /// How many bytes a cell has.
    pub(super) fn length(&self, cell: &Cell) -> u64 {
        length(self.extents(cell))
    }

    /// Cells from an address on, in order.
    pub(super) fn cells_from(&self, first: Cell) -> impl Iterator<Item = &Cell> {
        self.cells.range(first..).map(|(cell, _)| cell)
    }

    /// The cells of a window. Costs a look-up for each state that there is, and what is found.
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
                self.clear(&cell);
            }
            self.windows.remove(&window);
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
                self.windows.insert((at, Bytes::copy_from_slice(&window)));
            }
        }
    }

    fn write(&mut self, cell: &Cell, written: CellDelta) {
        if written.cleared {
            self.clear(cell);
        }
        self.bytes += length(&written.appended);
        let mut appended = written.appended.into_iter().map(detached);
        if let Some(extents) = self.cells.get_mut(cell) {
            appended.for_each(|extent| extents.push(extent));
        } else if let Some(first) = appended.next() {
            let mut extents = Extents::One(first);
            appended.for_each(|extent| extents.push(extent));
            let cell = kept_cell(&mut self.names, cell);
            self.cells.insert(cell, extents);
        }
    }

    fn clear(&mut self, cell: &Cell) {
        if let Some(extents) = self.cells.remove(cell) {
            self.bytes -= length(extents.as_slice());
        }
    }
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
