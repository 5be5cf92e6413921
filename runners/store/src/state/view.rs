//! One bundle's view: its own writes over what is committed of the groups that it owns.
//!
//! ```text
//!   read ─► what is committed ─(unless cleared)─► the bundle's own ─► page
//!   append, clear, set_timer ─► GroupDelta, reserved in steps ──finish──► the store, for apply or discard
//! ```
//! No group is locked while memory is reserved: room may be made by writing out just that group.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use purlin_engine::core::bundle::{DeltaId, GroupSummary};
use purlin_engine::store::{
    Cell, DueBound, MemoryClass, Page, Reservation, StateError, StateView, StoreError, Timer, TimerDomain,
};
use purlin_model::key_group::KeyGroup;
use purlin_model::time::EventTime;

use super::address::{self, Address, Addresses, window_of};
use super::base::Blocks;
use super::delta::{CellDelta, GroupDelta};
use super::group::beginning_with;
use super::page::Paging;
use super::timers::{self, Due, Queue, TimerId, TimerTimes};
use super::{Delta, Group, Shared, cost, lock};

/// Memory is reserved in steps of this much.
const STEP_BYTES: u64 = 64 << 10;

/// Blocks that were read are kept for the next read as long as they take less than this share of the budget.
const BLOCKS_SHARE: u64 = 64;

/// The timers that fire in one bundle take this share of the budget at most: that they have fired stays in memory until it is
/// committed, as does what they write.
const DUE_SHARE: u64 = 64;

/// About what one of them takes.
const DUE_BYTES: u64 = 256;

/// With fewer of them a bundle would cost more than they do.
const DUE_MIN: u64 = 10_000;

/// Where of each key and window one timer fires at a time, the look for more of them ends when so many had to wait.
const WAITING_MAX: usize = 100;

#[derive(Debug)]
pub(super) struct SpillingStateView {
    shared: Arc<Shared>,
    groups: BTreeMap<KeyGroup, Owned>,
    addresses: Addresses,
    /// The pane of the timer that was set last: the next one's is mostly the same.
    pane: Arc<[u8]>,
    /// Windows that expire, and the instant behind which what is written in them is collected.
    expiries: HashMap<Bytes, EventTime>,
    /// Whether it fires what timers are left, each once.
    fires_what_is_left: bool,
    /// How many timers that are due it may still give out.
    due_left: usize,
    /// About how much memory the writes take.
    cost: u64,
    /// How much the blocks do that are kept for the next read. Too little for the books.
    blocks: u64,
    reserved: Reservation,
}

/// A group that the bundle owns.
#[derive(Debug)]
struct Owned {
    committed: Arc<Group>,
    delta: GroupDelta,
    /// How far timers that are due were taken, from each queue.
    taken: [Option<Due>; Queue::ALL.len()],
    /// The windows and keys of which one timer fires alone.
    alone: HashSet<Box<[u8]>>,
    blocks: Blocks,
}

impl Owned {
    fn new(committed: Arc<Group>) -> Self {
        let (delta, blocks) = (GroupDelta::default(), Blocks::default());
        Self { committed, delta, taken: Default::default(), alone: HashSet::new(), blocks }
    }

    /// Whether a timer has fired that does so only once.
    fn has_fired(&self, id: &TimerId) -> bool {
        self.delta.fired.contains(id) || lock(&self.committed.state).timers.has_fired(id)
    }

    /// Takes so many of the timers that are due, and not set by the bundle; and remembers, if these are what is left, that they
    /// have fired.
    ///
    /// One of each window and key where that is wanted: what it sets replaces others that have not fired yet, and an SDK would not
    /// fire them, or fire what it sets, if they came in the same bundle.
    fn take_due(
        &mut self,
        bound: &DueBound,
        count_max: usize,
        what_is_left: bool,
        due: &mut Vec<(TimerId, TimerTimes)>,
    ) {
        let Self { committed, delta, taken, alone, .. } = self;
        let committed = lock(&committed.state);
        let (count, mut waiting) = (due.len(), 0);
        for (queue, taken) in Queue::ALL.into_iter().zip(taken) {
            let behind = taken.clone();
            for place in committed.timers.due(queue, bound, behind.as_ref()) {
                if due.len() - count >= count_max || waiting >= WAITING_MAX {
                    return;
                }
                let id = &place.1;
                let Some(times) = committed.timers.get(id).filter(|_| delta.leaves(id)) else { continue };
                if bound.one_each && !alone.insert(address::owner_of(id).into()) {
                    waiting += 1;
                    continue;
                }
                if what_is_left {
                    delta.fired.insert(id.clone());
                }
                due.push((id.clone(), times.clone()));
                delta.timers.insert(id.clone(), None);
                *taken = Some(place.clone());
            }
        }
    }
}

