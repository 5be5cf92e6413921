//! The world: an engine, and everything around it decided by chance.

use std::collections::BTreeMap;
use std::sync::Arc;

use purlin_engine::core::action::{Action, BundleDraft, BundleId, LedgerSeq, Outcome};
use purlin_engine::core::bundle::{BundleResult, DeltaId, DropCounts, Routed};
use purlin_engine::core::config::EngineConfig;
use purlin_engine::core::engine::Engine;
use purlin_engine::core::event::{Event, Failure, MemoryLevel, Residual, Split};
use purlin_engine::core::lane::Lane;
use purlin_engine::core::schedule::Schedule;
use purlin_engine::core::stage::{EnvIndex, JobGraph, StageId};
use purlin_engine::data::{BatchId, BatchInput, BatchRef, BatchSlice, LaneWriter};
use purlin_engine::kernel::{KernelDone, KernelIo, KernelState, run_kernel};
use purlin_engine::store::{BatchStore, SideStore, StateStore};
use purlin_model::time::{EventTime, ProcessingTime};
use purlin_model::window::{BoundedWindow, WindowCoder};
use purlin_store::{BatchSideStore, MemoryBroker, MemoryDisk, SpillingBatchStore, SpillingStateStore};

use crate::oracle::{Dropped, comparable};
use crate::plan::{Role, plan, windows_of};
use crate::program::{Does, Element, Node, Program};
use crate::random::Random;
use crate::seen::Seen;
use crate::worker::{self, Out};

/// A job that takes longer does not end.
const STEPS_MAX: usize = 200_000;

/// How far ahead timers of the clock are set in jobs that are drained. No job here takes so long.
const FAR: i64 = 1 << 40;

/// What came of a world.
pub(crate) struct Ran {
    /// What came out, by sink, as the oracle has it.
    pub(crate) found: BTreeMap<usize, Vec<Element>>,
    pub(crate) dropped: Dropped,
    pub(crate) seen: Seen,
}

/// What a bundle that finished has done outside the engine.
struct Finished {
    delta: Option<DeltaId>,
    /// What came out of the job, and at which node.
    collected: Option<(usize, Vec<Element>)>,
    /// What came too late, and for which node.
    dropped: Option<(usize, Vec<Element>)>,
}

pub(crate) struct World<'a> {
    program: &'a Program,
    graph: Arc<JobGraph>,
    roles: Vec<Role>,
    environments: Vec<EnvIndex>,
    random: Random,
    engine: Engine,
    now: i64,
    batches: Arc<SpillingBatchStore>,
    broker: Arc<MemoryBroker>,
    sides: BatchSideStore,
    state: SpillingStateStore,
    running: BTreeMap<BundleId, BundleDraft>,
    /// What finished and waits for the engine's word.
    finished: BTreeMap<BundleId, Finished>,
    collected: BTreeMap<usize, Vec<Element>>,
    dropped: Dropped,
    /// The stage that was told last to drop elements, until it is known which.
    dropping: Option<StageId>,
    watermarks: Vec<EventTime>,
    seen: Seen,
    /// Whether the job is to be drained, sooner or later.
    drains: bool,
    drained: bool,
    outcome: Option<Outcome>,
}

impl<'a> World<'a> {
    pub(crate) fn new(program: &'a Program, seed: u64, schedule: Box<dyn Schedule>) -> Self {
        let mut random = Random::new(seed.wrapping_mul(31).wrapping_add(7));
        let planned = plan(program, &mut random);
        let graph = Arc::new(planned.graph);
        // Workers are lost often here, and the job must not give up on them.
        let config = EngineConfig {
            lost_worker_attempts_max: 1_000,
            kernel_slots: 3,
            join_behind: random.below(4) as usize,
            ..EngineConfig::default()
        };
        // So little that much must go to disk, and now and then enough.
        let broker = MemoryBroker::for_data(if random.percent(20) { 1 << 20 } else { 200 + random.below(20_000) });
        let (account, disk) = (broker.job(), Arc::new(MemoryDisk::new(1 << 30)));
        let batches = SpillingBatchStore::new(&account, disk.clone());
        let state = SpillingStateStore::new(&account, disk);
        let engine = Engine::new(graph.clone(), config, schedule).expect("the simulation plans well");
        let drains = random.percent(50);
        Self {
            program,
            sides: BatchSideStore::new(graph.clone(), batches.clone()),
            graph,
            roles: planned.roles,
            environments: planned.environments,
            random,
            engine,
            now: 0,
            batches,
            broker,
            state,
            running: BTreeMap::new(),
            finished: BTreeMap::new(),
            collected: BTreeMap::new(),
            dropped: BTreeMap::new(),
            dropping: None,
            watermarks: Vec::new(),
            seen: Seen::default(),
            drains,
            drained: false,
            outcome: None,
        }
    }

