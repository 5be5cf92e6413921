//! What a worker sends while it runs a bundle: elements, timers, answers, questions for state, in any order.
//!
//! ```text
//!   a stage of the stateful sketch ─► bundle ◄─ one to eight messages, each perhaps damaged
//!                                       └─► exactly one end; a failure names the stage or a transform in it
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::chance::Chance;
use bytes::Bytes;
use prost::Message;
use purlin_backend::Backend;
use purlin_backend::profile::BundleMeter;
use purlin_backend::{
    ArtifactError, ArtifactHash, ArtifactStore, ArtifactWriter, BatchReader, BundleIo, GroupStore, JobOptions, Pins,
    Report, RunningBundle,
};
use purlin_direct::DirectBackend;
use purlin_engine::core::action::{BundleDraft, BundleId};
use purlin_engine::core::event::{Event, Failure};
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::{StageId, StageKind};
use purlin_engine::data::{BatchSlice, ElementBatchBuilder, LaneWriter};
use purlin_engine::store::{BatchPlace, BatchStore, SideStore, StateStore};
use purlin_fn_api::FnApiJob;
use purlin_fn_api::fuzzing::{FuzzedJob, FuzzedWorker};
use purlin_model::coder::Coder;
use purlin_model::key_group::{KEY_GROUPS, KeyGroup};
use purlin_model::time::{EventTime, ProcessingTime};
use purlin_model::window::WindowCoder;
use purlin_plan::StageGraph;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::instruction_request::Request as Ask;
use purlin_proto::fn_execution::v1::instruction_response::Response as Answer;
use purlin_proto::fn_execution::v1::process_bundle_split_response::ChannelSplit;
use purlin_proto::fn_execution::v1::state_key::{self, Type};
use purlin_proto::fn_execution::v1::state_request::Request as Operation;
use purlin_proto::pipeline::v1 as pb;
use purlin_store::{BatchSideStore, MemoryBatchStore, SpillingStateStore};

use crate::metric::any_info;
use crate::mutate_bytes::mutate_bytes;
use crate::sketches;
use crate::target::Broken;
use crate::value::write_some;

/// A job of which every stage that workers run can be tried.
#[derive(Debug)]
pub(crate) struct Bundles {
    plan: Arc<StageGraph>,
    job: FuzzedJob,
    stages: Vec<StageId>,
}

impl Bundles {
    pub(crate) fn new() -> Result<Self, String> {
        let pipeline = purlin_plan::validate(sketches::stateful().proto).map_err(|error| error.to_string())?;
        let translated = DirectBackend.translate(&pipeline, &JobOptions::default());
        let plan = translated.map_err(|error| error.to_string())?.plan;
        let job = FuzzedJob::new(FnApiJob {
            job_id: "job".into(),
            job_name: "fuzzed".to_owned(),
            plan: plan.clone(),
            pipeline_options: prost_types::Struct::default(),
            artifacts: Arc::new(NoArtifacts),
            retrieval_token: String::new(),
            dependencies: BTreeMap::new(),
            workers_max: 1,
        });
        let stages = plan.graph.stages.iter().filter(|stage| stage.kind == StageKind::Worker).map(|stage| stage.id);
        Ok(Self { job, stages: stages.collect(), plan })
    }

    pub(crate) fn run(&self, random: &mut Chance) -> Result<(), Broken> {
        let Some(stage) = random.pick(&self.stages).copied() else { return Ok(()) };
        let mut worker = self.job.worker().map_err(Broken)?;
        let batches = Arc::new(MemoryBatchStore::new());
        let (draft, io) = self.draft(stage, &batches, random);
        let (instruction, running) = worker.begin(draft, io).map_err(Broken)?;
        let mut play = Play { plan: &self.plan, stage, instruction, worker: &mut worker, running: &*running, random };
        for _ in 0..=play.random.below(8) {
            play.step();
        }
        running.abort();
        self.check_end(stage, worker.reports())
    }

