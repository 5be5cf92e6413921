//! Batches in memory, and on disk when the memory budget is used up.
//!
//! ```text
//!   put ─try_reserve─► resident, by lane          get ─► resident: shared │ on disk: read back, for as long as it is looked at
//!            │ no room                                                ▲
//!            ▼                                                        │
//!       the largest lanes, from behind ─► segments ───────────────────┘
//!            │ still no room
//!            ▼
//!       the new batch itself ─► segments
//! ```
//! Batches that the core has joined are several payloads until they are read or written out; then they become one.
//! Nobody waits for memory that a bundle holds: what a reader looks at is not written out, and what finds no room is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::StageId;
use purlin_engine::data::{BatchId, BatchRef, ElementBatch};
use purlin_engine::store::{BatchPlace, BatchStore, Memory, MemoryClass, StoreError};

use crate::broker::{JobMemory, Spill};
use crate::disk::Disk;
use crate::segment::{Record, SegmentStore};

/// A batch that is smaller is not worth a record of its own, unless its lane is large.
const SPILL_LANE_BYTES_MIN: u64 = 4 << 10;

/// What the store itself takes for a batch, about.
const ENTRY_BYTES: u64 = 256;

/// Keeps the batches of one job.
#[derive(Debug)]
pub struct SpillingBatchStore {
    next: AtomicU64,
    index: Mutex<Index>,
    segments: Arc<SegmentStore>,
    memory: Memory,
}

/// What there is, and where.
#[derive(Debug, Default)]
struct Index {
    /// What each reference stands for: consumers that partition alike share what is kept.
    batches: HashMap<BatchId, Owned>,
    payloads: HashMap<PayloadId, Payload>,
    /// Resident payloads by lane, in order of arrival.
    lanes: HashMap<LaneKey, LaneContent>,
    /// The same lanes by whether they can wait, and how much is resident of each: the last is written out first.
    by_size: BTreeSet<(bool, u64, LaneKey)>,
    /// How many bytes were written out so far, by the stage whose input they are.
    spilled: BTreeMap<StageId, u64>,
}

/// What is read soon is apart from what waits in the same lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct LaneKey {
    stage: StageId,
    lane: Lane,
    soon: bool,
}

impl LaneKey {
    /// Where it stands among lanes that could be written out.
    fn rank(self, bytes: u64) -> (bool, u64, Self) {
        (!self.soon, bytes, self)
    }
}

/// The id of the first batch that it is.
type PayloadId = BatchId;

#[derive(Debug)]
struct Owned {
    /// What it consists of, in order.
    parts: Vec<PayloadId>,
    owners: u32,
}

#[derive(Debug)]
struct Payload {
    lane: LaneKey,
    /// References of which it is part, each with its own owners.
    references: u32,
    /// If there is one reference, this is it.
    owner: BatchId,
    bytes: u64,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Resident(Arc<ElementBatch>),
    /// Being written, and still here.
    Leaving(Arc<ElementBatch>),
    Disk(Record),
}

/// What is being written as one record.
struct Leaving {
    parts: Vec<PayloadId>,
    batches: Vec<Arc<ElementBatch>>,
}

#[derive(Debug, Default)]
struct LaneContent {
    bytes: u64,
    payloads: BTreeSet<PayloadId>,
}

impl SpillingBatchStore {
    /// A store of a job, with this account of memory and this place for what does not fit.
    pub fn new(account: &Arc<JobMemory>, disk: Arc<dyn Disk>) -> Arc<Self> {
        let store = Arc::new(Self {
            next: AtomicU64::new(0),
            index: Mutex::default(),
            segments: Arc::new(SegmentStore::new(disk)),
            memory: account.memory(),
        });
        let weak: Weak<dyn Spill> = Arc::downgrade(&store) as _;
        account.spills_by(weak);
        store
    }

    /// How many bytes of payload it holds, in memory and on disk; batches that share memory count once.
    pub fn held_bytes(&self) -> u64 {
        self.index().payloads.values().map(|payload| payload.bytes).sum()
    }

