//! Side inputs: per window a list of values, and for multimaps a list per key, of any size.
//!
//! ```text
//!   append ──► Elements: references to batches ───────────────────────────► read_iterable, page by page
//!   replace ─► the same, a version for each pane └─ the first read by key ─► Multimap: sorted runs ─► read_multimap, read_keys, …
//! ```
//! The bytes are in the batch store, in memory or on disk; here is only where they are.

mod elements;
mod multimap;
mod versions;
mod windows;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::BytesMut;
use purlin_engine::core::action::BundleId;
use purlin_engine::core::stage::{JobGraph, SideAccess, SideContents, SideId};
use purlin_engine::data::{BatchSlice, ElementBatch};
use purlin_engine::store::{BatchStore, SidePage, SideStore, SideView, StoreError};
use purlin_model::coder::Context;
use purlin_model::element::Header;
use purlin_model::time::EventTime;
use purlin_model::window::BoundedWindow;

use elements::{Elements, read_page};
use multimap::{Multimap, Sorter, read_groups, read_values};
use versions::{Epoch, LastChanges, Versions};
use windows::Windows;

/// Slices that are smaller are copied together, so that a page is not read from very many batches.
const SHARE_BYTES: u64 = 64 << 10;

/// Keeps side inputs until it is told that nobody reads them any more, or the job ends.
#[derive(Debug)]
pub struct BatchSideStore {
    sides: Arc<Sides>,
}

#[derive(Debug)]
struct Sides {
    graph: Arc<JobGraph>,
    batches: Arc<dyn BatchStore>,
    /// Windows that are added to.
    windows: RwLock<Windows<SharedWindow>>,
    /// Windows that are replaced.
    versions: Mutex<Versions<SharedWindow>>,
}

/// Each has a lock of its own: one is read while another is filled.
type SharedWindow = Arc<Mutex<SideWindow>>;

#[derive(Debug)]
struct SideWindow {
    holds: Holds,
    /// Whether anybody has read it: then it does not change any more.
    read: bool,
}

#[derive(Debug)]
enum Holds {
    Iterable(Elements),
    Multimap(Multimap),
}

/// The windows of an element.
struct Takers {
    /// Those that still take elements.
    open: Vec<SharedWindow>,
    /// For how many it comes too late.
    late: u64,
}

/// Side inputs as they were when the view began.
#[derive(Debug)]
struct BatchSideView {
    sides: Arc<Sides>,
    at: Epoch,
    changes: LastChanges,
}

impl BatchSideStore {
    /// An empty store for the side inputs of this job, whose batches are kept here.
    pub fn new(graph: Arc<JobGraph>, batches: Arc<dyn BatchStore>) -> Self {
        Self { sides: Arc::new(Sides { graph, batches, windows: RwLock::default(), versions: Mutex::default() }) }
    }
}

impl Sides {
    fn find(&self, side: SideId, window: &BoundedWindow) -> Option<SharedWindow> {
        let windows = self.windows.read().unwrap_or_else(PoisonError::into_inner);
        windows.get(side, window).cloned()
    }

