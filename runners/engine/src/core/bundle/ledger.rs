//! The ledger: which bundles run, and in which order they were committed.
//!
//! Law: every bundle that was entered leaves once, committed or failed.

use std::collections::BTreeMap;

use purlin_model::time::{EventTime, ProcessingTime};

use crate::core::action::{BundleId, LedgerSeq};
use crate::core::lane::Lane;
use crate::core::stage::{OutputId, StageId, Take};
use crate::data::BatchSlice;

/// A bundle that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// Its stage.
    pub stage: StageId,
    /// The lanes that it owns.
    pub lanes: Vec<Lane>,
    /// What it works on, as rewritten by splits.
    pub input: Vec<BatchSlice>,
    /// What its lanes still have to do behind it: the rest of a bundle that failed, and is being narrowed down.
    pub behind: Vec<BatchSlice>,
    /// If its input is a residual: the holds that came with it, which stand until it commits.
    pub residual: Option<ResidualHolds>,
    /// What an SDK said of windows that must merge.
    pub merged: Vec<BatchSlice>,
    /// If its input is a question about windows: who asked.
    pub(crate) asked_by: Option<Box<(StageId, Take)>>,
    /// How far event time had come when it was handed out, and whether its outputs' watermarks stay there.
    pub hold: BundleHold,
    /// How often this input was handed out before.
    pub attempt: u32,
    /// When it was started.
    pub started: ProcessingTime,
    /// When it will be asked to check-point itself.
    pub split_at: Option<ProcessingTime>,
    /// When it will be asked for work, should workers be idle then.
    pub share_at: Option<ProcessingTime>,
    /// Whether its input has been truncated, because the job takes no more.
    pub truncated: bool,
    /// Whether it was told to stop.
    pub aborted: bool,
    /// Whether it was asked to stop early because memory is short.
    pub stopping: bool,
}

/// How far event time had come when a bundle was handed out.
///
/// State and timers that the bundle sets may emit from there on, also if its elements are late and hold nothing. So the
/// outputs of keyed stages stay behind it until the bundle is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleHold {
    /// The watermark of the stage's input.
    pub watermark: EventTime,
    /// Whether the outputs stay there.
    pub holds: bool,
}

/// Per output, how early what a residual emits may be; absent means [`EventTime::MIN`].
pub type ResidualHolds = Vec<(OutputId, EventTime)>;

/// Which bundles run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    running: BTreeMap<BundleId, Running>,
    next_bundle: u64,
    next_seq: u64,
}

impl Ledger {
    /// Enters a bundle that is about to start.
    pub fn enter(&mut self, bundle: Running) -> BundleId {
        let id = BundleId(self.next_bundle);
        self.next_bundle += 1;
        self.running.insert(id, bundle);
        id
    }

    /// Takes out a bundle that has ended; `None` if it is not running, as after a second answer.
    pub fn leave(&mut self, id: BundleId) -> Option<Running> {
        self.running.remove(&id)
    }

    /// The place of the next commit.
    pub fn next_seq(&mut self) -> LedgerSeq {
        let seq = LedgerSeq(self.next_seq);
        self.next_seq += 1;
        seq
    }

    /// A bundle that runs.
    pub fn get_mut(&mut self, id: BundleId) -> Option<&mut Running> {
        self.running.get_mut(&id)
    }

    /// All bundles that run, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (BundleId, &Running)> {
        self.running.iter().map(|(id, running)| (*id, running))
    }

    /// All bundles that run, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (BundleId, &mut Running)> {
        self.running.iter_mut().map(|(id, running)| (*id, running))
    }

    /// Whether nothing runs.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}
