//! Windows: finite groupings of event time, and the functions that assign them.

use std::fmt;

use bytes::Bytes;

use crate::time::{EventTime, Millis};

/// One window of a PCollection.
///
/// Ordered by its last instant, then by its kind and bounds, so that sorting groups is deterministic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BoundedWindow {
    /// The one window of global windowing; zero bytes on the wire.
    Global,
    /// `[start, end)`, the window of fixed, sliding and session windowing.
    Interval {
        /// The first instant inside.
        start: EventTime,
        /// The first instant after.
        end: EventTime,
    },
    /// A window that only its SDK can read: `beam:coder:custom_window:v1` around a length prefix.
    Custom {
        /// The last instant inside, which the coder carries in front.
        max_timestamp: EventTime,
        /// The SDK's encoding, without its length prefix.
        encoded: Bytes,
    },
}

impl BoundedWindow {
    /// The last instant inside the window.
    pub fn max_timestamp(&self) -> EventTime {
        match self {
            Self::Global => EventTime::GLOBAL_WINDOW_MAX,
            Self::Interval { end, .. } => *end - Millis(1),
            Self::Custom { max_timestamp, .. } => *max_timestamp,
        }
    }
}

impl fmt::Debug for BoundedWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Interval { start, end } => write!(f, "[{start},{end})"),
            Self::Custom { max_timestamp, encoded } => {
                write!(f, "custom(max {max_timestamp}, {} bytes)", encoded.len())
            }
        }
    }
}

/// How the windows of a PCollection stand on the wire: enough to find their ends and their last instants.
///
/// Every window coder that the runner does not know arrives as `custom_window(length_prefix(…))`, because the
/// plan rewrites it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WindowCoder {
    /// `beam:coder:global_window:v1`: zero bytes.
    Global,
    /// `beam:coder:interval_window:v1`: the end (8 bytes), then the length as a varint.
    Interval,
    /// `beam:coder:custom_window:v1` over `beam:coder:length_prefix:v1`: the last instant (8 bytes), a length, bytes.
    Custom,
}

/// A function from an element to its windows (`WindowingStrategy.window_fn`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WindowFn {
    /// `beam:window_fn:global_windows:v1`
    Global,
    /// `beam:window_fn:fixed_windows:v1`
    Fixed {
        /// Length of each window; positive.
        size: Millis,
        /// Where the windows begin, counted from the epoch.
        offset: Millis,
    },
    /// `beam:window_fn:sliding_windows:v1`
    Sliding {
        /// Length of each window; positive.
        size: Millis,
        /// Distance between the beginnings of two windows; positive.
        period: Millis,
        /// Where the windows begin, counted from the epoch.
        offset: Millis,
    },
    /// `beam:window_fn:session_windows:v1`
    Session {
        /// How long a key must be silent for its session to end; positive.
        gap: Millis,
    },
    /// Any other: only the SDK that made it can run it.
    Custom {
        /// The URN of the function.
        urn: String,
        /// Its payload, opaque to the runner.
        payload: Bytes,
    },
}

impl WindowFn {
    /// The last window that contains `at`, for the functions that the runner knows and whose windows have no gaps.
    pub fn last_window_of(&self, at: EventTime) -> Option<BoundedWindow> {
        let from = |start: i64, size: Millis| BoundedWindow::Interval {
            start: EventTime::from_millis(start),
            end: EventTime::from_millis(start.saturating_add(size.0)),
        };
        match self {
            Self::Global => Some(BoundedWindow::Global),
            Self::Fixed { size, offset } => Some(from(last_start(at, *size, *offset), *size)),
            Self::Sliding { size, period, offset } => Some(from(last_start(at, *period, *offset), *size)),
            Self::Session { .. } | Self::Custom { .. } => None,
        }
    }

