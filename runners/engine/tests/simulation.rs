//! The engine against fake workers, by seed: random pipelines, latencies, lost workers, splits, residuals.
//!
//! Every run checks the invariants after each event: watermarks never retreat and never pass an element that is not
//! done (I3), a lane of a key group is in one running bundle at most (I2), each element is delivered to each of its
//! consumers exactly once, or dropped because it comes too late for side inputs (I1), what a bundle may read of side inputs is there, and two runs of a seed give the same actions (I5). Every run must end in `Done`.
//!
//! `PURLIN_SEED=17 cargo test -p purlin-engine --test simulation` tells one seed, event by event.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use purlin_engine::core::action::{Action, BundleDraft, BundleId, Outcome};
use purlin_engine::core::bundle::{BundleResult, BundleStats, Routed};
use purlin_engine::core::config::EngineConfig;
use purlin_engine::core::engine::Engine;
use purlin_engine::core::event::{Event, Failure, Residual, Split};
use purlin_engine::core::lane::Lane;
use purlin_engine::core::schedule::{Pick, ReadyStage, Schedule};
use purlin_engine::core::stage::{
    ConsumerSpec, EnvIndex, JobGraph, JobGraphBuilder, OutputHandle, SideAccess, SideId, SideMapping, StageId,
    StageKind, StageSpec,
};
use purlin_engine::data::{BatchId, BatchRef, BatchSlice};
use purlin_model::coder::Coder;
use purlin_model::ids::CoderId;
use purlin_model::key_group::KeyGroup;
use purlin_model::time::{EventTime, Millis, ProcessingTime};
use purlin_model::window::{BoundedWindow, WindowCoder, WindowFn};
use purlin_model::windowing_strategy::WindowingStrategy;

const SEEDS: u64 = 2_000;

#[test]
fn every_seed_ends_well_and_twice_the_same() {
    let seeds: Vec<u64> = match std::env::var("PURLIN_SEED") {
        Ok(seed) => vec![seed.parse().expect("PURLIN_SEED is a number")],
        Err(_) => (0..SEEDS).collect(),
    };
    let aloud = seeds.len() == 1;
    for seed in seeds {
        let replay = format!("PURLIN_SEED={seed} cargo test -p purlin-engine --test simulation -- --nocapture");
        let run = || std::panic::catch_unwind(|| Simulation::new(seed, aloud).run());
        let first = run().unwrap_or_else(|_| panic!("seed {seed} breaks an invariant; replay with\n  {replay}"));
        let second = run().unwrap_or_else(|_| panic!("seed {seed} breaks an invariant; replay with\n  {replay}"));
        assert!(first == second, "seed {seed} gives other actions the second time; replay with\n  {replay}");
    }
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Debug)]
struct RandomSchedule(u64);

