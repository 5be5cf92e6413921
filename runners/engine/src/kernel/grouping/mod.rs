//! The ways to group values by key and window.

pub mod append_once;
mod merge;
