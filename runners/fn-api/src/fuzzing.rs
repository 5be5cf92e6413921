//! A worker without a network, for the fuzzer: its messages go where the streams would take them.
//!
//! ```text
//!   fuzzer ─Elements, InstructionResponse, StateRequest─► Worker ─► BundleRun ─► reports
//! ```
//! Only with the feature `fuzzing`. Nothing feeds input to it: what comes from outside is what is tried.

use std::sync::Arc;

use purlin_backend::{BundleIo, Report, Reporter, RunningBundle};
use purlin_engine::core::action::BundleDraft;
use purlin_engine::core::stage::EnvIndex;
use purlin_proto::fn_execution::v1 as fnpb;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::config::FnApiConfig;
use crate::habits::Habits;
use crate::hub::FnApi;
use crate::job::{FnApiJob, JobContext};
use crate::pool::Pool;
use crate::process_bundle::{BundleRun, RunningInWorker};
use crate::state;
use crate::worker::{ControlConnection, Worker};

/// A job whose workers are played by the fuzzer.
#[derive(Debug)]
pub struct FuzzedJob {
    hub: Arc<FnApi>,
    context: Arc<JobContext>,
    /// Questions about state may be answered on another thread.
    runtime: Arc<Runtime>,
}

impl FuzzedJob {
    /// Opens a job, without launching anything.
    pub fn new(job: FnApiJob) -> Self {
        let hub = FnApi::new(FnApiConfig::default());
        let context = Arc::new(JobContext::new(job, "localhost:1".to_owned(), hub.ids.descriptors()));
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        // Without timers and sockets it asks nothing of the system.
        Self { hub, context, runtime: Arc::new(runtime.expect("a runtime of one thread needs nothing")) }
    }

    /// A new worker of the job's first environment, connected.
    ///
    /// # Errors
    /// If it cannot connect, which a new one always can.
    pub fn worker(&self) -> Result<FuzzedWorker, String> {
        let pool = Pool::new(&self.hub, &self.context, EnvIndex(0), 1, false, Habits::of(&[]));
        let (reporter, reports) = Reporter::channel();
        let worker = Worker::expect(&self.hub, &pool, &reporter, false);
        let connection = worker.connect().map_err(|error| error.to_string())?;
        Ok(FuzzedWorker { pool, worker, connection, reporter, reports, runtime: self.runtime.clone() })
    }
}

/// One worker.
#[derive(Debug)]
pub struct FuzzedWorker {
    pool: Arc<Pool>,
    worker: Arc<Worker>,
    connection: ControlConnection,
    reporter: Reporter,
    reports: mpsc::UnboundedReceiver<Report>,
    runtime: Arc<Runtime>,
}

impl FuzzedWorker {
    /// Begins a bundle; tells its instruction id, and what the driver would hold of it.
    ///
    /// # Errors
    /// If its stage cannot be told to workers.
    pub fn begin(&self, draft: BundleDraft, io: BundleIo) -> Result<(String, Box<dyn RunningBundle>), String> {
        let stage = self.pool.job.stage(draft.stage).map_err(|error| error.to_string())?;
        let instruction = self.pool.hub.ids.instruction();
        let run = BundleRun::new(instruction, stage, draft, io, &self.reporter, &self.pool);
        run.run_in(&self.worker);
        self.worker.assign(&run).map_err(|why| format!("{why:?}"))?;
        Ok((run.instruction.as_str().to_owned(), Box::new(RunningInWorker(run))))
    }

    /// What it was asked and has not looked at yet.
    pub fn requests(&mut self) -> Vec<fnpb::InstructionRequest> {
        std::iter::from_fn(|| self.connection.requests.try_recv().ok()).collect()
    }

    /// It sends elements and timers.
    pub fn send_elements(&self, elements: fnpb::Elements) {
        self.worker.take_elements(elements);
    }

    /// It answers.
    pub fn answer(&self, response: fnpb::InstructionResponse) {
        self.worker.on_response(response);
    }

    /// It asks for state, and is answered.
    pub fn ask_state(&self, request: fnpb::StateRequest) -> fnpb::StateResponse {
        self.runtime.block_on(state::answer(&self.worker, request))
    }

    /// What the driver was told since it was last looked at.
    pub fn reports(&mut self) -> Vec<Report> {
        std::iter::from_fn(|| self.reports.try_recv().ok()).collect()
    }
}

impl Drop for FuzzedWorker {
    fn drop(&mut self) {
        self.worker.dismiss();
    }
}
