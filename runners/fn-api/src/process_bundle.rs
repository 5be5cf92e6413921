//! The life of one bundle in a worker.
//!
//! ```text
//!   new ─► (waits for a worker) ─► registered ─► request sent ─► elements fed ══► worker
//!     response ┐
//!     outputs ─┼─► open: is everything here? ─► finish: BundleFinished
//!     splits ──┘          └─► fail: BundleFailed, everything dropped
//! ```
//! A bundle is whole when it has the response, the terminator of every sink and family of timers, and the answer to
//! every split: these come over streams that know nothing of each other. Exactly one event comes out of it, because
//! whoever takes `open` out of its place sends that event, and nobody else can.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use purlin_backend::metrics::of_drops;
use purlin_backend::profile::{BundleMeter, Work};
use purlin_backend::{BatchReader, BundleIo, GroupStore, Reporter, RunningBundle};
use purlin_engine::core::action::{BundleDraft, BundleId};
use purlin_engine::core::bundle::{BundleResult, BundleStats, DropCounts};
use purlin_engine::core::event::{Event, Failure};
use purlin_engine::core::lane::Lane;
use purlin_engine::store::{DueBound, SideView, StateError, StateView, Timer, TimerDomain};
use purlin_model::ids::WorkerId;
use purlin_model::time::{EventTime, Millis, ProcessingTime};
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::instruction_request::Request;
use purlin_proto::fn_execution::v1::instruction_response::Response;
use purlin_proto::fn_execution::v1::process_bundle_request::{CacheToken, cache_token};
use tokio::sync::Notify;

use crate::descriptor::StageDescriptor;
use crate::ids::InstructionId;
use crate::lane_owners::TokenNumber;
use crate::lock::lock;
use crate::open_bundle::{Open, Terminator};
use crate::pool::Pool;
use crate::residual;
use crate::split::InputLedger;
use crate::timers::Setting;
use crate::worker::Worker;

/// Why elements or timers are refused after the message that said it was the last.
const AFTER_THE_END: &str = "which had said before that nothing more would come (`is_last`); end each stream once";

/// One bundle, from its start to its end.
#[derive(Debug)]
pub(crate) struct BundleRun {
    pub(crate) instruction: InstructionId,
    pub(crate) bundle: BundleId,
    pub(crate) stage: Arc<StageDescriptor>,
    /// The lanes that it owns.
    pub(crate) lanes: Vec<Lane>,
    /// Under which its worker may use what it remembers of the state of its lanes.
    state_token: OnceLock<Bytes>,
    pub(crate) sides: Option<Arc<dyn SideView>>,
    /// The values of large groups.
    pub(crate) groups: GroupStore,
    /// State of the bundle's keys; taken when the bundle ends.
    pub(crate) state: Mutex<Option<Box<dyn StateView>>>,
    pub(crate) reporter: Reporter,
    pub(crate) meter: Arc<BundleMeter>,
    began: ProcessingTime,
    pub(crate) watermark: EventTime,
    /// Elements that came behind the expiry of their window.
    late: AtomicU64,
    draining: bool,
    started: Instant,
    pool: Weak<Pool>,
    worker: OnceLock<Weak<Worker>>,
    input: Mutex<Option<BatchReader>>,
    /// Elements at this position and behind belong to somebody else: a split gave them back.
    input_end: AtomicU64,
    live: AtomicBool,
    /// `None` when the bundle has ended.
    open: Mutex<Option<Open>>,
    /// Told of each message about the bundle, and of its end.
    heard: Arc<Notify>,
}

impl BundleRun {
    pub(crate) fn new(
        instruction: InstructionId,
        stage: Arc<StageDescriptor>,
        draft: BundleDraft,
        io: BundleIo,
        reporter: &Reporter,
        pool: &Arc<Pool>,
    ) -> Arc<Self> {
        let sinks = stage.sinks.keys().cloned().map(Terminator::Sink);
        let timers = stage
            .timer_families()
            .map(|(transform, family)| Terminator::Timers(transform.to_owned(), family.to_owned()))
            .collect::<Vec<_>>();
        let open = Open::new(io.out, sinks.chain(timers).collect(), InputLedger::new(draft.input));
        Arc::new(Self {
            instruction,
            bundle: draft.id,
            lanes: draft.lanes,
            state_token: OnceLock::new(),
            sides: io.sides,
            groups: io.groups,
            state: Mutex::new(Some(io.state)),
            reporter: reporter.clone(),
            meter: io.meter,
            began: draft.now,
            watermark: draft.watermark,
            late: AtomicU64::new(0),
            draining: draft.draining,
            started: Instant::now(),
            pool: Arc::downgrade(pool),
            worker: OnceLock::new(),
            input: Mutex::new(Some(io.input)),
            input_end: AtomicU64::new(open.input.end()),
            live: AtomicBool::new(true),
            open: Mutex::new(Some(open)),
            heard: Arc::default(),
            stage,
        })
    }