impl SpillingStateView {
    pub(super) fn new(
        shared: Arc<Shared>,
        groups: impl Iterator<Item = (KeyGroup, Arc<Group>)>,
        fires_what_is_left: bool,
    ) -> Self {
        let reserved = shared.memory.reserve(MemoryClass::State, 0);
        let groups = groups.map(|(group, committed)| (group, Owned::new(committed))).collect();
        let addresses = Addresses::new(shared.names.clone());
        let pane = Arc::from([]);
        let due_left = (shared.memory.budget() / DUE_SHARE / DUE_BYTES).max(DUE_MIN) as usize;
        let expiries = HashMap::new();
        Self { shared, groups, addresses, pane, expiries, fires_what_is_left, due_left, cost: 0, blocks: 0, reserved }
    }

    /// Enters more memory into the books. What finds room neither in memory nor on disk fails the bundle.
    fn grow(&mut self, bytes: u64) -> Result<(), StoreError> {
        self.cost += bytes;
        if self.cost <= self.reserved.bytes() {
            return Ok(());
        }
        let wanted = self.cost + STEP_BYTES;
        if self.reserved.try_resize(wanted).is_err() {
            if let Some(refused) = &*lock(&self.shared.refused) {
                return Err(refused.clone());
            }
            self.reserved.resize(wanted);
        }
        Ok(())
    }
}

fn owned<'a>(groups: &'a mut BTreeMap<KeyGroup, Owned>, cell: &Cell) -> Result<&'a mut Owned, StateError> {
    let foreign = || StateError::ForeignKey { transform: cell.transform.clone(), state: cell.state.clone() };
    groups.get_mut(&cell.group()).ok_or_else(foreign)
}

fn of_cell<'a>(cell: &'a Cell) -> impl FnOnce(StoreError) -> StateError + 'a {
    |why| {
        let Cell { transform, state, window, key, .. } = cell;
        let (key, window) = (key.escape_ascii(), window.escape_ascii());
        let what = format!("state `{state}` of transform `{transform}` for key `{key}` in window `{window}`");
        StateError::Store { what, why }
    }
}

impl StateView for SpillingStateView {
    fn read(&mut self, cell: &Cell, from: Page) -> Result<(Bytes, Option<Page>), StateError> {
        let Self { shared, groups, addresses, .. } = self;
        let owned = owned(groups, cell)?;
        let address = addresses.of_cell(cell);
        let mut page = Paging::new(from);
        let (cleared, appended) = match owned.delta.cells.get(address) {
            Some(CellDelta { cleared, appended }) => (*cleared, &appended[..]),
            None => (false, &[][..]),
        };
        if !cleared {
            let before = owned.blocks.bytes();
            let committed = lock(&owned.committed.state);
            committed.read(address, &mut page, &mut owned.blocks, &shared.segments).map_err(of_cell(cell))?;
            self.blocks = self.blocks + owned.blocks.bytes() - before;
            if self.blocks > shared.memory.budget() / BLOCKS_SHARE {
                self.blocks -= std::mem::take(&mut owned.blocks).bytes();
            }
        }
        page.take_all(appended);
        Ok(page.finish())
    }

    fn append(&mut self, cell: &Cell, elements: Bytes) -> Result<(), StateError> {
        let expires = self.expiries.get(&cell.window).copied();
        let owned = owned(&mut self.groups, cell)?;
        if elements.is_empty() {
            return Ok(());
        }
        let mut bytes = cost::of_extent(&elements);
        if let Some(at) = expires
            && owned.delta.windows.insert((at, cell.window.clone()))
        {
            bytes += cost::of_window(&cell.window);
        }
        let address = self.addresses.of_cell(cell);
        match owned.delta.cells.get_mut(address) {
            Some(written) => written.appended.push(elements),
            None => {
                let written = CellDelta { cleared: false, appended: vec![elements] };
                owned.delta.cells.insert(Address::from(address), written);
                bytes += cost::of_cell(address);
            }
        }
        self.grow(bytes).map_err(of_cell(cell))
    }

    fn clear(&mut self, cell: &Cell) -> Result<(), StateError> {
        let owned = owned(&mut self.groups, cell)?;
        let address = self.addresses.of_cell(cell);
        match owned.delta.cells.get_mut(address) {
            Some(written) => {
                written.cleared = true;
                let gone = std::mem::take(&mut written.appended);
                self.cost -= cost::of_extents(&gone);
                Ok(())
            }
            None => {
                let bytes = cost::of_cell(address);
                owned.delta.cells.insert(Address::from(address), CellDelta { cleared: true, appended: Vec::new() });
                self.grow(bytes).map_err(of_cell(cell))
            }
        }
    }

