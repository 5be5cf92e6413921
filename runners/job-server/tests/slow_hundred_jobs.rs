//! A hundred jobs at once, good and bad, and clients that flood: each job comes to its own end, and memory comes back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::alloc::System;

use cap::Cap;
use futures_util::future::join_all;
use purlin_job_server::Limits;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::beam_fn_control_client::BeamFnControlClient;
use purlin_proto::fn_execution::v1::beam_fn_data_client::BeamFnDataClient;
use purlin_proto::fn_execution::v1::beam_fn_external_worker_pool_server::{
    BeamFnExternalWorkerPool, BeamFnExternalWorkerPoolServer,
};
use purlin_proto::fn_execution::v1::instruction_request::Request as Ask;
use purlin_proto::fn_execution::v1::instruction_response::Response as Answer;
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::job_state::Enum as State;
use purlin_proto::pipeline::v1 as pb;
use support::{Client, channel, config, history, impulse, on_runner, prepare, serve, states, submit, with_worker};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Code, Request, Response, Status};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// How many jobs run at once.
const JOBS: usize = 100;

/// What a worker does with its bundles, by the name of its transform.
const KINDS: [(&str, State); 4] = [
    ("Work well", State::Done),
    ("Raise", State::Failed),
    ("Send garbage", State::Failed),
    ("Wait for ever", State::Cancelled),
];

/// A pool whose workers live in this process.
#[derive(Debug)]
struct Pool;

#[tonic::async_trait]
impl BeamFnExternalWorkerPool for Pool {
    async fn start_worker(
        &self,
        request: Request<fnpb::StartWorkerRequest>,
    ) -> Result<Response<fnpb::StartWorkerResponse>, Status> {
        let request = request.into_inner();
        let endpoint = request.control_endpoint.unwrap_or_default().url;
        tokio::spawn(async move { work(&request.worker_id, &endpoint).await });
        Ok(Response::new(fnpb::StartWorkerResponse::default()))
    }

    async fn stop_worker(
        &self,
        _: Request<fnpb::StopWorkerRequest>,
    ) -> Result<Response<fnpb::StopWorkerResponse>, Status> {
        Ok(Response::new(fnpb::StopWorkerResponse::default()))
    }
}

fn call<T>(worker: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("worker_id", worker.parse().unwrap());
    request
}

/// A worker until its control stream ends. Its stage has no outputs, so that an answer is all that a bundle needs.
async fn work(id: &str, endpoint: &str) {
    let channel = channel(endpoint).await;
    let mut control = BeamFnControlClient::new(channel.clone());
    let (answers, outgoing) = mpsc::unbounded_channel();
    let opened = control.control(call(id, UnboundedReceiverStream::new(outgoing))).await;
    // A job that was cancelled meanwhile expects nobody.
    let Ok(requests) = opened else { return };
    let mut requests = requests.into_inner();
    let (elements, outgoing) = mpsc::unbounded_channel();
    let opened = BeamFnDataClient::new(channel).data(call(id, UnboundedReceiverStream::new(outgoing))).await;
    let Ok(input) = opened else { return };
    let mut input = input.into_inner();
    tokio::spawn(async move { while let Ok(Some(_)) = input.message().await {} });
    while let Ok(Some(request)) = requests.message().await {
        let Some(Ask::ProcessBundle(bundle)) = request.request else { continue };
        let descriptor = fnpb::GetProcessBundleDescriptorRequest {
            process_bundle_descriptor_id: bundle.process_bundle_descriptor_id,
        };
        let descriptor = control.get_process_bundle_descriptor(call(id, descriptor)).await.unwrap().into_inner();
        let named = |name: &str| descriptor.transforms.values().any(|transform| transform.unique_name == name);
        let mut answer = fnpb::InstructionResponse {
            instruction_id: request.instruction_id.clone(),
            error: String::new(),
            response: Some(Answer::ProcessBundle(fnpb::ProcessBundleResponse::default())),
        };
        if named("Raise") {
            answer.error = "ValueError: no".to_owned();
        } else if named("Send garbage") {
            let data = fnpb::elements::Data {
                instruction_id: request.instruction_id,
                transform_id: "nobody".to_owned(),
                data: vec![0xff; 100].into(),
                is_last: true,
            };
            elements.send(fnpb::Elements { data: vec![data], timers: Vec::new() }).unwrap();
            continue;
        } else if named("Wait for ever") {
            continue;
        }
        answers.send(answer).unwrap();
    }
}