    /// `None` if nobody will read it.
    fn find_or_add(&self, side: SideId, window: &BoundedWindow) -> Option<SharedWindow> {
        if let Some(found) = self.find(side, window) {
            return Some(found);
        }
        let mut windows = self.windows.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Mutex::new(self.new_window(side)));
        windows.get_or_insert_with(side, window, new).map(|found| found.clone())
    }

    fn new_window(&self, side: SideId) -> SideWindow {
        let spec = self.graph.side(side);
        let elements = Elements::new(self.batches.clone(), spec.materialize);
        let holds = match spec.access {
            SideAccess::Iterable => Holds::Iterable(elements),
            SideAccess::Multimap => Holds::Multimap(Multimap::new(elements)),
        };
        SideWindow { holds, read: false }
    }

    fn sorter(&self, side: SideId) -> Sorter<'_> {
        Sorter { store: &self.batches, spec: self.graph.side(side) }
    }

    fn header(&self, side: SideId, header: &[u8]) -> Result<Header, StoreError> {
        Header::decode(&mut &header[..], self.graph.side(side).windows).map_err(|why| StoreError::Io {
            doing: format!("read the windows of an element of {side}"),
            why: why.to_string(),
        })
    }

    /// A window that holds the values of a pane: an iterable of elements whose count is known.
    fn of_pane(&self, side: SideId, pane: &[u8]) -> Result<SideWindow, StoreError> {
        let broken = |why: String| StoreError::Io { doing: format!("read a pane of {side}"), why };
        let coder = &self.graph.side(side).coder;
        let (count, mut rest) = pane.split_at_checked(4).ok_or_else(|| broken("it has no count".to_owned()))?;
        let count = count.try_into().map_or(0, u32::from_be_bytes);
        let mut window = self.new_window(side);
        for _ in 0..count {
            let from = rest;
            coder.skip(&mut rest, Context::Nested).map_err(|why| broken(why.to_string()))?;
            window.elements().push(&from[..from.len() - rest.len()])?;
        }
        Ok(window)
    }

    fn versions(&self) -> MutexGuard<'_, Versions<SharedWindow>> {
        // Nothing panics while it is locked.
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BatchSideView {
    fn find(&self, side: SideId, window: &BoundedWindow) -> Option<SharedWindow> {
        match self.sides.graph.side(side).contents {
            SideContents::All => self.sides.find(side, window),
            SideContents::InTime => {
                // Also one that is empty does not change any more.
                let found = self.sides.find_or_add(side, window)?;
                lock(&found).read = true;
                Some(found)
            }
            SideContents::LatestPane => self.sides.versions().at(self.at, &(side, window.clone())),
        }
    }

    /// Does something with the multimap of a window, if there is one.
    fn with_multimap<T>(
        &self,
        side: SideId,
        window: &BoundedWindow,
        act: impl FnOnce(&mut Multimap, &Sorter<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let Some(found) = self.find(side, window) else { return Ok(None) };
        match &mut lock(&found).holds {
            Holds::Iterable(_) => Ok(None),
            Holds::Multimap(multimap) => act(multimap, &self.sides.sorter(side)).map(Some),
        }
    }
}

impl Drop for BatchSideView {
    fn drop(&mut self) {
        // What nobody can read any more is freed when the lock is not held any more.
        let gone = self.sides.versions().end(self.at);
        drop(gone);
    }
}

impl SideWindow {
    fn elements(&mut self) -> &mut Elements {
        match &mut self.holds {
            Holds::Iterable(elements) => elements,
            Holds::Multimap(multimap) => &mut multimap.unsorted,
        }
    }
}

fn lock(window: &Mutex<SideWindow>) -> MutexGuard<'_, SideWindow> {
    // What cannot be kept fails its job; what is there stays readable.
    window.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SideStore for BatchSideStore {
    fn append(
        &self,
        side: SideId,
        batch: &ElementBatch,
        slice: &BatchSlice,
        watermark: EventTime,
    ) -> Result<u64, StoreError> {
        let takers_of = |header: &[u8]| -> Result<Takers, StoreError> {
            let header = self.sides.header(side, header)?;
            let mut late = 0;
            // At the end of time there is nothing behind it but what stands there itself, as Go's timers may.
            let in_time = |window: &BoundedWindow| window.max_timestamp() >= watermark || watermark == EventTime::MAX;
            let open = header.windows.iter().filter_map(|window| {
                let in_time = in_time(window);
                // If nobody will read it, it does not matter whether this came in time.
                let found = self.sides.find_or_add(side, window).filter(|found| in_time || !lock(found).read);
                late += u64::from(found.is_none() && !in_time);
                found
            });
            let open: Vec<_> = open.collect();
            Ok(Takers { open, late })
        };
        if let Some(header) = batch.uniform_header().filter(|_| slice.bytes() >= SHARE_BYTES) {
            let takers = takers_of(header)?;
            // Several windows share the same memory, too.
            takers.open.iter().try_for_each(|window| lock(window).elements().share(slice))?;
            return Ok(takers.late * u64::from(slice.len()));
        }
        let mut dropped = 0;
        // Most elements repeat the header of the one before.
        let mut last: Option<(&[u8], Takers)> = None;
        for element in batch.iter(slice.first as usize, slice.last as usize) {
            let takers = match &last {
                Some((header, takers)) if *header == element.header => takers,
                Some(_) | None => &last.insert((element.header, takers_of(element.header)?)).1,
            };
            dropped += takers.late;
            takers.open.iter().try_for_each(|window| lock(window).elements().push(element.value))?;
        }
        Ok(dropped)
    }

    fn replace(
        &self,
        bundle: BundleId,
        side: SideId,
        batch: &ElementBatch,
        slice: &BatchSlice,
    ) -> Result<(), StoreError> {
        for pane in batch.iter(slice.first as usize, slice.last as usize) {
            let holds = Arc::new(Mutex::new(self.sides.of_pane(side, pane.value)?));
            for window in self.sides.header(side, pane.header)?.windows {
                self.sides.versions().stage(bundle, (side, window), holds.clone());
            }
        }
        Ok(())
    }

    fn commit(&self, bundle: BundleId) {
        // What nobody can read any more is freed when the lock is not held any more.
        let gone = self.sides.versions().commit(bundle);
        drop(gone);
    }

    fn discard(&self, bundle: BundleId) {
        let gone = self.sides.versions().discard(bundle);
        drop(gone);
    }

    fn forget(&self, side: SideId, until: EventTime) {
        // What goes is freed when no lock is held any more.
        let gone = self.sides.windows.write().unwrap_or_else(PoisonError::into_inner).forget(side, until);
        drop(gone);
        let gone = self.sides.versions().forget(side, until);
        drop(gone);
    }

    fn view(&self) -> Arc<dyn SideView> {
        let (at, changes) = self.sides.versions().begin();
        Arc::new(BatchSideView { sides: self.sides.clone(), at, changes })
    }
}

impl SideView for BatchSideView {
    fn version(&self, side: SideId) -> u64 {
        self.changes.get(&side).map_or(0, |last| last.number())
    }

    fn read_iterable(&self, side: SideId, window: &BoundedWindow, from: u64) -> Result<SidePage, StoreError> {
        let Some(found) = self.find(side, window) else { return Ok(SidePage::default()) };
        let (extents, len) = match &mut lock(&found).holds {
            Holds::Multimap(_) => return Ok(SidePage::default()),
            Holds::Iterable(elements) => {
                elements.close()?;
                (elements.extents_from(from), elements.len())
            }
        };
        if from >= len {
            return Ok(SidePage::default());
        }
        let (data, until) = read_page(&*self.sides.batches, &extents, from, |batch, index, data| {
            data.extend_from_slice(batch.get(index).value);
        })?;
        Ok(SidePage { data, next: (until < len).then_some(until) })
    }

    fn read_multimap(
        &self,
        side: SideId,
        window: &BoundedWindow,
        key: &[u8],
        from: u64,
    ) -> Result<SidePage, StoreError> {
        let runs = self.with_multimap(side, window, |multimap, sorter| multimap.runs(sorter))?.unwrap_or_default();
        let (data, next) = read_values(&runs, &self.sides.sorter(side), key, from)?;
        Ok(SidePage { data, next })
    }

    fn read_keys(&self, side: SideId, window: &BoundedWindow, from: u64) -> Result<SidePage, StoreError> {
        let run = self.with_multimap(side, window, |multimap, sorter| multimap.one_run(sorter))?.flatten();
        let Some(run) = run else { return Ok(SidePage::default()) };
        let (data, next) = read_groups(&run, &self.sides.sorter(side), from, |key, _, data| {
            data.extend_from_slice(key);
            Ok(())
        })?;
        Ok(SidePage { data, next })
    }

    fn read_entries(&self, side: SideId, window: &BoundedWindow, from: u64) -> Result<SidePage, StoreError> {
        let run = self.with_multimap(side, window, |multimap, sorter| multimap.one_run(sorter))?.flatten();
        let Some(run) = run else { return Ok(SidePage::default()) };
        let (data, next) = read_groups(&run, &self.sides.sorter(side), from, |key, values, data: &mut BytesMut| {
            let count = i32::try_from(values.len()).map_err(|_| StoreError::Io {
                doing: format!("read an entry of {side}"),
                why: "one key has more values than an iterable can count".to_owned(),
            })?;
            data.extend_from_slice(key);
            data.extend_from_slice(&count.to_be_bytes());
            values.iter().for_each(|value| data.extend_from_slice(value));
            Ok(())
        })?;
        Ok(SidePage { data, next })
    }
}

#[cfg(test)]
mod tests;
