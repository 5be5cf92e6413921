//! Holds: the times that a watermark must not pass yet, counted.

use std::collections::BTreeMap;

use purlin_model::time::EventTime;

/// Counted timestamps; the least one holds.
///
/// Law: a watermark that is held is never at [`EventTime::MAX`], which says that nothing more comes. Elements may stand
/// there all the same, as what Go's timers without an output timestamp emit, in the global window at the latest: so the end
/// of the global window is as far as any hold lets a watermark come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldTracker {
    counts: BTreeMap<EventTime, u64>,
}

impl HoldTracker {
    /// Adds a hold. Logarithmic in the number of distinct times.
    pub fn add(&mut self, at: EventTime) {
        *self.counts.entry(at).or_insert(0) += 1;
    }

    /// Drops a hold that was added.
    ///
    /// # Panics
    /// If it was not: somebody counted wrongly, and a watermark could pass an element.
    pub fn drop_one(&mut self, at: EventTime) {
        let count = self.counts.get_mut(&at).expect("a hold is dropped only after it was added");
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&at);
        }
    }

    /// The least hold; `None` if nothing holds.
    pub fn least(&self) -> Option<EventTime> {
        self.counts.first_key_value().map(|(at, _)| EventTime::GLOBAL_WINDOW_MAX.min(*at))
    }

    /// Whether nothing holds.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// A time that only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watermark(EventTime);

impl Default for Watermark {
    fn default() -> Self {
        Self(EventTime::MIN)
    }
}

impl Watermark {
    /// Where it stands.
    pub fn at(self) -> EventTime {
        self.0
    }

    /// Moves forward to `to`, or stays; tells whether it moved.
    pub fn advance(&mut self, to: EventTime) -> bool {
        let moved = to > self.0;
        if moved {
            self.0 = to;
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_holds_at_the_end_of_time_holds() {
        let mut holds = HoldTracker::default();
        holds.add(EventTime::MAX);
        assert_eq!(holds.least(), Some(EventTime::GLOBAL_WINDOW_MAX));
        holds.drop_one(EventTime::MAX);
        assert_eq!(holds.least(), None);
    }

    proptest! {
        #[test]
        fn the_least_hold_is_the_least_of_what_was_added_and_not_dropped(times in proptest::collection::vec((-50i64..50, any::<bool>()), 0..60)) {
            let mut holds = HoldTracker::default();
            let mut live = Vec::new();
            for (at, keep) in times {
                let at = EventTime::from_millis(at);
                holds.add(at);
                live.push(at);
                if !keep {
                    let dropped = live.swap_remove(live.len() / 2);
                    holds.drop_one(dropped);
                }
                prop_assert_eq!(holds.least(), live.iter().min().copied());
            }
        }
    }
}