    /// How much was written to disk, all in all.
    pub fn written_bytes(&self) -> u64 {
        self.segments.written_bytes()
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // Whole at every point where a thread could panic.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, batch: &ElementBatch) -> Result<Record, StoreError> {
        let mut description = Vec::new();
        batch.describe(&mut description);
        self.segments.write(&description, batch.values())
    }

    /// Makes one batch of parts, and keeps it in their place if they are in memory and there is room for it.
    fn gather(&self, parts: &[PayloadId], batches: &[Arc<ElementBatch>]) -> Arc<ElementBatch> {
        let whole = ElementBatch::concat(batches);
        let bytes = whole.bytes() + ENTRY_BYTES;
        let Ok(reservation) = self.memory.try_reserve(MemoryClass::Batches, bytes) else {
            return Arc::new(whole.held_by(self.memory.reserve(MemoryClass::Readers, bytes)));
        };
        let whole = Arc::new(whole.held_by(reservation));
        // Dropped when the lock is open again.
        let mut old = Vec::new();
        let mut index = self.index();
        let resident =
            |part| index.payloads.get(part).is_some_and(|payload| matches!(payload.place, Place::Resident(_)));
        if parts.iter().all(resident) && index.is_run(parts) {
            old = index.replace(parts, Place::Resident(whole.clone()), whole.bytes());
        }
        drop(index);
        drop(old);
        whole
    }

    fn read(&self, id: BatchId, lane: LaneKey, record: &Record) -> Result<Arc<ElementBatch>, StoreError> {
        let reservation = self.memory.reserve(MemoryClass::Readers, record.raw_bytes());
        let what = format!("{id:?} of {} in lane {:?}", lane.stage, lane.lane);
        let (description, values) = self.segments.read(record, &what)?;
        let batch = ElementBatch::from_stored(&description, values)
            .map_err(|error| record.altered(&what, error.to_string()))?;
        Ok(Arc::new(batch.held_by(reservation)))
    }
}

impl BatchStore for SpillingBatchStore {
    fn put(&self, places: &[BatchPlace], batch: ElementBatch) -> Result<Vec<BatchRef>, StoreError> {
        let Some(first) = places.first() else { return Ok(Vec::new()) };
        let (count, bytes, min_timestamp) = (batch.len() as u32, batch.bytes(), batch.min_timestamp());
        let place = match self.memory.try_reserve(MemoryClass::Batches, bytes + ENTRY_BYTES) {
            Ok(reservation) => Place::Resident(Arc::new(batch.held_by(reservation))),
            Err(_) => Place::Disk(self.write(&batch)?),
        };
        let ids = self.next.fetch_add(places.len() as u64, Ordering::Relaxed);
        let references = |(index, place): (u64, &BatchPlace)| BatchRef {
            id: BatchId(ids + index),
            count,
            bytes,
            min_timestamp,
            window_max: place.window_max,
        };
        let references: Vec<_> = (0..).zip(places).map(references).collect();
        let payload = BatchId(ids);
        let lane = LaneKey { stage: first.stage, lane: first.lane, soon: first.soon };
        let mut index = self.index();
        for reference in &references {
            index.batches.insert(reference.id, Owned { parts: vec![payload], owners: 1 });
        }
        match place {
            Place::Resident(_) | Place::Leaving(_) => index.add(lane, payload, bytes),
            Place::Disk(_) => *index.spilled.entry(first.stage).or_default() += bytes,
        }
        let references_len = references.len() as u32;
        index.payloads.insert(payload, Payload { lane, references: references_len, owner: payload, bytes, place });
        Ok(references)
    }

    fn get(&self, id: BatchId) -> Result<Arc<ElementBatch>, StoreError> {
        let places: Vec<(PayloadId, LaneKey, Place)> = {
            let index = self.index();
            let owned = index.batches.get(&id).ok_or(StoreError::Unknown(id))?;
            let place = |part: &PayloadId| {
                let payload = index.payloads.get(part).ok_or(StoreError::Unknown(id))?;
                Ok((*part, payload.lane, payload.place.clone()))
            };
            owned.parts.iter().map(place).collect::<Result<_, StoreError>>()?
        };
        let load = |(_, lane, place): &(PayloadId, LaneKey, Place)| match place {
            Place::Resident(batch) | Place::Leaving(batch) => Ok(batch.clone()),
            Place::Disk(record) => self.read(id, *lane, record),
        };
        if let [place] = places.as_slice() {
            return load(place);
        }
        let batches = places.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<_> = places.iter().map(|(part, ..)| *part).collect();
        drop(places);
        Ok(self.gather(&parts, &batches))
    }

