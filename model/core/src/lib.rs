//! The vocabulary of the Beam model: ids, time, windows, panes, triggers, coders.
//!
//! ```text
//!  wire ──proto::convert──► model values ──► plan, engine, runners, SDK
//! ```
//! Values only: nothing here does IO, knows protobuf, or knows a runner. Everything else in Purlin speaks in
//! these types, in Beam's own words.
#![warn(missing_docs)]

pub mod coder;
pub mod element;
pub mod ids;
pub mod key_group;
pub mod pane;
pub mod slices;
pub mod time;
pub mod trigger;
pub mod window;
pub mod windowing_strategy;
