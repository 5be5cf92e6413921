//! Triggers that do not look: never, always, and after synchronized processing time.
//!
//! `Never` leaves the pane to the collection of the window. `AfterSynchronizedProcessingTime` stands downstream of
//! `AfterProcessingTime`, where the clock has been waited for already: it fires once for what comes together. Java lets it finish after one pane, so that what
//! comes from other keys later is dropped; Purlin chooses what Python does, and loses nothing.

use super::At;

pub(super) const ALWAYS: bool = true;
pub(super) const NEVER: bool = false;

pub(super) fn synchronized(at: &At) -> bool {
    !at.more
}
