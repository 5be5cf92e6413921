//! The Job API over real gRPC on this machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::time::Duration;

use prost::Message;
use purlin_job_server::{HISTORY_ONLY, Mode, Server};
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::job_state::Enum as State;
use purlin_proto::pipeline::v1 as pb;
use support::{
    Client, await_state, cancel, channel, config, connect, history, impulse, jobs, on_runner, options, prepare,
    refused, run, serve, states, submit, with_worker,
};
use tonic::Code;

const WHOLE_LIFE: [State; 4] = [State::Stopped, State::Starting, State::Running, State::Done];

#[tokio::test]
async fn a_job_runs_from_prepare_to_done() {
    let (server, mut client) = serve(config()).await;
    let prepared = prepare(&mut client, impulse(), on_runner("direct")).await.unwrap();
    assert_eq!(prepared.artifact_staging_endpoint.unwrap().url, server.endpoint());
    let job = run(&mut client, &prepared.preparation_id).await.unwrap();
    assert_ne!(job, prepared.preparation_id);
    assert_eq!(states(&mut client, &job).await, WHOLE_LIFE);
    assert_eq!(history(&mut client, &job).await, ["STOPPED", "STARTING", "RUNNING", "DONE"]);
    assert_eq!(jobs(&mut client).await, [(job.clone(), State::Done)]);
    let pipeline = client.get_pipeline(jobpb::GetJobPipelineRequest { job_id: job.clone() }).await.unwrap();
    assert_eq!(pipeline.into_inner().pipeline, Some(impulse()));
    let metrics = client.get_job_metrics(jobpb::GetJobMetricsRequest { job_id: job.clone() }).await.unwrap();
    assert!(metrics.into_inner().metrics.is_some());
    let state = client.get_state(jobpb::GetJobStateRequest { job_id: job }).await.unwrap().into_inner();
    assert_eq!(state.state(), State::Done);
    assert!(state.timestamp.is_some());
    server.shutdown("the test is over").await;
}

#[tokio::test]
async fn streams_on_a_preparation_are_refused_at_once() {
    let (_server, mut client) = serve(config()).await;
    let prepared = prepare(&mut client, impulse(), on_runner("idle")).await.unwrap();
    let id = prepared.preparation_id;
    // As Python does it: with a deadline, and before Run. An answer that only times out would be no refusal.
    let mut request = tonic::Request::new(jobpb::GetJobStateRequest { job_id: id.clone() });
    request.set_timeout(Duration::from_secs(300));
    let refusal = client.get_state_stream(request).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);
    assert_eq!(
        refusal.message(),
        format!("`{id}` is a preparation and not a job: Run it, and use the job id that Run answers")
    );
    let refusal = client.get_message_stream(jobpb::JobMessagesRequest { job_id: id.clone() }).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);
    // And once it was run, the preparation still is no job.
    let job = run(&mut client, &id).await.unwrap();
    let refusal = client.get_state_stream(jobpb::GetJobStateRequest { job_id: id.clone() }).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);
    assert_eq!(refusal.message(), format!("`{id}` is a preparation, which was run as job `{job}`: use that id"));
}

#[tokio::test]
async fn streams_that_are_opened_after_the_end_begin_at_the_beginning() {
    let (_server, mut client) = serve(config()).await;
    let job = submit(&mut client, impulse(), on_runner("direct")).await;
    await_state(&mut client, &job, State::Done).await;
    for _ in 0..2 {
        let mut late = client.clone();
        assert_eq!(states(&mut late, &job).await, WHOLE_LIFE);
        assert_eq!(history(&mut late, &job).await.len(), WHOLE_LIFE.len());
    }
}

