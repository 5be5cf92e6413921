//! What a worker asks for before and beside its bundles: provision, files, logs; and who is not let in.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prost::Message;
use purlin_backend::{ArtifactHash, Importance, Parting};
use purlin_fn_api::{FnApiConfig, FnApiError, WorkerLimits, staged_artifact};
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::beam_fn_logging_client::BeamFnLoggingClient;
use purlin_proto::fn_execution::v1::log_entry::severity::Enum as Severity;
use purlin_proto::fn_execution::v1::provision_service_client::ProvisionServiceClient;
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::artifact_retrieval_service_client::ArtifactRetrievalServiceClient;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_environments::environments;
use support::harness::{Harness, call, channel};
use support::job::{Files, Job};
use support::plan::{environment, external, process};
use support::server::Server;
use support::worker_pool::WorkerPool;
use tonic::{Code, Request, Status};

#[tokio::test]
async fn a_worker_is_told_what_it_must_know_to_start() {
    let server = Server::start().await;
    let mut pool = WorkerPool::start().await;
    let file = staged_artifact(ArtifactHash([1; 32]), "beam:artifact:role:staging_to:v1", &b"name"[..]);
    let job =
        Job::open_with(&server, external(&pool.endpoint), vec![file.clone()], Arc::new(Files::default())).unwrap();
    let asked = pool.asked().await;
    let everywhere = Some(pb::ApiServiceDescriptor { url: server.endpoint.clone(), authentication: None });
    assert_eq!((&asked.control_endpoint, &asked.logging_endpoint), (&everywhere, &everywhere));
    assert_eq!((&asked.artifact_endpoint, &asked.provision_endpoint), (&everywhere, &everywhere));
    assert_eq!(asked.params, BTreeMap::from([("key".to_owned(), "value".to_owned())]));
    // It asks before it connects.
    let mut provision = ProvisionServiceClient::new(channel(&server.endpoint).await);
    let request = call(&asked.worker_id, fnpb::GetProvisionInfoRequest {});
    let info = provision.get_provision_info(request).await.unwrap().into_inner().info.unwrap();
    assert_eq!(info.pipeline_options.unwrap().fields.len(), 1);
    assert_eq!((&info.control_endpoint, &info.logging_endpoint), (&everywhere, &everywhere));
    assert_eq!((&info.artifact_endpoint, &info.status_endpoint), (&everywhere, &None));
    assert_eq!(info.retrieval_token, "token");
    assert_eq!(info.dependencies, [file]);
    let capabilities =
        ["beam:protocol:monitoring_info_short_ids:v1", "beam:protocol:multimap_keys_values_side_input:v1"];
    assert_eq!(info.runner_capabilities, capabilities);
    assert_eq!((info.metadata["job_id"].as_str(), info.metadata["job_name"].as_str()), ("job-1", "test"));
    job.end(&server).await;
}

#[tokio::test]
async fn a_worker_reads_the_files_of_its_own_job_and_no_others() {
    let server = Server::start().await;
    let mut pool = WorkerPool::start().await;
    let (large, empty, foreign) = (ArtifactHash([1; 32]), ArtifactHash([2; 32]), ArtifactHash([3; 32]));
    let content: Vec<u8> = (0..(3 << 20) + 17).map(|index: u32| (index % 251) as u8).collect();
    let files = BTreeMap::from([(large, content.clone()), (empty, Vec::new()), (foreign, b"secret".to_vec())]);
    let staged = |hash| staged_artifact(hash, "role", &b""[..]);
    let dependencies = vec![staged(large), staged(empty)];
    let job = Job::open_with(&server, external(&pool.endpoint), dependencies, Arc::new(Files(files))).unwrap();
    let worker = pool.asked().await.worker_id;
    let channel = channel(&server.endpoint).await;
    let read = async |artifact: pb::ArtifactInformation| -> Result<Vec<u8>, Status> {
        let request = jobpb::GetArtifactRequest { artifact: Some(artifact) };
        let client = ArtifactRetrievalServiceClient::new(channel.clone());
        let mut chunks = client.clone().get_artifact(call(&worker, request)).await?.into_inner();
        let mut all = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            all.extend_from_slice(&chunk.data);
        }
        Ok(all)
    };
    assert!(read(staged(large)).await.unwrap() == content);
    assert_eq!(read(staged(empty)).await.unwrap(), b"");
    let embedded = pb::ArtifactInformation {
        type_urn: "beam:artifact:type:embedded:v1".to_owned(),
        type_payload: pb::EmbeddedFilePayload { data: b"inline"[..].into() }.encode_to_vec().into(),
        ..Default::default()
    };
    assert_eq!(read(embedded).await.unwrap(), b"inline");
    assert_eq!(read(staged(foreign)).await.unwrap_err().code(), Code::NotFound);
    let path = pb::ArtifactFilePayload { path: "/etc/passwd".to_owned(), sha256: String::new() };
    let path = pb::ArtifactInformation { type_payload: path.encode_to_vec().into(), ..staged(large) };
    assert_eq!(read(path).await.unwrap_err().code(), Code::NotFound);
    let request = jobpb::ResolveArtifactsRequest { artifacts: vec![staged(large)], preferred_urns: Vec::new() };
    let mut client = ArtifactRetrievalServiceClient::new(channel.clone());
    let resolved = client.resolve_artifacts(call(&worker, request)).await.unwrap().into_inner();
    assert_eq!(resolved.replacements, [staged(large)]);
    job.end(&server).await;
}