    /// Runs the job to its end.
    pub(crate) fn run(mut self) -> Ran {
        self.tell(Event::Start);
        for env in self.environments.clone() {
            let slots = 1 + self.random.below(4) as u32;
            self.tell(Event::Workers { env, slots });
        }
        for _ in 0..STEPS_MAX {
            if let Some(outcome) = &self.outcome {
                assert_eq!(matches!(outcome, Outcome::Drained(_)), self.drained, "{outcome:?}");
                assert!(self.drained || *outcome == Outcome::Done, "{outcome:?}");
                assert!(self.now < FAR, "a drain waits for the clock");
                let Self { program, sides, state, batches, broker, collected, dropped, seen, .. } = self;
                // Side inputs and state are there for as long as the job.
                drop((sides, state));
                assert_eq!(batches.held_bytes(), 0, "batches are left behind");
                assert_eq!(broker.used(), 0, "memory is left reserved");
                let found = |(sink, elements): (&usize, &Vec<Element>)| (*sink, comparable(program, *sink, elements));
                return Ran { found: collected.iter().map(found).collect(), dropped, seen };
            }
            self.step();
        }
        panic!("the job does not end: {}", self.engine.explain(ProcessingTime(self.now)));
    }

    fn step(&mut self) {
        self.now += self.random.below(20) as i64;
        // Others may want memory at any time, and whether a bundle owns it changes nothing.
        if self.now % 4 == 0 {
            self.state.evict_all();
            self.seen.evicted += u64::from(self.state.size().bytes_on_disk > 0);
        }
        let running: Vec<BundleId> = self.running.keys().copied().collect();
        let Some(bundle) = self.random.pick(&running).copied() else {
            let wakeup = self.engine.next_wakeup().expect("a job that waits for nothing has ended");
            if self.drains && !self.drained && (wakeup.0 >= FAR || self.random.percent(10)) {
                self.drain();
                return;
            }
            self.now = self.now.max(wakeup.0);
            self.tell(Event::Tick);
            return;
        };
        match self.random.below(20) {
            0 | 1 => self.lose(bundle),
            2..=4 => self.split(bundle),
            5 => {
                let env = self.environments[self.random.below(2) as usize];
                let slots = 1 + self.random.below(4) as u32;
                self.tell(Event::Workers { env, slots });
            }
            6 if self.drains && !self.drained && self.random.percent(5) => self.drain(),
            6 => self.tell(Event::Tick),
            // Memory is the whole process's, so that it may be short for reasons that this job does not know.
            7 => {
                let level = if self.random.percent(70) { MemoryLevel::High } else { MemoryLevel::Low };
                self.tell(Event::Pressure(level));
            }
            _ => self.complete(bundle),
        }
    }

    fn drain(&mut self) {
        self.drained = true;
        self.tell(Event::Drain);
    }

    fn lose(&mut self, bundle: BundleId) {
        if self.is_kernel(bundle) {
            return;
        }
        self.running.remove(&bundle);
        self.seen.lost += 1;
        let why = Failure::WorkerLost("the worker is gone".to_owned());
        self.tell(Event::BundleFailed { bundle, why });
    }

    fn is_kernel(&self, bundle: BundleId) -> bool {
        matches!(self.roles[self.running[&bundle].stage.index()], Role::Kernel { .. } | Role::Sort { .. })
    }

