//! State and timers of keys, as bundles see them.
//!
//! ```text
//!   bundle ──read──► overlay (its own writes) ─► what is committed, in memory ─► what of it is on disk
//!   bundle ──write─► overlay ──commit──► what is committed, in memory ─(memory is short)─► on disk
//! ```
//! A view needs no locks: a bundle owns its lanes, so nobody else reads or writes their keys.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use purlin_model::key_group::KeyGroup;
use purlin_model::time::{EventTime, ProcessingTime};
use thiserror::Error;

use crate::core::action::{BundleDraft, LedgerSeq};
use crate::core::bundle::{DeltaId, GroupSummary};
use crate::core::stage::StageId;
use crate::store::StoreError;

/// The address of one piece of state. Names come from the pipeline, so they hold across restarts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The unique name of the transform that owns it.
    pub transform: Arc<str>,
    /// The id of the state specification.
    pub state: Arc<str>,
    /// The window as it stands on the wire.
    pub window: Bytes,
    /// The key's nested encoding.
    pub key: Bytes,
    /// Within a multimap: the map key's nested encoding.
    pub map_key: Option<Bytes>,
}

impl Cell {
    /// The key group that owns it.
    pub fn group(&self) -> KeyGroup {
        KeyGroup::of_key(&self.key)
    }
}

/// Where a read begins: an opaque position that the store gave out, or the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Page(pub u64);

/// A half-open range of sort keys of an ordered list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortKeyRange {
    /// The first key inside.
    pub start: i64,
    /// The first key behind.
    pub end: i64,
}

/// Which clock a timer listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerDomain {
    /// The watermark.
    EventTime,
    /// The clock.
    ProcessingTime,
    /// The watermark, at the end of a window: it fires behind all other timers of the same window.
    WindowExpiration,
}

/// One timer, set or cleared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timer {
    /// The key's nested encoding.
    pub key: Bytes,
    /// When it fires, in its domain's milliseconds; `None` clears it.
    pub fire_at: Option<i64>,
    /// The unique name of the transform that owns it.
    pub transform: Arc<str>,
    /// Its family.
    pub family: Arc<str>,
    /// Its dynamic tag.
    pub tag: Bytes,
    /// The window as it stands on the wire.
    pub window: Bytes,
    /// Which clock.
    pub domain: TimerDomain,
    /// Of a timer of the clock: behind this instant of event time it is due whatever the clock says, because its window
    /// has expired and is collected then; see [`DueBound::is_expired`].
    pub expires: Option<EventTime>,
    /// It holds the watermark behind the stage here.
    pub hold: EventTime,
    /// The timestamp of what it will emit, in milliseconds, where that is not its hold: behind the end of its window, in the
    /// time that is allowed for late data; or behind all of Beam's time, for what emits nothing.
    pub output_timestamp: Option<i64>,
    /// The pane as it stands on the wire.
    pub pane: Bytes,
}

/// Which timers are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueBound {
    /// Event timers before this instant: at it, elements may still come. At [`EventTime::MAX`] all of them are due.
    pub watermark: EventTime,
    /// Timers of the clock up to here.
    pub now: ProcessingTime,
    /// Whether the clock ends with the input, as in a job that is drained: at [`EventTime::MAX`] all timers of the clock are
    /// due then, and otherwise they wait for it there too.
    pub clock_ends: bool,
    /// Whether a view gives out one timer of each key and window in all, so that it is known which of them have fired, and which
    /// were replaced before they could.
    pub one_each: bool,
    /// At most this many.
    pub count_max: usize,
}

impl DueBound {
    /// What is due for a bundle of user code: when nothing but timers is left in a job that is drained, one of each key and window.
    pub fn of_bundle(watermark: EventTime, now: ProcessingTime, draining: bool, count_max: usize) -> Self {
        let bound = Self { watermark, now, clock_ends: draining, one_each: false, count_max };
        Self { one_each: bound.is_end_of_clock(), ..bound }
    }

    /// What is due for a kernel: at the end of the input all that it waits with.
    pub(crate) fn of_kernel(watermark: EventTime, now: ProcessingTime) -> Self {
        Self { watermark, now, clock_ends: true, one_each: false, count_max: usize::MAX }
    }

    /// Whether a timer of this domain that fires at this instant, in milliseconds, is due.
    pub fn is_due(&self, domain: TimerDomain, fire_at: i64) -> bool {
        match domain {
            TimerDomain::EventTime | TimerDomain::WindowExpiration => {
                self.watermark == EventTime::MAX || fire_at < self.watermark.millis()
            }
            TimerDomain::ProcessingTime => fire_at <= self.now.0 || self.is_end_of_clock(),
        }
    }