    /// A bundle of up to three elements.
    fn draft(&self, stage: StageId, batches: &Arc<MemoryBatchStore>, random: &mut Chance) -> (BundleDraft, BundleIo) {
        let graph = &self.plan.graph;
        let upstream = graph.stage(stage).upstream.first().map(|output| graph.output(*output));
        let coder = upstream.map_or(Coder::Bytes, |output| (*output.coder).clone());
        let mut input = Vec::new();
        for _ in 0..random.below(4) {
            let mut value = Vec::new();
            write_some(&coder, &mut value, random);
            let mut header = Vec::new();
            write_header(upstream.map_or(WindowCoder::Global, |output| output.windows), &mut header);
            let mut batch = ElementBatchBuilder::new();
            batch.push(&header, EventTime::MIN, &value);
            let place = BatchPlace { stage, lane: Lane::Any, window_max: None, soon: false };
            let kept = batches.put(&[place], batch.finish()).unwrap_or_default();
            input.extend(kept.into_iter().map(BatchSlice::whole));
        }
        let draft = BundleDraft {
            id: BundleId(7),
            stage,
            lanes: (0..KEY_GROUPS).filter_map(KeyGroup::new).map(Lane::Group).collect(),
            input,
            merged: Vec::new(),
            watermark: if random.percent(80) { EventTime::MIN } else { EventTime::MAX },
            now: ProcessingTime(1_000_000),
            attempt: 0,
            draining: false,
        };
        let store: Arc<dyn BatchStore> = batches.clone();
        let sides = Some(BatchSideStore::new(graph.clone(), batches.clone()).view());
        let meter = Arc::new(BundleMeter::default());
        let io = BundleIo {
            input: BatchReader::of_stage(graph, &draft, store.clone(), meter.clone()),
            meter,
            state: SpillingStateStore::in_memory().view(&draft),
            sides,
            groups: GroupStore::new(store.clone(), Arc::new(Pins::new())),
            out: LaneWriter::new(graph, stage, store),
        };
        (draft, io)
    }

    fn check_end(&self, stage: StageId, reports: Vec<Report>) -> Result<(), Broken> {
        let mut ends = 0;
        for report in reports {
            match report {
                Report::Event(Event::BundleFinished { .. }) => ends += 1,
                Report::Event(Event::BundleFailed { why, .. }) => {
                    ends += 1;
                    self.check_failure(stage, &why)?;
                }
                Report::Event(_) | Report::Metrics { .. } | Report::Message(_) => {}
            }
        }
        if ends == 1 { Ok(()) } else { Err(Broken(format!("a bundle ended {ends} times"))) }
    }

    fn check_failure(&self, stage: StageId, why: &Failure) -> Result<(), Broken> {
        let Failure::Garbage(text) = why else { return Ok(()) };
        let transforms = &self.plan.stages[stage.index()].transforms;
        let mut names = transforms.iter().filter_map(|id| self.plan.components.transforms.get(id.as_str()));
        if text.contains(&*self.plan.graph.stage(stage).name) || names.any(|it| text.contains(&it.unique_name)) {
            return Ok(());
        }
        Err(Broken(format!("a failure that names no transform: {text}")))
    }
}

/// One bundle, and what the worker does in it.
struct Play<'a, 'c> {
    plan: &'a StageGraph,
    stage: StageId,
    instruction: String,
    worker: &'a mut FuzzedWorker,
    running: &'a dyn RunningBundle,
    random: &'a mut Chance<'c>,
}

impl Play<'_, '_> {
    fn step(&mut self) {
        match self.random.below(12) {
            0..=2 => {
                let elements = fnpb::Elements { data: self.data(), timers: Vec::new() };
                self.send(elements);
            }
            3 | 4 => {
                let elements = fnpb::Elements { data: Vec::new(), timers: self.timers() };
                self.send(elements);
            }
            5 => self.end_all(),
            6 => self.respond(),
            7 => self.running.split(0.5),
            8 => self.running.progress(),
            9 => self.answer_all(),
            _ => self.ask_state(),
        }
    }

    fn some<M: Message + Default>(&mut self, message: M) -> M {
        if self.random.percent(70) {
            return message;
        }
        let mut bytes = message.encode_to_vec();
        mutate_bytes(&mut bytes, self.random);
        M::decode(&bytes[..]).unwrap_or(message)
    }

    fn send(&mut self, elements: fnpb::Elements) {
        let elements = self.some(elements);
        self.worker.send_elements(elements);
    }

    fn answer(&mut self, instruction_id: String, answer: Answer) {
        let error = if self.random.percent(3) { "no".to_owned() } else { String::new() };
        let response = fnpb::InstructionResponse { instruction_id, error, response: Some(answer) };
        let response = self.some(response);
        self.worker.answer(response);
    }

