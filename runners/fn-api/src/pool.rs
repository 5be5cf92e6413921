//! The workers of one environment of one job, and the bundles that they share.
//!
//! ```text
//!   start ─► a worker with a free slot ─► assign, feed      joined, left ─► Event::Workers
//!        └─► waiting ─dispatch─┘                            finalize ─► the worker that ran the bundle
//! ```
//! Any number of launchers may feed it with workers, while the job runs too. Does not know how workers are started.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use purlin_backend::{Importance, JobMessage, Parting, Reporter};
use purlin_engine::core::action::BundleId;
use purlin_engine::core::event::{Event, Failure};
use purlin_engine::core::stage::{EnvIndex, StageId};
use purlin_model::ids::EnvironmentId;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::habits::Habits;
use crate::hub::FnApi;
use crate::ids::InstructionId;
use crate::input::{FeedLimits, feed};
use crate::job::JobContext;
use crate::lane_owners::LaneOwners;
use crate::lock::lock;
use crate::patience::Patience;
use crate::process_bundle::BundleRun;
use crate::worker::Worker;

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) hub: Arc<FnApi>,
    pub(crate) job: Arc<JobContext>,
    pub(crate) env: EnvIndex,
    pub(crate) environment: EnvironmentId,
    /// How many bundles one worker runs at once.
    slots_each: usize,
    /// Whether its workers live in somebody else's process, which may end as soon as the job has.
    pub(crate) ends_with_client: bool,
    habits: Habits,
    members: Mutex<Members>,
    /// Workers lost since the last bundle that finished.
    losses: AtomicU32,
    /// Cancelled when nobody wants any more what the workers do.
    haste: CancellationToken,
    /// Cancelled when the job lets its workers go.
    pub(crate) stop: CancellationToken,
    /// Cancelled when the workers that were added are to leave; at the latest with `stop`.
    pub(crate) stop_extra: CancellationToken,
    /// How many of the environment's own workers are looked after.
    own: watch::Sender<usize>,
    /// Hears when a bundle is given to a worker.
    busy: Notify,
    launched: OnceLock<Launched>,
}

/// What is known since the launch.
#[derive(Debug)]
struct Launched {
    reporter: Reporter,
    runtime: Handle,
}

/// One of the environment's own workers.
#[derive(Debug)]
pub(crate) struct OwnWorker(Arc<Pool>);

impl Drop for OwnWorker {
    fn drop(&mut self) {
        self.0.own.send_modify(|own| *own -= 1);
    }
}

#[derive(Debug, Default)]
struct Members {
    workers: Vec<Arc<Worker>>,
    /// Bundles without a worker: it was lost while the engine handed them out.
    waiting: VecDeque<Arc<BundleRun>>,
    /// Which worker had which lanes last, and what it may remember of them.
    owners: LaneOwners,
    /// Bundles whose worker waits to hear that they are committed.
    finalizing: BTreeMap<BundleId, (Weak<Worker>, InstructionId)>,
}

impl Pool {
    pub(crate) fn new(
        hub: &Arc<FnApi>,
        job: &Arc<JobContext>,
        env: EnvIndex,
        slots_each: usize,
        ends_with_client: bool,
        habits: Habits,
    ) -> Arc<Self> {
        let stop = CancellationToken::new();
        Arc::new(Self {
            hub: hub.clone(),
            job: job.clone(),
            env,
            environment: job.job.plan.environments[env.index()].id.clone(),
            slots_each,
            ends_with_client,
            habits,
            members: Mutex::default(),
            losses: AtomicU32::new(0),
            stop_extra: stop.child_token(),
            stop,
            haste: CancellationToken::new(),
            own: watch::Sender::new(0),
            busy: Notify::new(),
            launched: OnceLock::new(),
        })
    }

    /// Must be called once, in a tokio runtime, before anything else happens here. False if it was called before.
    pub(crate) fn launch(&self, reporter: &Reporter) -> bool {
        self.launched.set(Launched { reporter: reporter.clone(), runtime: Handle::current() }).is_ok()
    }

    /// Where to wait for the rest of a bundle, and how long.
    pub(crate) fn rest_timeout(&self) -> Option<(Handle, Duration)> {
        Some((self.launched.get()?.runtime.clone(), self.hub.limits.rest_timeout))
    }

    /// How long a worker may take for each step of its end.
    pub(crate) fn patience(&self) -> Patience {
        self.hub.patience(self.haste.clone())
    }

    fn reporter(&self) -> Option<&Reporter> {
        self.launched.get().map(|launched| &launched.reporter)
    }

    /// The job cannot go on without this environment.
    pub(crate) fn broken(&self, why: String) {
        if let Some(reporter) = self.reporter() {
            reporter.event(Event::Broken { why });
        }
    }

    /// A worker is up, perhaps again.
    pub(crate) fn joined(&self, worker: &Arc<Worker>) {
        {
            let mut members = lock(&self.members);
            if !members.workers.iter().any(|member| member.id == worker.id) {
                members.workers.push(worker.clone());
            }
            self.tell_slots(&members);
        }
        self.dispatch();
    }

    /// A worker is gone.
    pub(crate) fn left(&self, worker: &Worker) {
        let mut members = lock(&self.members);
        let before = members.workers.len();
        members.workers.retain(|member| member.id != worker.id);
        members.owners.gone(&worker.id);
        if members.workers.len() < before {
            self.tell_slots(&members);
        }
    }

    /// Under the lock of `members`, so that the engine hears of changes in their order.
    fn tell_slots(&self, members: &Members) {
        if let Some(reporter) = self.reporter() {
            reporter.event(Event::Workers { env: self.env, slots: (members.workers.len() * self.slots_each) as u32 });
        }
    }

