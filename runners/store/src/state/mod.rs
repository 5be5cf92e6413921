//! State and timers: an overlay per bundle over what is committed, in memory and on disk.
//!
//! ```text
//!   view.read ─► delta ─(unless cleared)─► group: in memory ─► base on disk
//!   view.finish ─► delta ─apply─► group, in memory (or discard)
//!   over budget: the largest group, idle ones first ─evict─► its base
//! ```
//! A bundle owns its lanes, so that each group has one user at a time; what is committed of it says the same meanwhile, wherever
//! it is. Applying needs no memory, for the bundle has reserved it, and no disk, so that it cannot fail.

mod address;
mod base;
mod cost;
mod delta;
mod group;
mod page;
mod timers;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use purlin_engine::core::action::{BundleDraft, LedgerSeq};
use purlin_engine::core::bundle::DeltaId;
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::StageId;
use purlin_engine::store::{Memory, MemoryClass, Reservation, StateStore, StateView, StoreError};
use purlin_model::key_group::KeyGroup;

use crate::broker::{JobMemory, Spill};
use crate::disk::{Disk, MemoryDisk};
use crate::segment::SegmentStore;
use address::Names;
use delta::GroupDelta;
use group::GroupState;
use view::SpillingStateView;

/// What is smaller is not worth a run of its own.
const EVICT_BYTES_MIN: u64 = 4 << 10;

/// Keeps the state of a job: in memory, and on disk when the memory budget is used up.
#[derive(Debug)]
pub struct SpillingStateStore {
    shared: Arc<Shared>,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Cells in memory that hold anything.
    pub cells: usize,
    /// Timers that are set.
    pub timers: usize,
    /// Bytes in these cells; what it costs to keep them comes on top.
    pub bytes: u64,
    /// Bytes in cells on disk; of what was written again since, both.
    pub bytes_on_disk: u64,
}

#[derive(Debug)]
struct Shared {
    names: Arc<Names>,
    groups: Mutex<HashMap<(StageId, KeyGroup), Arc<Group>>>,
    deltas: Mutex<HashMap<DeltaId, Delta>>,
    next_delta: AtomicU64,
    memory: Memory,
    /// What all groups are charged with, and a little more while a bundle's writes are applied.
    committed: Mutex<Reservation>,
    segments: SegmentStore,
    /// How many bytes were written out so far, by stage.
    spilled: Mutex<BTreeMap<StageId, u64>>,
    /// Why nothing can be written out at present.
    refused: Mutex<Option<StoreError>>,
}

/// A key group of a stage. Idle if nobody but the store holds it: no bundle owns it.
#[derive(Debug, Default)]
struct Group {
    state: Mutex<GroupState>,
    /// How much of it could be evicted.
    evictable: AtomicU64,
}

/// What one bundle wrote, group by group, and the memory that it takes.
#[derive(Debug)]
struct Delta {
    written: Vec<(Arc<Group>, GroupDelta)>,
    reserved: Reservation,
}

impl SpillingStateStore {
    /// A store of a job, with this account of memory and this place for what does not fit.
    pub fn new(account: &Arc<JobMemory>, disk: Arc<dyn Disk>) -> Self {
        let store = Self::with(account.memory(), disk);
        let shared: Arc<dyn Spill> = store.shared.clone();
        let weak: Weak<dyn Spill> = Arc::downgrade(&shared);
        account.spills_by(weak);
        store
    }

    /// A store without bounds and without a disk, for tests and what is small.
    pub fn in_memory() -> Self {
        Self::with(Memory::unbounded(), Arc::new(MemoryDisk::new(0)))
    }