    fn map_keys(&mut self, cell: &Cell) -> Result<Vec<Bytes>, StateError> {
        let Self { shared, groups, addresses, .. } = self;
        let owned = owned(groups, cell)?;
        let map = addresses.of_map(cell);
        let kept = lock(&owned.committed.state).map_keys(map, &shared.segments);
        let mut keys = kept.map_err(of_cell(cell))?;
        for (address, written) in beginning_with(&owned.delta.cells, map) {
            let key = Bytes::copy_from_slice(&address.bytes()[map.len()..]);
            if !written.appended.is_empty() {
                keys.insert(key);
            } else if written.cleared {
                keys.remove(&key);
            }
        }
        Ok(keys.into_iter().collect())
    }

    fn set_timer(&mut self, timer: Timer) -> Result<bool, StateError> {
        let Some(owned) = self.groups.get_mut(&KeyGroup::of_key(&timer.key)) else {
            return Err(StateError::ForeignKey { transform: timer.transform.clone(), state: timer.family.clone() });
        };
        let mut bytes = 0;
        if let Some(at) = self.expiries.get(&timer.window).filter(|_| timer.fire_at.is_some())
            && owned.delta.windows.insert((*at, timer.window.clone()))
        {
            bytes += cost::of_window(&timer.window);
        }
        if *self.pane != *timer.pane {
            self.pane = Arc::from(&timer.pane[..]);
        }
        let id = TimerId::from(self.addresses.of_timer(&timer));
        bytes += cost::of_timer(&id);
        let again = self.fires_what_is_left && timer.fire_at.is_some() && owned.has_fired(&id);
        let times = TimerTimes::of(&timer, &self.pane).filter(|_| !again);
        if owned.delta.timers.insert(id.clone(), times).is_some() {
            bytes -= cost::of_timer(&id);
        }
        self.grow(bytes).map_err(|why| {
            let (key, window) = (timer.key.escape_ascii(), timer.window.escape_ascii());
            let (family, transform) = (&timer.family, &timer.transform);
            let what = format!("timer `{family}` of transform `{transform}` for key `{key}` in window `{window}`");
            StateError::Store { what, why }
        })?;
        Ok(!again)
    }

    fn take_due(&mut self, bound: &DueBound) -> Result<Vec<Timer>, StateError> {
        let mut due = Vec::new();
        let count_max = bound.count_max.min(self.due_left);
        for owned in self.groups.values_mut() {
            owned.take_due(bound, count_max - due.len(), self.fires_what_is_left, &mut due);
        }
        let bytes = due.iter().map(|(id, _)| cost::of_timer(id)).sum::<u64>();
        let whole = |(id, times)| {
            let timer = timers::whole(&id, &times, &self.shared.names);
            (id, timer)
        };
        let mut due: Vec<(TimerId, Timer)> = due.into_iter().map(whole).collect();
        due.sort_by(|(one, first), (other, second)| {
            let rank = |timer: &Timer| {
                let turn = match timer.domain {
                    TimerDomain::ProcessingTime => 0,
                    TimerDomain::EventTime => 1,
                    TimerDomain::WindowExpiration => 2,
                };
                (turn, timer.fire_at)
            };
            (&first.key, rank(first), one).cmp(&(&second.key, rank(second), other))
        });
        let due: Vec<Timer> = due.into_iter().map(|(_, timer)| timer).collect();
        self.due_left -= due.len();
        self.cost += bytes;
        if self.cost > self.reserved.bytes() {
            self.reserved.resize(self.cost + STEP_BYTES);
        }
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
            let committed = lock(&owned.committed.state);
            let mut due = Queue::ALL
                .into_iter()
                .flat_map(|queue| committed.timers.due(queue, bound, None))
                .map(|(_, id)| &**id)
                .filter(|id| owned.delta.leaves(id))
                .peekable();
            any_due |= due.peek().is_some();
            let mut expired = committed.windows.iter().take_while(|(at, _)| bound.is_expired(*at)).peekable();
            if expired.peek().is_some() {
                let firing: HashSet<&[u8]> = due.map(window_of).collect();
                owned.delta.collected.extend(expired.filter(|(_, window)| !firing.contains(&window[..])).cloned());
            }
        }
        Ok(any_due)
    }

    fn has_no_cells(&self) -> bool {
        self.groups.values().all(|owned| lock(&owned.committed.state).has_no_cells())
    }

    fn finish(mut self: Box<Self>) -> (DeltaId, Vec<(KeyGroup, GroupSummary)>) {
        self.reserved.resize(self.cost);
        let Self { shared, groups, reserved, .. } = *self;
        let mut summaries = Vec::with_capacity(groups.len());
        let mut written = Vec::new();
        for (group, owned) in groups {
            let summary = owned.delta.summary(&lock(&owned.committed.state));
            summaries.push((group, summary));
            if !owned.delta.is_empty() {
                written.push((owned.committed, owned.delta));
            }
        }
        let id = DeltaId(shared.next_delta.fetch_add(1, Ordering::Relaxed));
        lock(&shared.deltas).insert(id, Delta { written, reserved });
        (id, summaries)
    }
}