#[tokio::test]
async fn a_preparation_runs_once() {
    let (_server, mut client) = serve(config()).await;
    let id = prepare(&mut client, impulse(), on_runner("direct")).await.unwrap().preparation_id;
    let job = run(&mut client, &id).await.unwrap();
    assert_eq!(
        refused(run(&mut client, &id).await),
        format!(
            "FailedPrecondition: preparation `{id}` was already run, as job `{job}`; to run the pipeline again, prepare \
             it again"
        )
    );
    insta::assert_snapshot!(refused(run(&mut client, "prep-x").await), @"NotFound: there is no preparation `prep-x`; it never was, or too many others were prepared after it; prepare the pipeline again");
    insta::assert_snapshot!(refused(run(&mut client, "").await), @"NotFound: there is no preparation ``; it never was, or too many others were prepared after it; prepare the pipeline again");
    assert!(refused(run(&mut client, &job).await).starts_with("NotFound: there is no preparation"));
}

#[tokio::test]
async fn unknown_jobs_are_told_apart_everywhere() {
    let (_server, mut client) = serve(config()).await;
    let id = || "job-x".to_owned();
    let answers = [
        client.get_state(jobpb::GetJobStateRequest { job_id: id() }).await.map(drop),
        client.get_state_stream(jobpb::GetJobStateRequest { job_id: id() }).await.map(drop),
        client.get_message_stream(jobpb::JobMessagesRequest { job_id: id() }).await.map(drop),
        client.get_pipeline(jobpb::GetJobPipelineRequest { job_id: id() }).await.map(drop),
        client.get_job_metrics(jobpb::GetJobMetricsRequest { job_id: id() }).await.map(drop),
        client.cancel(jobpb::CancelJobRequest { job_id: id() }).await.map(drop),
        client.drain(jobpb::DrainJobRequest { job_id: id() }).await.map(drop),
    ];
    let mut texts: Vec<_> = answers.into_iter().map(refused).collect();
    texts.dedup();
    assert_eq!(texts.len(), 1);
    insta::assert_snapshot!(texts[0], @"NotFound: there is no job `job-x`; it never was, or it ended so long ago that it is forgotten (GetJobs, or `purlin jobs`, lists those that are known)");
}

#[tokio::test]
async fn a_job_is_cancelled_and_a_finished_one_says_how_it_ended() {
    let (_server, mut client) = serve(config()).await;
    let job = submit(&mut client, impulse(), on_runner("idle")).await;
    await_state(&mut client, &job, State::Running).await;
    let watched = tokio::spawn({
        let (mut client, job) = (client.clone(), job.clone());
        async move { history(&mut client, &job).await }
    });
    assert!(matches!(cancel(&mut client, &job).await.unwrap(), State::Cancelling | State::Cancelled));
    let lines = watched.await.unwrap();
    let why = "somebody asked for it through the Job API";
    let told =
        [format!("BASIC: job {job} is being cancelled: {why}"), format!("ERROR: job {job} was cancelled: {why}")];
    assert_eq!(lines, ["STOPPED", "STARTING", "RUNNING", "CANCELLING", &told[0], &told[1], "CANCELLED"]);
    assert_eq!(cancel(&mut client, &job).await.unwrap(), State::Cancelled);
    let done = submit(&mut client, impulse(), on_runner("direct")).await;
    await_state(&mut client, &done, State::Done).await;
    assert_eq!(cancel(&mut client, &done).await.unwrap(), State::Done);
}

#[tokio::test]
async fn a_job_that_breaks_says_why_once_and_harms_no_other() {
    let (_server, mut client) = serve(config()).await;
    let other = submit(&mut client, impulse(), on_runner("idle")).await;
    let job = submit(&mut client, impulse(), on_runner("broken")).await;
    let lines = history(&mut client, &job).await;
    let [before @ .., reason, last] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(before, ["STOPPED", "STARTING", "RUNNING"]);
    assert!(reason.starts_with("ERROR: this job's driver broke, which is a bug in Purlin"), "{reason}");
    assert!(reason.contains("a schedule that breaks its driver"), "{reason}");
    assert_eq!(last, "FAILED");
    assert_eq!(jobs(&mut client).await, [(other.clone(), State::Running), (job, State::Failed)]);
    let next = submit(&mut client, impulse(), on_runner("direct")).await;
    assert_eq!(states(&mut client, &next).await, WHOLE_LIFE);
    cancel(&mut client, &other).await.unwrap();
    await_state(&mut client, &other, State::Cancelled).await;
}