    /// Whether it has not ended.
    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    /// Elements at this position and behind are not to be sent any more.
    pub(crate) fn input_end(&self) -> u64 {
        self.input_end.load(Ordering::Relaxed)
    }

    pub(crate) fn set_input_end(&self, end: u64) {
        self.input_end.store(end, Ordering::Relaxed);
    }

    /// The input, once.
    pub(crate) fn take_input(&self) -> Option<BatchReader> {
        lock(&self.input).take()
    }

    /// The job's clock when the bundle began.
    pub(crate) fn began(&self) -> ProcessingTime {
        self.began
    }

    /// The job's clock: what it was when the bundle began, and the time since.
    pub(crate) fn clock(&self) -> ProcessingTime {
        if self.stage.clock_stands {
            return self.began;
        }
        self.began + Millis(self.started.elapsed().as_millis() as i64)
    }

    /// From an instant of the worker's clock, which is the real one, to the same of the job's.
    ///
    /// Where the script's clock began at the epoch, instants may be of that clock already: those tell themselves apart by decades.
    fn on_job_clock(&self, at: i64) -> i64 {
        if !self.stage.clock_stands {
            return at;
        }
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        if self.stage.clock_from_epoch && at < real / 2 {
            return at;
        }
        self.began.0.saturating_add(at.saturating_sub(real))
    }

    /// Names the worker that it runs in; the first stays.
    pub(crate) fn run_in(&self, worker: &Arc<Worker>) {
        // A bundle is given to one worker only.
        let _ = self.worker.set(Arc::downgrade(worker));
        self.meter.queued(self.started.elapsed());
    }

    pub(crate) fn worker(&self) -> Option<Arc<Worker>> {
        self.worker.get()?.upgrade()
    }

    /// The worker may use what it remembers of user state under this token; the first stays.
    pub(crate) fn may_remember(&self, worker: &WorkerId, token: TokenNumber) {
        let token = format!("{}-{worker}-{}", self.stage.proto.id, token.0);
        // A bundle is given to one worker only.
        let _ = self.state_token.set(token.into());
    }

    /// The request that begins it, with all of its elements and timers if they are so few.
    pub(crate) fn request(&self, elements: Option<fnpb::Elements>) -> fnpb::InstructionRequest {
        let state_token = self.state_token.get().map(|token| CacheToken {
            token: token.clone(),
            r#type: Some(cache_token::Type::UserState(cache_token::UserState {})),
        });
        // Its lanes are its own: nobody else writes to them until it ends.
        let has_no_state = self.stage.stateful && lock(&self.state).as_ref().is_some_and(|state| state.has_no_cells());
        let request = fnpb::ProcessBundleRequest {
            process_bundle_descriptor_id: self.stage.proto.id.clone(),
            has_no_state,
            cache_tokens: self.stage.side_tokens(self.sides.as_deref()).chain(state_token).collect(),
            elements,
            ..fnpb::ProcessBundleRequest::default()
        };
        fnpb::InstructionRequest {
            instruction_id: self.instruction.as_str().to_owned(),
            request: Some(Request::ProcessBundle(request)),
        }
    }

    /// Does something with what the bundle has gathered, unless it has ended.
    pub(crate) fn while_open<T>(&self, act: impl FnOnce(&mut Open) -> T) -> Option<T> {
        lock(&self.open).as_mut().map(act)
    }

