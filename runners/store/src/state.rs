//! State and timers in memory: an overlay per bundle over what is committed.
//!
//! ```text
//!   view.read ─► overlay ─(unless cleared)─► committed
//!   view.finish ─► delta ─apply─► committed   (or discard)
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use purlin_engine::core::action::{BundleDraft, LedgerSeq};
use purlin_engine::core::bundle::{DeltaId, GroupSummary};
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::StageId;
use purlin_engine::store::{Cell, DueBound, Page, StateError, StateStore, StateView, Timer, TimerDomain};
use purlin_model::key_group::KeyGroup;
use purlin_model::time::{EventTime, ProcessingTime};

/// A page holds whole appends up to about this much.
const PAGE_BYTES: usize = 1 << 20;

/// Keeps the state of a job in memory.
#[derive(Debug, Default)]
pub struct MemoryStateStore {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// By stage and key group: a bundle owns its lanes, so each of these has one user at a time.
    groups: Mutex<HashMap<(StageId, KeyGroup), SharedGroup>>,
    deltas: Mutex<HashMap<DeltaId, Delta>>,
    next_delta: AtomicU64,
}

type SharedGroup = Arc<Mutex<GroupState>>;

#[derive(Clone, Debug, Default)]
struct GroupState {
    cells: BTreeMap<Cell, Vec<Bytes>>,
    timers: BTreeMap<TimerKey, Timer>,
}

/// What makes a timer the same timer (`transform`, family, key, window, tag).
type TimerKey = (Bytes, Arc<str>, Arc<str>, Bytes, Bytes);

/// What one bundle wrote.
#[derive(Debug, Default)]
struct Delta {
    stage: Option<StageId>,
    cells: BTreeMap<Cell, CellDelta>,
    /// `None` deletes.
    timers: BTreeMap<TimerKey, Option<Timer>>,
}

#[derive(Clone, Debug, Default)]
struct CellDelta {
    cleared: bool,
    appended: Vec<Bytes>,
}

impl MemoryStateStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Shared {
    fn group(&self, stage: StageId, group: KeyGroup) -> SharedGroup {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.entry((stage, group)).or_default().clone()
    }
}

impl StateStore for MemoryStateStore {
    fn view(&self, draft: &BundleDraft) -> Box<dyn StateView> {
        let lanes = draft.lanes.iter().filter_map(|lane| match lane {
            Lane::Any => None,
            Lane::Group(group) => Some(*group),
        });
        let groups = lanes.map(|group| (group, self.shared.group(draft.stage, group))).collect();
        Box::new(MemoryStateView { shared: self.shared.clone(), stage: draft.stage, groups, delta: Delta::default() })
    }

    fn apply(&self, delta: DeltaId, _seq: LedgerSeq) {
        let delta = self.shared.deltas.lock().unwrap_or_else(PoisonError::into_inner).remove(&delta);
        let Some(Delta { stage: Some(stage), cells, timers }) = delta else { return };
        for (cell, written) in cells {
            let group = self.shared.group(stage, cell.group());
            let mut group = group.lock().unwrap_or_else(PoisonError::into_inner);
            let values = group.cells.entry(cell.clone()).or_default();
            if written.cleared {
                values.clear();
            }
            values.extend(written.appended);
            if values.is_empty() {
                group.cells.remove(&cell);
            }
        }
        for (key, timer) in timers {
            let group = self.shared.group(stage, KeyGroup::of_key(&key.0));
            let mut group = group.lock().unwrap_or_else(PoisonError::into_inner);
            match timer {
                Some(timer) => group.timers.insert(key, timer),
                None => group.timers.remove(&key),
            };
        }
    }

    fn discard(&self, delta: DeltaId) {
        self.shared.deltas.lock().unwrap_or_else(PoisonError::into_inner).remove(&delta);
    }
}

#[derive(Debug)]
struct MemoryStateView {
    shared: Arc<Shared>,
    stage: StageId,
    groups: BTreeMap<KeyGroup, SharedGroup>,
    delta: Delta,
}

impl MemoryStateView {
    fn owned(&self, cell: &Cell) -> Result<&SharedGroup, StateError> {
        self.groups
            .get(&cell.group())
            .ok_or_else(|| StateError::ForeignKey { transform: cell.transform.clone(), state: cell.state.clone() })
    }

    /// All appends of a cell, as this bundle sees them.
    fn values(&self, cell: &Cell) -> Result<Vec<Bytes>, StateError> {
        let group = self.owned(cell)?.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.delta.cells.get(cell);
        let mut values = match written {
            Some(CellDelta { cleared: true, .. }) => Vec::new(),
            Some(_) | None => group.cells.get(cell).cloned().unwrap_or_default(),
        };
        values.extend(written.into_iter().flat_map(|written| written.appended.iter().cloned()));
        Ok(values)
    }
}

fn timer_key(timer: &Timer) -> TimerKey {
    (timer.key.clone(), timer.transform.clone(), timer.family.clone(), timer.window.clone(), timer.tag.clone())
}

impl StateView for MemoryStateView {
    fn read(&mut self, cell: &Cell, from: Page) -> Result<(Bytes, Option<Page>), StateError> {
        let values = self.values(cell)?;
        let from = usize::try_from(from.0).unwrap_or(usize::MAX).min(values.len());
        let mut data = BytesMut::new();
        let mut until = from;
        for value in &values[from..] {
            if until > from && data.len() + value.len() > PAGE_BYTES {
                break;
            }
            data.extend_from_slice(value);
            until += 1;
        }
        Ok((data.freeze(), (until < values.len()).then_some(Page(until as u64))))
    }