#[tokio::test]
async fn a_client_that_goes_away_right_after_submitting_harms_nothing() {
    let (server, mut client) = serve(config()).await;
    // Streams are open, and nobody reads them.
    let idle = submit(&mut client, impulse(), on_runner("idle")).await;
    let stream = client.get_message_stream(jobpb::JobMessagesRequest { job_id: idle.clone() }).await.unwrap();
    let done = submit(&mut client, impulse(), on_runner("direct")).await;
    drop(client);
    drop(stream);
    let mut another = connect(server.endpoint()).await;
    assert_eq!(states(&mut another, &done).await, WHOLE_LIFE);
    await_state(&mut another, &idle, State::Running).await;
    // Also in the middle of a request.
    let mut third = connect(server.endpoint()).await;
    let prepared = prepare(&mut third, impulse(), on_runner("direct")).await.unwrap();
    tokio::select! {
        biased;
        answer = run(&mut third, &prepared.preparation_id) => panic!("answered before it could be: {answer:?}"),
        () = tokio::task::yield_now() => {}
    }
    drop(third);
    assert_eq!(jobs(&mut another).await[0], (idle, State::Running));
}

#[tokio::test]
async fn bytes_that_are_not_grpc_harm_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (server, mut client) = serve(config()).await;
    for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 4096], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense"]
    {
        let mut stream = tokio::net::TcpStream::connect(server.endpoint()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        // The server ends the connection; with or without words does not matter.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    let job = submit(&mut client, impulse(), on_runner("direct")).await;
    assert_eq!(states(&mut client, &job).await, WHOLE_LIFE);
}

#[tokio::test]
async fn many_jobs_at_once_keep_apart() {
    let (_server, client) = serve(config()).await;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let mut client = client.clone();
        running.spawn(async move {
            let job = submit(&mut client, impulse(), on_runner("direct")).await;
            let idle = submit(&mut client, impulse(), on_runner("idle")).await;
            assert_eq!(states(&mut client, &job).await, WHOLE_LIFE);
            cancel(&mut client, &idle).await.unwrap();
            await_state(&mut client, &idle, State::Cancelled).await;
            [job, idle]
        });
    }
    let mut ids: Vec<_> = running.join_all().await.into_iter().flatten().collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 80);
}

#[tokio::test]
async fn what_is_kept_is_bounded_and_running_jobs_stay() {
    let mut config = config();
    config.limits.finished_jobs_max = 2;
    config.limits.preparations_max = 2;
    let (server, mut client) = serve(config).await;
    let idle = submit(&mut client, impulse(), on_runner("idle")).await;
    let mut finished = Vec::new();
    for _ in 0..4 {
        let job = submit(&mut client, impulse(), on_runner("direct")).await;
        await_state(&mut client, &job, State::Done).await;
        finished.push(job);
    }
    // The end of a job is shown a moment before the job counts as finished.
    let known = loop {
        let known = jobs(&mut client).await;
        if known.len() <= 3 {
            break known;
        }
        tokio::task::yield_now().await;
    };
    let expected = [(idle, State::Running), (finished[2].clone(), State::Done), (finished[3].clone(), State::Done)];
    assert_eq!(known, expected);
    let mut prepared = Vec::new();
    for _ in 0..3 {
        prepared.push(prepare(&mut client, impulse(), on_runner("direct")).await.unwrap().preparation_id);
    }
    assert!(refused(run(&mut client, &prepared[0]).await).starts_with("NotFound: there is no preparation"));
    run(&mut client, &prepared[1]).await.unwrap();
    run(&mut client, &prepared[2]).await.unwrap();
    server.shutdown("the test is over").await;
}