    fn with(memory: Memory, disk: Arc<dyn Disk>) -> Self {
        let committed = Mutex::new(memory.reserve(MemoryClass::State, 0));
        let shared = Shared {
            names: Arc::default(),
            groups: Mutex::default(),
            deltas: Mutex::default(),
            next_delta: AtomicU64::new(0),
            memory,
            committed,
            segments: SegmentStore::new(disk),
            spilled: Mutex::default(),
            refused: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// How much is committed.
    pub fn size(&self) -> StateSize {
        let groups: Vec<Arc<Group>> = lock(&self.shared.groups).values().cloned().collect();
        let mut size = StateSize::default();
        for group in groups {
            let group = lock(&group.state);
            size.cells += group.cell_count();
            size.timers += group.timers.len();
            size.bytes_on_disk += group.bytes_on_disk();
            size.bytes += group.bytes_in_memory();
        }
        size
    }

    /// Writes out all groups that are not being read just now, however small they are; returns how much memory is free because of it.
    pub fn evict_all(&self) -> u64 {
        self.shared.evict(u64::MAX, 1)
    }
}

impl Shared {
    fn group(&self, stage: StageId, group: KeyGroup) -> Arc<Group> {
        lock(&self.groups).entry((stage, group)).or_default().clone()
    }

    /// Groups of which so much can be evicted: those that no bundle owns first, of these the largest.
    fn evictable(&self, bytes_min: u64) -> Vec<(StageId, Arc<Group>)> {
        let groups = lock(&self.groups);
        let ranked = groups.iter().map(|((stage, _), group)| {
            let owned = Arc::strong_count(group) > 1;
            (owned, std::cmp::Reverse(group.evictable.load(Ordering::Relaxed)), *stage, group.clone())
        });
        let mut worth: Vec<_> = ranked.filter(|(_, bytes, ..)| bytes.0 >= bytes_min).collect();
        drop(groups);
        worth.sort_by_key(|(owned, bytes, ..)| (*owned, *bytes));
        worth.into_iter().map(|(_, _, stage, group)| (stage, group)).collect()
    }

    fn evict(&self, bytes: u64, bytes_min: u64) -> u64 {
        let mut freed = 0;
        for (stage, group) in self.evictable(bytes_min) {
            if freed >= bytes {
                break;
            }
            // Who owns it reads the same wherever it is, but is not waited for.
            let Ok(mut state) = group.state.try_lock() else { continue };
            let in_memory = state.bytes_in_memory();
            let evicted = state.evict(&self.segments);
            let written = in_memory - state.bytes_in_memory();
            let gained = state.charge(0);
            group.evictable.store(state.evictable(), Ordering::Relaxed);
            drop(state);
            *lock(&self.spilled).entry(stage).or_default() += written;
            let mut committed = lock(&self.committed);
            let left = committed.bytes() - gained;
            committed.resize(left);
            drop(committed);
            freed += gained;
            *lock(&self.refused) = evicted.as_ref().err().cloned();
            if let Err(error) = evicted {
                tracing::warn!(%error, "state cannot be written out");
                break;
            }
        }
        freed
    }
}

impl Spill for Shared {
    fn spill(&self, bytes: u64) -> u64 {
        self.evict(bytes, EVICT_BYTES_MIN)
    }
}

impl StateStore for SpillingStateStore {
    fn view(&self, draft: &BundleDraft) -> Box<dyn StateView> {
        let lanes = draft.lanes.iter().filter_map(|lane| match lane {
            Lane::Any => None,
            Lane::Group(group) => Some(*group),
        });
        let groups = lanes.map(|group| (group, self.shared.group(draft.stage, group)));
        Box::new(SpillingStateView::new(self.shared.clone(), groups, draft.fires_what_is_left()))
    }

    fn apply(&self, delta: DeltaId, _seq: LedgerSeq) {
        let Some(Delta { written, reserved }) = lock(&self.shared.deltas).remove(&delta) else { return };
        let mut left = reserved.bytes();
        lock(&self.shared.committed).absorb(reserved);
        for (group, delta) in written {
            let mut state = lock(&group.state);
            state.apply(delta);
            left = state.charge(left);
            group.evictable.store(state.evictable(), Ordering::Relaxed);
        }
        // The groups have not grown by this; giving memory back waits for nobody.
        let mut committed = lock(&self.shared.committed);
        let kept = committed.bytes() - left;
        committed.resize(kept);
    }

    fn discard(&self, delta: DeltaId) {
        let delta = lock(&self.shared.deltas).remove(&delta);
        drop(delta);
    }

    fn spilled(&self) -> BTreeMap<StageId, u64> {
        lock(&self.shared.spilled).clone()
    }
}

/// What a panic left behind in a leaf is whole: nothing in here stops half way.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
