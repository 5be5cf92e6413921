//! The engine of a job: three doors, one owner.
//!
//! ```text
//!   loop { engine.handle(event, now); while let Some(action) = engine.poll_action() { … } wait until next_wakeup() }
//! ```
//! Call [`handle`](Engine::handle) with each event, then take actions until there are none, then wait for the next
//! event or the wake-up, whichever is first. The first event is `Event::Start`. After `Action::JobDone` nothing more
//! comes out.
//!
//! Invariants: (I1) each accepted element is in exactly one of pending, in flight, committed, dropped and counted. (I2) the lane of a key
//! group is in at most one running bundle. (I3) watermarks never retreat nor pass a hold. (I4) outputs, summaries,
//! consumption and holds of a bundle change in one `handle`. (I5) the same events give the same actions.

mod commit;
mod dead_letters;
mod dispatch;
mod drain;
mod ending;
mod forget_sides;
mod progress;
mod script;
mod sharing;
mod standstill;
mod throttle;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use purlin_model::time::{EventTime, Millis, ProcessingTime};

use crate::core::action::{Action, Outcome};
use crate::core::bundle::Ledger;
use crate::core::config::EngineConfig;
use crate::core::event::{Event, MemoryLevel};
use crate::core::schedule::Schedule;
use crate::core::stage::{GraphError, JobGraph, SideId, StageId, StageState};
use crate::data::BatchId;
use drain::Drain;
use script::Script;
use standstill::Standing;

pub use progress::StageStatus;

/// The core of one job.
#[derive(Debug)]
pub struct Engine {
    graph: Arc<JobGraph>,
    config: EngineConfig,
    schedule: Box<dyn Schedule>,
    stages: Vec<StageState>,
    /// For each side input, the stages that wait for it.
    readers: BTreeMap<StageId, Vec<StageId>>,
    /// Windows of refreshed side inputs that have a pane and are not over, by their last instants.
    fired: BTreeMap<SideId, BTreeSet<EventTime>>,
    /// Side inputs whose readers have changed.
    read_sides: BTreeSet<SideId>,
    /// Windows that end before these instants are forgotten.
    forgotten: BTreeMap<SideId, EventTime>,
    ledger: Ledger,
    /// Worker slots by environment; `None` until the environment has said a number.
    slots: Vec<Option<u32>>,
    running_in_env: Vec<u32>,
    running_kernels: u32,
    /// Stages whose watermark may have changed.
    dirty: BTreeSet<StageId>,
    /// Stages that may have something to run.
    maybe_ready: BTreeSet<StageId>,
    /// For batches that were cut: how many elements are not released yet.
    cut_batches: BTreeMap<BatchId, u32>,
    actions: VecDeque<Action>,
    /// The clock, when it was last told.
    now: ProcessingTime,
    pressure: MemoryLevel,
    /// By stage: whether it waits when memory is short.
    sources: Vec<bool>,
    /// How many elements were put aside.
    dead_letters: u64,
    /// If a script feeds the job: how far it is. It has the job's clock.
    script: Option<Script>,
    /// If the job takes no more input: what it has done since it was asked to.
    drain: Option<Drain>,
    /// Where sources that never end stand.
    standing: Standing,
    /// How the job will end, once nothing runs any more.
    ending: Option<Outcome>,
    over: bool,
}

/// How long a bundle may go on at least that was asked to check-point itself, until it is asked again.
const ASK_AGAIN: Millis = Millis(100);

impl Engine {
    /// An engine at the beginning of a job.
    ///
    /// # Errors
    /// If the graph is not one that an engine can run.
    pub fn new(graph: Arc<JobGraph>, config: EngineConfig, schedule: Box<dyn Schedule>) -> Result<Self, GraphError> {
        graph.check()?;
        let mut readers = BTreeMap::<StageId, Vec<StageId>>::new();
        for stage in &graph.stages {
            for gate in &stage.gates {
                readers.entry(graph.side(gate.side).materialize).or_default().push(stage.id);
            }
        }
        let environments = graph.environments as usize;
        Ok(Self {
            stages: graph.stages.iter().map(StageState::new).collect(),
            readers,
            fired: BTreeMap::new(),
            read_sides: BTreeSet::new(),
            forgotten: BTreeMap::new(),
            config,
            schedule,
            ledger: Ledger::default(),
            slots: vec![None; environments],
            running_in_env: vec![0; environments],
            running_kernels: 0,
            dirty: BTreeSet::new(),
            maybe_ready: BTreeSet::new(),
            cut_batches: BTreeMap::new(),
            actions: VecDeque::new(),
            now: ProcessingTime::default(),
            pressure: MemoryLevel::default(),
            sources: throttle::sources(&graph),
            dead_letters: 0,
            script: graph.scripted().map(|stage| Script::new(stage.id, graph.script_begins)),
            drain: None,
            standing: Standing::default(),
            ending: None,
            over: false,
            graph,
        })
    }

