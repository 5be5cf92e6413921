//! What the state of keys takes of memory, about: what is kept, and what keeping it costs.
//!
//! ```text
//!   cell, extents, timer, window ─► bytes, as they are reserved
//! ```
//! Law: a bundle's writes cost at least as much as a group grows by them, so that what was reserved for the one is enough for
//! the other. The constants are what is kept beside an address and what it holds, with nodes of trees and tables two thirds full; 10⁶
//! keys (`benchmarks/scale.py`) take a little less.

use bytes::Bytes;

const CELL_BYTES: u64 = 112;
const EXTENT_BYTES: u64 = 32;
const TIMER_BYTES: u64 = 248;
const WINDOW_BYTES: u64 = 96;

/// A cell without what was appended to it.
pub(super) fn of_cell(address: &[u8]) -> u64 {
    CELL_BYTES + address.len() as u64
}

/// What was appended to a cell.
pub(super) fn of_extents(extents: &[Bytes]) -> u64 {
    extents.iter().map(of_extent).sum()
}

/// What is appended to a cell at once.
pub(super) fn of_extent(extent: &Bytes) -> u64 {
    EXTENT_BYTES + extent.len() as u64
}

/// A timer, by who it is.
pub(super) fn of_timer(id: &[u8]) -> u64 {
    TIMER_BYTES + id.len() as u64
}

/// A window that will be collected.
pub(super) fn of_window(window: &Bytes) -> u64 {
    WINDOW_BYTES + window.len() as u64
}
