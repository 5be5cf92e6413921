//! Side inputs: per window a list of values, and for multimaps a list per key, of any size.
//!
//! ```text
//!   append ─► Elements: references to batches ─────────────────────────► read_iterable, page by page
//!                 └─ the first read by key ─► Multimap: sorted runs ───► read_multimap, read_keys, read_entries
//! ```
//! The bytes are in the batch store, in memory or on disk; here is only where they are.

mod elements;
mod multimap;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::BytesMut;
use purlin_engine::core::stage::{JobGraph, SideAccess, SideId};
use purlin_engine::data::{BatchSlice, ElementBatch};
use purlin_engine::store::{BatchStore, SidePage, SideStore, StoreError};
use purlin_model::element::Header;
use purlin_model::window::BoundedWindow;

use elements::{Elements, read_page};
use multimap::{Multimap, Sorter, read_groups, read_values};

/// Slices that are smaller are copied together, so that a page is not read from very many batches.
const SHARE_BYTES: u64 = 64 << 10;

/// Keeps side inputs for the length of the job.
#[derive(Debug)]
pub struct BatchSideStore {
    graph: Arc<JobGraph>,
    batches: Arc<dyn BatchStore>,
    windows: RwLock<BTreeMap<(SideId, BoundedWindow), SharedWindow>>,
}

/// Each has a lock of its own: one is read while another is filled.
type SharedWindow = Arc<Mutex<SideWindow>>;

#[derive(Debug)]
enum SideWindow {
    Iterable(Elements),
    Multimap(Multimap),
}

impl BatchSideStore {
    /// An empty store for the side inputs of this job, whose batches are kept here.
    pub fn new(graph: Arc<JobGraph>, batches: Arc<dyn BatchStore>) -> Self {
        Self { graph, batches, windows: RwLock::default() }
    }

    fn find(&self, side: SideId, window: &BoundedWindow) -> Option<SharedWindow> {
        let windows = self.windows.read().unwrap_or_else(PoisonError::into_inner);
        windows.get(&(side, window.clone())).cloned()
    }

    fn find_or_add(&self, side: SideId, window: &BoundedWindow) -> SharedWindow {
        if let Some(found) = self.find(side, window) {
            return found;
        }
        let mut windows = self.windows.write().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let spec = self.graph.side(side);
            let elements = Elements::new(self.batches.clone(), spec.materialize);
            Arc::new(Mutex::new(match spec.access {
                SideAccess::Iterable => SideWindow::Iterable(elements),
                SideAccess::Multimap => SideWindow::Multimap(Multimap::new(elements)),
            }))
        };
        windows.entry((side, window.clone())).or_insert_with(new).clone()
    }

    /// Does something with the multimap of a window, if there is one.
    fn with_multimap<T>(
        &self,
        side: SideId,
        window: &BoundedWindow,
        act: impl FnOnce(&mut Multimap, &Sorter<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let Some(found) = self.find(side, window) else { return Ok(None) };
        match &mut *lock(&found) {
            SideWindow::Iterable(_) => Ok(None),
            SideWindow::Multimap(multimap) => act(multimap, &self.sorter(side)).map(Some),
        }
    }

    fn sorter(&self, side: SideId) -> Sorter<'_> {
        Sorter { store: &self.batches, spec: self.graph.side(side) }
    }
}

impl SideWindow {
    fn elements(&mut self) -> &mut Elements {
        match self {
            Self::Iterable(elements) => elements,
            Self::Multimap(multimap) => &mut multimap.unsorted,
        }
    }
}

fn lock(window: &Mutex<SideWindow>) -> MutexGuard<'_, SideWindow> {
    // What cannot be kept fails its job; what is there stays readable.
    window.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SideStore for BatchSideStore {
    fn append(&self, side: SideId, batch: &ElementBatch, slice: &BatchSlice) -> Result<(), StoreError> {
        let coder = self.graph.side(side).windows;
        let windows_of = |header: &[u8]| -> Result<Vec<SharedWindow>, StoreError> {
            let header = Header::decode(&mut &header[..], coder).map_err(|why| StoreError::Io {
                doing: format!("read the windows of an element of {side}"),
                why: why.to_string(),
            })?;
            Ok(header.windows.iter().map(|window| self.find_or_add(side, window)).collect())
        };
        if let Some(header) = batch.uniform_header().filter(|_| slice.bytes() >= SHARE_BYTES) {
            // Several windows share the same memory, too.
            return windows_of(header)?.iter().try_for_each(|window| lock(window).elements().share(slice));
        }
        // Most elements repeat the header of the one before.
        let mut last: Option<(&[u8], Vec<SharedWindow>)> = None;
        for element in batch.iter(slice.first as usize, slice.last as usize) {
            let windows = match &last {
                Some((header, windows)) if *header == element.header => windows,
                Some(_) | None => &last.insert((element.header, windows_of(element.header)?)).1,
            };
            windows.iter().try_for_each(|window| lock(window).elements().push(element.value))?;
        }
        Ok(())
    }

    fn read_iterable(&self, side: SideId, window: &BoundedWindow, from: u64) -> Result<SidePage, StoreError> {
        let Some(found) = self.find(side, window) else { return Ok(SidePage::default()) };
        let (extents, len) = match &mut *lock(&found) {
            SideWindow::Multimap(_) => return Ok(SidePage::default()),
            SideWindow::Iterable(elements) => {
                elements.close()?;
                (elements.extents_from(from), elements.len())
            }
        };
        if from >= len {
            return Ok(SidePage::default());
        }
        let (data, until) = read_page(&*self.batches, &extents, from, |batch, index, data| {
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
        let (data, next) = read_values(&runs, &self.sorter(side), key, from)?;
        Ok(SidePage { data, next })
    }

    fn read_keys(&self, side: SideId, window: &BoundedWindow, from: u64) -> Result<SidePage, StoreError> {
        let run = self.with_multimap(side, window, |multimap, sorter| multimap.one_run(sorter))?.flatten();
        let Some(run) = run else { return Ok(SidePage::default()) };
        let (data, next) = read_groups(&run, &self.sorter(side), from, |key, _, data| {
            data.extend_from_slice(key);
            Ok(())
        })?;
        Ok(SidePage { data, next })
    }

    fn read_entries(&self, side: SideId, window: &BoundedWindow, from: u64) -> Result<SidePage, StoreError> {
        let run = self.with_multimap(side, window, |multimap, sorter| multimap.one_run(sorter))?.flatten();
        let Some(run) = run else { return Ok(SidePage::default()) };
        let (data, next) = read_groups(&run, &self.sorter(side), from, |key, values, data: &mut BytesMut| {
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