    /// Whether all timers of the clock are due, because nothing else is left to wait for.
    pub fn is_end_of_clock(&self) -> bool {
        self.clock_ends && self.watermark == EventTime::MAX
    }

    /// Whether what is collected behind this instant may be collected. At the end of the input nothing is: the job
    /// ends with all that it keeps.
    pub fn is_expired(&self, behind: EventTime) -> bool {
        behind < self.watermark && self.watermark != EventTime::MAX
    }
}

/// Why state cannot be read or written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StateError {
    /// The key does not belong to a lane that the bundle owns: somebody sent a wrong key.
    #[error(
        "state `{state}` of transform `{transform}` was asked for a key that is not in this bundle; \
         the SDK sent a key that differs from the one it was given"
    )]
    ForeignKey {
        /// The transform.
        transform: Arc<str>,
        /// The state id.
        state: Arc<str>,
    },
    /// It cannot be read back from disk, or there is no room for it in memory nor on disk.
    #[error("{what}: {why}")]
    Store {
        /// The state and its transform, key and window.
        what: String,
        /// What is wrong, and how to fix it.
        why: StoreError,
    },
}

/// Keeps state and timers of a job.
pub trait StateStore: Send + Sync + fmt::Debug {
    /// The view of a bundle: its own writes over what is committed.
    fn view(&self, draft: &BundleDraft) -> Box<dyn StateView>;

    /// Makes a bundle's writes count. In order of `seq`, and before any later view of the same lanes.
    fn apply(&self, delta: DeltaId, seq: LedgerSeq);

    /// Drops a bundle's writes.
    fn discard(&self, delta: DeltaId);

    /// How many bytes of each stage's state were written to disk so far; nothing of stages of which nothing was.
    fn spilled(&self) -> BTreeMap<StageId, u64> {
        BTreeMap::new()
    }
}

/// One bundle's view of the state of its lanes.
///
/// Law: a read sees the bundle's own writes, in order, over the last committed state, and nothing else.
pub trait StateView: Send + fmt::Debug {
    /// What was appended to a cell, from a page on. Pages end between appends, so that whole elements stay whole.
    ///
    /// # Errors
    /// See [`StateError`].
    fn read(&mut self, cell: &Cell, from: Page) -> Result<(Bytes, Option<Page>), StateError>;

    /// Appends encoded elements to a cell.
    ///
    /// # Errors
    /// See [`StateError`].
    fn append(&mut self, cell: &Cell, elements: Bytes) -> Result<(), StateError>;

    /// Empties a cell.
    ///
    /// # Errors
    /// See [`StateError`].
    fn clear(&mut self, cell: &Cell) -> Result<(), StateError>;

    /// The map keys of a multimap that hold anything, in the order of their bytes.
    ///
    /// # Errors
    /// See [`StateError`].
    fn map_keys(&mut self, cell: &Cell) -> Result<Vec<Bytes>, StateError>;

    /// Sets, moves or clears a timer. Tells whether it is as it was wanted: where a bundle
    /// [fires what is left](BundleDraft::fires_what_is_left), a timer that has fired in such a bundle is cleared instead of
    /// set again, for that could go on for ever.
    ///
    /// # Errors
    /// See [`StateError`].
    fn set_timer(&mut self, timer: Timer) -> Result<bool, StateError>;

    /// Takes the timers of the bundle's lanes that are due and were not set by this bundle: by key, then those of the clock
    /// before those of event time and these before the ends of windows, by fire time, and of one instant in an order of transforms,
    /// families, windows and tags that stays the same. What more there are than the bound takes at once comes with the next call,
    /// and for each key in the same order; a view may give out only so many in all, and what it leaves is due for the next bundle
    /// of the lanes. Costs in proportion to what is due.
    ///
    /// # Errors
    /// See [`StateError`].
    fn take_due(&mut self, bound: &DueBound) -> Result<Vec<Timer>, StateError>;

    /// Says that what this bundle writes in a window from now on is collected once the watermark is behind `at`.
    fn expire_window(&mut self, window: &Bytes, at: EventTime);

    /// Collects the state of windows that have expired and have no timers that are due: these fire first. Tells whether any
    /// timer is due.
    ///
    /// # Errors
    /// See [`StateError`].
    fn collect_expired(&mut self, bound: &DueBound) -> Result<bool, StateError>;

    /// Whether nothing is committed in any cell of the bundle's lanes (`has_no_state` of `ProcessBundleRequest`).
    fn has_no_cells(&self) -> bool;

    /// Ends the bundle's writing: keeps the writes for [`StateStore::apply`], and summarises each touched group.
    fn finish(self: Box<Self>) -> (DeltaId, Vec<(KeyGroup, GroupSummary)>);
}
