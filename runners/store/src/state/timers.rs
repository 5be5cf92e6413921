//! The timers of a key group: found by who they are, and by when they are due.
//!
//! ```text
//!   set, remove ─► by identity ─┬─► queues: clocks, expiry, ends ──due──► in the order of time
//!                               └─► holds, counted ──least──► summary
//! ```
//! Law: what the queues and the holds say is what a look at all timers would, so that finding what is due costs in
//! proportion to what is due. Knows nothing of bundles.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use purlin_engine::store::{DueBound, Timer, TimerDomain};
use purlin_model::time::EventTime;

use super::address::{self, Names, Parts};
use super::cost;

/// What makes a timer the same timer: its address.
pub(super) type TimerId = Arc<[u8]>;

/// The rest of a timer that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimerTimes {
    domain: TimerDomain,
    fire_at: i64,
    expires: Option<EventTime>,
    hold: EventTime,
    output_timestamp: Option<i64>,
    pane: Arc<[u8]>,
}

/// A place in a queue: an instant of its clock, and who is due then.
pub(super) type Due = (i64, TimerId);

/// By what timers become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// The clock has come to a timer of its own.
    Clock,
    /// The window of a timer of the clock has expired.
    Expiry,
    /// Event time has passed a timer of its own.
    Event,
    /// A window hears of its end.
    End,
}

impl Queue {
    /// In the order in which they fire: what a window does at its end comes last.
    pub(super) const ALL: [Self; 4] = [Self::Clock, Self::Expiry, Self::Event, Self::End];

    fn is_due(self, bound: &DueBound, at: i64) -> bool {
        match self {
            Self::Event => bound.is_due(TimerDomain::EventTime, at),
            Self::End => bound.is_due(TimerDomain::WindowExpiration, at),
            Self::Clock => bound.is_due(TimerDomain::ProcessingTime, at),
            Self::Expiry => bound.is_expired(EventTime::from_millis(at)),
        }
    }
}

/// The timers that are set.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    by_id: HashMap<TimerId, TimerTimes>,
    queues: [BTreeSet<Due>; Queue::ALL.len()],
    holds: BTreeMap<EventTime, u32>,
    /// Those that have fired and will not be set again. They were set here, so that there is nothing to be copied.
    fired: HashSet<TimerId>,
    cost: u64,
}

/// A whole timer again.
pub(super) fn whole(id: &TimerId, times: &TimerTimes, names: &Names) -> Timer {
    let Parts { number, window, key, map_key: tag } = address::parts(id);
    let (transform, family) = names.name(number);
    // One copy, of which they are parts.
    let bytes = Bytes::from_owner(id.clone());
    let [key, window, tag] = [key, window, tag.unwrap_or_default()].map(|part| bytes.slice_ref(part));
    let TimerTimes { domain, fire_at, expires, hold, output_timestamp, pane } = times.clone();
    let pane = Bytes::from_owner(pane);
    let fire_at = Some(fire_at);
    Timer { key, fire_at, transform, family, tag, window, domain, expires, hold, output_timestamp, pane }
}

impl TimerTimes {
    /// When a timer is due, with its pane as it is kept; `None` if it clears.
    pub(super) fn of(timer: &Timer, pane: &Arc<[u8]>) -> Option<Self> {
        let Timer { fire_at, domain, expires, hold, output_timestamp, .. } = *timer;
        fire_at.map(|fire_at| Self { domain, fire_at, expires, hold, output_timestamp, pane: pane.clone() })
    }

    pub(super) fn hold(&self) -> EventTime {
        self.hold
    }

    /// When it is due, by each of the queues that it stands in.
    pub(super) fn due(&self) -> impl Iterator<Item = (Queue, i64)> {
        let (queue, expires) = match self.domain {
            TimerDomain::EventTime => (Queue::Event, None),
            TimerDomain::ProcessingTime => (Queue::Clock, self.expires),
            TimerDomain::WindowExpiration => (Queue::End, None),
        };
        std::iter::once((queue, self.fire_at)).chain(expires.map(|at| (Queue::Expiry, at.millis())))
    }
}