    /// Gives part of a bundle's input back, within an element if it is a range of numbers.
    fn split(&mut self, bundle: BundleId) {
        let draft = self.running[&bundle].clone();
        let spec = self.graph.stage(draft.stage);
        let whole = self.is_kernel(bundle) || matches!(self.roles[draft.stage.index()], Role::Truncate);
        if whole || spec.keyed || draft.elements() == 0 {
            return;
        }
        let position = self.random.below(draft.elements()) as u32;
        let (mut primary, mut element, mut rest, mut left) = (Vec::new(), Vec::new(), Vec::new(), position);
        for slice in draft.input {
            let (before, behind) = cut(slice, left);
            left -= before.map_or(0, |before| before.len());
            primary.extend(before);
            if let Some(slice) = behind {
                if element.is_empty() {
                    let (one, behind) = cut(slice, 1);
                    element.extend(one);
                    rest.extend(behind);
                } else {
                    rest.push(slice);
                }
            }
        }
        let mut residuals = Vec::new();
        match self.roles[draft.stage.index()] {
            Role::Numbers { .. } => {
                let range = self.ranges(&element)[0];
                if range.1 - range.0 < 2 {
                    return;
                }
                let at = range.0 + 1 + self.random.below((range.1 - range.0 - 1) as u64) as i64;
                let mut writer = LaneWriter::new(&self.graph, draft.stage, self.batches.clone());
                primary.push(BatchSlice::whole(self.keep(&mut writer, (range.0, at))));
                residuals.push(self.residual(&mut writer, draft.stage, (at, range.1)));
            }
            _ if primary.is_empty() => return,
            _ => {
                element.append(&mut rest);
                rest = element;
            }
        }
        if let Some(running) = self.running.get_mut(&bundle) {
            running.input.clone_from(&primary);
        }
        self.seen.split += 1;
        self.tell(Event::BundleSplit { bundle, split: Split { primary, rest, residuals } });
    }

    fn ranges(&self, slices: &[BatchSlice]) -> Vec<(i64, i64)> {
        let elements = worker::read(&*self.batches, slices, false, WindowCoder::Global);
        elements.iter().map(|element| (element.key, element.values[0])).collect()
    }

    /// Keeps a range as input of its stage.
    fn keep(&self, writer: &mut LaneWriter, range: (i64, i64)) -> BatchRef {
        let batch = writer.put_residual(&worker::range_on_the_wire(range)).expect("memory takes everything");
        writer.hand_over(batch.id);
        batch
    }

    fn residual(&mut self, writer: &mut LaneWriter, stage: StageId, range: (i64, i64)) -> Residual {
        // What a stream brings comes slowly enough, now and then, for all that came before to be done.
        let (percent, delay) = if self.program.stream { (60, 600) } else { (30, 100) };
        let waits = self.random.percent(percent);
        let not_before = waits.then(|| ProcessingTime(self.now + self.random.below(delay) as i64));
        let at = EventTime::from_millis(range.0);
        let watermarks = self.graph.stage(stage).outputs.iter().map(|output| (*output, at)).collect();
        Residual { batch: self.keep(writer, range), to: stage, not_before, watermarks, bounded: true }
    }

