//! What one bundle wrote to the state of a key group, and what the group looks like with it.
//!
//! ```text
//!   view ─writes─► GroupDelta ─┬─ summary, over what is committed ─► the core
//!                              └─ apply ─► GroupState
//! ```
//! A summary costs in proportion to what was written, whatever else the group holds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use purlin_engine::core::bundle::GroupSummary;
use purlin_model::time::{EventTime, ProcessingTime};

use super::address::Address;
use super::group::{GroupState, length};
use super::timers::{Queue, TimerId, TimerTimes};

/// What was written to the state of a key group.
#[derive(Debug, Default)]
pub(super) struct GroupDelta {
    pub(super) cells: BTreeMap<Address, CellDelta>,
    /// `None` deletes.
    pub(super) timers: HashMap<TimerId, Option<TimerTimes>>,
    /// Timers that have fired and will not be set again.
    pub(super) fired: HashSet<TimerId>,
    /// Windows that were written to, and the instant behind which each is collected.
    pub(super) windows: BTreeSet<(EventTime, Bytes)>,
    /// Windows that are collected.
    pub(super) collected: BTreeSet<(EventTime, Bytes)>,
}

/// What was written to a cell.
#[derive(Clone, Debug, Default)]
pub(super) struct CellDelta {
    pub(super) cleared: bool,
    pub(super) appended: Vec<Bytes>,
}

impl GroupDelta {
    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.timers.is_empty() && self.windows.is_empty() && self.collected.is_empty()
    }

    /// Whether a timer that is committed is set still.
    pub(super) fn leaves(&self, id: &[u8]) -> bool {
        !self.timers.contains_key(id)
    }

    /// What there is of a group, once this is applied to what is committed.
    pub(super) fn summary(&self, committed: &GroupState) -> GroupSummary {
        let kept = Queue::ALL.map(|queue| committed.timers.next(queue, |id| self.leaves(id)));
        let [mut next_clock, mut next_expiry, next_event, next_end] = kept;
        let mut next_event = least([next_event, next_end]);
        let mut replaced = BTreeMap::<EventTime, u32>::new();
        let mut written_hold = None;
        for (id, times) in &self.timers {
            if let Some(before) = committed.timers.get(id) {
                *replaced.entry(before.hold()).or_insert(0) += 1;
            }
            let Some(times) = times else { continue };
            for (queue, at) in times.due() {
                let next = match queue {
                    Queue::Event | Queue::End => &mut next_event,
                    Queue::Clock => &mut next_clock,
                    Queue::Expiry => &mut next_expiry,
                };
                *next = least([*next, Some(at)]);
            }
            written_hold = least([written_hold, Some(times.hold())]);
        }
        let kept_hold = committed.timers.least_hold(&replaced);
        let kept_window = committed.windows.iter().find(|window| !self.collected.contains(window));
        let next_window = least([kept_window, self.windows.first()]).map(|(at, _)| *at);
        GroupSummary {
            next_event: next_event.map(EventTime::from_millis),
            next_processing: next_clock.map(ProcessingTime),
            min_hold: least([kept_hold, written_hold]),
            next_expiry: least([next_expiry.map(EventTime::from_millis), next_window]),
            bytes: self.bytes(committed),
        }
    }

    fn bytes(&self, committed: &GroupState) -> u64 {
        let mut bytes = committed.bytes();
        for (address, written) in &self.cells {
            if written.cleared {
                bytes -= committed.length(address.bytes());
            }
            bytes += length(&written.appended);
        }
        for (_, window) in &self.collected {
            let cells = committed.cells_of_window(window).into_iter();
            let gone = cells.filter(|cell| !self.cells.get(*cell).is_some_and(|written| written.cleared));
            bytes -= gone.map(|cell| committed.length(cell.bytes())).sum::<u64>();
            bytes -= committed.bytes_on_disk_of_window(window);
        }
        bytes
    }
}

fn least<T: Ord, const N: usize>(of: [Option<T>; N]) -> Option<T> {
    of.into_iter().flatten().min()
}