impl Timers {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// About how much memory they take.
    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    pub(super) fn get(&self, id: &[u8]) -> Option<&TimerTimes> {
        self.by_id.get(id)
    }

    /// Sets a timer, in place of what it was set to before.
    pub(super) fn set(&mut self, id: TimerId, times: TimerTimes) {
        match self.by_id.entry(id) {
            Entry::Occupied(mut held) => {
                let id = held.key().clone();
                let before = std::mem::replace(held.get_mut(), times);
                let times = held.get().clone();
                // Most are set to the same instant again.
                if !before.due().eq(times.due()) {
                    self.unqueue(&id, &before);
                    self.queue(&id, &times);
                }
                if before.hold != times.hold {
                    self.let_go(before.hold);
                    self.hold(times.hold);
                }
            }
            Entry::Vacant(free) => {
                let id = free.key().clone();
                let times = free.insert(times).clone();
                self.cost += cost::of_timer(&id);
                self.queue(&id, &times);
                self.hold(times.hold);
            }
        }
    }

    /// Removes a timer, if it is set.
    pub(super) fn remove(&mut self, id: &TimerId) {
        let Some((id, times)) = self.by_id.remove_entry(id) else { return };
        self.cost -= cost::of_timer(&id);
        self.unqueue(&id, &times);
        self.let_go(times.hold);
    }

    fn queue(&mut self, id: &TimerId, times: &TimerTimes) {
        for (queue, at) in times.due() {
            self.queues[queue as usize].insert((at, id.clone()));
        }
    }

    fn unqueue(&mut self, id: &TimerId, times: &TimerTimes) {
        for (queue, at) in times.due() {
            self.queues[queue as usize].remove(&(at, id.clone()));
        }
    }

    fn hold(&mut self, at: EventTime) {
        *self.holds.entry(at).or_insert(0) += 1;
    }

    fn let_go(&mut self, at: EventTime) {
        if let Some(count) = self.holds.get_mut(&at) {
            *count -= 1;
            if *count == 0 {
                self.holds.remove(&at);
            }
        }
    }

    /// Whether a timer has fired that will not be set again.
    pub(super) fn has_fired(&self, id: &TimerId) -> bool {
        self.fired.contains(id)
    }

    /// Keeps in mind that timers have fired. What that takes was reserved when they were taken.
    pub(super) fn note_fired(&mut self, fired: HashSet<TimerId>) {
        for id in fired {
            let cost = cost::of_timer(&id);
            if self.fired.insert(id) {
                self.cost += cost;
            }
        }
    }

    /// Timers that are due in a queue, in its order, behind a place where somebody stopped.
    pub(super) fn due<'a>(
        &'a self,
        queue: Queue,
        bound: &'a DueBound,
        behind: Option<&Due>,
    ) -> impl Iterator<Item = &'a Due> {
        let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
        let places = self.queues[queue as usize].range::<Due, _>((from, Bound::Unbounded));
        places.take_while(move |(at, _)| queue.is_due(bound, *at))
    }

    /// The next instant in a queue, but for timers that are not set any more.
    pub(super) fn next(&self, queue: Queue, is_set: impl Fn(&[u8]) -> bool) -> Option<i64> {
        self.queues[queue as usize].iter().find(|(_, id)| is_set(id)).map(|(at, _)| *at)
    }

    /// The least hold, but for some that are not held any more, counted.
    pub(super) fn least_hold(&self, without: &BTreeMap<EventTime, u32>) -> Option<EventTime> {
        let held = |(hold, count): &(&EventTime, &u32)| **count > without.get(*hold).copied().unwrap_or(0);
        self.holds.iter().find(held).map(|(hold, _)| *hold)
    }
}