#[tokio::test]
async fn a_server_that_ends_cancels_its_jobs_and_completes_their_streams() {
    let (server, mut client) = serve(config()).await;
    let job = submit(&mut client, impulse(), on_runner("idle")).await;
    await_state(&mut client, &job, State::Running).await;
    let watched = tokio::spawn({
        let (mut client, job) = (client.clone(), job.clone());
        async move { history(&mut client, &job).await }
    });
    // The stream is open before the server ends.
    await_state(&mut client, &job, State::Running).await;
    let endpoint = server.endpoint().to_owned();
    server.shutdown("of the test").await;
    assert_eq!(watched.await.unwrap().last().unwrap(), "CANCELLED");
    assert!(tokio::net::TcpStream::connect(endpoint).await.is_err());
}

#[tokio::test]
async fn history_can_be_read_without_waiting_for_more() {
    let (_server, mut client) = serve(config()).await;
    let job = submit(&mut client, impulse(), on_runner("idle")).await;
    await_state(&mut client, &job, State::Running).await;
    let mut request = tonic::Request::new(jobpb::JobMessagesRequest { job_id: job });
    request.metadata_mut().insert(HISTORY_ONLY, "true".parse().unwrap());
    let mut stream = client.get_message_stream(request).await.unwrap().into_inner();
    let mut count = 0;
    while stream.message().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 3);
}

#[tokio::test]
async fn what_cannot_run_is_refused_at_prepare_with_all_reasons() {
    let (_server, mut client) = serve(config()).await;
    let nothing = client.prepare(jobpb::PrepareJobRequest::default()).await;
    insta::assert_snapshot!(refused(nothing), @"InvalidArgument: the request holds no pipeline; set `pipeline` in PrepareJobRequest");
    insta::assert_snapshot!(refused(prepare(&mut client, impulse(), on_runner("slink")).await), @"InvalidArgument: there is no runner `slink`; this server offers: broken, direct, idle, auto");
    let contradiction = {
        let mut both = on_runner("direct");
        let experiment =
            prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("purlin_runner=idle".to_owned())) };
        let list = prost_types::ListValue { values: vec![experiment] };
        let list = prost_types::Value { kind: Some(prost_types::value::Kind::ListValue(list)) };
        both.fields.insert("beam:option:experiments:v1".to_owned(), list);
        both
    };
    insta::assert_snapshot!(refused(prepare(&mut client, impulse(), contradiction).await), @"InvalidArgument: the pipeline option --purlin_runner=direct and the experiment purlin_runner=idle contradict each other; give only one of them");
    let option = options(&[("direct_bundle_elements_max", "many")]);
    insta::assert_snapshot!(refused(prepare(&mut client, impulse(), option).await), @r#"InvalidArgument: pipeline option --direct_bundle_elements_max must be a whole number, but is "many""#);
    let mut broken = impulse();
    let components = broken.components.as_mut().unwrap();
    components.pcollections.get_mut("started").unwrap().coder_id = "gone".to_owned();
    components.pcollections.get_mut("started").unwrap().windowing_strategy_id = "gone too".to_owned();
    let text = refused(prepare(&mut client, broken, on_runner("direct")).await);
    assert!(text.starts_with("InvalidArgument: this pipeline cannot run, for "), "{text}");
    assert!(text.contains("`gone`") && text.contains("`gone too`"), "{text}");
}

#[tokio::test]
async fn hostile_pipelines_are_refused_and_never_kill_the_server() {
    let (_server, mut client) = serve(config()).await;
    // Every single byte of a good pipeline, replaced; what still decodes is prepared, and whatever comes is an answer.
    let good = with_worker("127.0.0.1:1", Vec::new()).encode_to_vec();
    let mut answered = 0;
    for at in (0..good.len()).step_by(3) {
        let mut bad = good.clone();
        bad[at] = bad[at].wrapping_add(1);
        let Ok(pipeline) = pb::Pipeline::decode(&bad[..]) else { continue };
        if let Err(status) = prepare(&mut client, pipeline, on_runner("idle")).await {
            assert!(matches!(status.code(), Code::InvalidArgument | Code::Unimplemented), "byte {at}: {status:?}");
        }
        answered += 1;
    }
    assert!(answered > 50, "{answered}");
}