impl Schedule for RandomSchedule {
    fn pick(&mut self, ready: &[ReadyStage<'_>], _now: ProcessingTime) -> Option<Pick> {
        let mut random = Random(self.0);
        let chosen = &ready[random.below(ready.len() as u64) as usize];
        let pick = Pick {
            stage: chosen.stage.id,
            lanes_max: 1 + random.below(5) as usize,
            elements_max: 1 + random.below(20),
            bytes_max: 1 + random.below(400),
        };
        self.0 = random.next();
        Some(pick)
    }
    fn on_finished(&mut self, _stage: StageId, _stats: &BundleStats) {}
    fn bundle_age_max_ms(&self, _stage: &StageSpec) -> Option<i64> {
        Some(40)
    }
    fn next_wakeup(&self) -> Option<ProcessingTime> {
        None
    }
}

/// An element, identified by a number of its own and the batch position that carries it.
type ElementId = u64;

struct Simulation {
    random: Random,
    graph: Arc<JobGraph>,
    engine: Engine,
    now: i64,
    aloud: bool,
    log: Vec<String>,
    /// The elements of each batch, in order, with their timestamps.
    batches: BTreeMap<BatchId, Vec<(ElementId, EventTime)>>,
    next_element: ElementId,
    running: BTreeMap<BundleId, (BundleDraft, i64)>,
    /// For each stage: elements that it was sent and that are not in a committed bundle.
    owed: BTreeMap<StageId, BTreeMap<ElementId, EventTime>>,
    /// Of these, the ones that hold the stage's watermark: all but late ones and residuals.
    held: BTreeMap<StageId, BTreeMap<ElementId, EventTime>>,
    /// From which end on windows of each side input are there.
    forgotten: BTreeMap<SideId, EventTime>,
    /// The stage that was told last to drop elements, until it is known which.
    dropping: Option<StageId>,
    /// For each side input, its windows that a bundle has read.
    read: BTreeMap<StageId, BTreeSet<BoundedWindow>>,
    watermarks: Vec<EventTime>,
    finished_in: Option<Outcome>,
}

impl Simulation {
    fn new(seed: u64, aloud: bool) -> Self {
        let mut random = Random(seed);
        let graph = Arc::new(random_graph(&mut random));
        let schedule = Box::new(RandomSchedule(random.next()));
        // Workers are lost often here; the job must not give up on them.
        let config = EngineConfig {
            lost_worker_attempts_max: 1_000,
            kernel_slots: 3,
            join_behind: random.below(4) as usize,
            ..EngineConfig::default()
        };
        let engine = Engine::new(graph.clone(), config, schedule).unwrap();
        Self {
            watermarks: vec![EventTime::MIN; graph.stages.len()],
            random,
            graph,
            engine,
            now: 0,
            aloud,
            log: Vec::new(),
            batches: BTreeMap::new(),
            next_element: 0,
            running: BTreeMap::new(),
            owed: BTreeMap::new(),
            held: BTreeMap::new(),
            read: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            dropping: None,
            finished_in: None,
        }
    }

    fn run(mut self) -> Vec<String> {
        self.tell(Event::Start);
        let slots = 1 + self.random.below(4) as u32;
        for env in 0..self.graph.environments {
            self.tell(Event::Workers { env: EnvIndex(env), slots });
        }
        for _ in 0..200_000 {
            if self.finished_in.is_some() {
                break;
            }
            self.step();
        }
        assert_eq!(self.finished_in, Some(Outcome::Done));
        assert!(self.owed.values().all(BTreeMap::is_empty), "elements were never delivered: {:?}", self.owed);
        assert!(self.batches.is_empty(), "batches were never freed: {:?}", self.batches.keys());
        self.log
    }

    fn step(&mut self) {
        if self.running.is_empty() {
            let wakeup =
                self.engine.next_wakeup().expect("nothing runs and the job is not over: it waits for the clock");
            self.now = self.now.max(wakeup.0);
            return self.tell(Event::Tick);
        }
        self.now += self.random.below(30) as i64;
        let nth = self.random.below(self.running.len() as u64) as usize;
        let bundle = *self.running.keys().nth(nth).unwrap();
        let splittable = self.graph.stage(self.running[&bundle].0.stage).splittable;
        match self.random.below(100) {
            0..10 => {
                self.running.remove(&bundle);
                self.tell(Event::BundleFailed { bundle, why: Failure::WorkerLost("simulated".to_owned()) });
            }
            10..25 if splittable => self.split(bundle),
            25..35 => self.tell(Event::Tick),
            _ => self.finish(bundle),
        }
    }