async fn pool() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let serving = tonic::transport::Server::builder()
        .add_service(BeamFnExternalWorkerPoolServer::new(Pool))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    endpoint
}

fn pipeline(pool: &str, name: &str) -> pb::Pipeline {
    let mut pipeline = with_worker(pool, Vec::new());
    let transforms = &mut pipeline.components.as_mut().unwrap().transforms;
    transforms.get_mut("work").unwrap().unique_name = name.to_owned();
    pipeline
}

/// Runs one job of each kind in turn, all at once, and checks how each ends.
async fn round(client: &Client, pool: &str) {
    let jobs = (0..JOBS).map(|number| async move {
        let mut client = client.clone();
        let (name, end) = KINDS[number % KINDS.len()];
        let job = submit(&mut client, pipeline(pool, name), on_runner("direct")).await;
        if end == State::Cancelled {
            support::await_state(&mut client, &job, State::Running).await;
            support::cancel(&mut client, &job).await.unwrap();
        }
        assert_eq!(states(&mut client, &job).await.last(), Some(&end), "{name}");
        let told = history(&mut client, &job).await.join("\n");
        match name {
            "Raise" => assert!(told.contains("ValueError: no") && told.contains("Raise"), "{told}"),
            "Send garbage" => assert!(told.contains("`nobody`") && told.contains("`Send garbage`"), "{told}"),
            "Wait for ever" => assert!(told.contains("was cancelled") && !told.contains("failed"), "{told}"),
            _ => assert!(!told.contains("ERROR"), "{told}"),
        }
    });
    join_all(jobs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_jobs_end_each_in_its_own_way_and_memory_comes_back() {
    let mut config = config();
    config.limits = Limits { finished_jobs_max: 2 * JOBS, ..Limits::default() };
    let (server, client) = serve(config).await;
    let pool = pool().await;
    // The first rounds fill what is kept for later: buffers of connections, thread-local heaps, the jobs that are remembered.
    round(&client, &pool).await;
    round(&client, &pool).await;
    let before = ALLOCATOR.allocated();
    for _ in 0..3 {
        round(&client, &pool).await;
    }
    let grown = ALLOCATOR.allocated().saturating_sub(before);
    // Three hundred jobs that stayed would hold far more than this: each has a megabyte of windows in its streams alone.
    assert!(grown < 24 << 20, "{grown} bytes have not come back");
    server.shutdown("the test is over").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refusals_harms_nobody() {
    let (server, client) = serve(config()).await;
    let mut broken = impulse();
    broken.root_transform_ids.push("gone".to_owned());
    let flood = (0..500).map(|number| {
        let (mut client, broken) = (client.clone(), broken.clone());
        async move {
            let refused = prepare(&mut client, broken, on_runner("direct")).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
            let job = jobpb::GetJobStateRequest { job_id: format!("nobody's {number}") };
            assert_eq!(client.get_state(job).await.unwrap_err().code(), Code::NotFound);
        }
    });
    let good = async {
        let mut client = client.clone();
        let job = submit(&mut client, impulse(), on_runner("direct")).await;
        states(&mut client, &job).await
    };
    let (_, states) = tokio::join!(join_all(flood), good);
    assert_eq!(states.last(), Some(&State::Done));
    server.shutdown("the test is over").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preparations_that_nobody_runs_are_bounded_by_their_size() {
    let mut config = config();
    config.limits = Limits { preparations_bytes_max: 4 << 20, ..Limits::default() };
    let (server, mut client) = serve(config).await;
    let mut large = impulse();
    let strategy = large.components.as_mut().unwrap().windowing_strategies.get_mut("global").unwrap();
    strategy.window_fn.as_mut().unwrap().payload = vec![7; 1 << 20].into();
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(prepare(&mut client, large.clone(), on_runner("direct")).await.unwrap().preparation_id);
    }
    assert_eq!(support::run(&mut client, &ids[0]).await.unwrap_err().code(), Code::NotFound);
    let job = support::run(&mut client, &ids[5]).await.unwrap();
    assert_eq!(states(&mut client, &job).await.last(), Some(&State::Done));
    server.shutdown("the test is over").await;
}
