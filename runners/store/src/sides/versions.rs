//! Versions of the windows of refreshed side inputs: each bundle sees those that counted when it began.
//!
//! ```text
//!   stage ─► staged, by bundle ─commit─► the latest version of each window
//!                                         the one before stays for as long as a view may read it
//! ```
//! Time here is a count of commits. Knows nothing of what a window holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use purlin_engine::core::action::BundleId;
use purlin_engine::core::stage::SideId;
use purlin_model::time::EventTime;
use purlin_model::window::BoundedWindow;

use super::windows::Windows;

/// A window of a side input.
pub(super) type Key = (SideId, BoundedWindow);

/// A count of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Epoch(u64);

/// For each side input: the commit that replaced something of it last.
pub(super) type LastChanges = Arc<BTreeMap<SideId, Epoch>>;

impl Epoch {
    pub(super) fn number(self) -> u64 {
        self.0
    }
}

/// All versions that somebody may still read. `W` is what a window holds.
#[derive(Debug)]
pub(super) struct Versions<W> {
    now: Epoch,
    /// In order of time; all but the last are superseded.
    windows: Windows<Vec<(Epoch, W)>>,
    staged: BTreeMap<BundleId, Vec<(Key, W)>>,
    /// How many views there are, by when they began.
    views: BTreeMap<Epoch, u32>,
    /// Versions that were superseded, by since when, and from when on each counted: some view began in between.
    superseded: BTreeSet<(Epoch, Epoch, Key)>,
    changes: LastChanges,
}

impl<W> Default for Versions<W> {
    fn default() -> Self {
        Self {
            now: Epoch::default(),
            windows: Windows::default(),
            staged: BTreeMap::new(),
            views: BTreeMap::new(),
            superseded: BTreeSet::new(),
            changes: LastChanges::default(),
        }
    }
}

impl<W: Clone> Versions<W> {
    /// Keeps what a window will hold when the bundle commits.
    pub(super) fn stage(&mut self, bundle: BundleId, key: Key, holds: W) {
        self.staged.entry(bundle).or_default().push((key, holds));
    }

    /// Makes what a bundle has staged the latest version; gives back what nobody can read any more, for the caller to drop.
    pub(super) fn commit(&mut self, bundle: BundleId) -> Vec<W> {
        let Some(staged) = self.staged.remove(&bundle) else { return Vec::new() };
        self.now.0 += 1;
        let (now, mut gone) = (self.now, Vec::new());
        for (key, holds) in staged {
            Arc::make_mut(&mut self.changes).insert(key.0, now);
            let Some(versions) = self.windows.get_or_insert_with(key.0, &key.1, Vec::new) else {
                // Nobody will read it.
                gone.push(holds);
                continue;
            };
            if let Some((from, before)) = versions.last_mut() {
                // If the bundle has staged it twice, nobody has seen the first.
                if self.views.range(*from..now).next().is_none() {
                    *from = now;
                    gone.push(std::mem::replace(before, holds));
                    continue;
                }
                self.superseded.insert((now, *from, key));
            }
            versions.push((now, holds));
        }
        gone
    }

    /// Gives back what a bundle has staged.
    pub(super) fn discard(&mut self, bundle: BundleId) -> Vec<W> {
        self.staged.remove(&bundle).into_iter().flatten().map(|(_, holds)| holds).collect()
    }

    /// Begins a view; everything that can be read in it stays until [`end`](Self::end).
    pub(super) fn begin(&mut self) -> (Epoch, LastChanges) {
        *self.views.entry(self.now).or_default() += 1;
        (self.now, self.changes.clone())
    }

    /// Ends a view; gives back what nobody can read any more.
    pub(super) fn end(&mut self, view: Epoch) -> Vec<W> {
        let Some(count) = self.views.get_mut(&view) else { return Vec::new() };
        *count -= 1;
        if *count > 0 {
            return Vec::new();
        }
        self.views.remove(&view);
        let views = &self.views;
        let unread = |(since, from, _): &&(Epoch, Epoch, Key)| views.range(*from..*since).next().is_none();
        let unread: Vec<_> = self.superseded.iter().filter(unread).cloned().collect();
        let mut gone = Vec::new();
        for entry in unread {
            self.superseded.remove(&entry);
            let (_, from, key) = entry;
            // A window that was forgotten has no versions left.
            let Some(versions) = self.windows.get_mut(key.0, &key.1) else { continue };
            if let Some(at) = versions.iter().position(|(epoch, _)| *epoch == from) {
                gone.push(versions.remove(at).1);
            }
        }
        gone
    }