    fn finish(&mut self, bundle: BundleId) {
        let (draft, _) = self.running.remove(&bundle).unwrap();
        let spec = self.graph.stage(draft.stage).clone();
        let mut result = BundleResult { wants_finalize: self.random.chance(10), ..BundleResult::default() };
        let elements: Vec<(ElementId, EventTime)> = match spec.kind {
            StageKind::Impulse => vec![(u64::MAX, EventTime::MIN)],
            _ => draft.input.iter().flat_map(|slice| self.elements(slice)).collect(),
        };
        let mut residual = None;
        for (index, (_, at)) in elements.iter().enumerate() {
            if spec.splittable && index + 1 == elements.len() && self.random.chance(30) {
                residual = Some(*at);
                continue;
            }
            for output in &spec.outputs {
                self.emit(&spec, *output, *at, &mut result);
            }
        }
        for (element, _) in &elements {
            if spec.kind != StageKind::Impulse {
                let owed = self.owed.entry(draft.stage).or_default().remove(element);
                assert!(owed.is_some(), "element {element} was processed twice by {}", spec.name);
                self.held.entry(draft.stage).or_default().remove(element);
            }
        }
        if let Some(at) = residual {
            let residual = self.residual(&spec, at);
            result.residuals.push(residual);
        }
        self.tell(Event::BundleFinished { bundle, result });
    }

    fn split(&mut self, bundle: BundleId) {
        let (draft, _) = self.running[&bundle].clone();
        let total: u32 = draft.input.iter().map(BatchSlice::len).sum();
        let mut keep = self.random.below(u64::from(total) + 1) as u32;
        let (mut primary, mut rest) = (Vec::new(), Vec::new());
        for slice in &draft.input {
            let (first, behind) = slice.split_at(keep.min(slice.len()));
            keep -= first.len();
            if !first.is_empty() {
                primary.push(first);
            }
            rest.extend(behind);
        }
        self.running.get_mut(&bundle).unwrap().0.input = primary.clone();
        self.tell(Event::BundleSplit { bundle, split: Split { primary, rest, residuals: Vec::new() } });
    }

    fn emit(
        &mut self,
        spec: &StageSpec,
        output: purlin_engine::core::stage::OutputId,
        at: EventTime,
        result: &mut BundleResult,
    ) {
        // A source makes elements out of one; everything else makes none, one or two.
        let count = if spec.splittable { self.random.below(6) } else { self.random.below(3) };
        for _ in 0..count {
            let at = match spec.kind {
                StageKind::Group { .. } => EventTime::GLOBAL_WINDOW_MAX,
                _ if at == EventTime::MIN && spec.splittable => EventTime::from_millis(self.random.below(100) as i64),
                _ => at,
            };
            let consumers: Vec<ConsumerSpec> = self.graph.output(output).consumers.clone();
            for consumer in consumers {
                let lane = if consumer.partitioning.by_key() {
                    Lane::Group(KeyGroup::new(self.random.below(6) as u8).unwrap())
                } else {
                    Lane::Any
                };
                let window_max = consumer.partitioning.by_window().then(|| window_max(at));
                let elements = 1 + self.random.below(3);
                let batch = self.batch(consumer.stage, elements, at, window_max, false);
                result.outputs.push(Routed { from: output, to: consumer.stage, lane, batch });
            }
        }
    }

    fn residual(&mut self, spec: &StageSpec, at: EventTime) -> Residual {
        let batch = self.batch(spec.id, 1, at, None, true);
        let watermark = self.engine_watermark(spec.id).max(EventTime::from_millis(self.random.below(80) as i64));
        let not_before = self.random.chance(50).then(|| ProcessingTime(self.now + self.random.below(100) as i64));
        let watermarks = spec.outputs.iter().map(|output| (*output, watermark)).collect();
        Residual { batch, to: spec.id, not_before, watermarks, bounded: true }
    }