    fn complete(&mut self, bundle: BundleId) {
        let Some(draft) = self.running.remove(&bundle) else { return };
        let stage = draft.stage;
        let graph = self.graph.clone();
        let mut writer = LaneWriter::new(&graph, stage, self.batches.clone());
        let mut result = BundleResult::default();
        let (mut collected, mut dropped) = (None, None);
        let role = self.roles[stage.index()];
        let read = |node: &Node| worker::read(&*self.batches, &draft.input, node.grouped, windows_of(node));
        let outputs = graph.stage(stage).outputs.clone();
        let grouped = |node: usize| self.program.nodes[node].grouped;
        let mut out = Out { writer: &mut writer, outputs: &outputs, grouped: false };
        match role {
            Role::Kernel { .. } | Role::Sort { .. } => {
                let mut view = graph.stage(stage).kind.keeps_state().then(|| self.state.view(&draft));
                let kept = view.as_mut().map(|view| KernelState { view: &mut **view, now: draft.now });
                let input = BatchInput::new(draft.input.clone(), self.batches.clone());
                let merged = BatchInput::new(draft.merged.clone(), self.batches.clone());
                // So little that groupings divide what they take, now and then.
                let share_bytes = 64 << self.random.below(8);
                let io = &mut KernelIo {
                    bundle: draft.id,
                    watermark: draft.watermark,
                    input,
                    merged,
                    sides: &self.sides,
                    kept,
                    dropped: DropCounts::default(),
                    out: &mut writer,
                    share_bytes,
                };
                let done = run_kernel(&graph, stage, io).expect("the simulation's elements are well");
                assert_eq!(done, KernelDone::Whole, "no window here needs an SDK to merge it");
                let counted = io.dropped;
                let has_panes = graph.has_panes(graph.stage(stage)) && matches!(role, Role::Kernel { node: None });
                self.seen.refreshed += u64::from(has_panes && !draft.input.is_empty());
                if let Some(view) = view {
                    let (delta, summaries) = view.finish();
                    result.delta = Some(delta);
                    result.summaries = summaries;
                }
                let late = match role {
                    Role::Kernel { node: Some(node) } | Role::Sort { node } if self.program.stream => Some(node),
                    _ => None,
                };
                if let Some(node) = late {
                    let input = &self.program.nodes[self.program.nodes[node].inputs()[0]];
                    let elements = read(input).into_iter();
                    let sorts = matches!(role, Role::Sort { .. });
                    // Who sorts drops elements, and who groups one of their windows.
                    let elements: Vec<_> = if sorts {
                        elements.collect()
                    } else {
                        elements.flat_map(|element| element.explode().collect::<Vec<_>>()).collect()
                    };
                    let gone = |element: &Element| {
                        if sorts {
                            draft.watermark > element.timestamp + input.strategy.allowed_lateness
                        } else {
                            input.drops(&element.windows[0], draft.watermark)
                        }
                    };
                    let (late, taken): (Vec<_>, Vec<_>) = elements.into_iter().partition(gone);
                    self.seen.late_in_time += taken.iter().filter(|element| element.late).count() as u64;
                    dropped = Some((node, late));
                }
                let late = dropped.as_ref().map_or(0, |(_, late)| late.len() as u64);
                assert_eq!(counted, DropCounts { late, closed: 0 }, "late elements are counted");
            }
            Role::Ranges { node } => {
                let Does::Source { count, .. } = self.program.nodes[node].does else { return };
                let mut from = 0;
                while from < count {
                    // A stream is read from its beginning to its end, so that its watermark moves while it goes on.
                    let to = if self.program.stream { count } else { from + 1 + self.random.below(10) as i64 };
                    let to = to.min(count);
                    let windows = vec![BoundedWindow::Global];
                    out.emit(&Element { timestamp: EventTime::MIN, windows, key: from, values: vec![to], late: false });
                    from = to;
                }
            }
            Role::Truncate => {
                let asked = graph.stages.iter().find(|spec| spec.truncated_by == Some(stage));
                let to = asked.expect("somebody asks").id;
                // What comes back is input of who asked.
                let mut kept = LaneWriter::new(&graph, to, self.batches.clone());
                for range in self.ranges(&draft.input) {
                    let batch = self.keep(&mut kept, range);
                    result.outputs.push(Routed { from: outputs[0], to, lane: Lane::Any, batch });
                }
            }
            Role::Numbers { node } => {
                let late = matches!(self.program.nodes[node].does, Does::Source { late: true, .. });
                let mut ranges = self.ranges(&draft.input);
                // A worker may stop in the middle of its last range and leave the rest for later.
                let last = ranges.last().copied().filter(|range| range.1 - range.0 > 1);
                let stops = last.filter(|_| self.random.percent(if self.program.stream { 90 } else { 30 }));
                if let Some(range) = stops {
                    let most = if self.program.stream { 12 } else { range.1 - range.0 };
                    let at = range.0 + self.random.below(most.min(range.1 - range.0) as u64) as i64;
                    ranges.pop();
                    ranges.push((range.0, at));
                    ranges.iter().for_each(|range| worker::numbers(*range, late, &mut out));
                    result.residuals.push(self.residual(&mut writer, stage, (at, range.1)));
                } else {
                    ranges.iter().for_each(|range| worker::numbers(*range, late, &mut out));
                }
            }
            Role::Elements { node, side } => {
                let spec = &self.program.nodes[node];
                out.grouped = grouped(node);
                for element in read(&self.program.nodes[spec.inputs()[0]]) {
                    let sum = side.map_or(0, |(id, of)| {
                        assert_eq!(element.windows.len(), 1, "what reads a side input stands in one window");
                        worker::side_sum(&*self.sides.view(), id, &self.program.nodes[of], &element)
                    });
                    spec.apply(&element, sum).iter().for_each(|element| out.emit(element));
                }
            }
            Role::Keyed { node } => {
                let elements = read(&self.program.nodes[self.program.nodes[node].inputs()[0]]);
                let mut view = self.state.view(&draft);
                let due = draft.due(5);
                let far = self.drains.then_some(self.now + FAR);
                let keyed = worker::keyed(self.program, node, &elements, &mut *view, &due, far, &mut out);
                let (late, called) = keyed;
                self.seen.called_at_the_end += called;
                dropped = Some((node, late));
                let (delta, summaries) = view.finish();
                result.delta = Some(delta);
                result.summaries = summaries;
            }
            Role::Ordered { node } => {
                let elements = read(&self.program.nodes[self.program.nodes[node].inputs()[0]]);
                let mut view = self.state.view(&draft);
                worker::ordered(node, &elements, &mut *view, &mut out);
                let (delta, summaries) = view.finish();
                result.delta = Some(delta);
                result.summaries = summaries;
            }
            Role::Collect { node } => collected = Some((node, read(&self.program.nodes[node]))),
        }
        let (routed, totals) = writer.finish().expect("memory takes everything");
        result.outputs.extend(routed);
        result.stats.elements_out = totals.elements;
        self.finished.insert(bundle, Finished { delta: result.delta, collected, dropped });
        self.tell(Event::BundleFinished { bundle, result });
    }

