//! Memory, as those who need it see it: a reservation for every buffer, refused or granted at once.
//!
//! ```text
//!   batches, writers, readers, kernels, sides, state ──try_reserve──► Memory ─► MemoryPool: the broker's account of a job
//!                                      Reservation │ MustSpill             (idle lanes go to disk before it refuses)
//! ```
//! Nobody ever waits for memory: who is refused writes out, or does with less. Does not know who else reserves.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// What memory is for; `purlin` tells where a job's memory is by these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryClass {
    /// What the program needs in any case: messages under way, windows of connections, caches.
    Stack,
    /// Batches that wait in lanes.
    Batches,
    /// What writers gather before it becomes batches.
    Writers,
    /// Batches that were read back from disk, as long as somebody looks at them.
    Readers,
    /// Working memory of groupings and sorts.
    Kernels,
    /// Side inputs.
    Sides,
    /// State and timers of keys.
    State,
}

impl MemoryClass {
    /// All of them, in order.
    pub const ALL: [Self; 7] =
        [Self::Stack, Self::Batches, Self::Writers, Self::Readers, Self::Kernels, Self::Sides, Self::State];
}

/// The budget is used up: write out, or do with less.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{bytes} bytes for {class:?} do not fit into the memory budget")]
pub struct MustSpill {
    /// What was wanted.
    pub class: MemoryClass,
    /// How much.
    pub bytes: u64,
}

/// An account of memory: the broker's, for one job. May do IO before it refuses, so that only data threads call it.
///
/// Law: what was taken is given back exactly once.
pub trait MemoryPool: Send + Sync + fmt::Debug {
    /// Takes memory if there is, or can be made, room within the budget.
    ///
    /// # Errors
    /// If there is none.
    fn try_take(&self, class: MemoryClass, bytes: u64) -> Result<(), MustSpill>;

    /// Takes memory that cannot be refused, because it is in use already or the job could not go on. Makes room if it can.
    fn take(&self, class: MemoryClass, bytes: u64);

    /// Gives memory back. Never blocks.
    fn give_back(&self, class: MemoryClass, bytes: u64);

    /// How much there is for data, for all jobs together; to size buffers by.
    fn budget(&self) -> u64;
}

/// A handle on an account of memory; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pool: Option<Arc<dyn MemoryPool>>,
}

impl Memory {
    /// Memory without bounds and without books: for tests, and for what is small.
    pub fn unbounded() -> Self {
        Self::default()
    }

    /// Memory from this account.
    pub fn of(pool: Arc<dyn MemoryPool>) -> Self {
        Self { pool: Some(pool) }
    }

    /// Memory, or the word that there is none.
    ///
    /// # Errors
    /// If the budget is used up and nothing idle can make room.
    pub fn try_reserve(&self, class: MemoryClass, bytes: u64) -> Result<Reservation, MustSpill> {
        if let Some(pool) = self.pool.as_ref().filter(|_| bytes > 0) {
            pool.try_take(class, bytes)?;
        }
        Ok(Reservation { memory: self.clone(), class, bytes })
    }

    /// Memory that is used in any case.
    pub fn reserve(&self, class: MemoryClass, bytes: u64) -> Reservation {
        if let Some(pool) = self.pool.as_ref().filter(|_| bytes > 0) {
            pool.take(class, bytes);
        }
        Reservation { memory: self.clone(), class, bytes }
    }

    /// How much there is for data; to size buffers by. Without bounds: as much as anybody could want.
    pub fn budget(&self) -> u64 {
        self.pool.as_ref().map_or(u64::MAX, |pool| pool.budget())
    }
}

/// Memory that is reserved as long as this lives.
#[derive(Debug)]
pub struct Reservation {
    memory: Memory,
    class: MemoryClass,
    bytes: u64,
}

impl Reservation {
    /// How much.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes it this much, which cannot be refused.
    pub fn resize(&mut self, bytes: u64) {
        if let Some(pool) = &self.memory.pool {
            match bytes.checked_sub(self.bytes) {
                Some(0) => {}
                Some(more) => pool.take(self.class, more),
                None => pool.give_back(self.class, self.bytes - bytes),
            }
        }
        // Without bounds too: who asks hears what he said.
        self.bytes = bytes;
    }

    /// Makes it this much, if more can be had.
    ///
    /// # Errors
    /// If it is more and there is none; the reservation then stays as it was.
    pub fn try_resize(&mut self, bytes: u64) -> Result<(), MustSpill> {
        if let (Some(pool), Some(more)) = (&self.memory.pool, bytes.checked_sub(self.bytes).filter(|more| *more > 0)) {
            pool.try_take(self.class, more)?;
            self.bytes = bytes;
            return Ok(());
        }
        self.resize(bytes);
        Ok(())
    }

    /// Takes over what `other` has, which is of the same account and class. Asks nobody, and so never does IO.
    pub fn absorb(&mut self, mut other: Self) {
        debug_assert!(self.class == other.class, "what is for {:?} becomes for {:?}", other.class, self.class);
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(pool) = self.memory.pool.as_ref().filter(|_| self.bytes > 0) {
            pool.give_back(self.class, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever shares a reservation counts on what it says, bounds or none.
    #[test]
    fn without_bounds_a_reservation_is_as_large_as_it_was_made() {
        let mut reservation = Memory::default().reserve(MemoryClass::Writers, 0);
        reservation.resize(70);
        assert_eq!(reservation.bytes(), 70);
        assert_eq!(reservation.try_resize(90), Ok(()));
        reservation.resize(20);
        assert_eq!(reservation.bytes(), 20);
    }
}
