//! The ways to group values by key and window.

pub mod append_once;
mod arrivals;
mod cells;
pub(crate) mod key_major;
mod merge;

/// An element of the wire format holds less than this: its count of values has 31 bits, and a batch 30.
const GROUP_BYTES_MAX: u64 = 1 << 29;