    /// Takes in what happened. Never blocks; costs time in proportion to the stages that it touches.
    pub fn handle(&mut self, event: Event, now: ProcessingTime) {
        if self.over {
            return;
        }
        self.now = now;
        // What is due depends on the job's clock, which a script may have; how long bundles run, on the real one.
        let clock = self.script.as_mut().map_or(now, |script| script.clock(now));
        match event {
            Event::Start => self.on_start(),
            Event::BundleFinished { bundle, result } => self.on_finished(bundle, result, clock),
            Event::BundleFailed { bundle, why } => self.on_failed(bundle, why),
            Event::BundleSplit { bundle, split } => self.on_split(bundle, split, clock),
            Event::Workers { env, slots } => {
                if let Some(known) = self.slots.get_mut(env.index()) {
                    *known = Some(slots);
                }
            }
            Event::Pressure(level) => self.pressure = level,
            Event::Scripted(event) => self.on_scripted(event),
            Event::Broken { why } => self.end(Outcome::Failed(why)),
            Event::Drain => self.on_drain(now),
            Event::Cancel => self.end(Outcome::Cancelled),
            Event::Tick => {}
        }
        self.split_old_bundles(now);
        let clock = self.advance(clock);
        self.stop_sources(clock);
        self.share_with_idle(now);
        self.look_at_sources(clock);
        self.conclude(clock);
    }

    /// Does all that can be done now, and moves a script's clock when that is all that is left. Returns the job's clock.
    fn advance(&mut self, mut clock: ProcessingTime) -> ProcessingTime {
        loop {
            clock = self.script.as_mut().map_or(clock, |script| script.clock(clock));
            self.truncate(clock);
            self.wake(clock);
            self.propagate();
            self.forget_sides();
            self.dispatch(clock);
            if !self.play(clock) {
                return clock;
            }
        }
    }

    /// What to do next; `None` when there is nothing more until the next event.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`handle`](Self::handle) with `Event::Tick`, if nothing else happens before.
    pub fn next_wakeup(&self) -> Option<ProcessingTime> {
        if self.over {
            return None;
        }
        let splits = self.ledger.iter().filter_map(|(_, running)| running.split_at);
        // A script moves its own clock.
        let clock = self.next_on_clock().filter(|_| self.script.is_none());
        let own = splits.chain(clock).chain(self.next_sharing());
        // What is due already waits for a slot, not for the clock.
        own.filter(|at| *at > self.now).chain(self.schedule.next_wakeup()).min()
    }

    /// The earliest instant of the job's clock that anything waits for and that is not past.
    fn next_on_clock(&self) -> Option<ProcessingTime> {
        let now = self.script.as_ref().map_or(self.now, Script::now);
        let residuals = self.stages.iter().filter_map(|stage| stage.delayed.keys().next().copied());
        let timers = self.stages.iter().filter_map(|stage| stage.next_processing(now));
        residuals.chain(timers).filter(|at| *at > now).min()
    }

    /// The graph that this engine runs.
    pub fn graph(&self) -> &Arc<JobGraph> {
        &self.graph
    }

    fn on_start(&mut self) {
        for stage in &self.graph.stages {
            self.dirty.insert(stage.id);
            self.maybe_ready.insert(stage.id);
        }
    }

    fn wake(&mut self, now: ProcessingTime) {
        for (index, stage) in self.stages.iter_mut().enumerate() {
            if stage.delayed.keys().next().is_some_and(|at| *at <= now) {
                stage.wake(now);
                self.maybe_ready.insert(StageId(index as u32));
            }
            if stage.has_due_clock(now) {
                self.maybe_ready.insert(StageId(index as u32));
            }
        }
    }

    fn split_old_bundles(&mut self, now: ProcessingTime) {
        let draining = self.drain.is_some();
        for (bundle, running) in self.ledger.iter_mut() {
            if running.split_at.is_some_and(|at| at <= now) {
                // What remains after a check-point is a new bundle with a new age. One that refused may not have begun; it is asked
                // again when its age has doubled, and sooner in a drain, where everything waits for it.
                let age = if draining { Millis(0) } else { Millis(now.0 - running.started.0) };
                running.split_at = (!running.truncated).then(|| now + age.max(ASK_AGAIN));
                self.actions.push_back(Action::SplitBundle { bundle, fraction: 0.0 });
            }
        }
    }
}
