//! Watermarks: how far event time has come, per stage and per output.
//!
//! ```text
//!   in(S)    = least of: upstream outputs' watermarks, timestamps of pending and running elements
//!   out(S,o) = least of: in(S), what residuals may still emit into o, what state and timers hold
//! ```
//! Laws: a watermark never retreats, and never passes a hold. Without upstream, in(S) is MAX.

mod hold;

pub use hold::{HoldTracker, Watermark};
