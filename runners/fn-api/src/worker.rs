//! One worker: what is expected of it, the streams that its id joins, and what it was asked.
//!
//! ```text
//!   expected ─Control stream─► up (number 1) ─end of stream─► lost
//!                               └─another Control stream─► up (number 2); the first is dead, and so are its bundles
//!   up: bundles by instruction │ other questions by instruction │ queue of outgoing elements │ short ids of metrics
//! ```
//! Does not know how the worker was started, nor what becomes of the environment when it is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use purlin_backend::Reporter;
use purlin_engine::core::event::Failure;
use purlin_engine::core::stage::StageId;
use purlin_model::ids::{EnvironmentId, WorkerId};
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::instruction_request::Request;
use purlin_proto::fn_execution::v1::instruction_response::Response;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::hub::FnApi;
use crate::ids::InstructionId;
use crate::input::Outbound;
use crate::job::JobContext;
use crate::lock::lock;
use crate::metadata::UnknownWorker;
use crate::monitoring::ShortIds;
use crate::pool::Pool;
use crate::process_bundle::BundleRun;

/// How many messages of elements may wait for the stream. Python's reader of the stream, which all bundles share,
/// blocks when five messages of one bundle wait.
const MESSAGES_AHEAD: usize = 4;

/// Where a worker stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has not connected yet.
    Expected,
    /// Its control stream is open.
    Up,
    /// Its control stream has ended, for this reason.
    Lost(String),
}

/// A question to a worker other than a bundle.
#[derive(Debug)]
enum Asked {
    Split(Arc<BundleRun>),
    Progress(Arc<BundleRun>),
    Finalize,
    /// What these short ids mean.
    Metrics(Vec<String>),
}

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) job: Arc<JobContext>,
    pub(crate) environment: EnvironmentId,
    /// Whether it was added beside the environment's own workers: what fails in it may succeed in those.
    pub(crate) is_extra: bool,
    pub(crate) reporter: Reporter,
    hub: Arc<FnApi>,
    pool: Weak<Pool>,
    link: Mutex<Link>,
    bundles: Mutex<HashMap<InstructionId, Arc<BundleRun>>>,
    asked: Mutex<HashMap<InstructionId, Asked>>,
    pub(crate) short_ids: ShortIds,
    phase: watch::Sender<Phase>,
    /// How many bundles are being finalized.
    finalizing: watch::Sender<usize>,
    /// How many streams of control and state it has open from its side.
    streams: watch::Sender<usize>,
    /// Cancelled when nobody uses the worker any more.
    gone: CancellationToken,
}

#[derive(Debug, Default)]
struct Link {
    /// Counts connections from 1.
    number: u64,
    up: Option<Up>,
}

/// The streams of one connection.
#[derive(Debug)]
struct Up {
    requests: mpsc::UnboundedSender<fnpb::InstructionRequest>,
    elements: mpsc::Sender<Outbound>,
    /// Taken by the data stream.
    waiting_elements: Option<mpsc::Receiver<Outbound>>,
    end: CancellationToken,
}

/// Where a bundle is told to a worker.
#[derive(Clone, Debug)]
pub(crate) struct ToWorker {
    pub(crate) requests: mpsc::UnboundedSender<fnpb::InstructionRequest>,
    pub(crate) elements: mpsc::Sender<Outbound>,
}

/// A control stream that was just opened.
#[derive(Debug)]
pub(crate) struct ControlConnection {
    pub(crate) number: u64,
    pub(crate) requests: mpsc::UnboundedReceiver<fnpb::InstructionRequest>,
}

/// A data stream that was just opened.
#[derive(Debug)]
pub(crate) struct DataConnection {
    pub(crate) number: u64,
    pub(crate) elements: mpsc::Receiver<Outbound>,
    /// Cancelled when the stream has no use any more.
    pub(crate) end: CancellationToken,
}

/// A stream that is open from the worker's side.
#[derive(Debug)]
pub(crate) struct OpenStream(Arc<Worker>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.send_modify(|streams| *streams -= 1);
    }
}

