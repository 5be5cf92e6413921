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
    /// The same lanes by how much is resident of each.
    by_size: BTreeSet<(u64, LaneKey)>,
    /// How many bytes were written out so far, by the stage whose input they are.
    spilled: BTreeMap<StageId, u64>,
}

type LaneKey = (StageId, Lane);

/// The id of the first batch that it is.
type PayloadId = BatchId;

#[derive(Debug)]
struct Owned {
    payload: PayloadId,
    owners: u32,
}

#[derive(Debug)]
struct Payload {
    lane: LaneKey,
    /// References, each with its own owners.
    references: u32,
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

    fn read(&self, id: BatchId, lane: LaneKey, record: &Record) -> Result<Arc<ElementBatch>, StoreError> {
        let reservation = self.memory.reserve(MemoryClass::Readers, record.raw_bytes());
        let what = format!("{id:?} of {} in lane {:?}", lane.0, lane.1);
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
        let lane = (first.stage, first.lane);
        let mut index = self.index();
        for reference in &references {
            index.batches.insert(reference.id, Owned { payload, owners: 1 });
        }
        match place {
            Place::Resident(_) | Place::Leaving(_) => index.add(lane, payload, bytes),
            Place::Disk(_) => *index.spilled.entry(first.stage).or_default() += bytes,
        }
        index.payloads.insert(payload, Payload { lane, references: references.len() as u32, bytes, place });
        Ok(references)
    }

    fn get(&self, id: BatchId) -> Result<Arc<ElementBatch>, StoreError> {
        let (lane, record) = {
            let index = self.index();
            let payload = index.batches.get(&id).and_then(|owned| index.payloads.get(&owned.payload));
            let payload = payload.ok_or(StoreError::Unknown(id))?;
            match &payload.place {
                Place::Resident(batch) | Place::Leaving(batch) => return Ok(batch.clone()),
                Place::Disk(record) => (payload.lane, record.clone()),
            }
        };
        self.read(id, lane, &record)
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
            gone.extend(index.free(*id));
        }
        drop(index);
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }
}

impl Index {
    fn add(&mut self, lane: LaneKey, payload: PayloadId, bytes: u64) {
        let content = self.lanes.entry(lane).or_default();
        self.by_size.remove(&(content.bytes, lane));
        content.bytes += bytes;
        content.payloads.insert(payload);
        self.by_size.insert((content.bytes, lane));
    }

    fn remove(&mut self, lane: LaneKey, payload: PayloadId, bytes: u64) {
        let Some(content) = self.lanes.get_mut(&lane) else { return };
        if !content.payloads.remove(&payload) {
            return;
        }
        self.by_size.remove(&(content.bytes, lane));
        content.bytes -= bytes;
        if content.payloads.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.by_size.insert((content.bytes, lane));
        }
    }

    fn free(&mut self, id: BatchId) -> Option<Payload> {
        let owned = self.batches.get_mut(&id)?;
        owned.owners -= 1;
        if owned.owners > 0 {
            return None;
        }
        let key = owned.payload;
        self.batches.remove(&id);
        let payload = self.payloads.get_mut(&key)?;
        payload.references -= 1;
        if payload.references > 0 {
            return None;
        }
        let payload = self.payloads.remove(&key)?;
        self.remove(payload.lane, key, payload.bytes);
        Some(payload)
    }

    /// Takes what is to be written out next: of the largest lane the last that nobody looks at, for the first are read
    /// first. They leave their lane, in order of arrival.
    fn take_idle(&mut self, bytes: u64) -> Vec<(PayloadId, Arc<ElementBatch>)> {
        let lanes: Vec<_> = self.by_size.iter().rev().map(|(bytes, lane)| (*bytes, *lane)).collect();
        for (lane_bytes, lane) in lanes {
            if lane_bytes < SPILL_LANE_BYTES_MIN {
                break;
            }
            let Some(content) = self.lanes.get(&lane) else { continue };
            let mut taken = Vec::new();
            let mut sum = 0;
            for id in content.payloads.iter().rev() {
                let Some(payload) = self.payloads.get(id) else { continue };
                if let Place::Resident(batch) = &payload.place
                    // Somebody reads it: writing it out would free nothing.
                    && Arc::strong_count(batch) == 1
                {
                    sum += payload.bytes;
                    taken.push((*id, batch.clone()));
                }
                if sum >= bytes {
                    break;
                }
            }
            if taken.is_empty() {
                continue;
            }
            for (id, batch) in &taken {
                self.remove(lane, *id, batch.bytes());
                if let Some(payload) = self.payloads.get_mut(id) {
                    payload.place = Place::Leaving(batch.clone());
                }
            }
            taken.reverse();
            return taken;
        }
        Vec::new()
    }
}

impl Spill for SpillingBatchStore {
    fn spill(&self, bytes: u64) -> u64 {
        let taken = self.index().take_idle(bytes);
        let mut freed = 0;
        for (id, batch) in taken {
            let written = self.write(&batch);
            // Dropped when the lock is open again.
            let mut old = None;
            let mut index = self.index();
            if let Some(payload) = index.payloads.get_mut(&id) {
                let (lane, bytes) = (payload.lane, payload.bytes);
                match written {
                    Ok(record) => {
                        old = Some(std::mem::replace(&mut payload.place, Place::Disk(record)));
                        freed += bytes;
                        *index.spilled.entry(lane.0).or_default() += bytes;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "data cannot be written out");
                        payload.place = Place::Resident(batch.clone());
                        index.add(lane, id, bytes);
                    }
                }
            }
            drop(index);
            drop(old);
        }
        freed
    }
}
