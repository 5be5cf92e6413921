//! Sliding windows in slices: elements are combined once per slice, and a slice goes to each window that holds it.
//!
//! ```text
//!   windows   ├───────────┤        size 3, period 2: each slice has the length of their greatest common divisor
//!                 ├───────────┤
//!   slices    ├─┼─┼─┼─┼─┼─┼─┤      each lies in a window, or outside of it, as a whole
//! ```
//! Beam's functions assign an element to all its windows at once, so that a window of ten seconds that slides by a tenth of one makes
//! a hundred elements of each. Does not know who combines.

use crate::time::{EventTime, Millis};
use crate::window::{BoundedWindow, WindowFn};

/// With more windows for each slice than this, the windows themselves are what costs.
const WINDOWS_MAX: i64 = 10_000;

/// With more slices between the beginnings of two windows than this, a slice holds too little to be worth it.
const SLICES_PER_PERIOD_MAX: i64 = 4;

/// Overlapping windows (`beam:window_fn:sliding_windows:v1`) cut at all their ends.
///
/// Law: for each instant, the windows of its slice are the windows that hold the instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlicedWindows {
    size: Millis,
    period: Millis,
    offset: Millis,
    slice: Millis,
}

impl SlicedWindows {
    /// Cuts the windows of a function; `None` if they do not overlap, or if slices would not be fewer.
    pub fn of(window_fn: &WindowFn) -> Option<Self> {
        let WindowFn::Sliding { size, period, offset } = *window_fn else { return None };
        if size.0 <= period.0 || period.0 <= 0 {
            return None;
        }
        let slice = greatest_common_divisor(size.0, period.0);
        let is_worth_it = period.0 / slice <= SLICES_PER_PERIOD_MAX && size.0 / period.0 <= WINDOWS_MAX;
        is_worth_it.then_some(Self { size, period, offset, slice: Millis(slice) })
    }

    /// Assigns elements to slices.
    pub fn slice_fn(&self) -> WindowFn {
        WindowFn::Fixed { size: self.slice, offset: Millis(self.offset.0.rem_euclid(self.slice.0)) }
    }

    /// How long each slice is.
    pub fn slice(&self) -> Millis {
        self.slice
    }

    /// The windows that hold a slice, the earliest first; `None` if this is no slice.
    pub fn windows_of(&self, slice: &BoundedWindow) -> Option<Vec<BoundedWindow>> {
        let BoundedWindow::Interval { start, end } = slice else { return None };
        let (first, end) = (start.millis(), end.millis());
        let is_aligned = first.checked_sub(self.offset.0)?.rem_euclid(self.slice.0) == 0;
        if !is_aligned || end.checked_sub(first)? != self.slice.0 {
            return None;
        }
        let last_start = first - (first - self.offset.0).rem_euclid(self.period.0);
        let mut windows = Vec::new();
        let mut start = last_start;
        // A window that begins where time does not is none that any SDK could write.
        while start.checked_add(self.size.0)? >= end && start >= EventTime::MIN.millis() {
            let window_end = start.checked_add(self.size.0)?;
            if window_end <= EventTime::MAX.millis() {
                let (start, end) = (EventTime::from_millis(start), EventTime::from_millis(window_end));
                windows.push(BoundedWindow::Interval { start, end });
            }
            start = start.checked_sub(self.period.0)?;
        }
        windows.reverse();
        Some(windows)
    }
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sliding(size: i64, period: i64, offset: i64) -> WindowFn {
        WindowFn::Sliding { size: Millis(size), period: Millis(period), offset: Millis(offset) }
    }

    fn interval(start: i64, end: i64) -> BoundedWindow {
        BoundedWindow::Interval { start: EventTime::from_millis(start), end: EventTime::from_millis(end) }
    }

    /// All windows that hold an instant, by looking at each that could.
    fn windows_at(at: i64, size: i64, period: i64, offset: i64) -> Vec<BoundedWindow> {
        let starts = (at - size - period..=at).filter(|start| (start - offset).rem_euclid(period) == 0);
        starts.filter(|start| at < start + size).map(|start| interval(start, start + size)).collect()
    }

    #[test]
    fn what_does_not_overlap_is_not_sliced() {
        assert_eq!(SlicedWindows::of(&sliding(10, 10, 0)), None);
        assert_eq!(SlicedWindows::of(&sliding(10, 20, 0)), None);
        assert_eq!(SlicedWindows::of(&WindowFn::Fixed { size: Millis(10), offset: Millis(0) }), None);
    }

    #[test]
    fn slices_that_would_hold_next_to_nothing_are_not_made() {
        assert_eq!(SlicedWindows::of(&sliding(10_001, 1000, 0)), None);
        assert_eq!(SlicedWindows::of(&sliding(1_000_000, 1, 0)), None);
        assert!(SlicedWindows::of(&sliding(10_000, 100, 0)).is_some());
    }

    #[test]
    fn what_is_no_slice_has_no_windows() {
        let sliced = SlicedWindows::of(&sliding(30, 10, 0)).unwrap();
        assert_eq!(sliced.windows_of(&BoundedWindow::Global), None);
        assert_eq!(sliced.windows_of(&interval(0, 30)), None);
        assert_eq!(sliced.windows_of(&interval(5, 15)), None);
        assert_eq!(sliced.windows_of(&interval(i64::MAX - 5, i64::MAX)), None);
    }

    proptest! {
        #[test]
        fn the_windows_of_a_slice_are_those_of_each_instant_in_it(
            size in 1i64..200, period in 1i64..100, offset in -50i64..150, at in -1000i64..1000,
        ) {
            if let Some(sliced) = SlicedWindows::of(&sliding(size, period, offset)) {
                let slice = sliced.slice_fn().last_window_of(EventTime::from_millis(at)).unwrap();
                prop_assert_eq!(sliced.windows_of(&slice).unwrap(), windows_at(at, size, period, offset));
            }
        }

        #[test]
        fn no_bounds_are_too_large(size in any::<i64>(), period in any::<i64>(), offset in any::<i64>(), start in any::<i64>(), length in any::<i64>()) {
            if let Some(sliced) = SlicedWindows::of(&sliding(size, period, offset)) {
                let _ = sliced.windows_of(&interval(start, start.saturating_add(length)));
            }
        }
    }
}
