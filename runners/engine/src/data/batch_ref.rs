//! References to batches: all that the core sees of data.

use std::fmt;

use purlin_model::time::EventTime;

/// A batch in the batch store, counted from 0 and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch{}", self.0)
    }
}

/// A batch, without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRef {
    /// Where the payload is.
    pub id: BatchId,
    /// How many elements.
    pub count: u32,
    /// How many bytes of values and headers.
    pub bytes: u64,
    /// The least timestamp.
    pub min_timestamp: EventTime,
    /// Where batches are cut by window: the last instant of that window.
    pub window_max: Option<EventTime>,
}

/// Some elements of a batch: `first..last` by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSlice {
    /// The batch.
    pub batch: BatchRef,
    /// The first position.
    pub first: u32,
    /// One behind the last position.
    pub last: u32,
}

impl BatchSlice {
    /// All elements of a batch.
    pub fn whole(batch: BatchRef) -> Self {
        Self { batch, first: 0, last: batch.count }
    }

    /// How many elements.
    pub fn len(&self) -> u32 {
        self.last - self.first
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.first == self.last
    }

    /// Whether this is the whole batch.
    pub fn is_whole(&self) -> bool {
        self.first == 0 && self.last == self.batch.count
    }

    /// About how many bytes: the batch's own, in proportion.
    pub fn bytes(&self) -> u64 {
        if self.is_whole() {
            return self.batch.bytes;
        }
        (u128::from(self.batch.bytes) * u128::from(self.len()) / u128::from(self.batch.count.max(1))) as u64
    }

    /// A lower bound for the timestamps: the whole batch's.
    pub fn min_timestamp(&self) -> EventTime {
        self.batch.min_timestamp
    }

    /// About how many leading elements fit into this many bytes.
    pub fn elements_within(&self, bytes: u64) -> u32 {
        if bytes >= self.bytes() {
            return self.len();
        }
        (u128::from(bytes) * u128::from(self.batch.count) / u128::from(self.batch.bytes.max(1))) as u32
    }

    /// The first `count` elements, and the others if there are any.
    pub fn split_at(self, count: u32) -> (Self, Option<Self>) {
        let cut = (self.first + count).min(self.last);
        let first = Self { last: cut, ..self };
        let rest = Self { first: cut, ..self };
        (first, (!rest.is_empty()).then_some(rest))
    }
}