    /// A worker's answer to the request.
    pub(crate) fn on_response(&self, response: fnpb::InstructionResponse) {
        // A failed answer of the Go SDK carries a dummy beside the error, so the error is looked at first.
        if !response.error.is_empty() {
            self.fail(self.user_failure(response.error));
            return;
        }
        let Some(Response::ProcessBundle(mut answer)) = response.response else {
            let text =
                format!("the worker answered the request for a bundle of `{}` with something else", self.stage.name);
            self.fail(Failure::Garbage(text));
            return;
        };
        let embedded = answer.elements.take().unwrap_or_default();
        let before = self.while_open(|open| open.response.replace(answer));
        if let Some(Some(_)) = before {
            let text = format!("the worker answered the request for a bundle of `{}` twice", self.stage.name);
            self.fail(Failure::Garbage(text));
            return;
        }
        embedded.timers.iter().for_each(|timers| self.take_timers(timers));
        embedded.data.iter().for_each(|data| self.take_data(data));
        self.try_finish();
    }

    fn user_failure(&self, error: String) -> Failure {
        match (self.worker(), self.pool.upgrade()) {
            (Some(worker), Some(pool)) if worker.is_extra => pool.extra_failed(&self.stage.name, &error),
            _ => Failure::User(error),
        }
    }

    /// Fails the bundle if the rest of it does not come, once its worker has answered.
    pub(crate) fn await_rest(self: &Arc<Self>) {
        let Some((runtime, patience)) = self.pool.upgrade().and_then(|pool| pool.rest_timeout()) else { return };
        if !self.is_live() {
            return;
        }
        let run = Arc::downgrade(self);
        let heard = self.heard.clone();
        runtime.spawn(async move {
            while tokio::time::timeout(patience, heard.notified()).await.is_ok() {
                if !run.upgrade().is_some_and(|run| run.is_live()) {
                    return;
                }
            }
            if let Some(run) = run.upgrade() {
                let missing = run.while_open(|open| open.missing()).unwrap_or_default();
                run.fail(Failure::Garbage(format!(
                    "a worker answered that a bundle of `{}` is done and sent nothing more for {} seconds, though these \
                     have not come: {missing}; its SDK must end each of its streams with `is_last`",
                    run.stage.name,
                    patience.as_secs_f32(),
                )));
            }
        });
    }

    /// Elements of one sink.
    pub(crate) fn take_data(&self, data: &fnpb::elements::Data) {
        self.heard.notify_one();
        let Some(output) = self.stage.sinks.get(&data.transform_id).copied() else {
            self.fail(Failure::Garbage(format!(
                "the worker sent elements of `{}`, which is no output of stage `{}`",
                data.transform_id, self.stage.name
            )));
            return;
        };
        let terminator = Terminator::Sink(data.transform_id.clone());
        let write = |open: &mut Open| {
            if !open.is_awaited(&terminator, data.is_last) {
                return Err(format!("elements of `{}`, {AFTER_THE_END}", data.transform_id));
            }
            open.write(output, &data.data).map_err(|error| error.to_string())?;
            if data.is_last { open.finish_output(output).map_err(|error| error.to_string()) } else { Ok(()) }
        };
        let written = self.while_open(|open| self.meter.work(Work::Partition, || write(open)));
        match written {
            Some(Err(error)) => self.fail(Failure::Garbage(format!("a worker running `{}`: {error}", self.stage.name))),
            Some(Ok(())) if data.is_last => self.try_finish(),
            Some(Ok(())) | None => {}
        }
    }

    /// Timers of one family.
    pub(crate) fn take_timers(&self, timers: &fnpb::elements::Timers) {
        self.heard.notify_one();
        if let Err(why) = self.meter.work(Work::State, || self.set_timers(timers)) {
            let name = self.stage.unique_name(&timers.transform_id).unwrap_or(&timers.transform_id);
            let (family, stage) = (&timers.timer_family_id, &self.stage.name);
            self.fail(Failure::Garbage(format!(
                "transform `{name}` in stage `{stage}` set a timer of family `{family}`: {why}"
            )));
            return;
        }
        if timers.is_last {
            self.try_finish();
        }
    }

