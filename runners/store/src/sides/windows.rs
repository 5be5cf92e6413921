//! Windows of side inputs, found by themselves and by their ends: those that end before some instant can go together.
//!
//! ```text
//!   get_or_insert_with ─► windows, by their last instants ─forget─► gone, and none like them comes back
//! ```

use std::collections::BTreeMap;

use purlin_engine::core::stage::SideId;
use purlin_model::time::EventTime;
use purlin_model::window::BoundedWindow;

/// What is kept of each window.
#[derive(Debug)]
pub(super) struct Windows<W> {
    sides: BTreeMap<SideId, OfSide<W>>,
}

#[derive(Debug)]
struct OfSide<W> {
    windows: BTreeMap<(EventTime, BoundedWindow), W>,
    /// Windows whose last instant is before this one are gone.
    forgotten: EventTime,
}

impl<W> Default for Windows<W> {
    fn default() -> Self {
        Self { sides: BTreeMap::new() }
    }
}

impl<W> Default for OfSide<W> {
    fn default() -> Self {
        Self { windows: BTreeMap::new(), forgotten: EventTime::MIN }
    }
}

impl<W> Windows<W> {
    /// What is kept of a window, if anything is.
    pub(super) fn get(&self, side: SideId, window: &BoundedWindow) -> Option<&W> {
        self.sides.get(&side)?.windows.get(&(window.max_timestamp(), window.clone()))
    }

    /// What is kept of a window, if anything is.
    pub(super) fn get_mut(&mut self, side: SideId, window: &BoundedWindow) -> Option<&mut W> {
        self.sides.get_mut(&side)?.windows.get_mut(&(window.max_timestamp(), window.clone()))
    }

    /// The same, or this from now on; `None` if the window is gone.
    pub(super) fn get_or_insert_with(
        &mut self,
        side: SideId,
        window: &BoundedWindow,
        new: impl FnOnce() -> W,
    ) -> Option<&mut W> {
        let of_side = self.sides.entry(side).or_default();
        let max = window.max_timestamp();
        (max >= of_side.forgotten).then(|| of_side.windows.entry((max, window.clone())).or_insert_with(new))
    }

    /// Lets go of the windows whose last instant is before this one, and gives back what was kept of them.
    pub(super) fn forget(&mut self, side: SideId, until: EventTime) -> Vec<W> {
        let of_side = self.sides.entry(side).or_default();
        of_side.forgotten = of_side.forgotten.max(until);
        let mut gone = Vec::new();
        while let Some(first) = of_side.windows.first_entry().filter(|first| first.key().0 < until) {
            gone.push(first.remove());
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: i64, end: i64) -> BoundedWindow {
        let at = EventTime::from_millis;
        BoundedWindow::Interval { start: at(start), end: at(end) }
    }

    #[test]
    fn windows_go_by_their_ends_and_do_not_come_back() {
        let (side, other) = (SideId(0), SideId(1));
        let mut windows = Windows::default();
        for (side, start, end) in [(side, 0, 30), (side, 10, 20), (side, 20, 30), (other, 10, 20)] {
            windows.get_or_insert_with(side, &window(start, end), || (side, start));
        }
        assert_eq!(windows.forget(side, EventTime::from_millis(29)), [(side, 10)], "the others may be read at 29");
        assert_eq!(windows.forget(side, EventTime::from_millis(30)), [(side, 0), (side, 20)]);
        assert_eq!(windows.get_or_insert_with(side, &window(10, 20), || (side, 10)), None);
        assert_eq!(windows.forget(side, EventTime::MIN), []);
        assert_eq!(windows.get_or_insert_with(side, &window(0, 30), || (side, 0)), None);
        assert_eq!(windows.get_or_insert_with(side, &window(30, 31), || (side, 30)), Some(&mut (side, 30)));
        assert_eq!(windows.get(other, &window(10, 20)), Some(&(other, 10)));
    }
}