#[tokio::test]
async fn logs_of_workers_become_messages_and_never_reasons() {
    let server = Server::start().await;
    let mut pool = WorkerPool::start().await;
    let mut job = Job::open(&server, external(&pool.endpoint));
    let worker = Harness::connect(&server.endpoint, &pool.asked().await.worker_id).await;
    assert_eq!(job.slots().await, 1);
    let entry = |severity: Severity, message: &str, trace: &str, transform: &str| fnpb::LogEntry {
        severity: severity.into(),
        timestamp: Some(prost_types::Timestamp { seconds: 17, nanos: 0 }),
        message: message.to_owned(),
        trace: trace.to_owned(),
        transform_id: transform.to_owned(),
        ..Default::default()
    };
    let entries = vec![
        entry(Severity::Error, "it broke", "Traceback", "work"),
        entry(Severity::Info, "hello", "", ""),
        entry(Severity::Debug, "details", "", "stranger"),
    ];
    let (send, outgoing) = tokio::sync::mpsc::unbounded_channel();
    send.send(fnpb::log_entry::List { log_entries: entries }).unwrap();
    let outgoing = tokio_stream::wrappers::UnboundedReceiverStream::new(outgoing);
    let mut client = BeamFnLoggingClient::new(worker.channel.clone());
    let mut control = client.logging(call(&worker.id, outgoing)).await.unwrap().into_inner();
    let first = job.message().await;
    assert_eq!((first.importance, first.text.as_str()), (Importance::Warning, "Pipeline/Work: it broke\nTraceback"));
    assert_eq!(first.time, SystemTime::UNIX_EPOCH + Duration::from_secs(17));
    assert_eq!(job.message().await.importance, Importance::Basic);
    assert_eq!(job.message().await.text, "details");
    // The stream outlives the worker's control stream.
    drop(worker);
    assert_eq!(job.slots().await, 0);
    send.send(fnpb::log_entry::List { log_entries: vec![entry(Severity::Warn, "bye", "", "")] }).unwrap();
    assert_eq!(job.message().await.text, "bye");
    drop(send);
    assert_eq!(support::soon("the end of the logs", control.message()).await.unwrap(), None);
    job.end(&server).await;
}

#[tokio::test]
async fn strangers_are_turned_away() {
    let server = Server::start().await;
    let error = Harness::try_connect(&server.endpoint, "stranger").await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.message().contains("`stranger`"), "{}", error.message());
    let mut provision = ProvisionServiceClient::new(channel(&server.endpoint).await);
    let error = provision.get_provision_info(Request::new(fnpb::GetProvisionInfoRequest {})).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("worker_id"), "{}", error.message());
}

