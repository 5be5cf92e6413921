//! A page of a cell: whole extents, gathered from the layers in which they stand, oldest first.
//!
//! ```text
//!   on disk ─► in memory ─► the bundle's own ──take──► Paging ─► bytes, and where the next page begins
//! ```

use bytes::{Bytes, BytesMut};
use purlin_engine::store::Page;

/// A page holds whole appends up to about this much.
const PAGE_BYTES: usize = 1 << 20;

/// A page while it is gathered. Positions count extents.
#[derive(Debug)]
pub(super) struct Paging {
    /// Extents that stand before it, as far as they have not gone by.
    skip: u64,
    next: u64,
    first: Option<Bytes>,
    /// All of it, once there is more than one extent.
    joined: BytesMut,
    full: bool,
}

impl Paging {
    pub(super) fn new(from: Page) -> Self {
        Self { skip: from.0, next: from.0, first: None, joined: BytesMut::new(), full: false }
    }

    /// Whether nothing more is wanted.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// How many extents to pass over before the first that is wanted.
    pub(super) fn skips(&self) -> u64 {
        self.skip
    }

    /// Passes over extents, at most as many as [`Self::skips`] says.
    pub(super) fn pass(&mut self, extents: u64) {
        self.skip -= extents;
    }

    /// The next extent.
    pub(super) fn take(&mut self, extent: &Bytes) {
        if self.skip > 0 {
            self.skip -= 1;
        } else if self.full {
        } else if let Some(first) = &self.first {
            if first.len().max(self.joined.len()) + extent.len() > PAGE_BYTES {
                self.full = true;
                return;
            }
            if self.joined.is_empty() {
                self.joined = BytesMut::from(&first[..]);
            }
            self.joined.extend_from_slice(extent);
            self.next += 1;
        } else {
            self.first = Some(extent.clone());
            self.next += 1;
        }
    }

    pub(super) fn take_all(&mut self, extents: &[Bytes]) {
        let passed = self.skip.min(extents.len() as u64);
        self.skip -= passed;
        for extent in &extents[passed as usize..] {
            if self.full {
                return;
            }
            self.take(extent);
        }
    }

    pub(super) fn finish(self) -> (Bytes, Option<Page>) {
        let data = if self.joined.is_empty() { self.first.unwrap_or_default() } else { self.joined.freeze() };
        (data, self.full.then_some(Page(self.next)))
    }
}