    fn join(&self, into: BatchId, batch: BatchId) {
        let mut index = self.index();
        let Some(Owned { mut parts, .. }) = index.batches.remove(&batch) else { return };
        for part in &parts {
            if let Some(payload) = index.payloads.get_mut(part) {
                payload.owner = into;
            }
        }
        if let Some(owned) = index.batches.get_mut(&into) {
            owned.parts.append(&mut parts);
        }
    }

    fn spilled(&self) -> BTreeMap<StageId, u64> {
        self.index().spilled.clone()
    }

    fn share(&self, batches: &[BatchId]) {
        let mut index = self.index();
        for id in batches {
            if let Some(owned) = index.batches.get_mut(id) {
                owned.owners += 1;
            }
        }
    }

    fn free(&self, batches: &[BatchId]) {
        // Dropped when the lock is open again: their memory is given back, and others may hear of it.
        let mut gone = Vec::new();
        let mut index = self.index();
        for id in batches {
            index.free(*id, &mut gone);
        }
        drop(index);
        drop(gone);
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }
}

impl Index {
    fn add(&mut self, lane: LaneKey, payload: PayloadId, bytes: u64) {
        let content = self.lanes.entry(lane).or_default();
        self.by_size.remove(&lane.rank(content.bytes));
        content.bytes += bytes;
        content.payloads.insert(payload);
        self.by_size.insert(lane.rank(content.bytes));
    }