    fn set_timers(&self, timers: &fnpb::elements::Timers) -> Result<(), String> {
        let of_stage = self.stage.timers.as_ref().ok_or("no transform of this stage declares timers")?;
        let settings = of_stage.read(timers, self.watermark).map_err(|fault| fault.to_string())?;
        let terminator = Terminator::Timers(timers.transform_id.clone(), timers.timer_family_id.clone());
        match self.while_open(|open| open.awaited.contains(&terminator)) {
            // It has ended: what comes late is dropped.
            None => return Ok(()),
            Some(false) => return Err(AFTER_THE_END.to_owned()),
            Some(true) => {}
        }
        for setting in settings {
            let (timer, is_changed) = match setting {
                Setting::Set(mut timer) => {
                    if timer.domain == TimerDomain::ProcessingTime {
                        timer.fire_at = timer.fire_at.map(|at| self.on_job_clock(at));
                    }
                    (timer, false)
                }
                Setting::Early(timer) | Setting::Dropped(timer) => (timer, true),
            };
            // What may become of it besides is known when it is set.
            let told = (is_changed || self.draining).then(|| timer.clone());
            let Some(state) = &mut *lock(&self.state) else { continue };
            let is_set = state.set_timer(timer).map_err(|error| error.to_string())?;
            match told {
                Some(timer) if !is_set => self.stage.tell_looping_timer(&self.reporter, &timer),
                Some(timer) if is_changed => self.stage.tell_changed_timer(&self.reporter, &timer),
                Some(_) | None => {}
            }
        }
        // Behind its timers, for the bundle may be whole with it.
        if timers.is_last {
            self.while_open(|open| open.awaited.remove(&terminator));
        }
        Ok(())
    }

    /// Takes the timers that are due, some at a time; empty when there are no more.
    pub(crate) fn take_due(&self, count_max: usize) -> Result<Vec<Timer>, Failure> {
        self.with_state(|state| state.take_due(&self.due_bound(count_max)))
    }

    /// Sets a timer of the runner's own.
    pub(crate) fn set_own_timer(&self, timer: Timer) -> Result<(), Failure> {
        self.with_state(|state| state.set_timer(timer)).map(drop)
    }

    /// Says that what is written in a window is collected behind this instant.
    pub(crate) fn expire_window(&self, window: &Bytes, at: EventTime) {
        if let Some(state) = &mut *lock(&self.state) {
            state.expire_window(window, at);
        }
    }

    /// Collects the state of windows that are gone, and ends the bundle if that is all there is to do: it has no elements, no
    /// timers are due, and no worker hears of it. Tells whether it has ended.
    pub(crate) fn collect_expired(&self) -> Result<bool, Failure> {
        if !self.stage.stateful || !self.stage.lifetime.expire() || self.input_end() > 0 {
            return Ok(false);
        }
        if self.with_state(|state| state.collect_expired(&self.due_bound(usize::MAX)))? {
            return Ok(false);
        }
        let open = lock(&self.open).take();
        if let Some(mut open) = open {
            open.response = Some(fnpb::ProcessBundleResponse::default());
            self.finish(open);
        }
        Ok(true)
    }

    /// So many elements came behind the expiry of their window, and were dropped.
    pub(crate) fn dropped_late(&self, count: u64) {
        self.late.fetch_add(count, Ordering::Relaxed);
    }

    fn due_bound(&self, count_max: usize) -> DueBound {
        DueBound::of_bundle(self.watermark, self.began, self.draining, count_max)
    }

    /// Does something with the bundle's state; nothing if it has ended.
    fn with_state<T: Default>(
        &self,
        act: impl FnOnce(&mut dyn StateView) -> Result<T, StateError>,
    ) -> Result<T, Failure> {
        match &mut *lock(&self.state) {
            Some(state) => act(&mut **state).map_err(|error| Failure::Garbage(error.to_string())),
            None => Ok(T::default()),
        }
    }

