//! The memory broker: one per process, it keeps the books of all memory that data takes, and makes room by having idle
//! data written out.
//!
//! ```text
//!   job 1: batches, writers, state ─take─► JobMemory ─┐
//!   job 2: …                       ─take─► JobMemory ─┴─► MemoryBroker: used ≤ budget − what the program itself needs
//!                                                           │ over budget: spill(bytes), asked of the largest job
//!                                                           ▼ level changed: told to whoever listens
//! ```
//! Nobody waits for it: it grants, or refuses. Does not know what the memory is used for, nor how it is written out.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use purlin_engine::core::event::MemoryLevel;
use purlin_engine::store::{Memory, MemoryClass, MemoryPool, MustSpill};
use thiserror::Error;

/// With less than this for data nothing would ever be in memory for long enough to be of use.
const DATA_BYTES_MIN: u64 = 6 << 20;

/// Of what is left for data, this part is for what the allocator holds back between buffers of different sizes. It is more than
/// data itself while gigabytes go through; with a third, a process stays below twice its budget (`benchmarks/larger.py`).
const ALLOCATOR_SHARE: u64 = 3;

/// Spilling frees at least this share of the budget, so that it is not done for a few bytes each time.
const SPILL_SHARE: u64 = 128;

/// How often room is made for one request; others may take what was freed.
const ATTEMPTS_MAX: usize = 4;

/// A budget with which nothing could run.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "a memory budget of {} is too small: {needs}; give at least --memory-budget {}MiB",
    mebibytes(*budget), least.div_ceil(1 << 20)
)]
pub struct BudgetTooSmall {
    /// What was given.
    pub budget: u64,
    /// The least that would do.
    pub least: u64,
    /// What it is needed for.
    pub needs: String,
}

/// An amount as people read it: what is less than a mebibyte is no zero of them.
fn mebibytes(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{bytes} bytes") } else { format!("{} MiB", bytes >> 20) }
}

/// What can write out data that nobody uses at the moment.
pub trait Spill: Send + Sync + fmt::Debug {
    /// Writes out about this much, and tells how much memory is free because of it. Less, or nothing, if there is nothing
    /// idle or it cannot be written.
    fn spill(&self, bytes: u64) -> u64;
}

type Listener = Box<dyn Fn(MemoryLevel) + Send + Sync>;

/// Keeps the books of a process.
pub struct MemoryBroker {
    /// For data: what is left of the budget beside what the program itself needs.
    budget: u64,
    used: AtomicU64,
    peak: AtomicU64,
    spilled: AtomicU64,
    high: AtomicBool,
    jobs: Mutex<Vec<Weak<JobMemory>>>,
    listeners: Mutex<Vec<(u64, Listener)>>,
    next_listener: AtomicU64,
}

impl fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBroker")
            .field("budget", &self.budget)
            .field("used", &self.used)
            .field("peak", &self.peak)
            .finish_non_exhaustive()
    }
}

impl MemoryBroker {
    /// A broker of this budget, of which some is needed for things that are there in any case.
    ///
    /// # Errors
    /// If what is left is too little, with the least budget that would do.
    pub fn new(budget: u64, fixed: &[(&str, u64)]) -> Result<Arc<Self>, BudgetTooSmall> {
        let taken: u64 = fixed.iter().map(|(_, bytes)| bytes).sum();
        let least = taken + DATA_BYTES_MIN * ALLOCATOR_SHARE / (ALLOCATOR_SHARE - 1);
        if budget < least {
            let needs = fixed.iter().chain(&[("data", DATA_BYTES_MIN)]);
            let needs: Vec<_> = needs.map(|(what, bytes)| format!("{what} {} MiB", bytes.div_ceil(1 << 20))).collect();
            return Err(BudgetTooSmall { budget, least, needs: format!("it needs {}", needs.join(", ")) });
        }
        let left = budget - taken;
        Ok(Self::for_data(left - left / ALLOCATOR_SHARE))
    }

    /// A broker of this much for data alone.
    pub fn for_data(budget: u64) -> Arc<Self> {
        Arc::new(Self {
            budget,
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            spilled: AtomicU64::new(0),
            high: AtomicBool::new(false),
            jobs: Mutex::default(),
            listeners: Mutex::default(),
            next_listener: AtomicU64::new(0),
        })
    }

    /// The account of a new job.
    pub fn job(self: &Arc<Self>) -> Arc<JobMemory> {
        let job = Arc::new(JobMemory {
            broker: self.clone(),
            used: AtomicU64::new(0),
            by_class: Default::default(),
            spills: Mutex::default(),
        });
        let mut jobs = lock(&self.jobs);
        jobs.retain(|job| job.strong_count() > 0);
        jobs.push(Arc::downgrade(&job));
        job
    }

