//! The timers of a key group: found by who they are, and by when they are due.
//!
//! ```text
//!   set, remove ─► by identity ─┬─► queues: event time, clock, expiry ──due──► in the order of time
//!                               └─► holds, counted ──least──► summary
//! ```
//! Law: what the queues and the holds say is what a look at all timers would, so that finding what is due costs in
//! proportion to what is due. Knows nothing of bundles.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use purlin_engine::store::{DueBound, Timer, TimerDomain};
use purlin_model::time::EventTime;

use super::cost;

/// What makes a timer the same timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TimerId {
    pub(super) key: Bytes,
    pub(super) transform: Arc<str>,
    pub(super) family: Arc<str>,
    pub(super) window: Bytes,
    pub(super) tag: Bytes,
}

/// The rest of a timer that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimerTimes {
    domain: TimerDomain,
    fire_at: i64,
    expires: Option<EventTime>,
    hold: EventTime,
    pane: Bytes,
}

/// A place in a queue: an instant of its clock, and who is due then.
pub(super) type Due = (i64, Arc<TimerId>);

/// By what timers become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// The clock has come to a timer of its own.
    Clock,
    /// The window of a timer of the clock has expired.
    Expiry,
    /// Event time has passed a timer of its own.
    Event,
}

impl Queue {
    /// In the order in which they fire: what a window does at its end comes last.
    pub(super) const ALL: [Self; 3] = [Self::Clock, Self::Expiry, Self::Event];

    fn is_due(self, bound: &DueBound, at: i64) -> bool {
        match self {
            Self::Event => bound.is_due(TimerDomain::EventTime, at),
            Self::Clock => bound.is_due(TimerDomain::ProcessingTime, at),
            Self::Expiry => bound.is_expired(EventTime::from_millis(at)),
        }
    }
}

/// The timers that are set.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    by_id: HashMap<Arc<TimerId>, TimerTimes>,
    queues: [BTreeSet<Due>; Queue::ALL.len()],
    holds: BTreeMap<EventTime, u32>,
    cost: u64,
}

/// Takes a timer apart; what is left of it is `None` if it clears.
pub(super) fn parts(timer: Timer) -> (TimerId, Option<TimerTimes>) {
    let Timer { key, fire_at, transform, family, tag, window, domain, expires, hold, pane } = timer;
    let id = TimerId { key, transform, family, window, tag };
    (id, fire_at.map(|fire_at| TimerTimes { domain, fire_at, expires, hold, pane }))
}

/// A whole timer again.
pub(super) fn whole(id: &TimerId, times: &TimerTimes) -> Timer {
    let TimerId { key, transform, family, window, tag } = id.clone();
    let TimerTimes { domain, fire_at, expires, hold, pane } = times.clone();
    Timer { key, fire_at: Some(fire_at), transform, family, tag, window, domain, expires, hold, pane }
}

/// What a timer takes of memory, set or deleted.
pub(super) fn cost_of(id: &TimerId, times: Option<&TimerTimes>) -> u64 {
    let none = Bytes::new();
    cost::of_timer([&id.key, &id.window, &id.tag, times.map_or(&none, |times| &times.pane)])
}

impl TimerTimes {
    pub(super) fn hold(&self) -> EventTime {
        self.hold
    }

    /// When it is due, by each of the queues that it stands in.
    pub(super) fn due(&self) -> impl Iterator<Item = (Queue, i64)> {
        let (queue, expires) = match self.domain {
            TimerDomain::EventTime => (Queue::Event, None),
            TimerDomain::ProcessingTime => (Queue::Clock, self.expires),
        };
        std::iter::once((queue, self.fire_at)).chain(expires.map(|at| (Queue::Expiry, at.millis())))
    }

    /// The same, holding on to nothing that it came in.
    fn detached(self) -> Self {
        Self { pane: Bytes::copy_from_slice(&self.pane), ..self }
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

    pub(super) fn get(&self, id: &TimerId) -> Option<&TimerTimes> {
        self.by_id.get(id)
    }

    /// Sets a timer, in place of what it was set to before. `keep` makes the identity of a new one to be kept.
    pub(super) fn set(&mut self, id: &TimerId, times: TimerTimes, keep: impl FnOnce(&TimerId) -> TimerId) {
        let id = self.remove(id).unwrap_or_else(|| Arc::new(keep(id)));
        for (queue, at) in times.due() {
            self.queues[queue as usize].insert((at, id.clone()));
        }
        *self.holds.entry(times.hold).or_insert(0) += 1;
        self.cost += cost_of(&id, Some(&times));
        self.by_id.insert(id, times.detached());
    }

    /// Removes a timer; returns its identity, as it was kept, if it was set.
    pub(super) fn remove(&mut self, id: &TimerId) -> Option<Arc<TimerId>> {
        let (id, times) = self.by_id.remove_entry(id)?;
        self.cost -= cost_of(&id, Some(&times));
        let mut place = (0, id);
        for (queue, at) in times.due() {
            place.0 = at;
            self.queues[queue as usize].remove(&place);
        }
        let held = self.holds.get_mut(&times.hold).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if held == 0 {
            self.holds.remove(&times.hold);
        }
        Some(place.1)
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
    pub(super) fn next(&self, queue: Queue, is_set: impl Fn(&TimerId) -> bool) -> Option<i64> {
        self.queues[queue as usize].iter().find(|(_, id)| is_set(id)).map(|(at, _)| *at)
    }

    /// The least hold, but for some that are not held any more, counted.
    pub(super) fn least_hold(&self, without: &BTreeMap<EventTime, u32>) -> Option<EventTime> {
        let held = |(hold, count): &(&EventTime, &u32)| **count > without.get(*hold).copied().unwrap_or(0);
        self.holds.iter().find(held).map(|(hold, _)| *hold)
    }
}
