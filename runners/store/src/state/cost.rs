//! What the state of keys takes of memory, about: what is kept, and what keeping it costs.
//!
//! ```text
//!   cell, extents, timer, window ─► bytes, as they are reserved
//! ```
//! Law: a bundle's writes cost at least as much as a group grows by them, so that what was reserved for the one is enough for
//! the other. The constants are what was measured of 10⁶ keys (`benchmarks/scale.py`), with nodes of trees two thirds full.

use bytes::Bytes;
use purlin_engine::store::Cell;

const CELL_BYTES: u64 = 272;
const EXTENT_BYTES: u64 = 32;
const TIMER_BYTES: u64 = 400;
const WINDOW_BYTES: u64 = 96;

/// A cell without what was appended to it.
pub(super) fn of_cell(cell: &Cell) -> u64 {
    let map_key = cell.map_key.as_ref().map_or(0, Bytes::len);
    CELL_BYTES + (cell.window.len() + cell.key.len() + map_key) as u64
}

/// What was appended to a cell.
pub(super) fn of_extents(extents: &[Bytes]) -> u64 {
    extents.iter().map(of_extent).sum()
}

/// What is appended to a cell at once.
pub(super) fn of_extent(extent: &Bytes) -> u64 {
    EXTENT_BYTES + extent.len() as u64
}

/// A timer, of which this is all that varies.
pub(super) fn of_timer(parts: [&Bytes; 4]) -> u64 {
    TIMER_BYTES + parts.map(|part| part.len() as u64).iter().sum::<u64>()
}

/// A window that will be collected.
pub(super) fn of_window(window: &Bytes) -> u64 {
    WINDOW_BYTES + window.len() as u64
}
