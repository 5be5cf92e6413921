//! Pins: extents stay in the store for as long as a batch that refers to them does.
//!
//! ```text
//!   group's element in batch 9 ──pins──► extents 4, 5, 6 ◄──pins── its copy for another consumer, batch 10
//!   free 9 ─► nothing   free 10 ─► also 4, 5, 6
//! ```
//! A batch is freed when every bundle that read it has committed, so that the extents last through retries, splits and
//! bundles of several consumers. Knows ids only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use purlin_engine::data::{BatchId, Pin};

/// Which batches keep which extents.
#[derive(Debug, Default)]
pub struct Pins(Mutex<Pinned>);

#[derive(Debug, Default)]
struct Pinned {
    by_batch: HashMap<BatchId, Vec<BatchId>>,
    /// How many batches keep an extent.
    holders: HashMap<BatchId, u32>,
}

impl Pins {
    /// Nothing is kept.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps extents for batches that are about to be handed to the core.
    pub fn add(&self, pins: Vec<Pin>) {
        if pins.is_empty() {
            return;
        }
        let mut pinned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (batch, extents) in pins {
            for extent in &extents {
                *pinned.holders.entry(*extent).or_default() += 1;
            }
            pinned.by_batch.entry(batch).or_default().extend(extents);
        }
    }

    /// One batch takes in another, and keeps what that one kept.
    pub fn join(&self, into: BatchId, batch: BatchId) {
        let mut pinned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(extents) = pinned.by_batch.remove(&batch) {
            pinned.by_batch.entry(into).or_default().extend(extents);
        }
    }

    /// Extents that nobody keeps any more once these batches are gone.
    pub fn release(&self, batches: &[BatchId]) -> Vec<BatchId> {
        let mut pinned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pinned.by_batch.is_empty() {
            return Vec::new();
        }
        let mut free = Vec::new();
        for batch in batches {
            for extent in pinned.by_batch.remove(batch).into_iter().flatten() {
                if let Some(holders) = pinned.holders.get_mut(&extent) {
                    *holders -= 1;
                    if *holders == 0 {
                        pinned.holders.remove(&extent);
                        free.push(extent);
                    }
                }
            }
        }
        free
    }

    /// Whether this is an extent that somebody keeps.
    pub fn is_kept(&self, extent: BatchId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).holders.contains_key(&extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_goes_with_the_last_batch_that_refers_to_it() {
        let pins = Pins::new();
        let [a, b, x, y] = [1, 2, 10, 11].map(BatchId);
        pins.add(vec![(a, vec![x, y]), (b, vec![y])]);
        assert!(pins.is_kept(x) && pins.is_kept(y));
        assert_eq!(pins.release(&[a, BatchId(5)]), [x]);
        assert_eq!(pins.release(&[a]), [], "a batch is freed once");
        assert_eq!(pins.release(&[b]), [y]);
        assert!(!pins.is_kept(y));
    }

    #[test]
    fn a_batch_keeps_what_the_batches_kept_that_were_joined_to_it() {
        let pins = Pins::new();
        let [a, b, x, y] = [1, 2, 10, 11].map(BatchId);
        pins.add(vec![(a, vec![x, y]), (b, vec![y])]);
        pins.join(a, b);
        assert_eq!(pins.release(&[b]), [], "it is a part of the other one now");
        assert_eq!(pins.release(&[a]), [x, y]);
    }
}
