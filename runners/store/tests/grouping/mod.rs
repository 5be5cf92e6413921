//! Runs the kernels of groupings, and of sorts, one bundle after the other, over the stores in memory: what the core and the driver do
//! around them, without queues.
//!
//! ```text
//!   elements ─► LaneWriter ─► lanes ─► run_kernel ─► panes, in order        watermark, clock ─► timers that are due
//! ```

#![allow(dead_code, reason = "each test target uses its own part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use purlin_engine::core::action::{BundleDraft, BundleId, LedgerSeq};
use purlin_engine::core::bundle::{DropCounts, GroupSummary};
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::{Grouping, JobGraph, JobGraphBuilder, OutputId, StageId, StageKind};
use purlin_engine::data::{BatchInput, BatchSlice, LaneWriter};
use purlin_engine::kernel::{KernelDone, KernelIo, KernelState, run_kernel};
use purlin_engine::store::{BatchStore, DueBound, StateStore, TimerDomain};
use purlin_model::coder::Coder;
use purlin_model::element::Header;
use purlin_model::key_group::KeyGroup;
use purlin_model::pane::PaneInfo;
use purlin_model::time::{EventTime, Millis, ProcessingTime};
use purlin_model::window::{BoundedWindow, WindowCoder};
use purlin_model::windowing_strategy::WindowingStrategy;
use purlin_store::{BatchSideStore, MemoryBatchStore, SpillingStateStore};

const READ: StageId = StageId(1);
const PAIRS: OutputId = OutputId(1);
const GROUP: StageId = StageId(2);

/// One element of the input: a key and a value of a byte each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) key: u8,
    pub(crate) value: u8,
    pub(crate) timestamp: i64,
    pub(crate) windows: Vec<BoundedWindow>,
}

/// One pane of the output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pane {
    pub(crate) key: u8,
    pub(crate) window: BoundedWindow,
    pub(crate) timestamp: EventTime,
    pub(crate) info: PaneInfo,
    pub(crate) values: Vec<u8>,
}

/// A grouping that runs.
pub(crate) struct Groups {
    graph: Arc<JobGraph>,
    windows: WindowCoder,
    batches: Arc<dyn BatchStore>,
    sides: BatchSideStore,
    state: SpillingStateStore,
    summaries: BTreeMap<KeyGroup, GroupSummary>,
    watermark: EventTime,
    now: ProcessingTime,
    bundles: u64,
    pub(crate) dropped: DropCounts,
}

impl Groups {
    pub(crate) fn new(strategy: &WindowingStrategy, windows: WindowCoder, grouping: Grouping) -> Self {
        let mut job = JobGraphBuilder::new();
        let env = job.environment();
        let impulse = job.impulse("Impulse");
        let pair = || Arc::new(Coder::Bytes);
        let pairs = job.worker("Read", env, &[impulse], Coder::Kv(pair(), pair()), windows);
        let grouped = job.group("Group", &[pairs], strategy, Coder::Kv(pair(), Arc::new(Coder::Iterable(pair()))));
        job.group_by(grouped, grouping);
        job.sink("Write", env, &[grouped]);
        Self::of(job, windows)
    }

    /// A sort by time of input that may be late by so much, in place of a grouping; what it emits are panes of one value.
    pub(crate) fn sorted(windows: WindowCoder, lateness: Millis) -> Self {
        let mut job = JobGraphBuilder::new();
        let env = job.environment();
        let impulse = job.impulse("Impulse");
        let pair = || Arc::new(Coder::Bytes);
        let pairs = job.worker("Read", env, &[impulse], Coder::Kv(pair(), pair()), windows);
        let sorted = job.sort_by_time("Sort", &[pairs]);
        job.sort_as_it_comes(sorted, lateness);
        job.sink("Write", env, &[sorted]);
        Self::of(job, windows)
    }

    fn of(job: JobGraphBuilder, windows: WindowCoder) -> Self {
        let graph = Arc::new(job.build());
        graph.check().unwrap();
        let batches: Arc<dyn BatchStore> = Arc::new(MemoryBatchStore::new());
        Self {
            windows,
            batches: batches.clone(),
            sides: BatchSideStore::new(graph.clone(), batches),
            state: SpillingStateStore::in_memory(),
            summaries: BTreeMap::new(),
            watermark: EventTime::MIN,
            now: ProcessingTime(0),
            bundles: 0,
            dropped: DropCounts::default(),
            graph,
        }
    }

    /// The least timestamp that the grouping may still emit.
    pub(crate) fn hold(&self) -> Option<EventTime> {
        self.summaries.values().filter_map(|summary| summary.min_hold).min()
    }