    /// How much there is for data.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// How much is reserved now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The most that ever was reserved.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// How much was freed by writing out, all in all.
    pub fn spilled(&self) -> u64 {
        self.spilled.load(Ordering::Relaxed)
    }

    /// Whether memory is short.
    pub fn level(&self) -> MemoryLevel {
        if self.high.load(Ordering::Relaxed) { MemoryLevel::High } else { MemoryLevel::Low }
    }

    /// Has this called whenever the level changes, as long as what is returned lives. It must not block.
    pub fn on_level(self: &Arc<Self>, listener: impl Fn(MemoryLevel) + Send + Sync + 'static) -> LevelWatch {
        let id = self.next_listener.fetch_add(1, Ordering::Relaxed);
        lock(&self.listeners).push((id, Box::new(listener)));
        LevelWatch { broker: self.clone(), id }
    }

    fn take_within_budget(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.budget);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        if let Ok(before) = taken {
            self.note(before + bytes);
        }
        taken.is_ok()
    }

    fn note(&self, used: u64) {
        self.peak.fetch_max(used, Ordering::Relaxed);
        if used > self.budget / 4 * 3 && !self.high.load(Ordering::Relaxed) {
            self.tell(true);
        }
    }

    /// Low again only when much is free, so that the level does not flutter.
    fn give_back(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "more was given back than taken");
        if before.saturating_sub(bytes) < self.budget / 2 && self.high.load(Ordering::Relaxed) {
            self.tell(false);
        }
    }

    fn tell(&self, high: bool) {
        let listeners = lock(&self.listeners);
        // Decided under the lock, so that listeners hear of changes in the order in which they happened.
        if self.high.swap(high, Ordering::Relaxed) != high {
            let level = if high { MemoryLevel::High } else { MemoryLevel::Low };
            listeners.iter().for_each(|(_, listener)| listener(level));
        }
    }

    /// Has data written out, of the job that has most first.
    fn make_room(&self, bytes: u64) -> bool {
        let over = (self.used() + bytes).saturating_sub(self.budget);
        let wanted = over.max(self.budget / SPILL_SHARE);
        let mut jobs: Vec<_> = lock(&self.jobs).iter().filter_map(Weak::upgrade).collect();
        // By what each has at one moment: it changes meanwhile, and a sort whose order changes panics.
        jobs.sort_by_cached_key(|job| std::cmp::Reverse(job.used()));
        let freed = jobs.iter().map(|job| job.spill(wanted)).find(|freed| *freed > 0).unwrap_or(0);
        self.spilled.fetch_add(freed, Ordering::Relaxed);
        freed > 0
    }
}

/// Somebody listens to the level of memory, as long as this lives.
#[derive(Debug)]
pub struct LevelWatch {
    broker: Arc<MemoryBroker>,
    id: u64,
}

impl Drop for LevelWatch {
    fn drop(&mut self) {
        lock(&self.broker.listeners).retain(|(id, _)| *id != self.id);
    }
}

/// The account of one job.
#[derive(Debug)]
pub struct JobMemory {
    broker: Arc<MemoryBroker>,
    used: AtomicU64,
    by_class: [AtomicU64; MemoryClass::ALL.len()],
    /// Who can write out: batches first, then the others, in the order in which they came.
    spills: Mutex<Vec<Weak<dyn Spill>>>,
}

impl JobMemory {
    /// A handle for those who need memory.
    pub fn memory(self: &Arc<Self>) -> Memory {
        Memory::of(self.clone())
    }

    /// Whom to ask when there is no room.
    pub fn spills_by(&self, spill: Weak<dyn Spill>) {
        lock(&self.spills).push(spill);
    }

    /// How much the job has reserved.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// How much of it for this.
    pub fn used_for(&self, class: MemoryClass) -> u64 {
        self.by_class[class as usize].load(Ordering::Relaxed)
    }

    /// The books of the process.
    pub fn broker(&self) -> &Arc<MemoryBroker> {
        &self.broker
    }

    fn spill(&self, bytes: u64) -> u64 {
        let spills: Vec<_> = lock(&self.spills).iter().filter_map(Weak::upgrade).collect();
        let mut freed = 0;
        for spill in spills {
            if freed < bytes {
                freed += spill.spill(bytes - freed);
            }
        }
        freed
    }

    fn count(&self, class: MemoryClass, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.by_class[class as usize].fetch_add(bytes, Ordering::Relaxed);
    }
}

impl MemoryPool for JobMemory {
    fn try_take(&self, class: MemoryClass, bytes: u64) -> Result<(), MustSpill> {
        for attempt in 0..ATTEMPTS_MAX {
            if self.broker.take_within_budget(bytes) {
                self.count(class, bytes);
                return Ok(());
            }
            if attempt + 1 == ATTEMPTS_MAX || !self.broker.make_room(bytes) {
                break;
            }
        }
        Err(MustSpill { class, bytes })
    }

