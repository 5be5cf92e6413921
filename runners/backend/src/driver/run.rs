//! The loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use purlin_engine::core::action::{Action, BundleDraft, BundleId, Outcome};
use purlin_engine::core::bundle::{DeltaId, DropCounts};
use purlin_engine::core::config::EngineConfig;
use purlin_engine::core::engine::Engine;
use purlin_engine::core::event::Event;
use purlin_engine::core::schedule::Schedule;
use purlin_engine::core::stage::{EnvIndex, JobGraph, StageId};
use purlin_engine::data::{BatchSlice, LaneWriter};
use purlin_engine::store::StateStore;
use purlin_model::time::ProcessingTime;
use purlin_store::JobStores;
use tokio::sync::mpsc;

use super::control::{JobControl, JobEvent, lock};
use super::endless_sides;
use super::kernels::Kernels;
use crate::dead_letter::DeadLetterFile;
use crate::executor::{
    BatchReader, BundleExecutor, BundleIo, GroupStore, Parting, Report, Reporter, RunningBundle, ScriptedInput,
};
use crate::message::{Importance, JobMessage};
use crate::metrics::{self, MetricMergeError};
use crate::profile::{BundleMeter, Profiler};
use crate::replay::ReplayInput;

/// How long a job waits at its end for workers that end with somebody else's process.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// Handles see progress that is at most this old.
const PROGRESS_AGE_MAX: Duration = Duration::from_millis(100);

/// How often running bundles are asked for metrics: SDKs answer these one at a time, so not more often.
const METRICS_INTERVAL: Duration = Duration::from_secs(1);

/// With less a kernel would write and read more than it groups.
const KERNEL_SHARE_BYTES_MIN: u64 = 256 << 10;

/// About what a stateful stage writes for a small element: a value and a timer, until they are committed.
const WRITTEN_PER_ELEMENT: u64 = 512;

/// With fewer elements of keys a bundle would cost more than they do.
const KEYED_ELEMENTS_MIN: u64 = 1_000;

/// All that a job needs to run.
#[derive(Debug)]
pub struct JobRuntime {
    /// Its stages.
    pub graph: Arc<JobGraph>,
    /// Which ready bundles start.
    pub schedule: Box<dyn Schedule>,
    /// Bounds and knobs.
    pub config: EngineConfig,
    /// One executor per environment, at the index of its `EnvIndex`.
    pub executors: Vec<Arc<dyn BundleExecutor>>,
    /// Where its data is kept.
    pub stores: JobStores,
    /// What feeds a stage of kind `TestStream`, if there is one.
    pub script: Option<Arc<dyn ScriptedInput>>,
    /// The data threads, shared by all jobs of the process.
    pub threads: Arc<rayon::ThreadPool>,
    /// Where elements go that user code cannot take. Without it, or if `config` allows no dead letters, the first ends the job.
    pub dead_letters: Option<DeadLetterFile>,
    /// What feeds a stage of kind `Replay`, if there is one.
    pub replay: ReplayInput,
}

/// Starts a job on the current tokio runtime. Ends by itself; dropping the handles does not stop it.
pub fn start(runtime: JobRuntime) -> (JobControl, mpsc::UnboundedReceiver<JobEvent>) {
    let control = JobControl::new();
    let (events, receiver) = mpsc::unbounded_channel();
    let executors = runtime.executors.clone();
    let driver = tokio::spawn(Driver::drive(runtime, control.clone(), events.clone()));
    tokio::spawn(async move {
        // The engine's own assertions stand in release builds: a broken one must end the job, workers and all, with a
        // text, and leave other jobs alone.
        if let Err(panicked) = driver.await {
            executors.iter().for_each(|executor| executor.shutdown(Parting::InPeace));
            let why = format!("this job's driver broke, which is a bug in Purlin; please report it: {panicked}");
            // Nobody listens if the job server has gone; then there is nobody to tell.
            let _ = events.send(JobEvent::Ended(Outcome::Failed(why)));
        }
    });
    (control, receiver)
}

struct Driver {
    engine: Engine,
    kernels: Kernels,
    executors: Vec<Arc<dyn BundleExecutor>>,
    state: Arc<dyn StateStore>,
    script: Option<Arc<dyn ScriptedInput>>,
    reporter: Reporter,
    /// Bundles in workers, to split, ask and abort.
    running: BTreeMap<BundleId, Box<dyn RunningBundle>>,
    /// The environments of bundles that ask for finalization when they finish.
    environments: BTreeMap<BundleId, EnvIndex>,
    /// State written by bundles that finished and wait for the engine's word.
    deltas: BTreeMap<BundleId, DeltaId>,
    clock: Clock,
    control: JobControl,
    events: mpsc::UnboundedSender<JobEvent>,
    metrics_trouble_told: bool,
    dead_letters: Option<DeadLetterFile>,
    /// What is told of the last dead letter, if it ends the job.
    last_letter: Option<String>,
}

