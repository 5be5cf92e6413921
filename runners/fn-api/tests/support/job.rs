//! A job without an engine: the test starts bundles and hears of them as a driver would.

use std::collections::BTreeMap;
use std::sync::Arc;

use purlin_backend::profile::BundleMeter;
use purlin_backend::{
    ArtifactError, ArtifactHash, ArtifactStore, ArtifactWriter, BatchReader, BundleExecutor, BundleIo, GroupStore,
    JobMessage, Parting, Pins, Report, Reporter, RunningBundle,
};
use purlin_engine::core::action::{BundleDraft, BundleId};
use purlin_engine::core::bundle::BundleResult;
use purlin_engine::core::event::{Event, Failure, Split};
use purlin_engine::core::lane::Lane;
use purlin_engine::data::{BatchSlice, ElementBatchBuilder, LaneWriter};
use purlin_engine::metrics::MetricDelta;
use purlin_engine::store::{BatchPlace, BatchStore, SideStore, StateStore};
use purlin_fn_api::{FnApiError, FnApiJob};
use purlin_model::element::Header;
use purlin_model::key_group::{KEY_GROUPS, KeyGroup};
use purlin_model::pane::PaneInfo;
use purlin_model::time::{EventTime, ProcessingTime};
use purlin_model::window::{BoundedWindow, WindowCoder};
use purlin_proto::pipeline::v1 as pb;
use purlin_store::{BatchSideStore, MemoryBatchStore, SpillingStateStore};
use tokio::sync::mpsc;

use super::plan::{Plan, plan, sink};
use super::server::Server;
use super::soon;

/// The clock when each bundle begins.
pub(crate) const NOW: ProcessingTime = ProcessingTime(1_000_000);

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) plan: Plan,
    pub(crate) executor: Arc<dyn BundleExecutor>,
    pub(crate) batches: Arc<MemoryBatchStore>,
    pub(crate) pins: Arc<Pins>,
    pub(crate) sides: Arc<BatchSideStore>,
    pub(crate) state: Arc<SpillingStateStore>,
    /// The metrics that bundles have reported, the latest of each.
    pub(crate) metrics: BTreeMap<BundleId, MetricDelta>,
    pub(crate) messages: Vec<JobMessage>,
    /// How far the input has come, for bundles from now on.
    pub(crate) watermark: EventTime,
    reporter: Reporter,
    reports: mpsc::UnboundedReceiver<Report>,
    next_bundle: u64,
}

impl Job {
    /// Opens a job and launches its workers.
    pub(crate) fn open(server: &Server, environment: pb::Environment) -> Self {
        Self::open_with(server, environment, Vec::new(), Arc::new(Files::default())).unwrap()
    }

    /// Opens a job whose elements stand in windows of time.
    pub(crate) fn open_in_windows(server: &Server, environment: pb::Environment) -> Self {
        let plan = plan(environment, WindowCoder::Interval);
        Self::open_plan(server, plan, Vec::new(), Arc::new(Files::default())).unwrap()
    }

    pub(crate) fn open_with(
        server: &Server,
        environment: pb::Environment,
        dependencies: Vec<pb::ArtifactInformation>,
        artifacts: Arc<dyn ArtifactStore>,
    ) -> Result<Self, FnApiError> {
        Self::open_plan(server, plan(environment, WindowCoder::Global), dependencies, artifacts)
    }

    fn open_plan(
        server: &Server,
        plan: Plan,
        dependencies: Vec<pb::ArtifactInformation>,
        artifacts: Arc<dyn ArtifactStore>,
    ) -> Result<Self, FnApiError> {
        let options = [("beam:option:experiments:v1".to_owned(), prost_types::Value::default())];
        let executors = server.hub.open_job(FnApiJob {
            job_id: "job-1".into(),
            job_name: "test".to_owned(),
            plan: plan.graph.clone(),
            pipeline_options: prost_types::Struct { fields: options.into() },
            artifacts,
            retrieval_token: "token".to_owned(),
            dependencies: BTreeMap::from([("env".into(), dependencies)]),
            workers_max: 2,
        })?;
        let executor = executors.into_iter().next().unwrap();
        let (reporter, reports) = Reporter::channel();
        executor.launch(&reporter);
        let batches = Arc::new(MemoryBatchStore::new());
        Ok(Self {
            executor,
            sides: Arc::new(BatchSideStore::new(plan.graph.graph.clone(), batches.clone())),
            batches,
            pins: Arc::default(),
            state: Arc::new(SpillingStateStore::in_memory()),
            metrics: BTreeMap::new(),
            messages: Vec::new(),
            watermark: EventTime::MIN,
            reporter,
            reports,
            next_bundle: 0,
            plan,
        })
    }

    /// What `Work` calls its outputs, the main one first.
    pub(crate) fn sinks(&self) -> [String; 2] {
        [sink(self.plan.main), sink(self.plan.other)]
    }

    /// Starts a bundle of the stage `Work` with these elements, in batches of three.
    pub(crate) fn start(&mut self, elements: &[Vec<u8>]) -> Box<dyn RunningBundle> {
        self.start_under(&header(), elements)
    }