    /// Finishes the bundle if it is whole.
    pub(crate) fn try_finish(&self) {
        let metrics = {
            let mut place = lock(&self.open);
            let Some(open) = place.as_mut() else { return };
            let Some(response) = open.response.as_mut().filter(|_| open.awaited.is_empty() && open.splits_awaited == 0)
            else {
                return;
            };
            // Metrics count when their bundle does, so what their short ids mean must be known by then.
            let metrics = match self.worker() {
                Some(worker) => {
                    let plan = &worker.job.job.plan;
                    let told = worker.short_ids.delta(plan, &response.monitoring_infos, &response.monitoring_data);
                    let dropped = DropCounts { late: self.late.load(Ordering::Relaxed), closed: 0 };
                    let of_drops = of_drops(&plan.graph.stage(self.stage.stage).transform, dropped);
                    told.map(|told| told.into_iter().chain(of_drops).collect())
                }
                None => Ok(Vec::new()),
            };
            match metrics {
                Ok(metrics) => place.take().map(|open| (open, metrics)),
                Err(unknown) => {
                    if let Some(worker) = self.worker().filter(|_| !unknown.is_empty()) {
                        worker.ask_metrics(unknown);
                    }
                    None
                }
            }
        };
        if let Some((open, metrics)) = metrics {
            self.reporter.metrics(self.bundle, metrics);
            self.finish(open);
        }
    }

    fn finish(&self, open: Open) {
        self.live.store(false, Ordering::Relaxed);
        let state = lock(&self.state).take();
        let event = match self.result(open, state) {
            Ok(result) => {
                if let (true, Some(pool), Some(worker)) = (result.wants_finalize, self.pool.upgrade(), self.worker()) {
                    pool.will_finalize(self.bundle, &worker, &self.instruction);
                }
                if let Some(pool) = self.pool.upgrade() {
                    pool.bundle_finished();
                }
                Event::BundleFinished { bundle: self.bundle, result }
            }
            Err(why) => {
                self.unremember();
                Event::BundleFailed { bundle: self.bundle, why }
            }
        };
        self.leave(event);
    }

    fn result(&self, mut open: Open, state: Option<Box<dyn StateView>>) -> Result<BundleResult, Failure> {
        let Some(response) = open.response.take() else {
            return Err(Failure::Garbage("a bundle ended without a response; this is a bug in Purlin".to_owned()));
        };
        let mut residuals = Vec::new();
        for root in &response.residual_roots {
            residuals.push(residual::of_root(self, &mut open.out, root)?);
        }
        let elements_in = open.input.end();
        let unkept = |error: purlin_engine::store::StoreError| Failure::Garbage(error.to_string());
        let (outputs, totals) = self.meter.work(Work::Partition, || open.out.finish()).map_err(unkept)?;
        let (delta, summaries) = self.meter.work(Work::State, || state.map(|state| state.finish())).unzip();
        let stats = BundleStats {
            elements_in,
            elements_out: totals.elements,
            bytes_out: totals.bytes,
            duration_us: self.started.elapsed().as_micros() as u64,
        };
        Ok(BundleResult {
            outputs,
            delta,
            summaries: summaries.unwrap_or_default(),
            residuals,
            wants_finalize: response.requires_finalization,
            stats,
        })
    }

    /// Ends the bundle badly, unless it has ended. Nothing of it counts.
    pub(crate) fn fail(&self, why: Failure) {
        let Some(open) = lock(&self.open).take() else { return };
        self.live.store(false, Ordering::Relaxed);
        drop(open);
        drop(lock(&self.state).take());
        self.unremember();
        self.leave(Event::BundleFailed { bundle: self.bundle, why });
    }

    /// What the worker remembers of this bundle never came to be.
    fn unremember(&self) {
        if let (true, Some(pool), Some(worker)) = (self.stage.stateful, self.pool.upgrade(), self.worker()) {
            pool.bundle_failed(self.stage.stage, &worker);
        }
    }

    fn leave(&self, event: Event) {
        self.heard.notify_one();
        drop(self.take_input());
        // The slot is free before the engine hears of it, and may fill it.
        if let Some(worker) = self.worker() {
            worker.release(&self.instruction);
        }
        self.reporter.event(event);
    }
}

/// What the driver holds of a bundle.
#[derive(Debug)]
pub(crate) struct RunningInWorker(pub(crate) Arc<BundleRun>);

impl RunningBundle for RunningInWorker {
    fn split(&self, fraction: f64) {
        self.0.ask_split(fraction);
    }

    fn progress(&self) {
        self.0.ask_progress();
    }

    fn abort(&self) {
        self.0.fail(Failure::Aborted);
    }
}

/// A bundle that never began: its stage cannot be told to workers.
#[derive(Debug)]
pub(crate) struct NeverBegan;

impl RunningBundle for NeverBegan {
    fn split(&self, _fraction: f64) {}

    fn progress(&self) {}

    fn abort(&self) {}
}
