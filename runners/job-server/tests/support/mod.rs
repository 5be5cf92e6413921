//! A real server on a free port, real clients, small pipelines, and a runner whose jobs do as they are told.

#![allow(dead_code, reason = "each test target uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

pub(crate) mod pool;
pub(crate) mod raw;

use std::sync::{Arc, OnceLock};

use purlin_backend::{Backend, BackendError, Job, JobOptions, OptionKind, OptionSpec, Registry};
use purlin_capability_matrix::sheet::CapabilitySheet;
use purlin_direct::DirectBackend;
use purlin_engine::core::bundle::BundleStats;
use purlin_engine::core::config::EngineConfig;
use purlin_engine::core::schedule::{Pick, ReadyStage, Schedule};
use purlin_engine::core::stage::{StageId, StageSpec};
use purlin_job_server::{Server, ServerConfig};
use purlin_model::time::ProcessingTime;
use purlin_plan::{ValidatedPipeline, plan};
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::job_messages_response::Response;
use purlin_proto::job_management::v1::job_service_client::JobServiceClient;
use purlin_proto::job_management::v1::job_state::Enum as State;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::{standard_coders, standard_environments, standard_ptransforms};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

pub(crate) type Client = JobServiceClient<Channel>;

/// A runner for tests: `idle` never starts anything, `broken` panics where a runner must not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TestBackend(pub(crate) &'static str);

impl Backend for TestBackend {
    fn name(&self) -> &'static str {
        self.0
    }

    fn options(&self) -> &[OptionSpec] {
        const MINUTES: OptionSpec = OptionSpec {
            name: "idle_minutes",
            kind: OptionKind::Integer,
            help: "Ignored.",
            default: Some("5"),
            least: Some(0),
        };
        if self.0 == "idle" { &[MINUTES] } else { &[] }
    }

    /// That of the direct runner, under another name.
    fn sheet(&self) -> &CapabilitySheet {
        static SHEETS: [OnceLock<CapabilitySheet>; 2] = [const { OnceLock::new() }; 2];
        SHEETS[usize::from(self.0 == "idle")].get_or_init(|| {
            let text = include_str!("../../../../capability-matrix/sheets/direct.toml");
            let text = text.replace("runner = \"direct\"", &format!("runner = \"{}\"", self.0));
            CapabilitySheet::parse("a test", &text).unwrap()
        })
    }

    fn translate(&self, pipeline: &ValidatedPipeline, _: &JobOptions) -> Result<Job, BackendError> {
        Ok(Job {
            plan: Arc::new(plan(pipeline)?),
            schedule: Box::new(TestSchedule { broken: self.0 == "broken" }),
            config: EngineConfig::default(),
        })
    }
}

#[derive(Debug)]
struct TestSchedule {
    broken: bool,
}

impl Schedule for TestSchedule {
    fn pick(&mut self, _: &[ReadyStage<'_>], _: ProcessingTime) -> Option<Pick> {
        assert!(!self.broken, "a schedule that breaks its driver");
        None
    }

    fn on_finished(&mut self, _: StageId, _: &BundleStats) {}

    fn bundle_age_max_ms(&self, _: &StageSpec) -> Option<i64> {
        None
    }

    fn next_wakeup(&self) -> Option<ProcessingTime> {
        // Far away: nothing ever becomes ready.
        Some(ProcessingTime(4_102_444_800_000))
    }
}

pub(crate) fn config() -> ServerConfig {
    let registry = Registry::new()
        .with(Arc::new(DirectBackend))
        .with(Arc::new(TestBackend("idle")))
        .with(Arc::new(TestBackend("broken")));
    ServerConfig::new(registry, "direct")
}

pub(crate) async fn serve(config: ServerConfig) -> (Server, Client) {
    let server = Server::bind(config).await.unwrap();
    let client = connect(server.endpoint()).await;
    (server, client)
}

pub(crate) async fn connect(endpoint: &str) -> Client {
    JobServiceClient::new(channel(endpoint).await)
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX)
}