    /// The same, with this in front of each element.
    pub(crate) fn start_under(&mut self, header: &[u8], elements: &[Vec<u8>]) -> Box<dyn RunningBundle> {
        let input = elements.chunks(3).map(|chunk| {
            let mut builder = ElementBatchBuilder::new();
            chunk.iter().for_each(|value| builder.push(header, EventTime::MIN, value));
            let place = BatchPlace { stage: self.plan.work, lane: Lane::Any, window_max: None, soon: false };
            BatchSlice::whole(self.batches.put(&[place], builder.finish()).unwrap()[0])
        });
        let input = input.collect();
        self.start_draft(input)
    }

    pub(crate) fn start_draft(&mut self, input: Vec<BatchSlice>) -> Box<dyn RunningBundle> {
        let draft = BundleDraft {
            id: BundleId(self.next_bundle),
            stage: self.plan.work,
            lanes: (0..KEY_GROUPS).filter_map(KeyGroup::new).map(Lane::Group).collect(),
            input,
            merged: Vec::new(),
            watermark: self.watermark,
            now: NOW,
            attempt: 0,
            draining: false,
        };
        self.next_bundle += 1;
        let batches: Arc<dyn BatchStore> = self.batches.clone();
        let sides = Some(self.sides.view());
        let meter = Arc::new(BundleMeter::default());
        let io = BundleIo {
            input: BatchReader::new(draft.input.clone(), batches.clone(), meter.clone()),
            groups: GroupStore::new(batches.clone(), self.pins.clone()),
            state: self.state.view(&draft),
            sides,
            out: LaneWriter::new(&self.plan.graph.graph, draft.stage, batches),
            meter,
        };
        self.executor.start(draft, io, &self.reporter)
    }

    /// The next event; metrics and messages are put aside.
    pub(crate) async fn event(&mut self) -> Event {
        loop {
            match soon("an event of the job", self.reports.recv()).await.unwrap() {
                Report::Event(event) => return event,
                Report::Metrics { bundle, delta } => {
                    self.metrics.insert(bundle, delta);
                }
                Report::Message(message) => self.messages.push(message),
            }
        }
    }

    /// The next message; whatever else is reported meanwhile must not be.
    pub(crate) async fn message(&mut self) -> JobMessage {
        if !self.messages.is_empty() {
            return self.messages.remove(0);
        }
        match soon("a message of the job", self.reports.recv()).await.unwrap() {
            Report::Message(message) => message,
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// The next metrics.
    pub(crate) async fn progress(&mut self) -> MetricDelta {
        match soon("metrics of a bundle", self.reports.recv()).await.unwrap() {
            Report::Metrics { delta, .. } => delta,
            other => panic!("{other:?} instead of metrics"),
        }
    }

    pub(crate) async fn slots(&mut self) -> u32 {
        match self.event().await {
            Event::Workers { slots, .. } => slots,
            other => panic!("{other:?} instead of a number of slots"),
        }
    }

    pub(crate) async fn finished(&mut self) -> BundleResult {
        match self.event().await {
            Event::BundleFinished { result, .. } => result,
            other => panic!("{other:?} instead of a finished bundle"),
        }
    }

    pub(crate) async fn failed(&mut self) -> Failure {
        match self.event().await {
            Event::BundleFailed { why, .. } => why,
            other => panic!("{other:?} instead of a failed bundle"),
        }
    }

    pub(crate) async fn split(&mut self) -> Split {
        match self.event().await {
            Event::BundleSplit { split, .. } => split,
            other => panic!("{other:?} instead of a split"),
        }
    }

    pub(crate) async fn broken(&mut self) -> String {
        match self.event().await {
            Event::Broken { why } => why,
            other => panic!("{other:?} instead of the end of the job"),
        }
    }

    /// The values of everything that a bundle routed, in order.
    pub(crate) fn values(&self, result: &BundleResult) -> Vec<Vec<u8>> {
        let batches = result.outputs.iter().map(|routed| self.batches.get(routed.batch.id).unwrap());
        batches
            .flat_map(|batch| batch.iter(0, batch.len()).map(|element| element.value.to_vec()).collect::<Vec<_>>())
            .collect()
    }

    /// Lets the workers go, and waits until they are gone.
    pub(crate) async fn end(&self, server: &Server) {
        self.executor.shutdown(Parting::InPeace);
        soon("the workers to be gone", server.hub.drained()).await;
    }
}

/// The front of each element of the tests.
pub(crate) fn header() -> Vec<u8> {
    let mut header = Vec::new();
    Header::new(EventTime::MIN, BoundedWindow::Global, PaneInfo::NO_FIRING).encode(&mut header);
    header
}

/// A KV of two short pieces of bytes.
pub(crate) fn kv(key: &str, value: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in [key, value] {
        bytes.push(u8::try_from(part.len()).unwrap());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

/// Elements as they stand on the wire.
pub(crate) fn wire(values: &[Vec<u8>]) -> Vec<u8> {
    values.iter().flat_map(|value| [header(), value.clone()].concat()).collect()
}

/// Files by hash.
#[derive(Debug, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<ArtifactHash, Vec<u8>>);

impl ArtifactStore for Files {
    fn create(&self) -> Result<Box<dyn ArtifactWriter>, ArtifactError> {
        panic!("the Fn API stages nothing")
    }

    fn read(&self, hash: ArtifactHash, offset: u64, length: usize) -> Result<Vec<u8>, ArtifactError> {
        let file = self.0.get(&hash).ok_or(ArtifactError::Missing(hash))?;
        Ok(file.iter().skip(offset as usize).take(length).copied().collect())
    }

    fn contains(&self, hash: ArtifactHash) -> bool {
        self.0.contains_key(&hash)
    }
}