    /// A name of the stage's, or another.
    fn transform(&mut self) -> String {
        let known: Vec<&str> = self.plan.stages[self.stage.index()].transforms.iter().map(|it| it.as_str()).collect();
        match self.random.below(20) {
            0 => "purlin:source".to_owned(),
            1 => "purlin:sink:0".to_owned(),
            2 => String::new(),
            _ => self.random.pick(&known).map_or_else(String::new, |id| (*id).to_owned()),
        }
    }

    fn data(&mut self) -> Vec<fnpb::elements::Data> {
        let outputs = self.plan.graph.stage(self.stage).outputs.clone();
        let mut all = Vec::new();
        for _ in 0..=self.random.below(2) {
            let Some(output) = self.random.pick(&outputs).copied() else { break };
            let spec = self.plan.graph.output(output);
            let mut data = Vec::new();
            for _ in 0..self.random.below(4) {
                write_header(spec.windows, &mut data);
                write_some(&spec.coder, &mut data, self.random);
            }
            if self.random.percent(50) {
                mutate_bytes(&mut data, self.random);
            }
            let transform_id =
                if self.random.percent(4) { self.transform() } else { purlin_plan::descriptor::sink_id(output) };
            let is_last = self.random.percent(10);
            let instruction_id = self.instruction();
            all.push(fnpb::elements::Data { instruction_id, transform_id, data: data.into(), is_last });
        }
        all
    }

    fn instruction(&mut self) -> String {
        if self.random.percent(2) { "i-foreign".to_owned() } else { self.instruction.clone() }
    }

    fn timers(&mut self) -> Vec<fnpb::elements::Timers> {
        let graph = &self.plan.graph;
        let input = graph.stage(self.stage).upstream.first().map(|output| graph.output(*output).coder.clone());
        let key = match input.as_deref() {
            Some(Coder::Kv(key, _)) => (**key).clone(),
            _ => Coder::Bytes,
        };
        let windows = self.input_windows();
        let mut bytes = Vec::new();
        for _ in 0..self.random.below(3) {
            write_some(&key, &mut bytes, self.random);
            bytes.extend([1, b't', 0, 0, 0, 1]);
            write_window(windows, &mut bytes);
            if self.random.percent(30) {
                bytes.push(1);
            } else {
                bytes.extend([0, 0x80, 0, 0, 0, 0, 0, 1, 0, 0x80, 0, 0, 0, 0, 0, 1, 0, 0x0f]);
            }
        }
        if self.random.percent(50) {
            mutate_bytes(&mut bytes, self.random);
        }
        let families = ["event", "clock", "end", "none"];
        let family = families[self.random.below(4) as usize];
        vec![fnpb::elements::Timers {
            instruction_id: self.instruction(),
            transform_id: self.transform(),
            timer_family_id: family.to_owned(),
            timers: bytes.into(),
            is_last: self.random.percent(10),
        }]
    }

    fn input_windows(&self) -> WindowCoder {
        let graph = &self.plan.graph;
        let input = graph.stage(self.stage).upstream.first();
        input.map_or(WindowCoder::Global, |output| graph.output(*output).windows)
    }

    /// Terminators of everything that the stage may send.
    fn end_all(&mut self) {
        let instruction_id = self.instruction.clone();
        let outputs = &self.plan.graph.stage(self.stage).outputs;
        let data = outputs.iter().map(|output| fnpb::elements::Data {
            instruction_id: instruction_id.clone(),
            transform_id: purlin_plan::descriptor::sink_id(*output),
            data: Bytes::new(),
            is_last: true,
        });
        let transforms = &self.plan.stages[self.stage.index()].transforms;
        let timers = transforms.iter().flat_map(|transform| {
            ["event", "clock", "end"].map(|family| fnpb::elements::Timers {
                instruction_id: instruction_id.clone(),
                transform_id: transform.to_string(),
                timer_family_id: family.to_owned(),
                timers: Bytes::new(),
                is_last: true,
            })
        });
        let stateful = self.plan.components.transforms.values().any(|it| !it.inputs.is_empty());
        let timers = if stateful && self.random.percent(80) { timers.collect() } else { Vec::new() };
        let elements = fnpb::Elements { data: data.collect(), timers };
        self.send(elements);
    }

