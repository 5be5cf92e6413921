//! Jobs without an SDK: pipelines from a file, sent to a server as a client would.

use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::job_service_client::JobServiceClient;
pub(crate) use purlin_proto::job_management::v1::job_state::Enum as State;
use purlin_proto::pipeline::v1 as pb;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

use super::Server;

/// A client of a server's Job API.
#[derive(Debug)]
pub(crate) struct Jobs {
    runtime: Runtime,
    client: JobServiceClient<Channel>,
}

/// An impulse, which needs no worker.
pub(crate) fn impulse() -> pb::Pipeline {
    purlin_proto::json::decode(include_str!("../pipelines/impulse.json")).expect("a pipeline")
}

impl Jobs {
    pub(crate) fn of(server: &Server) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("threads");
        let endpoint = Endpoint::from_shared(format!("http://{}", server.endpoint())).expect("an address");
        let channel = runtime.block_on(endpoint.connect()).expect("it listens");
        Self { runtime, client: JobServiceClient::new(channel) }
    }

    /// Runs a pipeline; returns the job's id.
    pub(crate) fn submit(&self, pipeline: pb::Pipeline) -> String {
        let mut client = self.client.clone();
        self.runtime.block_on(async {
            let request = jobpb::PrepareJobRequest {
                pipeline: Some(pipeline),
                job_name: "beams".to_owned(),
                ..jobpb::PrepareJobRequest::default()
            };
            let prepared = client.prepare(request).await.expect("it can run").into_inner();
            let request =
                jobpb::RunJobRequest { preparation_id: prepared.preparation_id, ..jobpb::RunJobRequest::default() };
            client.run(request).await.expect("it was prepared").into_inner().job_id
        })
    }

    /// Runs a pipeline of one function, in workers that this command starts.
    pub(crate) fn submit_to_process(&self, command: &str) -> String {
        self.submit(with_process(command))
    }

    /// Waits until somebody has run a job; returns its id.
    pub(crate) fn await_any(&self) -> String {
        let mut client = self.client.clone();
        self.runtime.block_on(async {
            loop {
                // Nothing tells of new jobs, so that it is asked for again and again.
                let jobs = client.get_jobs(jobpb::GetJobsRequest::default()).await.expect("the server stays");
                if let Some(job) = jobs.into_inner().job_info.pop() {
                    return job.job_id;
                }
                tokio::task::yield_now().await;
            }
        })
    }

    /// Waits until a job has come into this state, or through it.
    pub(crate) fn await_state(&self, job: &str, state: State) {
        let mut client = self.client.clone();
        self.runtime.block_on(async {
            let request = jobpb::GetJobStateRequest { job_id: job.to_owned() };
            let mut states = client.get_state_stream(request).await.expect("there is such a job").into_inner();
            while let Some(event) = states.message().await.expect("the server stays") {
                if event.state() == state {
                    return;
                }
            }
            panic!("job {job} ended and never was {state:?}");
        });
    }

    /// Waits until a job runs.
    pub(crate) fn await_running(&self, job: &str) {
        self.await_state(job, State::Running);
    }
}

/// An impulse, and a function behind it in workers that this command starts.
pub(crate) fn with_process(command: &str) -> pb::Pipeline {
    use prost::Message;
    let mut pipeline = impulse();
    let components = pipeline.components.as_mut().expect("it has components");
    let worked = components.pcollections["started"].clone();
    components.pcollections.insert("worked".to_owned(), worked);
    let spec = |urn: &str, payload: Vec<u8>| Some(pb::FunctionSpec { urn: urn.to_owned(), payload: payload.into() });
    let function = pb::ParDoPayload { do_fn: spec("test:function:v1", Vec::new()), ..pb::ParDoPayload::default() };
    let transform = pb::PTransform {
        unique_name: "Work".to_owned(),
        spec: spec("beam:transform:pardo:v1", function.encode_to_vec()),
        inputs: [("in".to_owned(), "started".to_owned())].into(),
        outputs: [("out".to_owned(), "worked".to_owned())].into(),
        environment_id: "environment".to_owned(),
        ..pb::PTransform::default()
    };
    components.transforms.insert("work".to_owned(), transform);
    let payload = pb::ProcessPayload { command: command.to_owned(), ..pb::ProcessPayload::default() };
    let environment = pb::Environment {
        urn: "beam:env:process:v1".to_owned(),
        payload: payload.encode_to_vec().into(),
        ..pb::Environment::default()
    };
    components.environments.insert("environment".to_owned(), environment);
    pipeline.root_transform_ids.push("work".to_owned());
    pipeline
}
