//! A job of native stages, built and run in this process: what engine tests and benchmarks stand on.

use std::collections::BTreeMap;
use std::sync::Arc;

use purlin_backend::driver::{self, JobControl, JobEvent, JobRuntime};
use purlin_backend::{JobMessage, ReplayInput};
use purlin_engine::core::action::Outcome;
use purlin_engine::core::config::EngineConfig;
use purlin_engine::core::schedule::Schedule;
use purlin_engine::core::stage::{EnvIndex, JobGraph, JobGraphBuilder, OutputHandle, StageId};
use purlin_model::window::WindowCoder;
use purlin_store::Storage;

use crate::bundle::NativeStage;
use crate::codec::Codec;
use crate::executor::NativeExecutor;

/// A native job under construction.
#[derive(Debug)]
pub struct NativeJob {
    /// The graph, for what has no method here.
    pub graph: JobGraphBuilder,
    /// Bounds and knobs; how many bundles the runner runs itself at once is set by the data threads.
    pub config: EngineConfig,
    env: EnvIndex,
    storage: Storage,
    stages: BTreeMap<StageId, Arc<dyn NativeStage>>,
}

/// How a native job ended.
#[derive(Debug)]
pub struct NativeOutcome {
    /// How.
    pub outcome: Outcome,
    /// What it told its user.
    pub messages: Vec<JobMessage>,
    /// For progress and metrics.
    pub control: JobControl,
}

impl Default for NativeJob {
    fn default() -> Self {
        Self::new()
    }
}

impl NativeJob {
    /// Nothing yet.
    pub fn new() -> Self {
        let mut graph = JobGraphBuilder::new();
        let env = graph.environment();
        Self { graph, config: EngineConfig::default(), env, storage: Storage::unbounded(), stages: BTreeMap::new() }
    }

    /// A stage with one output whose elements are encoded by `O`.
    pub fn stage<O: Codec>(
        &mut self,
        name: &str,
        upstream: &[OutputHandle],
        windows: WindowCoder,
        stage: impl NativeStage + 'static,
    ) -> OutputHandle {
        let output = self.graph.worker(name, self.env, upstream, O::coder(), windows);
        self.stages.insert(self.graph.producer(output), Arc::new(stage));
        output
    }

    /// A stage without outputs.
    pub fn sink(&mut self, name: &str, upstream: &[OutputHandle], stage: impl NativeStage + 'static) -> StageId {
        let id = self.graph.sink(name, self.env, upstream);
        self.stages.insert(id, Arc::new(stage));
        id
    }

    /// Has the job keep its data here, rather than all of it in memory.
    #[must_use]
    pub fn storage(self, storage: &Storage) -> Self {
        Self { storage: storage.clone(), ..self }
    }

    /// Starts the job on the current tokio runtime.
    pub fn start(
        self,
        schedule: Box<dyn Schedule>,
        threads: Arc<rayon::ThreadPool>,
    ) -> (JobControl, tokio::sync::mpsc::UnboundedReceiver<JobEvent>) {
        let graph: Arc<JobGraph> = Arc::new(self.graph.build());
        let executor = NativeExecutor::new(self.env, graph.clone(), self.stages, threads.clone());
        driver::start(JobRuntime {
            dead_letters: None,
            replay: ReplayInput::default(),
            schedule,
            config: EngineConfig { kernel_slots: threads.current_num_threads() as u32, ..self.config },
            executors: vec![Arc::new(executor)],
            stores: self.storage.job(&graph),
            script: None,
            threads,
            graph,
        })
    }

    /// Runs the job to its end.
    pub async fn run(self, schedule: Box<dyn Schedule>, threads: Arc<rayon::ThreadPool>) -> NativeOutcome {
        let (control, mut events) = self.start(schedule, threads);
        let mut messages = Vec::new();
        loop {
            match events.recv().await {
                Some(JobEvent::Message(message)) => messages.push(message),
                Some(JobEvent::Ended(outcome)) => return NativeOutcome { outcome, messages, control },
                None => {
                    let outcome =
                        Outcome::Failed("the driver ended without a word; this is a bug in Purlin".to_owned());
                    return NativeOutcome { outcome, messages, control };
                }
            }
        }
    }
}