    fn batch(
        &mut self,
        to: StageId,
        count: u64,
        at: EventTime,
        window_max: Option<EventTime>,
        residual: bool,
    ) -> BatchRef {
        let id = BatchId(self.next_element);
        let elements: Vec<_> = (0..count).map(|offset| (self.next_element + offset, at)).collect();
        if let Some(side) = self.graph.sides.iter().find(|side| side.materialize == to) {
            let window = side.window_fn.last_window_of(at).expect("the simulation knows all its windows");
            let read = self.read.get(&to).is_some_and(|windows| windows.contains(&window));
            assert!(!read || at < self.watermarks[to.index()], "{window:?} of {to} was read before {at:?} came to it");
        }
        self.next_element += count;
        self.owed.entry(to).or_default().extend(elements.iter().copied());
        if at >= self.input_watermark(to) && !residual {
            self.held.entry(to).or_default().extend(elements.iter().copied());
        }
        self.batches.insert(id, elements);
        BatchRef { id, count: count as u32, bytes: count * 10, min_timestamp: at, window_max }
    }

    fn elements(&self, slice: &BatchSlice) -> Vec<(ElementId, EventTime)> {
        let batch = self.batches.get(&slice.batch.id).expect("a batch is freed only when nobody reads it any more");
        batch[slice.first as usize..slice.last as usize].to_vec()
    }

    fn engine_watermark(&self, stage: StageId) -> EventTime {
        self.engine.status()[stage.index()].watermark
    }

    fn input_watermark(&self, stage: StageId) -> EventTime {
        self.engine.status()[stage.index()].input_watermark
    }

    fn tell(&mut self, event: Event) {
        self.note(format!("{}: {event:?}", self.now));
        self.engine.handle(event, ProcessingTime(self.now));
        while let Some(action) = self.engine.poll_action() {
            self.note(format!("    => {action:?}"));
            match action {
                Action::StartBundle(draft) => self.start(draft),
                Action::Join { into, batch } => {
                    let joined = self.batches.remove(&batch).expect("what is joined is there");
                    self.batches.get_mut(&into).expect("what grows is there").extend(joined);
                }
                Action::Free { batches } => {
                    for batch in batches {
                        let freed = self.batches.remove(&batch).unwrap_or_else(|| panic!("{batch:?} is freed twice"));
                        if let Some(stage) = self.dropping {
                            self.dropped(stage, &freed);
                        }
                    }
                    self.dropping = None;
                }
                Action::DropLate { stage, elements: _ } => self.dropping = Some(stage),
                Action::ForgetSide { side, until } => {
                    let before = self.forgotten.insert(side, until).unwrap_or(EventTime::MIN);
                    assert!(before < until, "{side} is to be forgotten before {until}, as it was already");
                }
                Action::DeadLetter { reason, .. } => panic!("a dead letter where none are kept: {reason}"),
                Action::AbortBundle { bundle } => panic!("{bundle:?} is aborted in a job that goes well"),
                Action::JobDone(outcome) => self.finished_in = Some(outcome),
                Action::AskScript => panic!("no script feeds this job"),
                Action::CommitBundle { .. }
                | Action::Standstill(_)
                | Action::DiscardBundle { .. }
                | Action::SplitBundle { .. }
                | Action::Finalize { .. } => {}
            }
        }
        self.check_watermarks();
    }

    fn start(&mut self, draft: BundleDraft) {
        for (other, _) in self.running.values().filter(|(other, _)| other.stage == draft.stage) {
            let shared = draft.lanes.iter().find(|lane| **lane != Lane::Any && other.lanes.contains(lane));
            assert_eq!(shared, None, "{:?} and {:?} share a lane", draft.id, other.id);
        }
        for gate in &self.graph.stage(draft.stage).gates {
            let side = self.graph.side(gate.side);
            let windows = draft.input.iter().filter_map(|slice| side.window_fn.side_window_of(slice.batch.window_max?));
            let forgotten = self.forgotten.get(&gate.side).copied().unwrap_or(EventTime::MIN);
            let windows: Vec<BoundedWindow> = windows.collect();
            let gone = windows.iter().find(|window| window.max_timestamp() < forgotten);
            assert_eq!(gone, None, "{:?} reads what is forgotten of {}", draft.id, gate.side);
            self.read.entry(side.materialize).or_default().extend(windows);
        }
        self.running.insert(draft.id, (draft, self.now));
    }