    fn remove(&mut self, lane: LaneKey, payload: PayloadId, bytes: u64) {
        let Some(content) = self.lanes.get_mut(&lane) else { return };
        if !content.payloads.remove(&payload) {
            return;
        }
        self.by_size.remove(&lane.rank(content.bytes));
        content.bytes -= bytes;
        if content.payloads.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.by_size.insert(lane.rank(content.bytes));
        }
    }

    fn free(&mut self, id: BatchId, gone: &mut Vec<Payload>) {
        let Some(owned) = self.batches.get_mut(&id) else { return };
        owned.owners -= 1;
        if owned.owners > 0 {
            return;
        }
        let parts = std::mem::take(&mut owned.parts);
        self.batches.remove(&id);
        for part in parts {
            let Some(payload) = self.payloads.get_mut(&part) else { continue };
            payload.references -= 1;
            if payload.references == 0
                && let Some(payload) = self.payloads.remove(&part)
            {
                self.remove(payload.lane, part, payload.bytes);
                gone.push(payload);
            }
        }
    }

    /// Whether these payloads stand behind one another in one batch, and in no other.
    fn is_run(&self, parts: &[PayloadId]) -> bool {
        let Some(first) = parts.first().and_then(|part| self.payloads.get(part)) else { return false };
        let alone = |part| self.payloads.get(part).is_some_and(|payload| payload.references == 1);
        let of_owner = self.batches.get(&first.owner).map_or(&[][..], |owned| &owned.parts);
        parts.iter().all(alone) && of_owner.windows(parts.len()).any(|run| run == parts)
    }

    /// Puts one payload in the place of a run of them; returns what they were.
    fn replace(&mut self, parts: &[PayloadId], place: Place, bytes: u64) -> Vec<Payload> {
        let Some((first, others)) = parts.split_first() else { return Vec::new() };
        let mut old = Vec::with_capacity(parts.len());
        for part in parts {
            if let Some(payload) = self.payloads.remove(part) {
                self.remove(payload.lane, *part, payload.bytes);
                old.push(payload);
            }
        }
        if let Some(Payload { lane, owner, .. }) = old.first() {
            let (lane, owner) = (*lane, *owner);
            if let Some(owned) = self.batches.get_mut(&owner).filter(|_| !others.is_empty()) {
                owned.parts.retain(|part| !others.contains(part));
            }
            if matches!(place, Place::Resident(_)) {
                self.add(lane, *first, bytes);
            }
            let references = old.first().map_or(1, |payload| payload.references);
            self.payloads.insert(*first, Payload { lane, references, owner, bytes, place });
        }
        old
    }

    /// Divides payloads into those that become one record: runs within a batch, and others alone.
    fn runs(&self, mut taken: BTreeMap<PayloadId, Arc<ElementBatch>>) -> Vec<Leaving> {
        let mut runs = Vec::new();
        while let Some((first, batch)) = taken.pop_first() {
            let payload = self.payloads.get(&first).filter(|payload| payload.references == 1);
            let parts =
                payload.and_then(|payload| self.batches.get(&payload.owner)).map_or(&[][..], |owned| &owned.parts);
            let position = parts.iter().position(|part| *part == first);
            let mut run = Leaving { parts: vec![first], batches: vec![batch] };
            let mut next = position.map_or(parts.len(), |position| position + 1);
            while let Some(part) = parts.get(next)
                && self.payloads.get(part).is_some_and(|payload| payload.references == 1)
                && let Some(batch) = taken.remove(part)
            {
                run.parts.push(*part);
                run.batches.push(batch);
                next += 1;
            }
            runs.push(run);
        }
        runs
    }

    /// Takes what is to be written out next: of the largest lane that waits the last that nobody looks at, for the first are
    /// read first. They leave their lane, in order of arrival.
    fn take_idle(&mut self, bytes: u64) -> Vec<Leaving> {
        let lanes: Vec<_> = self.by_size.iter().rev().map(|(_, bytes, lane)| (*bytes, *lane)).collect();
        for (lane_bytes, lane) in lanes {
            if lane_bytes < SPILL_LANE_BYTES_MIN {
                continue;
            }
            let Some(content) = self.lanes.get(&lane) else { continue };
            let mut taken = BTreeMap::new();
            let mut sum = 0;
            for id in content.payloads.iter().rev() {
                let Some(payload) = self.payloads.get(id) else { continue };
                if let Place::Resident(batch) = &payload.place
                    // Somebody reads it: writing it out would free nothing.
                    && Arc::strong_count(batch) == 1
                {
                    sum += payload.bytes;
                    taken.insert(*id, batch.clone());
                }
                if sum >= bytes {
                    break;
                }
            }
            if taken.is_empty() {
                continue;
            }
            for (id, batch) in &taken {
                if let Some(payload) = self.payloads.get_mut(id) {
                    payload.place = Place::Leaving(batch.clone());
                    let bytes = payload.bytes;
                    self.remove(lane, *id, bytes);
                }
            }
            return self.runs(taken);
        }
        Vec::new()
    }
}

impl Spill for SpillingBatchStore {
    fn spill(&self, bytes: u64) -> u64 {
        let leaving = self.index().take_idle(bytes);
        leaving.into_iter().map(|run| self.write_out(&run)).sum()
    }
}

impl SpillingBatchStore {
    /// Writes a run as one record; returns how much memory is free because of it.
    fn write_out(&self, run: &Leaving) -> u64 {
        let whole = match run.batches.as_slice() {
            [one] => one.clone(),
            several => Arc::new(ElementBatch::concat(several)),
        };
        let written = self.write(&whole);
        // Dropped when the lock is open again.
        let mut old = Vec::new();
        let mut index = self.index();
        match written {
            // Unless it was freed meanwhile.
            Ok(record) if run.parts.len() == 1 || index.is_run(&run.parts) => {
                old = index.replace(&run.parts, Place::Disk(record), whole.bytes());
                if let Some(payload) = old.first() {
                    let bytes = old.iter().map(|payload| payload.bytes).sum::<u64>();
                    *index.spilled.entry(payload.lane.stage).or_default() += bytes;
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "data cannot be written out");
                for (part, batch) in run.parts.iter().zip(&run.batches) {
                    if let Some(payload) = index.payloads.get_mut(part) {
                        payload.place = Place::Resident(batch.clone());
                        let (lane, bytes) = (payload.lane, payload.bytes);
                        index.add(lane, *part, bytes);
                    }
                }
            }
        }
        drop(index);
        old.iter().map(|payload| payload.bytes + ENTRY_BYTES).sum()
    }
}