impl Driver {
    async fn drive(runtime: JobRuntime, control: JobControl, events: mpsc::UnboundedSender<JobEvent>) {
        let JobRuntime { graph, schedule, mut config, executors, stores, script, threads, dead_letters, replay } =
            runtime;
        let JobStores { memory, batches, sides, state } = stores;
        // A grouping has its input and its output in memory, and there are as many of them as slots; half is for all others.
        let share = batches.memory().budget() / (8 * u64::from(config.kernel_slots.max(1)));
        config.kernel_share_bytes = config.kernel_share_bytes.min(share.max(KERNEL_SHARE_BYTES_MIN));
        let keyed_elements = (share / WRITTEN_PER_ELEMENT).max(KEYED_ELEMENTS_MIN);
        config.keyed_elements_max = config.keyed_elements_max.min(keyed_elements);
        if dead_letters.is_none() {
            config.dead_letters_max = None;
        }
        let engine = match Engine::new(graph.clone(), config, schedule) {
            Ok(engine) => engine,
            Err(bug) => {
                // Nobody listens if the job server has gone; then there is nobody to tell.
                let _ = events.send(JobEvent::Ended(Outcome::Failed(bug.to_string())));
                return;
            }
        };
        let (reporter, reports) = Reporter::channel();
        *lock(&control.watched.profile) = Some(Profiler::new(graph.clone()));
        // Memory is the whole process's, so that it may be short before this job has begun.
        let pressure = reporter.clone();
        let _watch = memory.broker().on_level(move |level| pressure.event(Event::Pressure(level)));
        reporter.event(Event::Pressure(memory.broker().level()));
        let (pins, share_bytes) = (Arc::default(), config.kernel_share_bytes);
        let kernels = Kernels {
            graph,
            batches,
            sides,
            state: state.clone(),
            pins,
            threads,
            share_bytes,
            replay: Arc::new(replay),
        };
        let driver = Self {
            engine,
            kernels,
            executors,
            state,
            script,
            reporter,
            running: BTreeMap::new(),
            environments: BTreeMap::new(),
            deltas: BTreeMap::new(),
            clock: Clock::start(),
            control,
            events,
            metrics_trouble_told: false,
            dead_letters,
            last_letter: None,
        };
        driver.run(reports).await;
    }

    async fn run(mut self, mut reports: mpsc::UnboundedReceiver<Report>) {
        for executor in &self.executors {
            executor.launch(&self.reporter);
        }
        for warning in endless_sides::warnings(self.engine.graph()) {
            self.tell(JobMessage::now(Importance::Warning, warning));
        }
        self.handle(Event::Start);
        let mut progress_shown = Instant::now();
        self.show_progress();
        let mut progress_stale = false;
        let mut metrics = tokio::time::interval(METRICS_INTERVAL);
        metrics.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (drain, cancel) = (self.control.drain.clone(), self.control.cancel.clone());
        let (mut drained, mut cancelled) = (false, false);
        let outcome = loop {
            let began = Instant::now();
            let outcome = self.take_actions();
            self.profile(|profiler| profiler.core_worked(began.elapsed()));
            if let Some(outcome) = outcome {
                break outcome;
            }
            let wakeup = self.engine.next_wakeup().map(|at| self.clock.until(at));
            let refresh = progress_stale.then(|| PROGRESS_AGE_MAX.saturating_sub(progress_shown.elapsed()));
            tokio::select! {
                biased;
                () = cancel.cancelled(), if !cancelled => {
                    cancelled = true;
                    self.handle(Event::Cancel);
                }
                () = drain.cancelled(), if !drained => {
                    drained = true;
                    self.handle(Event::Drain);
                }
                Some(report) = reports.recv() => {
                    progress_stale = true;
                    self.take_report(report);
                }
                () = after(wakeup) => self.handle(Event::Tick),
                _ = metrics.tick() => self.running.values().for_each(|bundle| bundle.progress()),
                () = after(refresh) => {
                    self.show_progress();
                    progress_shown = Instant::now();
                    progress_stale = false;
                }
            }
            if progress_stale && progress_shown.elapsed() >= PROGRESS_AGE_MAX {
                self.show_progress();
                progress_shown = Instant::now();
                progress_stale = false;
            }
        };
        self.show_progress();
        self.profile(Profiler::ended);
        let parting = if outcome == Outcome::Cancelled { Parting::InHaste } else { Parting::InPeace };
        for executor in &self.executors {
            executor.shutdown(parting);
        }
        if matches!(outcome, Outcome::Done | Outcome::Drained(_)) {
            // A program often ends as soon as it hears of the job's end, and its DoFns would not be torn down. One that
            // takes its time does not keep others waiting.
            let gone = async {
                for executor in &self.executors {
                    executor.gone().await;
                }
            };
            let _ = tokio::time::timeout(GOODBYE_MAX, gone).await;
        }
        // Nobody listens if the job server has gone; then there is nobody to tell.
        let _ = self.events.send(JobEvent::Ended(outcome));
        // What the job kept may be much, and on disk.
        tokio::task::spawn_blocking(move || drop(self));
    }