    fn take(&self, class: MemoryClass, bytes: u64) {
        if self.try_take(class, bytes).is_err() {
            let before = self.broker.used.fetch_add(bytes, Ordering::Relaxed);
            self.broker.note(before + bytes);
            self.count(class, bytes);
        }
    }

    fn give_back(&self, class: MemoryClass, bytes: u64) {
        self.by_class[class as usize].fetch_sub(bytes, Ordering::Relaxed);
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.broker.give_back(bytes);
    }

    fn budget(&self) -> u64 {
        self.broker.budget
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is whole at every point where a thread could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data that can be written out.
    #[derive(Debug)]
    struct Idle {
        job: Mutex<Vec<purlin_engine::store::Reservation>>,
    }

    impl Spill for Idle {
        fn spill(&self, bytes: u64) -> u64 {
            let mut freed = 0;
            while freed < bytes
                && let Some(reservation) = lock(&self.job).pop()
            {
                freed += reservation.bytes();
            }
            freed
        }
    }

    fn idle(job: &Arc<JobMemory>, pieces: u64) -> Arc<Idle> {
        let memory = job.memory();
        let reserve = |_| memory.try_reserve(MemoryClass::Batches, 100).unwrap();
        let idle = Arc::new(Idle { job: Mutex::new((0..pieces).map(reserve).collect()) });
        let weak: Weak<dyn Spill> = Arc::downgrade(&idle) as _;
        job.spills_by(weak);
        idle
    }

    #[test]
    fn a_budget_that_is_too_small_says_what_would_do() {
        let refused = MemoryBroker::new(64 << 20, &[("connections", 40 << 20), ("workers", 32 << 20)]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "a memory budget of 64 MiB is too small: it needs connections 40 MiB, workers 32 MiB, data 6 MiB; give at \
             least --memory-budget 81MiB"
        );
        let tiny = MemoryBroker::new(1_500, &[]).unwrap_err().to_string();
        assert!(tiny.starts_with("a memory budget of 1500 bytes is too small"), "{tiny}");
        assert_eq!(
            MemoryBroker::new(81 << 20, &[("connections", 40 << 20), ("workers", 32 << 20)]).unwrap().budget(),
            6 << 20
        );
    }

    #[test]
    fn what_was_taken_is_given_back_once() {
        let broker = MemoryBroker::for_data(1_000);
        let job = broker.job();
        let memory = job.memory();
        let mut first = memory.try_reserve(MemoryClass::Kernels, 600).unwrap();
        assert_eq!(
            memory.try_reserve(MemoryClass::Kernels, 500).unwrap_err(),
            MustSpill { class: MemoryClass::Kernels, bytes: 500 }
        );
        assert!(first.try_resize(1_100).is_err());
        assert_eq!((first.bytes(), job.used_for(MemoryClass::Kernels)), (600, 600));
        first.resize(1_200);
        assert_eq!((broker.used(), broker.peak()), (1_200, 1_200));
        first.resize(10);
        assert_eq!(job.used(), 10);
        drop(first);
        assert_eq!((broker.used(), job.used()), (0, 0));
    }

    #[test]
    fn the_job_that_has_most_makes_room() {
        let broker = MemoryBroker::for_data(1_000);
        let (large, small) = (broker.job(), broker.job());
        let (large_idle, small_idle) = (idle(&large, 7), idle(&small, 3));
        let reserved = small.memory().try_reserve(MemoryClass::Kernels, 200).unwrap();
        assert_eq!((lock(&large_idle.job).len(), lock(&small_idle.job).len()), (5, 3));
        // Now they have the same, and both give.
        let more = large.memory().try_reserve(MemoryClass::Kernels, 800).unwrap();
        assert_eq!(broker.used(), 1_000);
        drop((reserved, more));
    }

    #[test]
    fn the_level_is_told_when_it_changes() {
        let broker = MemoryBroker::for_data(1_000);
        let memory = broker.job().memory();
        let told = Arc::new(Mutex::new(Vec::new()));
        let watch = broker.on_level({
            let told = told.clone();
            move |level| lock(&told).push(level)
        });
        let mut reservation = memory.reserve(MemoryClass::State, 700);
        reservation.resize(800);
        reservation.resize(900);
        reservation.resize(600);
        assert_eq!(*lock(&told), [MemoryLevel::High]);
        reservation.resize(400);
        assert_eq!(*lock(&told), [MemoryLevel::High, MemoryLevel::Low]);
        drop(watch);
        reservation.resize(1_000);
        assert_eq!((lock(&told).len(), broker.level()), (2, MemoryLevel::High));
    }
}
