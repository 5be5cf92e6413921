//! The elements of one window of a side input, in order of arrival, as references to batches.
//!
//! ```text
//!   large slices ─share─► extents: batch, first..last       pages ◄─ from any element on
//!   all others   ─copy──► open batch ─full─► batch store ─► extents
//! ```
//! Where the batches are, in memory or on disk, is the batch store's affair. Does not know what an element means.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::StageId;
use purlin_engine::data::{BatchId, BatchSlice, ElementBatch, ElementBatchBuilder};
use purlin_engine::store::{BatchPlace, BatchStore, MemoryClass, Reservation, StoreError};
use purlin_model::time::EventTime;

/// A page holds whole elements up to about this much; a larger element is a page of its own.
pub(super) const PAGE_BYTES: usize = 1 << 20;

/// The open batch is closed when it holds about this much, or less where memory is scarce.
const OPEN_BYTES_MAX: u64 = 128 << 10;

/// Smaller batches would cost more to keep track of than to hold.
const OPEN_BYTES_MIN: u64 = 16 << 10;

/// There may be many windows, and parts of one.
const OPEN_SHARE: u64 = 256;

/// Some elements of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) batch: BatchId,
    pub(super) first: u32,
    pub(super) last: u32,
    /// How many elements there are up to its end.
    until: u64,
}

impl Extent {
    fn from(&self) -> u64 {
        self.until - u64::from(self.last - self.first)
    }
}

/// Elements of which the last few may still be in an open batch.
#[derive(Debug)]
pub(super) struct Elements {
    store: Arc<dyn BatchStore>,
    /// The stage that fills the side input, as whose input the batches are kept.
    stage: StageId,
    extents: Vec<Extent>,
    bytes: u64,
    open: ElementBatchBuilder,
    open_bytes: usize,
    reservation: Reservation,
}

impl Elements {
    pub(super) fn new(store: Arc<dyn BatchStore>, stage: StageId) -> Self {
        let open_bytes = (store.memory().budget() / OPEN_SHARE).clamp(OPEN_BYTES_MIN, OPEN_BYTES_MAX) as usize;
        let reservation = store.memory().reserve(MemoryClass::Sides, 0);
        Self { store, stage, extents: Vec::new(), bytes: 0, open: ElementBatchBuilder::new(), open_bytes, reservation }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.extents.is_empty() && self.open.is_empty()
    }

    /// How many bytes of elements there are, about.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds elements without copying them.
    pub(super) fn share(&mut self, slice: &BatchSlice) -> Result<(), StoreError> {
        self.close()?;
        self.store.share(&[slice.batch.id]);
        self.add(slice.batch.id, slice.first, slice.last, slice.bytes());
        Ok(())
    }

    /// Adds a copy of one element's value.
    pub(super) fn push(&mut self, value: &[u8]) -> Result<(), StoreError> {
        self.open.push(&[], EventTime::MIN, value);
        if self.open.capacity() as u64 > self.reservation.bytes() {
            self.reservation.resize(self.open.capacity() as u64);
        }
        if self.open.bytes() >= self.open_bytes {
            self.close()?;
        }
        Ok(())
    }

    /// Makes a batch of what is open.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        if !self.open.is_empty() {
            let batch = self.open.finish();
            let place = BatchPlace { stage: self.stage, lane: Lane::Any, window_max: None, soon: false };
            for kept in self.store.put(&[place], batch)? {
                self.add(kept.id, 0, kept.count, kept.bytes);
            }
            self.reservation.resize(0);
        }
        Ok(())
    }

    fn add(&mut self, batch: BatchId, first: u32, last: u32, bytes: u64) {
        self.bytes += bytes;
        let until = self.len() + u64::from(last - first);
        self.extents.push(Extent { batch, first, last, until });
    }

    /// How many elements there are, the open batch apart.
    pub(super) fn len(&self) -> u64 {
        self.extents.last().map_or(0, |extent| extent.until)
    }

    pub(super) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The extents of one page, and of more only if they are small: enough to read a page without holding any lock.
    pub(super) fn extents_from(&self, element: u64) -> Vec<Extent> {
        let at = self.extents.partition_point(|extent| extent.until <= element);
        self.extents[at..].iter().copied().take(EXTENTS_PER_PAGE).collect()
    }
}

/// How many extents a page is read from at most; where they are small, the page is too.
const EXTENTS_PER_PAGE: usize = 256;

impl Drop for Elements {
    fn drop(&mut self) {
        let batches: Vec<_> = self.extents.iter().map(|extent| extent.batch).collect();
        self.store.free(&batches);
    }
}

/// Reads values from these extents, which begin at or before this element, until a page is full: the bytes, and up to which
/// element they go.
pub(super) fn read_page(
    store: &dyn BatchStore,
    extents: &[Extent],
    from: u64,
    mut take: impl FnMut(&ElementBatch, usize, &mut BytesMut),
) -> Result<(Bytes, u64), StoreError> {
    let mut data = BytesMut::new();
    let mut at = from;
    for extent in extents {
        let batch = store.get(extent.batch)?;
        let first = extent.first + (at - extent.from()) as u32;
        for index in first..extent.last {
            let value = batch.get(index as usize).value;
            if !data.is_empty() && data.len() + value.len() > PAGE_BYTES {
                return Ok((data.freeze(), at));
            }
            take(&batch, index as usize, &mut data);
            at += 1;
        }
        if data.len() >= PAGE_BYTES {
            break;
        }
    }
    Ok((data.freeze(), at))
}
