//! State and timers in memory: an overlay per bundle over what is committed.
//!
//! ```text
//!   view.read ─► delta ─(unless cleared)─► group
//!   view.finish ─► delta ─apply─► group   (or discard)
//! ```
//! A bundle owns its lanes, so that each group has one user at a time; what is committed of it stands still meanwhile.

mod delta;
mod group;
mod timers;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use purlin_engine::core::action::{BundleDraft, LedgerSeq};
use purlin_engine::core::bundle::{DeltaId, GroupSummary};
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::StageId;
use purlin_engine::store::{Cell, DueBound, Page, StateError, StateStore, StateView, Timer, TimerDomain};
use purlin_model::key_group::KeyGroup;
use purlin_model::time::EventTime;

use delta::{CellDelta, GroupDelta};
use group::GroupState;
use timers::{Due, Queue};

/// A page holds whole appends up to about this much.
const PAGE_BYTES: usize = 1 << 20;

/// Keeps the state of a job in memory.
#[derive(Debug, Default)]
pub struct MemoryStateStore {
    shared: Arc<Shared>,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Cells that hold anything.
    pub cells: usize,
    /// Timers that are set.
    pub timers: usize,
    /// Bytes in cells; what it costs to keep them comes on top.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Shared {
    groups: Mutex<HashMap<(StageId, KeyGroup), SharedGroup>>,
    deltas: Mutex<HashMap<DeltaId, Delta>>,
    next_delta: AtomicU64,
}

type SharedGroup = Arc<Mutex<GroupState>>;

/// What one bundle wrote, group by group.
type Delta = Vec<(SharedGroup, GroupDelta)>;

impl MemoryStateStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much is committed.
    pub fn size(&self) -> StateSize {
        let groups: Vec<SharedGroup> = lock(&self.shared.groups).values().cloned().collect();
        let mut size = StateSize::default();
        for group in groups {
            let group = lock(&group);
            size.cells += group.cell_count();
            size.timers += group.timers.len();
            size.bytes += group.bytes();
        }
        size
    }
}

impl Shared {
    fn group(&self, stage: StageId, group: KeyGroup) -> SharedGroup {
        lock(&self.groups).entry((stage, group)).or_default().clone()
    }
}

impl StateStore for MemoryStateStore {
    fn view(&self, draft: &BundleDraft) -> Box<dyn StateView> {
        let lanes = draft.lanes.iter().filter_map(|lane| match lane {
            Lane::Any => None,
            Lane::Group(group) => Some(*group),
        });
        let groups = lanes.map(|group| (group, Owned::new(self.shared.group(draft.stage, group)))).collect();
        Box::new(MemoryStateView { shared: self.shared.clone(), groups, expiries: HashMap::new() })
    }

    fn apply(&self, delta: DeltaId, _seq: LedgerSeq) {
        let delta = lock(&self.shared.deltas).remove(&delta);
        for (group, written) in delta.into_iter().flatten() {
            lock(&group).apply(written);
        }
    }

    fn discard(&self, delta: DeltaId) {
        lock(&self.shared.deltas).remove(&delta);
    }
}

#[derive(Debug)]
struct MemoryStateView {
    shared: Arc<Shared>,
    groups: BTreeMap<KeyGroup, Owned>,
    /// Windows that expire, and the instant behind which what is written in them is collected.
    expiries: HashMap<Bytes, EventTime>,
}

/// A group that the bundle owns.
#[derive(Debug)]
struct Owned {
    committed: SharedGroup,
    delta: GroupDelta,
    /// How far timers that are due were taken, from each queue.
    taken: [Option<Due>; Queue::ALL.len()],
}

impl Owned {
    fn new(committed: SharedGroup) -> Self {
        Self { committed, delta: GroupDelta::default(), taken: Default::default() }
    }
}

impl MemoryStateView {
    fn owned(&mut self, cell: &Cell) -> Result<&mut Owned, StateError> {
        self.groups
            .get_mut(&cell.group())
            .ok_or_else(|| StateError::ForeignKey { transform: cell.transform.clone(), state: cell.state.clone() })
    }
}

impl StateView for MemoryStateView {
    fn read(&mut self, cell: &Cell, from: Page) -> Result<(Bytes, Option<Page>), StateError> {
        let owned = self.owned(cell)?;
        let committed = lock(&owned.committed);
        let (kept, appended) = match owned.delta.cells.get(cell) {
            Some(CellDelta { cleared: true, appended }) => (&[][..], &appended[..]),
            Some(CellDelta { cleared: false, appended }) => (committed.extents(cell), &appended[..]),
            None => (committed.extents(cell), &[][..]),
        };
        let count = kept.len() + appended.len();
        let from = usize::try_from(from.0).unwrap_or(usize::MAX).min(count);
        let mut extents = kept.iter().chain(appended).skip(from);
        let Some(first) = extents.next() else { return Ok((Bytes::new(), None)) };
        let mut until = from + 1;
        if until == count {
            return Ok((first.clone(), None));
        }
        let mut data = BytesMut::from(&first[..]);
        for extent in extents {
            if data.len() + extent.len() > PAGE_BYTES {
                break;
            }
            data.extend_from_slice(extent);
            until += 1;
        }
        Ok((data.freeze(), (until < count).then_some(Page(until as u64))))
    }