pub(crate) async fn channel(endpoint: &str) -> Channel {
    Endpoint::from_shared(format!("http://{endpoint}")).unwrap().connect().await.unwrap()
}

fn spec(urn: &str, payload: Vec<u8>) -> Option<pb::FunctionSpec> {
    Some(pb::FunctionSpec { urn: urn.to_owned(), payload: payload.into() })
}

/// A pipeline that Purlin runs without any worker: one impulse.
pub(crate) fn impulse() -> pb::Pipeline {
    let coder = |urn: &str| pb::Coder { spec: spec(urn, Vec::new()), component_coder_ids: Vec::new() };
    let strategy = pb::WindowingStrategy {
        window_fn: spec(purlin_proto::urns::global_windows_payload::PROPERTIES, Vec::new()),
        merge_status: pb::merge_status::Enum::NonMerging.into(),
        window_coder_id: "global".to_owned(),
        trigger: Some(pb::Trigger { trigger: Some(pb::trigger::Trigger::Default(pb::trigger::Default {})) }),
        accumulation_mode: pb::accumulation_mode::Enum::Discarding.into(),
        output_time: pb::output_time::Enum::EndOfWindow.into(),
        closing_behavior: pb::closing_behavior::Enum::EmitAlways.into(),
        on_time_behavior: pb::on_time_behavior::Enum::FireAlways.into(),
        ..Default::default()
    };
    let transform = pb::PTransform {
        unique_name: "Start".to_owned(),
        spec: spec(standard_ptransforms::primitives::IMPULSE, Vec::new()),
        outputs: [("out".to_owned(), "started".to_owned())].into(),
        ..Default::default()
    };
    pb::Pipeline {
        components: Some(pb::Components {
            transforms: [("start".to_owned(), transform)].into(),
            pcollections: [("started".to_owned(), pcollection("Start.out"))].into(),
            coders: [
                ("bytes".to_owned(), coder(standard_coders::BYTES)),
                ("global".to_owned(), coder(standard_coders::GLOBAL_WINDOW)),
            ]
            .into(),
            windowing_strategies: [("global".to_owned(), strategy)].into(),
            ..Default::default()
        }),
        root_transform_ids: vec!["start".to_owned()],
        ..Default::default()
    }
}

fn pcollection(name: &str) -> pb::PCollection {
    pb::PCollection {
        unique_name: name.to_owned(),
        coder_id: "bytes".to_owned(),
        windowing_strategy_id: "global".to_owned(),
        is_bounded: pb::is_bounded::Enum::Bounded.into(),
        ..Default::default()
    }
}

/// An impulse, and a user's function behind it in an external worker pool at this address.
pub(crate) fn with_worker(pool: &str, dependencies: Vec<pb::ArtifactInformation>) -> pb::Pipeline {
    use prost::Message;
    let mut pipeline = impulse();
    let payload = pb::ParDoPayload { do_fn: spec("test:user_code:v1", Vec::new()), ..Default::default() };
    let transform = pb::PTransform {
        unique_name: "Work".to_owned(),
        spec: spec(standard_ptransforms::primitives::PAR_DO, payload.encode_to_vec()),
        inputs: [("in".to_owned(), "started".to_owned())].into(),
        outputs: [("out".to_owned(), "worked".to_owned())].into(),
        environment_id: "environment".to_owned(),
        ..Default::default()
    };
    let pool = pb::ExternalPayload {
        endpoint: Some(pb::ApiServiceDescriptor { url: pool.to_owned(), authentication: None }),
        params: Default::default(),
    };
    let environment = pb::Environment {
        urn: standard_environments::environments::EXTERNAL.to_owned(),
        payload: pool.encode_to_vec().into(),
        dependencies,
        ..Default::default()
    };
    let components = pipeline.components.as_mut().unwrap();
    components.transforms.insert("work".to_owned(), transform);
    components.pcollections.insert("worked".to_owned(), pcollection("Work.out"));
    components.environments.insert("environment".to_owned(), environment);
    pipeline.root_transform_ids.push("work".to_owned());
    pipeline
}