    fn handle(&mut self, event: Event) {
        let began = Instant::now();
        self.engine.handle(event, self.clock.now());
        self.profile(|profiler| profiler.core_worked(began.elapsed()));
    }

    fn show_progress(&self) {
        *lock(&self.control.watched.progress) = self.engine.status();
        self.profile(|profiler| {
            profiler.look(&self.engine, self.clock.now());
            profiler.spilled(self.kernels.batches.spilled(), &self.state.spilled());
        });
    }

    /// Enters something into the books of where time goes.
    fn profile(&self, enter: impl FnOnce(&mut Profiler)) {
        if let Some(profiler) = &mut *lock(&self.control.watched.profile) {
            enter(profiler);
        }
    }

    fn take_report(&mut self, report: Report) {
        match report {
            Report::Event(event) => {
                match &event {
                    Event::BundleFinished { bundle, result } => {
                        if let Some(delta) = result.delta {
                            self.deltas.insert(*bundle, delta);
                        }
                        self.profile(|profiler| profiler.finished(*bundle, result));
                    }
                    Event::BundleSplit { bundle, split } => self.profile(|profiler| profiler.split(*bundle, split)),
                    Event::Start
                    | Event::BundleFailed { .. }
                    | Event::Workers { .. }
                    | Event::Broken { .. }
                    | Event::Pressure(_)
                    | Event::Scripted(_)
                    | Event::Drain
                    | Event::Cancel
                    | Event::Tick => {}
                }
                self.handle(event);
            }
            Report::Metrics { bundle, delta } => lock(&self.control.watched.metrics).report(bundle, delta),
            Report::Message(message) => self.tell(message),
        }
    }

    fn tell(&self, message: JobMessage) {
        // Nobody listens if the job server has gone; then there is nobody to tell.
        let _ = self.events.send(JobEvent::Message(message));
    }