    /// Whether nothing is kept any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.summaries.values().all(|summary| *summary == GroupSummary::default())
    }

    /// Takes in one bundle of elements.
    pub(crate) fn elements(&mut self, elements: &[Element]) -> Vec<Pane> {
        let mut out = LaneWriter::new(&self.graph, READ, self.batches.clone());
        for element in elements {
            let mut header = Vec::new();
            let timestamp = EventTime::from_millis(element.timestamp);
            let windows = element.windows.clone();
            Header { timestamp, windows, pane: PaneInfo::NO_FIRING }.encode(&mut header);
            out.push(PAIRS, &header, timestamp, &[1, element.key, 1, element.value]).unwrap();
        }
        let (routed, _) = out.finish().unwrap();
        let lanes: Vec<Lane> = routed.iter().map(|routed| routed.lane).collect();
        let input = routed.iter().map(|routed| BatchSlice::whole(routed.batch)).collect();
        self.bundle(lanes, input)
    }

    /// Moves event time; fires what is due.
    pub(crate) fn watermark(&mut self, to: EventTime) -> Vec<Pane> {
        self.watermark = self.watermark.max(to);
        self.fire_due()
    }

    /// Moves the clock; fires what is due.
    pub(crate) fn clock(&mut self, to: i64) -> Vec<Pane> {
        self.now = ProcessingTime(to);
        self.fire_due()
    }

    /// Fires timers until none is due, as the core does.
    pub(crate) fn fire_due(&mut self) -> Vec<Pane> {
        let mut panes = Vec::new();
        loop {
            let bound = DueBound::of_bundle(self.watermark, self.now, false, usize::MAX);
            let due = self.summaries.iter().filter(|(_, summary)| {
                let event = summary.next_event.map(|at| (TimerDomain::EventTime, at.millis()));
                let clock = summary.next_processing.map(|at| (TimerDomain::ProcessingTime, at.0));
                event.into_iter().chain(clock).any(|(domain, at)| bound.is_due(domain, at))
            });
            let lanes: Vec<Lane> = due.map(|(group, _)| Lane::Group(*group)).collect();
            if lanes.is_empty() {
                return panes;
            }
            assert!(self.bundles < 10_000, "timers fire for ever");
            panes.extend(self.bundle(lanes, Vec::new()));
        }
    }

    fn bundle(&mut self, lanes: Vec<Lane>, input: Vec<BatchSlice>) -> Vec<Pane> {
        let id = BundleId(self.bundles);
        self.bundles += 1;
        let (watermark, now) = (self.watermark, self.now);
        let draft = BundleDraft {
            id,
            stage: GROUP,
            lanes,
            input,
            merged: Vec::new(),
            watermark,
            now,
            attempt: 0,
            draining: false,
        };
        let mut view = self.state.view(&draft);
        let keeps = self.graph.stage(GROUP).kind.keeps_state();
        let kept = keeps.then_some(KernelState { view: &mut *view, now });
        let input = BatchInput::new(draft.input.clone(), self.batches.clone());
        let merged = BatchInput::new(Vec::new(), self.batches.clone());
        let mut out = LaneWriter::new(&self.graph, GROUP, self.batches.clone());
        let mut io = KernelIo {
            bundle: id,
            watermark,
            input,
            merged,
            sides: &self.sides,
            kept,
            dropped: DropCounts::default(),
            out: &mut out,
            share_bytes: u64::MAX,
        };
        assert_eq!(run_kernel(&self.graph, GROUP, &mut io).unwrap(), KernelDone::Whole);
        let dropped = io.dropped;
        self.dropped.late += dropped.late;
        self.dropped.closed += dropped.closed;
        let (delta, summaries) = view.finish();
        self.state.apply(delta, LedgerSeq(id.0));
        self.summaries.extend(summaries);
        let (routed, _) = out.finish().unwrap();
        routed.iter().flat_map(|routed| self.panes(routed.batch.id)).collect()
    }

    fn panes(&self, batch: purlin_engine::data::BatchId) -> Vec<Pane> {
        let batch = self.batches.get(batch).unwrap();
        let pane = |index| {
            let element = batch.get(index);
            let header = Header::decode(&mut &element.header[..], self.windows).unwrap();
            let [window] = &header.windows[..] else { panic!("a pane stands in one window") };
            let (key, rest) = (element.value[1], &element.value[2..]);
            if matches!(self.graph.stage(GROUP).kind, StageKind::SortByTime { .. }) {
                let values = vec![rest[1]];
                return Pane { key, window: window.clone(), timestamp: header.timestamp, info: header.pane, values };
            }
            let count = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let values: Vec<u8> = rest[4..].chunks(2).map(|value| value[1]).collect();
            assert_eq!(values.len(), count, "the count is that of the values");
            Pane { key, window: window.clone(), timestamp: header.timestamp, info: header.pane, values }
        };
        (0..batch.len()).map(pane).collect()
    }
}

/// `[start, end)`.
pub(crate) fn interval(start: i64, end: i64) -> BoundedWindow {
    BoundedWindow::Interval { start: EventTime::from_millis(start), end: EventTime::from_millis(end) }
}