impl Worker {
    /// A worker that may connect from now on.
    pub(crate) fn expect(hub: &Arc<FnApi>, pool: &Arc<Pool>, reporter: &Reporter, is_extra: bool) -> Arc<Self> {
        let worker = Arc::new(Self {
            id: hub.ids.worker(),
            job: pool.job.clone(),
            environment: pool.environment.clone(),
            is_extra,
            reporter: reporter.clone(),
            hub: hub.clone(),
            pool: Arc::downgrade(pool),
            link: Mutex::default(),
            bundles: Mutex::default(),
            asked: Mutex::default(),
            short_ids: ShortIds::default(),
            phase: watch::Sender::new(Phase::Expected),
            finalizing: watch::Sender::new(0),
            streams: watch::Sender::new(0),
            gone: CancellationToken::new(),
        });
        hub.expect(&worker);
        worker
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Cancelled when nobody uses the worker any more.
    pub(crate) fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// A transform's unique name.
    pub(crate) fn unique_name(&self, transform: &str) -> Option<&str> {
        let transform = self.job.job.plan.components.transforms.get(transform)?;
        Some(&transform.unique_name)
    }

    /// A control stream has opened. An earlier one of the same id is dead, and with it what it had begun.
    pub(crate) fn connect(self: &Arc<Self>) -> Result<ControlConnection, UnknownWorker> {
        // Who was lost is replaced, under another id.
        if self.gone.is_cancelled() || matches!(*self.phase.borrow(), Phase::Lost(_)) {
            return Err(UnknownWorker::Unexpected(self.id.to_string()));
        }
        let (requests, receiver) = mpsc::unbounded_channel();
        let (elements, waiting_elements) = mpsc::channel(MESSAGES_AHEAD);
        let up = Up { requests, elements, waiting_elements: Some(waiting_elements), end: self.gone.child_token() };
        let (number, before) = {
            let mut link = lock(&self.link);
            link.number += 1;
            let before = link.up.replace(up).map(|before| (before, self.abandon()));
            (link.number, before)
        };
        if let Some((before, bundles)) = before {
            tracing::warn!(worker = %self.id, "a worker connected while another one of the same id was connected");
            before.end.cancel();
            fail_all(bundles, &format!("worker `{}` connected again, so that its first life has ended", self.id));
        }
        self.phase.send_replace(Phase::Up);
        if let Some(pool) = self.pool.upgrade() {
            pool.joined(self);
        }
        Ok(ControlConnection { number, requests: receiver })
    }

    /// A data stream has opened.
    pub(crate) fn open_data(&self) -> Result<DataConnection, UnknownWorker> {
        let mut link = lock(&self.link);
        let number = link.number;
        let up = link.up.as_mut().ok_or_else(|| UnknownWorker::NotConnected(self.id.to_string()))?;
        let elements =
            up.waiting_elements.take().ok_or_else(|| UnknownWorker::SecondDataStream(self.id.to_string()))?;
        Ok(DataConnection { number, elements, end: up.end.clone() })
    }

    /// The data stream has ended. Bundles that need it are lost; without any, the worker may open another.
    pub(crate) fn data_ended(&self, number: u64, why: Option<&str>) {
        {
            let mut link = lock(&self.link);
            if link.number != number {
                return;
            }
            let Some(up) = link.up.as_mut() else { return };
            if lock(&self.bundles).is_empty() {
                let (elements, waiting_elements) = mpsc::channel(MESSAGES_AHEAD);
                up.elements = elements;
                up.waiting_elements = Some(waiting_elements);
                return;
            }
        }
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        self.lose(number, &format!("its data stream ended in the middle of a bundle{why}"));
    }

    /// The control stream with this number has ended. Its bundles wait for [`fail_bundles`](Self::fail_bundles), so
    /// that whoever looks after the worker can say why it died.
    pub(crate) fn lose(&self, number: u64, why: &str) {
        {
            let mut link = lock(&self.link);
            if link.number != number {
                return;
            }
            let Some(up) = link.up.take() else { return };
            up.end.cancel();
        }
        if let Some(pool) = self.pool.upgrade() {
            pool.left(self);
        }
        self.phase.send_replace(Phase::Lost(why.to_owned()));
        self.finalizing.send_replace(0);
    }

    /// One more stream is open from the worker's side, until the guard is dropped.
    pub(crate) fn stream(self: &Arc<Self>) -> OpenStream {
        self.streams.send_modify(|streams| *streams += 1);
        OpenStream(self.clone())
    }

    /// Ends when the worker has heard that it is to leave, and has nothing left to do but to tear down: Python ends its
    /// stream of state right before. At once, if nobody waits for that.
    pub(crate) async fn left(&self) {
        if !self.pool.upgrade().is_some_and(|pool| pool.ends_with_client) {
            return;
        }
        let mut streams = self.streams.subscribe();
        // An error would mean that the sender is gone, which this value owns.
        let _ = streams.wait_for(|streams| *streams == 0).await;
    }

    /// Fails all bundles of a worker that was lost.
    pub(crate) fn fail_bundles(&self, why: &str) {
        fail_all(self.abandon(), why);
    }

    /// The worker is gone, whatever its control stream says.
    pub(crate) fn lose_now(&self, why: &str) {
        let number = lock(&self.link).number;
        self.lose(number, why);
    }

    /// Ends the control stream from this side, which tells the worker to leave. False if there is none.
    pub(crate) fn close_control(&self) -> bool {
        lock(&self.link).up.take().is_some()
    }

    /// Nobody uses the worker any more: its calls are refused, its streams end.
    pub(crate) fn dismiss(&self) {
        self.hub.forget(&self.id);
        self.gone.cancel();
        self.close_control();
        if let Some(pool) = self.pool.upgrade() {
            pool.left(self);
        }
        fail_all(self.abandon(), &format!("worker `{}` was let go", self.id));
    }

    fn abandon(&self) -> Vec<Arc<BundleRun>> {
        lock(&self.asked).clear();
        self.finalizing.send_replace(0);
        self.short_ids.clear();
        lock(&self.bundles).drain().map(|(_, run)| run).collect()
    }

    /// How many bundles it works on.
    pub(crate) fn load(&self) -> usize {
        lock(&self.bundles).len()
    }

    /// Gives a bundle to the worker, which is yet to be told. Returns where that is done.
    pub(crate) fn assign(&self, run: &Arc<BundleRun>) -> Result<ToWorker, Failure> {
        let link = lock(&self.link);
        let lost = || Failure::WorkerLost(format!("worker `{}` was lost before the bundle began", self.id));
        let up = link.up.as_ref().ok_or_else(lost)?;
        lock(&self.bundles).insert(run.instruction.clone(), run.clone());
        Ok(ToWorker { requests: up.requests.clone(), elements: up.elements.clone() })
    }

    /// A bundle of this worker has ended.
    pub(crate) fn release(&self, instruction: &InstructionId) {
        lock(&self.bundles).remove(instruction);
        if let Some(pool) = self.pool.upgrade() {
            pool.dispatch();
        }
    }

    /// The bundle with this instruction, while it runs.
    pub(crate) fn bundle(&self, instruction: &str) -> Option<Arc<BundleRun>> {
        lock(&self.bundles).get(instruction).cloned()
    }

    /// Elements have arrived. Those of bundles that have ended are dropped.
    pub(crate) fn take_elements(&self, elements: fnpb::Elements) {
        for timers in elements.timers {
            if let Some(run) = self.bundle(&timers.instruction_id) {
                run.take_timers(&timers);
            }
        }
        for data in elements.data {
            if let Some(run) = self.bundle(&data.instruction_id) {
                run.take_data(&data);
            }
        }
    }

    /// An answer has arrived.
    pub(crate) fn on_response(&self, response: fnpb::InstructionResponse) {
        if let Some(run) = self.bundle(&response.instruction_id) {
            run.on_response(response);
            run.await_rest();
            return;
        }
        let asked = lock(&self.asked).remove(response.instruction_id.as_str());
        // A failed answer of the Go SDK carries a dummy beside the error, so the error is looked at first.
        let answer = if response.error.is_empty() { Ok(response.response) } else { Err(response.error) };
        match asked {
            Some(Asked::Split(run)) => {
                run.on_split(match answer {
                    Ok(Some(Response::ProcessBundleSplit(split))) => Some(split),
                    Ok(_) | Err(_) => None,
                });
                if let Some(pool) = self.pool.upgrade() {
                    pool.dispatch();
                }
            }
            Some(Asked::Progress(run)) => run.on_progress(match answer {
                Ok(Some(Response::ProcessBundleProgress(progress))) => Some(progress),
                Ok(_) | Err(_) => None,
            }),
            Some(Asked::Finalize) => {
                self.finalizing.send_modify(|count| *count = count.saturating_sub(1));
                if let Err(error) = answer {
                    tracing::warn!(worker = %self.id, %error, "a committed bundle could not be finalized");
                }
            }
            Some(Asked::Metrics(ids)) => {
                let infos = match answer {
                    Ok(Some(Response::MonitoringInfos(metadata))) => metadata.monitoring_info,
                    Ok(_) | Err(_) => Default::default(),
                };
                self.short_ids.learn(&self.job.job.plan, &ids, infos);
                let waiting: Vec<_> = lock(&self.bundles).values().cloned().collect();
                waiting.into_iter().for_each(|run| run.try_finish());
            }
            None => {
                tracing::debug!(worker = %self.id, instruction = response.instruction_id, "an answer nobody waits for");
            }
        }
    }

    /// Whether it has yet to say how it splits a bundle of this stage that runs.
    pub(crate) fn owes_split(&self, stage: StageId) -> bool {
        let owed = |asked: &Asked| matches!(asked, Asked::Split(run) if run.stage.stage == stage && run.is_live());
        lock(&self.asked).values().any(owed)
    }

    /// Asks for a part of a bundle's input back. Returns whether an answer will come.
    pub(crate) fn ask_split(&self, run: &Arc<BundleRun>, request: fnpb::ProcessBundleSplitRequest) -> bool {
        self.ask(Request::ProcessBundleSplit(request), Asked::Split(run.clone()))
    }

    /// Asks for a bundle's metrics. Returns whether an answer will come.
    pub(crate) fn ask_progress(&self, run: &Arc<BundleRun>) -> bool {
        let instruction_id = run.instruction.as_str().to_owned();
        let request = fnpb::ProcessBundleProgressRequest { instruction_id };
        self.ask(Request::ProcessBundleProgress(request), Asked::Progress(run.clone()))
    }

    /// Asks what short ids mean.
    pub(crate) fn ask_metrics(&self, ids: Vec<String>) {
        let request = fnpb::MonitoringInfosMetadataRequest { monitoring_info_id: ids.clone() };
        self.ask(Request::MonitoringInfos(request), Asked::Metrics(ids));
    }

    /// Says that a bundle is committed.
    pub(crate) fn finalize(&self, instruction: &InstructionId) {
        self.finalizing.send_modify(|count| *count += 1);
        let request = fnpb::FinalizeBundleRequest { instruction_id: instruction.as_str().to_owned() };
        if !self.ask(Request::FinalizeBundle(request), Asked::Finalize) {
            self.finalizing.send_modify(|count| *count = count.saturating_sub(1));
        }
    }

    /// Ends when all bundles that were to be finalized have been, or the worker is lost.
    pub(crate) async fn finalized(&self) {
        let mut finalizing = self.finalizing.subscribe();
        // An error would mean that the sender is gone, which this value owns.
        let _ = finalizing.wait_for(|count| *count == 0).await;
    }

    fn ask(&self, request: Request, asked: Asked) -> bool {
        let link = lock(&self.link);
        let Some(up) = link.up.as_ref() else { return false };
        let instruction = self.hub.ids.instruction();
        let request =
            fnpb::InstructionRequest { instruction_id: instruction.as_str().to_owned(), request: Some(request) };
        lock(&self.asked).insert(instruction.clone(), asked);
        let sent = up.requests.send(request).is_ok();
        if !sent {
            lock(&self.asked).remove(&instruction);
        }
        sent
    }
}

fn fail_all(bundles: Vec<Arc<BundleRun>>, why: &str) {
    for run in bundles {
        run.fail(Failure::WorkerLost(why.to_owned()));
    }
}
