//! What one bundle costs the runner, noted by whoever does the work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use purlin_engine::data::{BatchSlice, ElementBatch};
use purlin_model::coder::Coder;

use super::key_samples::KeySamples;
use super::stage::WorkTimes;

/// One sample of a key for so many bytes of a batch, and at least one per batch.
const SAMPLE_BYTES: u64 = 64 << 10;

/// How many keys of one batch are looked at: a batch of a megabyte gets as many as its size asks for.
const SAMPLES_PER_BATCH_MAX: u64 = 16;

/// The runner's own work for a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Getting the input out of the batch store, from disk if it is there.
    Read,
    /// Making messages for a worker of it.
    Encode,
    /// Taking what a worker or a kernel emits: finding elements and keys, copying into lanes.
    Partition,
    /// Grouping, sorting, merging windows, keeping side inputs.
    Group,
    /// State, timers and side inputs.
    State,
}

/// Gathers the times of one bundle. Shared by the threads that work on it, without a lock where they are noted.
#[derive(Debug, Default)]
pub struct BundleMeter {
    read_ns: AtomicU64,
    encode_ns: AtomicU64,
    partition_ns: AtomicU64,
    group_ns: AtomicU64,
    state_ns: AtomicU64,
    queued_ns: AtomicU64,
    blocked_ns: AtomicU64,
    keys: Mutex<KeySamples>,
}

impl BundleMeter {
    /// Does some work, and notes how long it took.
    #[inline]
    pub fn work<T>(&self, work: Work, act: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = act();
        self.worked(work, began.elapsed());
        done
    }

    /// Notes work that was done.
    pub fn worked(&self, work: Work, time: Duration) {
        let total = match work {
            Work::Read => &self.read_ns,
            Work::Encode => &self.encode_ns,
            Work::Partition => &self.partition_ns,
            Work::Group => &self.group_ns,
            Work::State => &self.state_ns,
        };
        total.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Notes how long the bundle waited until a worker or a thread took it.
    pub fn queued(&self, time: Duration) {
        self.queued_ns.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Notes how long input could not be sent, because the worker had not read what it was sent before.
    pub fn blocked(&self, time: Duration) {
        self.blocked_ns.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Looks at some keys of a batch that the bundle reads.
    pub(crate) fn sample_keys(&self, coder: &Coder, batch: &ElementBatch, slice: &BatchSlice) {
        let length = u64::from(slice.len());
        let samples = (slice.bytes() / SAMPLE_BYTES).clamp(1, SAMPLES_PER_BATCH_MAX).min(length);
        if samples == 0 {
            return;
        }
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        for sample in 0..samples {
            // The middle of each of so many equal parts.
            let position = u64::from(slice.first) + (2 * sample + 1) * length / (2 * samples);
            // What cannot be read fails the bundle elsewhere, with a text.
            if let Ok(key) = coder.key_of(batch.get(position as usize).value) {
                keys.add(key, length / samples);
            }
        }
    }

    /// The keys that were looked at.
    pub(super) fn take_keys(&self) -> KeySamples {
        std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The runner's work so far.
    pub fn work_times(&self) -> WorkTimes {
        let micros = |ns: &AtomicU64| ns.load(Ordering::Relaxed) / 1_000;
        WorkTimes {
            read_us: micros(&self.read_ns),
            encode_us: micros(&self.encode_ns),
            partition_us: micros(&self.partition_ns),
            group_us: micros(&self.group_ns),
            state_us: micros(&self.state_ns),
        }
    }

    /// How long the bundle waited until it was taken.
    pub fn queued_us(&self) -> u64 {
        self.queued_ns.load(Ordering::Relaxed) / 1_000
    }

    /// How long input could not be sent.
    pub fn blocked_us(&self) -> u64 {
        self.blocked_ns.load(Ordering::Relaxed) / 1_000
    }
}