    fn append(&mut self, cell: &Cell, elements: Bytes) -> Result<(), StateError> {
        self.owned(cell)?;
        if !elements.is_empty() {
            self.delta.cells.entry(cell.clone()).or_default().appended.push(elements);
        }
        Ok(())
    }

    fn clear(&mut self, cell: &Cell) -> Result<(), StateError> {
        self.owned(cell)?;
        self.delta.cells.insert(cell.clone(), CellDelta { cleared: true, appended: Vec::new() });
        Ok(())
    }

    fn map_keys(&mut self, cell: &Cell) -> Result<Vec<Bytes>, StateError> {
        let committed: BTreeSet<Cell> = {
            let group = self.owned(cell)?.lock().unwrap_or_else(PoisonError::into_inner);
            let first = Cell { map_key: Some(Bytes::new()), ..cell.clone() };
            group.cells.range(first..).map(|(cell, _)| cell.clone()).take_while(|other| same_map(other, cell)).collect()
        };
        let written = self.delta.cells.keys().filter(|other| same_map(other, cell)).cloned();
        let mut keys = Vec::new();
        for candidate in committed.into_iter().chain(written).collect::<BTreeSet<_>>() {
            if let (Some(key), false) = (&candidate.map_key, self.values(&candidate)?.is_empty()) {
                keys.push(key.clone());
            }
        }
        Ok(keys)
    }

    fn set_timer(&mut self, timer: Timer) -> Result<(), StateError> {
        if !self.groups.contains_key(&KeyGroup::of_key(&timer.key)) {
            return Err(StateError::ForeignKey { transform: timer.transform.clone(), state: timer.family.clone() });
        }
        let key = timer_key(&timer);
        self.delta.timers.insert(key, timer.fire_at.is_some().then_some(timer));
        Ok(())
    }

    fn take_due(&mut self, bound: &DueBound) -> Result<Vec<Timer>, StateError> {
        let mut due = Vec::new();
        for group in self.groups.values() {
            let group = group.lock().unwrap_or_else(PoisonError::into_inner);
            due.extend(group.timers.values().filter(|timer| is_due(timer, bound)).cloned());
        }
        due.retain(|timer| !self.delta.timers.contains_key(&timer_key(timer)));
        let order = |timer: &Timer| (timer.key.clone(), timer.fire_at, timer.family.clone(), timer.tag.clone());
        due.sort_by_cached_key(order);
        due.truncate(bound.count_max);
        for timer in &due {
            self.delta.timers.insert(timer_key(timer), None);
        }
        Ok(due)
    }

    fn finish(mut self: Box<Self>) -> (DeltaId, Vec<(KeyGroup, GroupSummary)>) {
        let summaries = self.groups.keys().map(|group| (*group, self.summary(*group))).collect();
        let id = DeltaId(self.shared.next_delta.fetch_add(1, Ordering::Relaxed));
        self.delta.stage = Some(self.stage);
        self.shared.deltas.lock().unwrap_or_else(PoisonError::into_inner).insert(id, std::mem::take(&mut self.delta));
        (id, summaries)
    }
}

impl MemoryStateView {
    fn summary(&self, group: KeyGroup) -> GroupSummary {
        let state = self.groups[&group].lock().unwrap_or_else(PoisonError::into_inner);
        // What this bundle wrote stands above what is committed.
        let untouched = state.timers.iter().filter(|(key, _)| !self.delta.timers.contains_key(*key));
        let written = self.delta.timers.iter().filter(|(key, _)| KeyGroup::of_key(&key.0) == group);
        let written = written.filter_map(|(key, timer)| Some((key, timer.as_ref()?)));
        let (mut next_event, mut next_processing, mut min_hold) = (None, None, None);
        for (_, timer) in untouched.chain(written) {
            let next = match timer.domain {
                TimerDomain::EventTime => &mut next_event,
                TimerDomain::ProcessingTime => &mut next_processing,
            };
            *next = [*next, timer.fire_at].into_iter().flatten().min();
            min_hold = [min_hold, Some(timer.hold)].into_iter().flatten().min();
        }
        let length = |extents: &Vec<Bytes>| extents.iter().map(Bytes::len).sum::<usize>();
        let is_cleared = |cell: &Cell| self.delta.cells.get(cell).is_some_and(|written| written.cleared);
        let committed: usize =
            state.cells.iter().filter(|(cell, _)| !is_cleared(cell)).map(|(_, extents)| length(extents)).sum();
        let of_group = self.delta.cells.iter().filter(|(cell, _)| cell.group() == group);
        let appended: usize = of_group.map(|(_, delta)| length(&delta.appended)).sum();
        GroupSummary {
            next_event: next_event.map(EventTime::from_millis),
            next_processing: next_processing.map(ProcessingTime),
            min_hold,
            bytes: (committed + appended) as u64,
        }
    }
}

fn same_map(candidate: &Cell, map: &Cell) -> bool {
    candidate.map_key.is_some() && Cell { map_key: None, ..candidate.clone() } == Cell { map_key: None, ..map.clone() }
}

fn is_due(timer: &Timer, bound: &DueBound) -> bool {
    timer.fire_at.is_some_and(|at| bound.is_due(timer.domain, at))
}