/// What no runner does yet: user code in Rust.
pub(crate) fn written_in_rust() -> pb::Pipeline {
    let mut pipeline = with_worker("localhost:1", Vec::new());
    for environment in pipeline.components.as_mut().unwrap().environments.values_mut() {
        environment.capabilities.push("beam:version:sdk_base:rust".to_owned());
    }
    pipeline
}

/// Options with texts as values.
pub(crate) fn options(options: &[(&str, &str)]) -> prost_types::Struct {
    let value = |text: &str| prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.to_owned())) };
    prost_types::Struct {
        fields: options.iter().map(|(key, text)| (format!("beam:option:{key}:v1"), value(text))).collect(),
    }
}

pub(crate) fn on_runner(runner: &str) -> prost_types::Struct {
    options(&[("purlin_runner", runner)])
}

pub(crate) async fn prepare(
    client: &mut Client,
    pipeline: pb::Pipeline,
    options: prost_types::Struct,
) -> Result<jobpb::PrepareJobResponse, Status> {
    let request = jobpb::PrepareJobRequest {
        pipeline: Some(pipeline),
        pipeline_options: Some(options),
        job_name: "job".to_owned(),
    };
    client.prepare(request).await.map(tonic::Response::into_inner)
}

pub(crate) async fn run(client: &mut Client, preparation_id: &str) -> Result<String, Status> {
    let request = jobpb::RunJobRequest { preparation_id: preparation_id.to_owned(), retrieval_token: String::new() };
    client.run(request).await.map(|response| response.into_inner().job_id)
}

/// Prepares and runs; returns the job's id.
pub(crate) async fn submit(client: &mut Client, pipeline: pb::Pipeline, options: prost_types::Struct) -> String {
    let prepared = prepare(client, pipeline, options).await.unwrap();
    run(client, &prepared.preparation_id).await.unwrap()
}

/// All states of a job, until its stream ends.
pub(crate) async fn states(client: &mut Client, job: &str) -> Vec<State> {
    let request = jobpb::GetJobStateRequest { job_id: job.to_owned() };
    let mut stream = client.get_state_stream(request).await.unwrap().into_inner();
    let mut states = Vec::new();
    while let Some(event) = stream.message().await.unwrap() {
        states.push(event.state());
    }
    states
}

/// Waits until a job is in this state.
pub(crate) async fn await_state(client: &mut Client, job: &str, state: State) {
    let request = jobpb::GetJobStateRequest { job_id: job.to_owned() };
    let mut stream = client.get_state_stream(request).await.unwrap().into_inner();
    while let Some(event) = stream.message().await.unwrap() {
        if event.state() == state {
            return;
        }
    }
    panic!("job {job} never came into state {state:?}");
}

/// Everything that happened to a job, one line each, until its stream ends.
pub(crate) async fn history(client: &mut Client, job: &str) -> Vec<String> {
    let request = jobpb::JobMessagesRequest { job_id: job.to_owned() };
    let mut stream = client.get_message_stream(request).await.unwrap().into_inner();
    let mut lines = Vec::new();
    while let Some(item) = stream.message().await.unwrap() {
        lines.push(match item.response.unwrap() {
            Response::StateResponse(event) => event.state().as_str_name().to_owned(),
            Response::MessageResponse(message) => {
                let importance = message.importance().as_str_name().replace("JOB_MESSAGE_", "");
                format!("{importance}: {}", message.message_text)
            }
        });
    }
    lines
}

pub(crate) async fn cancel(client: &mut Client, job: &str) -> Result<State, Status> {
    let response = client.cancel(jobpb::CancelJobRequest { job_id: job.to_owned() }).await?;
    Ok(response.into_inner().state())
}

pub(crate) async fn jobs(client: &mut Client) -> Vec<(String, State)> {
    let response = client.get_jobs(jobpb::GetJobsRequest {}).await.unwrap().into_inner();
    response.job_info.into_iter().map(|info| (info.job_id.clone(), info.state())).collect()
}

/// A refusal as the user sees it.
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    let status = answer.unwrap_err();
    format!("{:?}: {}", status.code(), status.message())
}