    /// The window of a side input that elements of a main window read, whose last instant this is: Beam's default mapping, for
    /// the functions that the runner knows. Of several windows that contain the instant it is the earliest, as in all SDKs
    /// (`SlidingWindows.getDefaultWindowMappingFn`). `None` where no window contains it, or only the SDK knows.
    pub fn side_window_of(&self, main_max: EventTime) -> Option<BoundedWindow> {
        let Self::Sliding { size, period, offset } = self else { return self.last_window_of(main_max) };
        // The first beginning behind the last one that is too early.
        let early = EventTime::from_millis(main_max.millis().saturating_sub(size.0));
        let start = last_start(early, *period, *offset).saturating_add(period.0);
        (start <= main_max.millis()).then(|| BoundedWindow::Interval {
            start: EventTime::from_millis(start),
            end: EventTime::from_millis(start.saturating_add(size.0)),
        })
    }

    /// Its URN.
    pub fn urn(&self) -> &str {
        match self {
            Self::Global => "beam:window_fn:global_windows:v1",
            Self::Fixed { .. } => "beam:window_fn:fixed_windows:v1",
            Self::Sliding { .. } => "beam:window_fn:sliding_windows:v1",
            Self::Session { .. } => "beam:window_fn:session_windows:v1",
            Self::Custom { urn, .. } => urn,
        }
    }

    /// Whether windows of one key may merge: sessions always, custom ones as their strategy says.
    pub fn is_session(&self) -> bool {
        matches!(self, Self::Session { .. })
    }
}

/// The greatest `offset + k · period` that is not after `at`.
fn last_start(at: EventTime, period: Millis, offset: Millis) -> i64 {
    at.millis() - (at.millis().saturating_sub(offset.0)).rem_euclid(period.0.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> EventTime {
        EventTime::from_millis(millis)
    }

    fn interval(start: i64, end: i64) -> Option<BoundedWindow> {
        Some(BoundedWindow::Interval { start: at(start), end: at(end) })
    }

    #[test]
    fn fixed_windows_floor_below_zero_too() {
        let fixed = WindowFn::Fixed { size: Millis(10), offset: Millis(3) };
        assert_eq!(fixed.last_window_of(at(3)), interval(3, 13));
        assert_eq!(fixed.last_window_of(at(2)), interval(-7, 3));
        assert_eq!(fixed.last_window_of(at(-8)), interval(-17, -7));
    }

    #[test]
    fn the_last_sliding_window_is_the_one_that_starts_latest() {
        let sliding = WindowFn::Sliding { size: Millis(10), period: Millis(5), offset: Millis(0) };
        assert_eq!(sliding.last_window_of(at(9)), interval(5, 15));
    }

    #[test]
    fn a_side_input_is_read_in_the_earliest_window_that_contains_the_end_of_the_main_window() {
        let sliding =
            |size, period| WindowFn::Sliding { size: Millis(size), period: Millis(period), offset: Millis(1) };
        assert_eq!(sliding(10, 5).side_window_of(at(9)), interval(1, 11));
        assert_eq!(sliding(10, 5).side_window_of(at(10)), interval(1, 11));
        assert_eq!(sliding(10, 5).side_window_of(at(11)), interval(6, 16));
        assert_eq!(sliding(10, 5).side_window_of(at(-1)), interval(-9, 1));
        // Between windows with gaps there is none.
        assert_eq!(sliding(2, 5).side_window_of(at(7)), interval(6, 8));
        assert_eq!(sliding(2, 5).side_window_of(at(8)), None);
        let fixed = WindowFn::Fixed { size: Millis(10), offset: Millis(0) };
        assert_eq!(fixed.side_window_of(at(9)), interval(0, 10));
        assert_eq!(WindowFn::Global.side_window_of(at(9)), Some(BoundedWindow::Global));
        assert_eq!(WindowFn::Session { gap: Millis(10) }.side_window_of(at(9)), None);
    }

    #[test]
    fn a_window_ends_one_millisecond_before_its_end() {
        let window = BoundedWindow::Interval { start: at(0), end: at(10) };
        assert_eq!(window.max_timestamp(), at(9));
    }
}
