//! Triggers: when a window's contents are emitted (`Trigger` in `beam_runner_api.proto`), as complete values.

use crate::time::Millis;

/// A trigger and its sub-triggers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// At the end of the window, then for each late batch; never finishes.
    Default,
    /// For every element; never finishes.
    Always,
    /// Not before the window is collected.
    Never,
    /// When `count` elements have arrived since the last firing.
    ElementCount {
        /// At least 1.
        count: i32,
    },
    /// When the watermark passes the end of the window, with triggers before and after.
    AfterEndOfWindow {
        /// Fires repeatedly before the end.
        early: Option<Box<Self>>,
        /// Fires repeatedly after the end.
        late: Option<Box<Self>>,
    },
    /// When the clock passes the arrival of a pane's first element, moved by each transform in order.
    AfterProcessingTime {
        /// Applied in order.
        transforms: Vec<TimestampTransform>,
    },
    /// What the SDKs put downstream of `AfterProcessingTime`.
    AfterSynchronizedProcessingTime,
    /// When all have fired.
    AfterAll(Vec<Self>),
    /// When any fires.
    AfterAny(Vec<Self>),
    /// One after the other.
    AfterEach(Vec<Self>),
    /// As `main`, until `finally` fires.
    OrFinally {
        /// Fires as it likes.
        main: Box<Self>,
        /// Fires once and ends both.
        finally: Box<Self>,
    },
    /// The same again and again.
    Repeat(Box<Self>),
}

/// One step from the arrival of an element to the instant at which a processing-time trigger fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampTransform {
    /// Later by this much.
    Delay(Millis),
    /// Up to the next instant that is `offset` past a multiple of `period`.
    AlignTo {
        /// Positive.
        period: Millis,
        /// Counted from the epoch.
        offset: Millis,
    },
}

impl Trigger {
    /// Whether a combiner may run before the grouping without changing when panes fire, if the trigger is asked once for the
    /// elements that come together: true unless it depends on counts of elements or
    /// on the order of several conditions.
    pub fn allows_lifting(&self) -> bool {
        match self {
            Self::Default
            | Self::Always
            | Self::Never
            | Self::AfterProcessingTime { .. }
            | Self::AfterSynchronizedProcessingTime => true,
            Self::ElementCount { count } => *count == 1,
            Self::AfterEndOfWindow { early, late } => early.iter().chain(late.iter()).all(|sub| sub.allows_lifting()),
            Self::AfterAny(subs) => subs.iter().all(Self::allows_lifting),
            Self::Repeat(sub) => sub.allows_lifting(),
            Self::AfterAll(_) | Self::AfterEach(_) | Self::OrFinally { .. } => false,
        }
    }

    /// Whether it may fire between two elements that come together: any part of it looks at elements. All others look at
    /// time, which stands while elements are taken in.
    pub fn tells_elements_apart(&self) -> bool {
        match self {
            Self::Always | Self::ElementCount { .. } => true,
            Self::Default | Self::Never | Self::AfterProcessingTime { .. } | Self::AfterSynchronizedProcessingTime => {
                false
            }
            Self::AfterEndOfWindow { early, late } => early.iter().chain(late).any(|sub| sub.tells_elements_apart()),
            Self::AfterAll(subs) | Self::AfterAny(subs) | Self::AfterEach(subs) => {
                subs.iter().any(Self::tells_elements_apart)
            }
            Self::OrFinally { main, finally } => main.tells_elements_apart() || finally.tells_elements_apart(),
            Self::Repeat(sub) => sub.tells_elements_apart(),
        }
    }

    /// Whether any part of it waits for the clock.
    pub fn waits_for_clock(&self) -> bool {
        match self {
            Self::AfterProcessingTime { .. } => true,
            Self::Default
            | Self::Always
            | Self::Never
            | Self::ElementCount { .. }
            | Self::AfterSynchronizedProcessingTime => false,
            Self::AfterEndOfWindow { early, late } => early.iter().chain(late).any(|sub| sub.waits_for_clock()),
            Self::AfterAll(subs) | Self::AfterAny(subs) | Self::AfterEach(subs) => {
                subs.iter().any(Self::waits_for_clock)
            }
            Self::OrFinally { main, finally } => main.waits_for_clock() || finally.waits_for_clock(),
            Self::Repeat(sub) => sub.waits_for_clock(),
        }
    }

    /// Whether the trigger fires exactly once per window when there is no late data: at its end.
    pub fn fires_only_at_end_of_window(&self) -> bool {
        match self {
            Self::Default => true,
            Self::AfterEndOfWindow { early, late: _ } => early.is_none(),
            Self::Always
            | Self::Never
            | Self::ElementCount { .. }
            | Self::AfterProcessingTime { .. }
            | Self::AfterSynchronizedProcessingTime
            | Self::AfterAll(_)
            | Self::AfterAny(_)
            | Self::AfterEach(_)
            | Self::OrFinally { .. }
            | Self::Repeat(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_and_ordering_triggers_forbid_lifting() {
        assert!(Trigger::Default.allows_lifting());
        assert!(Trigger::Repeat(Box::new(Trigger::ElementCount { count: 1 })).allows_lifting());
        assert!(!Trigger::Repeat(Box::new(Trigger::ElementCount { count: 2 })).allows_lifting());
        let early = Some(Box::new(Trigger::ElementCount { count: 5 }));
        assert!(!Trigger::AfterEndOfWindow { early, late: None }.allows_lifting());
        assert!(!Trigger::AfterAll(vec![Trigger::Always]).allows_lifting());
    }

    #[test]
    fn who_looks_at_elements_tells_them_apart() {
        let late = |trigger| Trigger::AfterEndOfWindow { early: None, late: Some(Box::new(trigger)) };
        assert!(late(Trigger::ElementCount { count: 1 }).tells_elements_apart());
        assert!(!late(Trigger::Default).tells_elements_apart());
        let clock = Trigger::AfterProcessingTime { transforms: Vec::new() };
        assert!(!Trigger::AfterAny(vec![Trigger::Default, clock.clone()]).tells_elements_apart());
        assert!(Trigger::AfterEach(vec![clock, Trigger::Always]).tells_elements_apart());
        let finally = Box::new(Trigger::ElementCount { count: 3 });
        assert!(Trigger::OrFinally { main: Box::new(Trigger::Never), finally }.tells_elements_apart());
    }
}