#[tokio::test]
async fn a_descriptor_of_another_job_is_not_found() {
    let server = Server::start().await;
    let mut pool = WorkerPool::start().await;
    let mut first = Job::open(&server, external(&pool.endpoint));
    let mut worker = Harness::connect(&server.endpoint, &pool.asked().await.worker_id).await;
    assert_eq!(first.slots().await, 1);
    first.start(&[]);
    let (_, descriptor) = worker.bundle().await;
    let mut second = Job::open(&server, external(&pool.endpoint));
    let other = Harness::connect(&server.endpoint, &pool.asked().await.worker_id).await;
    assert_eq!(second.slots().await, 1);
    assert!(worker.descriptor(&descriptor).await.is_ok());
    assert_eq!(other.descriptor(&descriptor).await.unwrap_err().code(), Code::NotFound);
    second.executor.shutdown(Parting::InPeace);
    first.end(&server).await;
}

#[tokio::test]
async fn a_pool_that_is_not_there_ends_the_job() {
    let server = Server::start().await;
    let gone = WorkerPool::start().await.endpoint;
    // The pool of the tests lives as long as its listener; a port that was free a moment ago is nobody's.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop((listener, gone));
    let mut job = Job::open(&server, external(&nobody));
    let why = job.broken().await;
    assert!(why.contains("environment `env`") && why.contains(&nobody) && why.contains("LOOPBACK"), "{why}");
    job.end(&server).await;
}

#[tokio::test]
async fn a_pool_that_refuses_ends_the_job_with_its_reason() {
    let server = Server::start().await;
    let pool = WorkerPool::with_error("no more room").await;
    let mut job = Job::open(&server, external(&pool.endpoint));
    let why = job.broken().await;
    assert!(why.contains("no more room") && why.contains(&pool.endpoint), "{why}");
    job.end(&server).await;
}

#[tokio::test]
async fn a_worker_that_never_connects_is_stopped_and_ends_the_job() {
    let limits = WorkerLimits { connect_timeout: Duration::from_millis(50), ..WorkerLimits::default() };
    let server = Server::with(FnApiConfig::default(), limits).await;
    let mut pool = WorkerPool::start().await;
    let mut job = Job::open(&server, external(&pool.endpoint));
    let worker = pool.asked().await.worker_id;
    let why = job.broken().await;
    assert!(why.contains("did not connect to") && why.contains("0.05 seconds"), "{why}");
    assert_eq!(pool.stopped().await, worker);
    job.end(&server).await;
}

#[tokio::test]
async fn environments_that_cannot_be_had_are_refused_with_what_to_do() {
    let config = FnApiConfig { process_environments: false, ..FnApiConfig::default() };
    let server = Server::with(config, WorkerLimits::default()).await;
    let check = |environment: pb::Environment, expected: &[&str]| {
        let early = server.hub.check_environment("env", &environment).unwrap_err();
        let opened = Job::open_with(&server, environment, Vec::new(), Arc::new(Files::default()));
        assert_eq!(opened.unwrap_err(), FnApiError::Environments(vec![early.clone()]));
        let text = early.to_string();
        assert!(expected.iter().all(|part| text.contains(part)), "{text}");
    };
    let docker = environment(environments::DOCKER, &pb::DockerPayload { container_image: "beam:1".to_owned() });
    check(docker.clone(), &["`env`", "`beam:1`", "this server starts none", "LOOPBACK", "PROCESS"]);
    check(process("boot", &[]), &["starts no commands", "LOOPBACK"]);
    check(environment(environments::EXTERNAL, &pb::ExternalPayload::default()), &["without the address"]);
    check(environment("beam:env:embedded_python_grpc:v1", &()), &["Python's own runners"]);
    check(environment("EMBEDDED", &()), &["Java's own runners"]);
    check(environment("", &()), &["says nothing"]);
    check(environment("beam:env:moon:v1", &()), &["beam:env:moon:v1"]);
    let all = pb::AnyOfEnvironmentPayload { environments: vec![docker.clone(), process("boot", &[])] };
    check(environment(environments::ANYOF, &all), &["none of its 2 alternatives", "`beam:1`", "starts no commands"]);
    let some = pb::AnyOfEnvironmentPayload { environments: vec![docker, external("127.0.0.1:1")] };
    assert_eq!(server.hub.check_environment("env", &environment(environments::ANYOF, &some)), Ok(()));
}
