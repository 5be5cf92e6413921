//! The side store: materialised side inputs, read by workers page by page.

use std::fmt;

use bytes::Bytes;
use purlin_model::window::BoundedWindow;

use crate::core::stage::SideId;
use crate::data::{BatchSlice, ElementBatch};
use crate::store::StoreError;

/// A page of a side input: whole elements behind one another.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SidePage {
    /// Nested encodings.
    pub data: Bytes,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// Keeps side inputs, by window and, for multimaps, by key.
pub trait SideStore: Send + Sync + fmt::Debug {
    /// Adds the elements of a slice of this batch, each to every window that it stands in. The slice's batch is in the
    /// batch store of the same job, and may be shared rather than copied.
    ///
    /// # Errors
    /// If they cannot be kept, or an element cannot be read.
    fn append(&self, side: SideId, batch: &ElementBatch, slice: &BatchSlice) -> Result<(), StoreError>;

    /// All elements of a window. A window that nothing was added to is empty.
    ///
    /// # Errors
    /// If they cannot be read back.
    fn read_iterable(&self, side: SideId, window: &BoundedWindow, from: u64) -> Result<SidePage, StoreError>;

    /// All values of a key in a window.
    ///
    /// # Errors
    /// If they cannot be read back.
    fn read_multimap(
        &self,
        side: SideId,
        window: &BoundedWindow,
        key: &[u8],
        from: u64,
    ) -> Result<SidePage, StoreError>;

    /// All keys of a window, each once.
    ///
    /// # Errors
    /// If they cannot be read back.
    fn read_keys(&self, side: SideId, window: &BoundedWindow, from: u64) -> Result<SidePage, StoreError>;

    /// All keys of a window, each once, with its values: as `KV<K, Iterable<V>>`, whose iterables tell their length.
    ///
    /// # Errors
    /// If they cannot be read back.
    fn read_entries(&self, side: SideId, window: &BoundedWindow, from: u64) -> Result<SidePage, StoreError>;
}