    /// Runs a bundle as soon as a worker has a free slot.
    pub(crate) fn submit(&self, run: Arc<BundleRun>) {
        lock(&self.members).waiting.push_back(run);
        if self.stop.is_cancelled() { self.abort_waiting() } else { self.dispatch() }
    }

    /// Gives waiting bundles to workers with free slots.
    pub(crate) fn dispatch(&self) {
        loop {
            let next = {
                let mut members = lock(&self.members);
                members.waiting.retain(|run| run.is_live());
                let mut waiting = members.waiting.iter().enumerate();
                let Some((place, worker)) =
                    waiting.find_map(|(place, run)| Some((place, self.free_for(run, &members)?)))
                else {
                    return;
                };
                let Some(run) = members.waiting.remove(place) else { return };
                if run.stage.stateful {
                    let token = members.owners.give(run.stage.stage, &run.lanes, &worker.id);
                    run.may_remember(&worker.id, token);
                }
                run.run_in(&worker);
                // Under the lock, so that nobody else gives the same slot away.
                worker.assign(&run).map(|to| (run.clone(), to)).map_err(|why| (run, why))
            };
            match (next, self.launched.get()) {
                (Ok((run, to)), Some(launched)) => {
                    self.busy.notify_one();
                    let limits = FeedLimits { message_size_max: self.hub.config.message_size_max, habits: self.habits };
                    launched.runtime.spawn_blocking(move || feed(&run, &to, limits));
                }
                (Ok((run, _)), None) => run.fail(Failure::Aborted),
                (Err((run, why)), _) => run.fail(why),
            }
        }
    }

    /// Who had most of the bundle's lanes, then the least loaded; among equals the one that was there first: whose caches are warm.
    fn free_for(&self, run: &BundleRun, members: &Members) -> Option<Arc<Worker>> {
        let stage = run.stage.stage;
        let free = members.workers.iter().map(|worker| (worker.load(), worker));
        let free = free.filter(|(load, worker)| {
            // SDKs use what has run one bundle for the next one of its stage, and find it by the name of the bundle when they
            // are asked to split. In between it may have gone from the one to the other, and the wrong one would be split.
            *load < self.slots_each && !(worker.is_extra && self.stop_extra.is_cancelled()) && !worker.owes_split(stage)
        });
        let best =
            free.min_by_key(|(load, worker)| (Reverse(members.owners.had(stage, &run.lanes, &worker.id)), *load));
        best.map(|(_, worker)| worker.clone())
    }

    /// Ends when a worker has something to do.
    pub(crate) async fn busy(&self) {
        while lock(&self.members).workers.iter().all(|worker| worker.load() == 0) {
            self.busy.notified().await;
        }
    }

    /// User code failed in a worker that was added, which need not mean that it fails where the user runs it: a module
    /// may not be found there, or something that the program did to itself be missing. All such workers leave, and the
    /// bundle goes to one of the environment's own.
    pub(crate) fn extra_failed(&self, stage: &str, error: &str) -> Failure {
        if !self.stop_extra.is_cancelled() {
            self.stop_extra.cancel();
            if let Some(reporter) = self.reporter() {
                let last = error.trim_end().lines().last().unwrap_or_default();
                let text = format!(
                    "stage `{stage}` failed in a process that Purlin started beside your program ({last}); it runs \
                     again inside your program, as all else of this job does from now on"
                );
                reporter.message(JobMessage::now(Importance::Basic, text));
            }
        }
        Failure::WorkerLost(format!("stage `{stage}` failed in a worker that was added: {error}"))
    }

    /// A bundle has finished well, so that its workers are no hopeless case.
    pub(crate) fn bundle_finished(&self) {
        self.losses.store(0, Ordering::Relaxed);
    }

    /// A bundle of a stage failed in this worker, which may remember what never came to be.
    pub(crate) fn bundle_failed(&self, stage: StageId, worker: &Worker) {
        lock(&self.members).owners.forget(stage, &worker.id);
    }

    /// One more worker is lost; returns how many since the last bundle that finished.
    pub(crate) fn count_loss(&self) -> u32 {
        self.losses.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A worker waits to hear that a bundle is committed.
    pub(crate) fn will_finalize(&self, bundle: BundleId, worker: &Arc<Worker>, instruction: &InstructionId) {
        lock(&self.members).finalizing.insert(bundle, (Arc::downgrade(worker), instruction.clone()));
    }

    /// A bundle is committed.
    pub(crate) fn finalize(&self, bundle: BundleId) {
        let finalizing = lock(&self.members).finalizing.remove(&bundle);
        if let Some((worker, instruction)) = finalizing
            && let Some(worker) = worker.upgrade()
        {
            worker.finalize(&instruction);
        }
    }

    /// One more of the environment's own workers is looked after, until the guard is dropped.
    pub(crate) fn own(self: &Arc<Self>) -> OwnWorker {
        self.own.send_modify(|own| *own += 1);
        OwnWorker(self.clone())
    }

    /// Ends when none of the environment's own workers is left.
    pub(crate) async fn gone(&self) {
        let mut own = self.own.subscribe();
        // An error would mean that the sender is gone, which this value owns.
        let _ = own.wait_for(|own| *own == 0).await;
    }

    /// Lets all workers go: those who look after them see it.
    pub(crate) fn shutdown(&self, parting: Parting) {
        match parting {
            Parting::InPeace => {}
            // First, so that nobody begins to wait in peace. Those who do already, for workers that were added, see it too.
            Parting::InHaste => self.haste.cancel(),
        }
        self.stop.cancel();
        self.abort_waiting();
    }

    fn abort_waiting(&self) {
        let waiting = std::mem::take(&mut lock(&self.members).waiting);
        waiting.into_iter().for_each(|run| run.fail(Failure::Aborted));
    }
}