    fn append(&mut self, cell: &Cell, elements: Bytes) -> Result<(), StateError> {
        let expires = self.expiries.get(&cell.window).copied();
        let owned = self.owned(cell)?;
        if elements.is_empty() {
            return Ok(());
        }
        if let Some(at) = expires {
            owned.delta.windows.insert((at, cell.window.clone()));
        }
        match owned.delta.cells.get_mut(cell) {
            Some(written) => written.appended.push(elements),
            None => {
                let written = CellDelta { cleared: false, appended: vec![elements] };
                owned.delta.cells.insert(cell.clone(), written);
            }
        }
        Ok(())
    }

    fn clear(&mut self, cell: &Cell) -> Result<(), StateError> {
        let owned = self.owned(cell)?;
        match owned.delta.cells.get_mut(cell) {
            Some(written) => {
                written.cleared = true;
                written.appended.clear();
            }
            None => {
                owned.delta.cells.insert(cell.clone(), CellDelta { cleared: true, appended: Vec::new() });
            }
        }
        Ok(())
    }

    fn map_keys(&mut self, cell: &Cell) -> Result<Vec<Bytes>, StateError> {
        let owned = self.owned(cell)?;
        let committed = lock(&owned.committed);
        let first = Cell { map_key: Some(Bytes::new()), ..cell.clone() };
        let kept = committed.cells_from(first.clone()).take_while(|other| same_map(other, cell));
        let written = owned.delta.cells.range(first..).take_while(|(other, _)| same_map(other, cell));
        let mut keys: BTreeSet<Bytes> = kept.filter_map(|cell| cell.map_key.clone()).collect();
        for (Cell { map_key, .. }, written) in written {
            let Some(key) = map_key else { continue };
            if !written.appended.is_empty() {
                keys.insert(key.clone());
            } else if written.cleared {
                keys.remove(key);
            }
        }
        Ok(keys.into_iter().collect())
    }

    fn set_timer(&mut self, timer: Timer) -> Result<(), StateError> {
        let Some(owned) = self.groups.get_mut(&KeyGroup::of_key(&timer.key)) else {
            return Err(StateError::ForeignKey { transform: timer.transform.clone(), state: timer.family.clone() });
        };
        if let Some(at) = self.expiries.get(&timer.window).filter(|_| timer.fire_at.is_some()) {
            owned.delta.windows.insert((*at, timer.window.clone()));
        }
        let (id, times) = timers::parts(timer);
        owned.delta.timers.insert(Arc::new(id), times);
        Ok(())
    }

    fn take_due(&mut self, bound: &DueBound) -> Result<Vec<Timer>, StateError> {
        let mut due = Vec::new();
        for owned in self.groups.values_mut() {
            let committed = lock(&owned.committed);
            for (queue, taken) in Queue::ALL.into_iter().zip(&mut owned.taken) {
                let behind = taken.clone();
                let left = bound.count_max.saturating_sub(due.len());
                let set = committed.timers.due(queue, bound, behind.as_ref());
                for place in set.filter(|(_, id)| owned.delta.leaves(id)).take(left).cloned().collect::<Vec<_>>() {
                    due.extend(committed.timers.get(&place.1).map(|times| timers::whole(&place.1, times)));
                    owned.delta.timers.insert(place.1.clone(), None);
                    *taken = Some(place);
                }
            }
        }
        due.sort_by_cached_key(|timer: &Timer| {
            let of_event_time = timer.domain == TimerDomain::EventTime;
            (timer.key.clone(), of_event_time, timer.fire_at, timer.family.clone(), timer.tag.clone())
        });
        Ok(due)
    }

    fn expire_window(&mut self, window: &Bytes, at: EventTime) {
        if !self.expiries.contains_key(window) {
            self.expiries.insert(window.clone(), at);
        }
    }

    fn collect_expired(&mut self, bound: &DueBound) -> Result<bool, StateError> {
        let mut any_due = false;
        for owned in self.groups.values_mut() {
            let committed = lock(&owned.committed);
            let mut due = Queue::ALL
                .into_iter()
                .flat_map(|queue| committed.timers.due(queue, bound, None))
                .map(|(_, id)| &**id)
                .filter(|id| owned.delta.leaves(id))
                .peekable();
            any_due |= due.peek().is_some();
            let mut expired = committed.windows.iter().take_while(|(at, _)| bound.is_expired(*at)).peekable();
            if expired.peek().is_some() {
                let firing: HashSet<&Bytes> = due.map(|id| &id.window).collect();
                owned.delta.collected.extend(expired.filter(|(_, window)| !firing.contains(window)).cloned());
            }
        }
        Ok(any_due)
    }

    fn finish(self: Box<Self>) -> (DeltaId, Vec<(KeyGroup, GroupSummary)>) {
        let Self { shared, groups, expiries: _ } = *self;
        let mut summaries = Vec::with_capacity(groups.len());
        let mut delta = Delta::new();
        for (group, owned) in groups {
            let summary = owned.delta.summary(&lock(&owned.committed));
            summaries.push((group, summary));
            if !owned.delta.is_empty() {
                delta.push((owned.committed, owned.delta));
            }
        }
        let id = DeltaId(shared.next_delta.fetch_add(1, Ordering::Relaxed));
        lock(&shared.deltas).insert(id, delta);
        (id, summaries)
    }
}

fn same_map(candidate: &Cell, map: &Cell) -> bool {
    candidate.map_key.is_some()
        && (&candidate.transform, &candidate.state, &candidate.window, &candidate.key)
            == (&map.transform, &map.state, &map.window, &map.key)
}

/// What a panic left behind in a leaf is whole: nothing in here stops half way.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