    fn application(&mut self) -> fnpb::BundleApplication {
        let graph = &self.plan.graph;
        let input = graph.stage(self.stage).upstream.first().map(|output| graph.output(*output).coder.clone());
        let mut element = Vec::new();
        write_header(self.input_windows(), &mut element);
        write_some(input.as_deref().unwrap_or(&Coder::Bytes), &mut element, self.random);
        if self.random.percent(20) {
            mutate_bytes(&mut element, self.random);
        }
        let watermark = prost_types::Timestamp {
            seconds: self.random.number() as i64 >> self.random.below(64),
            nanos: self.random.number() as i32,
        };
        fnpb::BundleApplication {
            transform_id: self.transform(),
            input_id: "0".to_owned(),
            element: element.into(),
            output_watermarks: BTreeMap::from([("0".to_owned(), watermark)]),
            is_bounded: self.random.below(4) as i32,
        }
    }

    fn residual(&mut self) -> fnpb::DelayedBundleApplication {
        let delay = prost_types::Duration {
            seconds: self.random.number() as i64 >> self.random.below(64),
            nanos: self.random.number() as i32,
        };
        fnpb::DelayedBundleApplication {
            application: (!self.random.percent(5)).then(|| self.application()),
            requested_time_delay: self.random.percent(50).then_some(delay),
        }
    }

    fn respond(&mut self) {
        let residual_roots = if self.random.percent(30) { vec![self.residual()] } else { Vec::new() };
        let (monitoring_infos, monitoring_data) = self.metrics();
        let elements = if self.random.percent(20) {
            Some(fnpb::Elements { data: self.data(), timers: self.timers() })
        } else {
            None
        };
        let response = fnpb::ProcessBundleResponse {
            residual_roots,
            monitoring_infos,
            requires_finalization: self.random.percent(20),
            monitoring_data,
            elements,
        };
        let instruction = self.instruction();
        self.answer(instruction, Answer::ProcessBundle(response));
    }

    fn metrics(&mut self) -> (Vec<pb::MonitoringInfo>, BTreeMap<String, Bytes>) {
        let infos = (0..self.random.below(3)).map(|_| any_info(self.random)).collect();
        let data = (0..self.random.below(3)).map(|_| (format!("s{}", self.random.below(9)), Bytes::from_static(&[5])));
        (infos, data.collect())
    }

    /// Answers whatever it was asked, rightly or not.
    fn answer_all(&mut self) {
        for request in self.worker.requests() {
            let id = request.instruction_id;
            match request.request {
                Some(Ask::ProcessBundleSplit(_)) => {
                    let split = self.split();
                    self.answer(id, Answer::ProcessBundleSplit(split));
                }
                Some(Ask::ProcessBundleProgress(_)) => {
                    let (monitoring_infos, monitoring_data) = self.metrics();
                    let progress = fnpb::ProcessBundleProgressResponse {
                        monitoring_infos,
                        monitoring_data,
                        ..fnpb::ProcessBundleProgressResponse::default()
                    };
                    self.answer(id, Answer::ProcessBundleProgress(progress));
                }
                Some(Ask::MonitoringInfos(asked)) => {
                    let infos = asked.monitoring_info_id.into_iter().map(|id| (id, any_info(self.random)));
                    let infos = fnpb::MonitoringInfosMetadataResponse { monitoring_info: infos.collect() };
                    self.answer(id, Answer::MonitoringInfos(infos));
                }
                _ => {}
            }
        }
    }

    fn split(&mut self) -> fnpb::ProcessBundleSplitResponse {
        let number = |random: &mut Chance| {
            if random.percent(90) { random.below(6) as i64 - 1 } else { random.number() as i64 }
        };
        let last_primary_element = number(self.random);
        let first_residual_element = match self.random.below(4) {
            0 => number(self.random),
            1 => last_primary_element.saturating_add(2),
            _ => last_primary_element.saturating_add(1),
        };
        let transform_id = if self.random.percent(90) { "purlin:source".to_owned() } else { self.transform() };
        let roots = self.random.percent(50);
        fnpb::ProcessBundleSplitResponse {
            primary_roots: if roots { vec![self.application()] } else { Vec::new() },
            residual_roots: if roots { vec![self.residual()] } else { Vec::new() },
            channel_splits: vec![ChannelSplit { transform_id, last_primary_element, first_residual_element }],
        }
    }

