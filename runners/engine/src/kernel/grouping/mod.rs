//! The ways to group values by key and window.

pub mod append_once;
mod arrivals;
mod cells;
pub(crate) mod key_major;
mod merge;