    /// Does all that the engine asks for; returns the outcome when the job is over.
    fn take_actions(&mut self) -> Option<Outcome> {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::StartBundle(draft) => self.start_bundle(draft),
                Action::CommitBundle { bundle, seq } => {
                    if let Some(delta) = self.deltas.remove(&bundle) {
                        self.state.apply(delta, seq);
                    }
                    self.kernels.sides.commit(bundle);
                    self.settle(bundle, true);
                }
                Action::DiscardBundle { bundle } => {
                    if let Some(delta) = self.deltas.remove(&bundle) {
                        self.state.discard(delta);
                    }
                    self.kernels.sides.discard(bundle);
                    self.settle(bundle, false);
                    self.environments.remove(&bundle);
                }
                Action::AbortBundle { bundle } => {
                    if let Some(running) = self.running.get(&bundle) {
                        running.abort();
                    }
                }
                Action::SplitBundle { bundle, fraction } => {
                    if let Some(running) = self.running.get(&bundle) {
                        running.split(fraction);
                    }
                }
                Action::Finalize { bundle } => {
                    if let Some(executor) =
                        self.environments.get(&bundle).and_then(|env| self.executors.get(env.index()))
                    {
                        executor.finalize(bundle);
                    }
                }
                Action::Join { into, batch } => self.kernels.join(into, batch),
                Action::DropLate { stage, elements } => self.count_late(stage, elements),
                Action::ForgetSide { side, until } => self.kernels.sides.forget(side, until),
                Action::AskScript => self.ask_script(),
                Action::Free { batches } => self.kernels.free(&batches),
                Action::DeadLetter { stage, element, reason } => self.put_aside(stage, &element, &reason),
                Action::Standstill(still) => self.tell(JobMessage::now(Importance::Warning, still.to_string())),
                Action::JobDone(Outcome::Failed(reason)) => {
                    let told = self.last_letter.take().map(|letter| format!("\n{letter}")).unwrap_or_default();
                    return Some(Outcome::Failed(reason + &told));
                }
                Action::JobDone(outcome) => return Some(outcome),
            }
        }
        // Finalization is asked for right behind the commit, so that nothing here is needed any more.
        let running = &self.running;
        self.environments.retain(|bundle, _| running.contains_key(bundle));
        None
    }

    fn settle(&mut self, bundle: BundleId, committed: bool) {
        self.running.remove(&bundle);
        self.profile(|profiler| profiler.settle(bundle, committed));
        let settled = lock(&self.control.watched.metrics).settle(bundle, committed);
        self.tell_trouble(settled);
    }

    /// Elements that nobody has taken, because they came too late.
    fn count_late(&mut self, stage: StageId, elements: u32) {
        let dropped = DropCounts { late: elements.into(), ..DropCounts::default() };
        let delta = metrics::of_drops(&self.engine.graph().stage(stage).transform, dropped);
        let added = lock(&self.control.watched.metrics).add(&delta);
        self.tell_trouble(added);
    }

    /// Once: more of it would say nothing new.
    fn tell_trouble(&mut self, entered: Result<(), Vec<MetricMergeError>>) {
        if let (Err(errors), false) = (entered, self.metrics_trouble_told) {
            self.metrics_trouble_told = true;
            for error in errors {
                self.tell(JobMessage::now(Importance::Warning, error.to_string()));
            }
        }
    }

    fn put_aside(&mut self, stage: StageId, element: &BatchSlice, reason: &str) {
        let Some(file) = &mut self.dead_letters else { return };
        let graph = self.engine.graph();
        match file.keep(graph, &*self.kernels.batches, stage, element, reason) {
            Ok(letter) => {
                let (count, path) = (file.count(), file.path().display());
                if let Some(key) = &letter.key {
                    let windows = letter.windows.join(", ");
                    self.last_letter = Some(format!(
                        "It failed at key {key} in window {windows}, whose element is in `{path}`. In a stage of keys no element is \
                         passed over, because the state of its key would be wrong from there on."
                    ));
                    return;
                }
                let text = format!("dead letter {count}, in `{path}`: {}", letter.cause());
                self.tell(JobMessage::now(Importance::Warning, text));
            }
            Err(error) => self.reporter.event(Event::Broken { why: error.to_string() }),
        }
    }

    fn ask_script(&self) {
        let stage = self.engine.graph().scripted().map(|stage| stage.id);
        let Some((script, stage)) = self.script.as_ref().zip(stage) else {
            let why = "a TestStream has no script; this is a bug in Purlin, please report it".to_owned();
            self.reporter.event(Event::Broken { why });
            return;
        };
        let out = LaneWriter::new(self.engine.graph(), stage, self.kernels.batches.clone());
        script.next(out, &self.reporter);
    }

    fn start_bundle(&mut self, draft: BundleDraft) {
        let meter = Arc::new(BundleMeter::default());
        self.profile(|profiler| profiler.started(&draft, &meter));
        let spec = self.engine.graph().stage(draft.stage);
        let Some(env) = spec.env else {
            self.kernels.start(draft, meter, &self.reporter);
            return;
        };
        let batches = self.kernels.batches.clone();
        let io = BundleIo {
            input: BatchReader::of_stage(self.engine.graph(), &draft, batches, meter.clone()),
            groups: GroupStore::new(self.kernels.batches.clone(), self.kernels.pins.clone()),
            state: self.state.view(&draft),
            sides: (!spec.gates.is_empty()).then(|| self.kernels.sides.view()),
            out: LaneWriter::new(self.engine.graph(), draft.stage, self.kernels.batches.clone()),
            meter,
        };
        let bundle = draft.id;
        // The graph was checked when the engine was made, and there is an executor for each of its environments.
        let running = self.executors[env.index()].start(draft, io, &self.reporter);
        self.running.insert(bundle, running);
        self.environments.insert(bundle, env);
    }
}

/// The job's clock: the wall clock at the start, and from then on a clock that never jumps.
#[derive(Debug)]
struct Clock {
    began: ProcessingTime,
    at: Instant,
}

impl Clock {
    fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: ProcessingTime(since_epoch.as_millis() as i64), at: Instant::now() }
    }

    fn now(&self) -> ProcessingTime {
        ProcessingTime(self.began.0 + self.at.elapsed().as_millis() as i64)
    }

    /// How long it is until then. A millisecond more, because the clock rounds down.
    fn until(&self, at: ProcessingTime) -> Duration {
        let millis = (at - self.now()).0;
        if millis <= 0 { Duration::ZERO } else { Duration::from_millis(millis as u64) }
    }
}

/// Ends after this long, or never.
async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}