#[tokio::test]
async fn a_worker_pool_that_nobody_serves_fails_the_job_with_its_address() {
    let (_server, mut client) = serve(config()).await;
    // A port that was free a moment ago, and that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let job = submit(&mut client, with_worker(&free.to_string(), Vec::new()), on_runner("direct")).await;
    let lines = history(&mut client, &job).await;
    let errors: Vec<_> = lines.iter().filter(|line| line.starts_with("ERROR: ")).collect();
    assert_eq!(errors.len(), 1, "{lines:?}");
    assert!(errors[0].contains(&free.to_string()), "{errors:?}");
    assert_eq!(lines.last().unwrap(), "FAILED");
}

#[tokio::test]
async fn a_pipeline_of_many_megabytes_arrives() {
    let (_server, mut client) = serve(config()).await;
    let mut pipeline = impulse();
    let data = pb::DisplayData { urn: "large".to_owned(), payload: vec![7; 24 << 20].into() };
    pipeline.display_data.push(data);
    let job = submit(&mut client, pipeline, on_runner("direct")).await;
    assert_eq!(states(&mut client, &job).await, WHOLE_LIFE);
    let answer = client.get_pipeline(jobpb::GetJobPipelineRequest { job_id: job }).await.unwrap().into_inner();
    assert_eq!(answer.pipeline.unwrap().display_data[0].payload.len(), 24 << 20);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let mut config = config();
    config.message_size_max = 1 << 20;
    let (_server, mut client) = serve(config).await;
    let mut pipeline = impulse();
    pipeline.display_data.push(pb::DisplayData { urn: "large".to_owned(), payload: vec![7; 2 << 20].into() });
    let refusal = prepare(&mut client, pipeline, on_runner("direct")).await.unwrap_err();
    assert_eq!(refusal.code(), Code::OutOfRange, "{refusal:?}");
    let job = submit(&mut client, impulse(), on_runner("direct")).await;
    assert_eq!(states(&mut client, &job).await, WHOLE_LIFE);
}

async fn drain(client: &mut Client, job: &str) -> State {
    let request = jobpb::DrainJobRequest { job_id: job.to_owned() };
    client.drain(request).await.unwrap().into_inner().state()
}

#[tokio::test]
async fn a_job_is_drained_and_a_finished_one_says_how_it_ended() {
    let (_server, mut client) = serve(config()).await;
    let job = submit(&mut client, impulse(), on_runner("idle")).await;
    await_state(&mut client, &job, State::Running).await;
    assert_eq!(drain(&mut client, &job).await, State::Draining);
    assert_eq!(drain(&mut client, &job).await, State::Draining);
    // Its runner starts nothing, so that it never gets rid of what it has.
    cancel(&mut client, &job).await.unwrap();
    let lines = history(&mut client, &job).await;
    let states: Vec<_> = lines.iter().filter(|line| !line.contains(' ')).collect();
    assert_eq!(states, ["STOPPED", "STARTING", "RUNNING", "DRAINING", "CANCELLING", "CANCELLED"]);
    let told = format!("BASIC: job {job} is being drained: it takes no more input, and ends with what it has");
    assert_eq!(lines.iter().filter(|line| **line == told).count(), 1, "{lines:?}");
    assert_eq!(drain(&mut client, &job).await, State::Cancelled);
    let done = submit(&mut client, impulse(), on_runner("direct")).await;
    await_state(&mut client, &done, State::Done).await;
    assert_eq!(drain(&mut client, &done).await, State::Done);
}