    fn tell(&mut self, event: Event) {
        let now = ProcessingTime(self.now);
        self.engine.handle(event, now);
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::StartBundle(draft) => {
                    self.running.insert(draft.id, draft);
                }
                Action::CommitBundle { bundle, seq } => self.commit(bundle, seq),
                Action::Join { into, batch } => self.batches.join(into, batch),
                Action::DropLate { stage, elements: _ } => self.dropping = Some(stage),
                Action::ForgetSide { side, until } => {
                    self.seen.forgotten += u64::from(until != EventTime::MAX);
                    self.sides.forget(side, until);
                }
                Action::Free { batches } => {
                    if let Some(stage) = self.dropping.take() {
                        self.came_too_late(stage, &batches);
                    }
                    self.batches.free(&batches);
                }
                Action::SplitBundle { bundle, .. } => {
                    // The worker may be asked for what it cannot give, and may be slow to give it.
                    if self.running.contains_key(&bundle) && self.random.percent(50) {
                        self.split(bundle);
                    }
                }
                Action::JobDone(outcome) => self.outcome = Some(outcome),
                Action::DiscardBundle { bundle } => self.sides.discard(bundle),
                Action::Finalize { .. } | Action::Standstill(_) => {}
                Action::AskScript => panic!("no program here has a script"),
                Action::DeadLetter { reason, .. } => panic!("a dead letter where none are kept: {reason}"),
                Action::AbortBundle { bundle } => panic!("{bundle:?} is aborted in a job that goes well"),
            }
        }
        self.check_watermarks();
    }

    /// A reader of side inputs has been spared these.
    fn came_too_late(&mut self, stage: StageId, batches: &[BatchId]) {
        let Role::Elements { node, .. } = self.roles[stage.index()] else {
            panic!("{stage} reads no side input, and drops what comes late");
        };
        let input = &self.program.nodes[self.program.nodes[node].inputs()[0]];
        for batch in batches {
            let all = worker::read_batch(&*self.batches, *batch, input.grouped, windows_of(input));
            self.drop_all(node, all.iter().flat_map(Element::explode).collect());
        }
    }

    /// These do not count from here on.
    fn drop_all(&mut self, node: usize, elements: Vec<Element>) {
        let in_time = elements.iter().find(|element| !element.late);
        assert_eq!(in_time, None, "node {node} drops what has come in time");
        let late = elements.len() as u64;
        match self.program.nodes[node].does {
            Does::Group { .. } => self.seen.late_for_groupings += late,
            Does::Total { .. } => self.seen.late_for_state += late,
            Does::InOrder { .. } | Does::Ordered { .. } => self.seen.late_for_order += late,
            _ => self.seen.late_for_sides += late,
        }
        if late > 0 {
            self.dropped.entry(node).or_default().extend(elements);
        }
    }

    fn check_watermarks(&mut self) {
        let now: Vec<EventTime> = self.engine.status().iter().map(|stage| stage.watermark).collect();
        let back = self.watermarks.iter().zip(&now).position(|(before, now)| now < before);
        assert_eq!(back, None, "the watermark of a stage retreats");
        self.watermarks = now;
    }

    fn commit(&mut self, bundle: BundleId, seq: LedgerSeq) {
        self.sides.commit(bundle);
        let Some(Finished { delta, collected, dropped }) = self.finished.remove(&bundle) else { return };
        if let Some((node, elements)) = dropped {
            self.drop_all(node, elements);
        }
        if let Some(delta) = delta {
            self.state.apply(delta, seq);
        }
        if let Some((node, elements)) = collected {
            self.collected.entry(node).or_default().extend(elements);
        }
    }
}

/// A slice's first elements, and the others.
fn cut(slice: BatchSlice, count: u32) -> (Option<BatchSlice>, Option<BatchSlice>) {
    if count == 0 {
        return (None, Some(slice));
    }
    let (first, rest) = slice.split_at(count.min(slice.len()));
    (Some(first), rest)
}
