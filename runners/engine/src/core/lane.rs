//! Lanes: the queues in front of a stage, one per key group where keys matter.

use std::collections::VecDeque;
use std::fmt;

use purlin_model::key_group::KeyGroup;
use purlin_model::time::EventTime;

use crate::data::{BatchId, BatchRef, BatchSlice};

/// Which queue of a stage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The one queue of a stage without keys; any number of bundles may take from it.
    Any,
    /// The queue of one key group; at most one running bundle takes from it.
    Group(KeyGroup),
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Group(group) => write!(f, "g{}", group.index()),
        }
    }
}

/// A batch that has grown to this size, in bytes, takes no others in.
const JOINED_BYTES_MAX: u64 = 512 << 10;

/// A batch became part of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The one that has grown, as it was before.
    pub into: BatchRef,
    /// The one that is gone.
    pub batch: BatchId,
}

/// The pending input of one lane, in order of arrival.
#[derive(Clone, Debug, Default)]
pub struct LaneQueue {
    slices: VecDeque<BatchSlice>,
    elements: u64,
    bytes: u64,
}

impl LaneQueue {
    /// Adds behind what is there.
    pub fn push(&mut self, slice: BatchSlice) {
        self.elements += u64::from(slice.len());
        self.bytes += slice.bytes();
        self.slices.push_back(slice);
    }

    /// Adds behind what is there. A small batch becomes part of the one before it, if that is small too and so many batches
    /// wait already: in a lane that is slow, references must not pile up.
    pub fn push_or_join(&mut self, slice: BatchSlice, join_behind: usize) -> Option<Joined> {
        if self.slices.len() >= join_behind
            && let Some(last) = self.slices.back_mut()
            && last.is_whole()
            && slice.is_whole()
            && last.batch.window_max == slice.batch.window_max
            && last.batch.bytes + slice.batch.bytes <= JOINED_BYTES_MAX
            && let Some(count) = last.batch.count.checked_add(slice.batch.count)
        {
            let into = last.batch;
            last.batch.count = count;
            last.last = count;
            last.batch.bytes += slice.batch.bytes;
            last.batch.min_timestamp = into.min_timestamp.min(slice.batch.min_timestamp);
            self.elements += u64::from(slice.len());
            self.bytes += slice.batch.bytes;
            return Some(Joined { into, batch: slice.batch.id });
        }
        self.push(slice);
        None
    }

    /// Puts input back in front, in its old order: what a failed bundle had taken.
    pub fn push_front_all(&mut self, slices: Vec<BatchSlice>) {
        for slice in slices.into_iter().rev() {
            self.elements += u64::from(slice.len());
            self.bytes += slice.bytes();
            self.slices.push_front(slice);
        }
    }

    /// Takes from the front up to both bounds, at least one element if there is one. Also tells whether the last
    /// slice was cut, so that its rest is a slice of its own now.
    pub fn take(&mut self, elements_max: u64, bytes_max: u64) -> (Vec<BatchSlice>, bool) {
        let mut cut = false;
        let mut taken = Vec::new();
        let (mut elements, mut bytes) = (0, 0);
        while let Some(slice) = self.slices.pop_front() {
            let room = elements_max.saturating_sub(elements).max(u64::from(taken.is_empty()));
            let by_bytes = slice.elements_within(bytes_max.saturating_sub(bytes)).max(u32::from(taken.is_empty()));
            let keep = u64::from(slice.len()).min(room).min(u64::from(by_bytes)) as u32;
            if keep == 0 {
                self.slices.push_front(slice);
                break;
            }
            let (first, rest) = slice.split_at(keep);
            elements += u64::from(first.len());
            bytes += first.bytes();
            taken.push(first);
            if let Some(rest) = rest {
                cut = true;
                self.slices.push_front(rest);
                break;
            }
        }
        self.elements -= elements;
        // The bytes of a cut batch are in proportion, so that rounding may be off by one per cut.
        self.bytes = if self.slices.is_empty() { 0 } else { self.bytes.saturating_sub(bytes) };
        (taken, cut)
    }

    /// The least timestamp in the queue.
    pub fn min_timestamp(&self) -> Option<EventTime> {
        self.slices.iter().map(BatchSlice::min_timestamp).min()
    }

    /// How many elements wait.
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Takes everything.
    pub fn drain(&mut self) -> Vec<BatchSlice> {
        self.elements = 0;
        self.bytes = 0;
        std::mem::take(&mut self.slices).into()
    }
}