#[tokio::test]
async fn options_are_described() {
    let (_server, mut client) = serve(config()).await;
    let described = client.describe_pipeline_options(jobpb::DescribePipelineOptionsRequest {}).await.unwrap();
    let lines: Vec<_> = described
        .into_inner()
        .options
        .iter()
        .map(|option| format!("{} {} {:?} [{}]", option.group, option.name, option.r#type(), option.default_value))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    purlin purlin_runner String [direct]
    purlin dead_letter_dir String []
    purlin dead_letter_max Integer [1000]
    purlin dead_letter_replay String []
    direct direct_bundle_elements_max Integer []
    direct direct_shuffle_seed Integer []
    idle idle_minutes Integer [5]
    ");
}

#[tokio::test]
async fn health_and_reflection_answer() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

    let (server, _client) = serve(config()).await;
    let channel = channel(server.endpoint()).await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    for service in ["", "org.apache.beam.model.job_management.v1.JobService"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), tonic_health::pb::health_check_response::ServingStatus::Serving, "{service}");
    }
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let mut answers = reflection.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
    let answer: ServerReflectionResponse = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else { panic!("{answer:?}") };
    let names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
    for expected in ["JobService", "ArtifactStagingService"] {
        let name = format!("org.apache.beam.model.job_management.v1.{expected}");
        assert!(names.contains(&name.as_str()), "{names:?}");
    }
}

#[tokio::test]
async fn both_loopback_addresses_serve_one_port_and_a_second_server_is_refused() {
    let (server, _client) = serve(config()).await;
    // A machine without IPv6 has nothing to answer there.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        let mut client = connect(&format!("[::1]:{}", server.port())).await;
        assert!(jobs(&mut client).await.is_empty());
    }
    let mut second = config();
    second.port = server.port();
    let text = Server::bind(second).await.unwrap_err().to_string().replace(&server.port().to_string(), "PORT");
    insta::assert_snapshot!(text, @"port PORT is in use on 127.0.0.1:PORT: another program, perhaps another purlin, listens there; choose another port with --port, or --port 0 for any that is free");
}

#[tokio::test]
async fn a_port_that_is_taken_on_one_address_only_is_refused_too() {
    let Ok(taken) = std::net::TcpListener::bind("[::1]:0") else { return };
    let mut config = config();
    config.port = taken.local_addr().unwrap().port();
    let text = Server::bind(config).await.unwrap_err().to_string();
    assert!(text.contains("is in use on [::1]:"), "{text}");
}

#[tokio::test]
async fn an_unknown_default_runner_is_refused() {
    let mut config = config();
    config.runner = "slink".to_owned();
    let text = Server::bind(config).await.unwrap_err().to_string();
    insta::assert_snapshot!(text, @"there is no runner `slink`; this server offers: broken, direct, idle, auto");
}

#[tokio::test]
async fn a_server_that_only_looks_passes_pipelines_on_and_runs_nothing() {
    let (sender, mut captured) = tokio::sync::mpsc::unbounded_channel();
    let mut config = config();
    config.mode = Mode::Capture(sender);
    let (_server, mut client) = serve(config).await;
    let answer = prepare(&mut client, impulse(), on_runner("direct")).await;
    insta::assert_snapshot!(refused(answer), @"FailedPrecondition: this server only looks at pipelines and runs nothing (`purlin check`, `purlin explain`)");
    assert_eq!(captured.recv().await.unwrap().pipeline, Some(impulse()));
    assert!(jobs(&mut client).await.is_empty());
}

#[tokio::test]
async fn an_observer_hears_of_each_job() {
    let (sender, mut observed) = tokio::sync::mpsc::unbounded_channel();
    let mut config = config();
    config.observer = Some(sender);
    let (server, mut client) = serve(config).await;
    let id = submit(&mut client, impulse(), on_runner("direct")).await;
    let job = observed.recv().await.unwrap();
    assert_eq!(job.id().as_str(), id);
    server.idle().await;
    assert_eq!(job.state(), purlin_job_server::JobState::Done);
    assert!(!job.progress().is_empty());
}
