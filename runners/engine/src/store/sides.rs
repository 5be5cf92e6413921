//! The side store: materialised side inputs, written by kernels and read by workers page by page.
//!
//! ```text
//!   append ──────────► windows, readable when they are complete ─────────────┐
//!   replace ─► staged ─commit─► the next version of a window ─view─► what a bundle sees, from its beginning to its end
//! ```
//! Does not know when anything may be read: the core does.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use purlin_model::time::EventTime;
use purlin_model::window::BoundedWindow;

use crate::core::action::BundleId;
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
    /// Adds the elements of a slice of this batch, each to every window that it stands in, unless that ends before the
    /// watermark and was read already; tells how many it has dropped. The slice's batch is in the batch store of the same job, and may
    /// be shared rather than copied.
    ///
    /// # Errors
    /// If they cannot be kept, or an element cannot be read.
    fn append(
        &self,
        side: SideId,
        batch: &ElementBatch,
        slice: &BatchSlice,
        watermark: EventTime,
    ) -> Result<u64, StoreError>;

    /// Takes panes, each an iterable of elements, in order. When the bundle commits, the last of each window is what the
    /// window holds, and nothing of what it held before.
    ///
    /// # Errors
    /// If they cannot be kept, or a pane cannot be read.
    fn replace(
        &self,
        bundle: BundleId,
        side: SideId,
        batch: &ElementBatch,
        slice: &BatchSlice,
    ) -> Result<(), StoreError>;

    /// What a bundle has replaced counts: views that begin from now on see it.
    fn commit(&self, bundle: BundleId);

    /// What a bundle has replaced does not count.
    fn discard(&self, bundle: BundleId);

    /// Nobody reads windows of a side input any more whose last instant is before this one: what they hold goes, and nothing comes
    /// into them.
    fn forget(&self, side: SideId, until: EventTime);

    /// All side inputs as they are now. What is replaced while the view lives does not show in it.
    fn view(&self) -> Arc<dyn SideView>;
}

/// The side inputs of a job, as one bundle sees them.
pub trait SideView: Send + Sync + fmt::Debug {
    /// Counts how often a side input was replaced up to this view; who has read it under the same number need not read again.
    fn version(&self, side: SideId) -> u64;

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