    /// Lets go of the windows whose last instant is before this one; gives back what they held, for the caller to drop.
    pub(super) fn forget(&mut self, side: SideId, until: EventTime) -> Vec<W> {
        self.windows.forget(side, until).into_iter().flatten().map(|(_, holds)| holds).collect()
    }

    /// What a window held at this time.
    pub(super) fn at(&self, view: Epoch, key: &Key) -> Option<W> {
        let versions = self.windows.get(key.0, &key.1)?;
        versions.iter().rev().find(|(epoch, _)| *epoch <= view).map(|(_, holds)| holds.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(start: i64) -> Key {
        let at = EventTime::from_millis;
        (SideId(0), BoundedWindow::Interval { start: at(start), end: at(start + 10) })
    }

    fn commit(versions: &mut Versions<&'static str>, bundle: u64, staged: &[(i64, &'static str)]) -> Vec<&'static str> {
        for (start, holds) in staged {
            versions.stage(BundleId(bundle), key(*start), holds);
        }
        versions.commit(BundleId(bundle))
    }

    #[test]
    fn a_view_sees_what_counted_when_it_began() {
        let mut versions = Versions::default();
        let (before, _) = versions.begin();
        assert_eq!(commit(&mut versions, 0, &[(0, "a")]), Vec::<&str>::new());
        let (first, _) = versions.begin();
        assert_eq!(commit(&mut versions, 1, &[(0, "b"), (10, "c")]), Vec::<&str>::new());
        let (second, _) = versions.begin();
        let seen = |versions: &Versions<&'static str>, view| (versions.at(view, &key(0)), versions.at(view, &key(10)));
        assert_eq!(seen(&versions, before), (None, None));
        assert_eq!(seen(&versions, first), (Some("a"), None));
        assert_eq!(seen(&versions, second), (Some("b"), Some("c")));
    }

    #[test]
    fn what_no_view_can_read_is_given_back_once() {
        let mut versions = Versions::default();
        commit(&mut versions, 0, &[(0, "a")]);
        let (first, _) = versions.begin();
        let (also_first, _) = versions.begin();
        assert_eq!(commit(&mut versions, 1, &[(0, "b")]), Vec::<&str>::new());
        assert_eq!(commit(&mut versions, 2, &[(0, "c")]), ["b"], "no view began before it was superseded");
        assert_eq!(versions.end(first), Vec::<&str>::new());
        assert_eq!(versions.end(also_first), ["a"]);
        assert_eq!(commit(&mut versions, 3, &[(0, "d")]), ["c"]);
        assert_eq!(commit(&mut versions, 4, &[(0, "e"), (0, "f")]), ["d", "e"]);
    }

    #[test]
    fn what_is_forgotten_is_given_back_and_takes_no_panes() {
        let mut versions = Versions::default();
        commit(&mut versions, 0, &[(0, "a"), (10, "b")]);
        let (view, _) = versions.begin();
        commit(&mut versions, 1, &[(0, "c")]);
        assert_eq!(versions.forget(SideId(0), EventTime::from_millis(10)), ["a", "c"]);
        assert_eq!(commit(&mut versions, 2, &[(0, "d"), (10, "e")]), ["d"]);
        assert_eq!((versions.at(view, &key(0)), versions.at(view, &key(10))), (None, Some("b")));
        assert_eq!(versions.end(view), ["b"]);
    }

    #[test]
    fn what_is_discarded_was_never_there() {
        let mut versions = Versions::default();
        commit(&mut versions, 0, &[(0, "a")]);
        versions.stage(BundleId(1), key(0), "b");
        assert_eq!(versions.discard(BundleId(1)), ["b"]);
        assert_eq!(versions.commit(BundleId(1)), Vec::<&str>::new());
        let (view, changes) = versions.begin();
        assert_eq!((versions.at(view, &key(0)), changes[&SideId(0)].number()), (Some("a"), 1));
    }
}