    fn ask_state(&mut self) {
        let transform_id = self.transform();
        let mut window = Vec::new();
        write_window(self.input_windows(), &mut window);
        let mut key = vec![1, b'k'];
        if self.random.percent(30) {
            mutate_bytes(&mut window, self.random);
            mutate_bytes(&mut key, self.random);
        }
        let (window, key) = (Bytes::from(window), Bytes::from(key));
        let user_state_id = ["bag", "list", "map", "none"][self.random.below(4) as usize].to_owned();
        let side_input_id =
            ["side of days", "side of owns", "side of rest", ""][self.random.below(4) as usize].to_owned();
        let key = match self.random.below(11) {
            0 => Some(Type::Runner(state_key::Runner { key })),
            1 => Some(Type::IterableSideInput(state_key::IterableSideInput { transform_id, side_input_id, window })),
            2 => {
                Some(Type::MultimapSideInput(state_key::MultimapSideInput { transform_id, side_input_id, window, key }))
            }
            3 => Some(Type::MultimapKeysSideInput(state_key::MultimapKeysSideInput {
                transform_id,
                side_input_id,
                window,
            })),
            4 => Some(Type::MultimapKeysValuesSideInput(state_key::MultimapKeysValuesSideInput {
                transform_id,
                side_input_id,
                window,
            })),
            5 => Some(Type::MultimapUserState(state_key::MultimapUserState {
                transform_id,
                user_state_id,
                window,
                key,
                map_key: Bytes::from_static(b"\x01m"),
            })),
            6 => Some(Type::MultimapKeysUserState(state_key::MultimapKeysUserState {
                transform_id,
                user_state_id,
                window,
                key,
            })),
            7 => Some(Type::MultimapEntriesUserState(state_key::MultimapEntriesUserState {
                transform_id,
                user_state_id,
                window,
                key,
            })),
            8 => {
                let range =
                    fnpb::OrderedListRange { start: self.random.number() as i64, end: self.random.number() as i64 };
                Some(Type::OrderedListUserState(state_key::OrderedListUserState {
                    transform_id,
                    user_state_id,
                    window,
                    key,
                    range: self.random.percent(50).then_some(range),
                }))
            }
            9 => None,
            _ => Some(Type::BagUserState(state_key::BagUserState { transform_id, user_state_id, window, key })),
        };
        let mut data = vec![5, 1, b'a', 7, 0];
        if self.random.percent(50) {
            mutate_bytes(&mut data, self.random);
        }
        let data = Bytes::from(data);
        let request = match self.random.below(4) {
            0 => Some(Operation::Clear(fnpb::StateClearRequest {})),
            1 => Some(Operation::Get(fnpb::StateGetRequest { continuation_token: data })),
            2 => Some(Operation::Get(fnpb::StateGetRequest::default())),
            _ => Some(Operation::Append(fnpb::StateAppendRequest { data })),
        };
        let instruction_id = self.instruction();
        let state_key = Some(fnpb::StateKey { r#type: key });
        let request = fnpb::StateRequest { id: "q".to_owned(), instruction_id, state_key, request };
        let request = self.some(request);
        let answer = self.worker.ask_state(request.clone());
        assert_eq!(answer.id, request.id, "each question has its answer");
    }
}

/// One window of this kind, as it stands on the wire.
pub(crate) fn write_window(windows: WindowCoder, out: &mut Vec<u8>) {
    match windows {
        WindowCoder::Global => {}
        WindowCoder::Interval => out.extend([0x80, 0, 0, 0, 0, 0, 0x27, 0x10, 0x90, 0x4e]),
        WindowCoder::Custom => out.extend([0x80, 0, 0, 0, 0, 0, 1, 0, 2, b'd', b'1']),
    }
}

/// The front of an element in one such window.
pub(crate) fn write_header(windows: WindowCoder, out: &mut Vec<u8>) {
    out.extend([0x80, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1]);
    write_window(windows, out);
    out.push(0x0f);
}

/// Nothing was staged.
#[derive(Debug)]
struct NoArtifacts;

impl ArtifactStore for NoArtifacts {
    fn create(&self) -> Result<Box<dyn ArtifactWriter>, ArtifactError> {
        Err(ArtifactError::Missing(ArtifactHash([0; 32])))
    }

    fn read(&self, hash: ArtifactHash, _offset: u64, _length: usize) -> Result<Vec<u8>, ArtifactError> {
        Err(ArtifactError::Missing(hash))
    }

    fn contains(&self, _hash: ArtifactHash) -> bool {
        false
    }
}