    /// These elements came too late for a stage.
    fn dropped(&mut self, stage: StageId, elements: &[(ElementId, EventTime)]) {
        let lateness = self.graph.stage(stage).gates.iter().filter_map(|gate| gate.lateness).min();
        let lateness = lateness.expect("only what forgets side inputs drops anything");
        for (element, at) in elements {
            let end = window_max(*at) + lateness;
            assert!(end < self.input_watermark(stage), "{element} in a window until {end} does not come too late");
            assert!(self.owed.entry(stage).or_default().remove(element).is_some(), "{element} is dropped twice");
            self.held.entry(stage).or_default().remove(element);
        }
    }

    fn check_watermarks(&mut self) {
        for (index, status) in self.engine.status().into_iter().enumerate() {
            assert!(status.watermark >= self.watermarks[index], "the watermark of {} retreats", status.name);
            self.watermarks[index] = status.watermark;
            // Elements that were not behind the watermark when they came hold it back until they are done.
            let held = self.held.get(&StageId(index as u32)).and_then(|held| held.values().min().copied());
            if let Some(held) = held {
                assert!(status.watermark <= held, "the watermark of {} passes an element at {held}", status.name);
            }
        }
    }

    fn note(&mut self, line: String) {
        if self.aloud {
            eprintln!("{line}");
        }
        self.log.push(line);
    }
}

/// The last instant of the window of an element.
fn window_max(at: EventTime) -> EventTime {
    match at {
        EventTime::MIN => EventTime::GLOBAL_WINDOW_MAX,
        at if at > EventTime::from_millis(1_000) => EventTime::GLOBAL_WINDOW_MAX,
        at => EventTime::from_millis(at.millis() / 10 * 10 + 9),
    }
}

/// A random pipeline: sources, workers, flattens, groups and side inputs.
fn random_graph(random: &mut Random) -> JobGraph {
    let mut job = JobGraphBuilder::new();
    let environments = [job.environment(), job.environment()];
    let mut outputs: Vec<OutputHandle> = Vec::new();
    let mut sides = Vec::new();
    for source in 0..1 + random.below(2) {
        let impulse = job.impulse(&format!("impulse {source}"));
        let read =
            job.worker(&format!("read {source}"), environments[0], &[impulse], Coder::Bytes, WindowCoder::Global);
        let stage = job.producer(read);
        job.stage_mut(stage).splittable = true;
        outputs.push(read);
    }
    for index in 0..2 + random.below(6) {
        let mut upstream = vec![outputs[random.below(outputs.len() as u64) as usize]];
        let another = outputs[random.below(outputs.len() as u64) as usize];
        if another != upstream[0] && random.chance(30) {
            upstream.push(another);
        }
        match random.below(10) {
            0..2 => {
                let windows = if random.chance(50) {
                    WindowFn::Global
                } else {
                    WindowFn::Fixed { size: Millis(10), offset: Millis(0) }
                };
                sides.push(job.side_input(&format!("side {index}"), &upstream[..1], SideAccess::Iterable, windows));
            }
            2..4 => outputs.push(job.group(&format!("group {index}"), &upstream, &strategy(), Coder::Bytes)),
            _ => {
                let env = environments[random.below(2) as usize];
                let output = job.worker(&format!("worker {index}"), env, &upstream, Coder::Bytes, WindowCoder::Global);
                let stage = job.producer(output);
                if random.chance(25) {
                    job.stage_mut(stage).keyed = true;
                }
                if let (true, Some(side)) = (random.chance(40), sides.last()) {
                    job.reads(stage, *side, SideMapping::Default);
                    if random.chance(70) {
                        job.lets_in(stage, Millis(random.below(15) as i64));
                    }
                }
                outputs.push(output);
            }
        }
    }
    job.build()
}

fn strategy() -> WindowingStrategy {
    WindowingStrategy::global(CoderId::new("global"))
}
