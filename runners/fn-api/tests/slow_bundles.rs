//! Bundles over real streams, with a harness that does the unusual: answers too early, in pieces, with errors, or never.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use futures_util::FutureExt;
use purlin_backend::Parting;
use purlin_engine::core::event::Failure;
use purlin_engine::core::lane::Lane;
use purlin_engine::store::BatchStore;
use purlin_fn_api::{FnApiConfig, WorkerLimits};
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::instruction_response::Response as Answer;
use support::harness::{DataStream, Harness};
use support::job::{Job, kv, wire};
use support::plan::{external, sink};
use support::scene::Scene;
use support::server::Server;
use support::worker_pool::WorkerPool;

impl Scene {
    /// A bundle that has begun, and the stream of its data.
    async fn bundle(&mut self, elements: &[Vec<u8>]) -> (String, DataStream) {
        self.job.start(elements);
        let (instruction, _) = self.worker.bundle().await;
        let data = self.worker.open_data().await;
        (instruction, data)
    }

    async fn end(mut self) {
        self.job.executor.shutdown(Parting::InPeace);
        assert_eq!(self.pool.stopped().await, self.worker.id);
        self.worker.told_to_leave().await;
        self.job.end(&self.server).await;
    }
}

#[tokio::test]
async fn a_bundle_passes_its_elements_through() {
    let mut scene = Scene::set().await;
    let elements = [kv("a", "1"), kv("b", "2"), kv("a", "3"), kv("c", "4")];
    scene.job.start(&elements);
    let (instruction, descriptor) = scene.worker.bundle().await;
    let descriptor = scene.worker.descriptor(&descriptor).await.unwrap();
    assert!(descriptor.transforms.contains_key("work"));
    let url = descriptor.state_api_service_descriptor.unwrap().url;
    assert_eq!(url, scene.server.endpoint, "one string for all services, for SDKs keep a connection per string");
    let mut data = scene.worker.open_data().await;
    let input = data.input(&instruction).await;
    assert_eq!(input, wire(&elements));
    let [main, other] = scene.job.sinks();
    data.send(&instruction, &main, input, false);
    data.end(&instruction, &[main, other]);
    scene.worker.done(&instruction);
    let result = scene.job.finished().await;
    assert_eq!(scene.job.values(&result), elements);
    assert!(result.outputs.iter().all(|routed| routed.lane == Lane::Any && routed.from == scene.job.plan.main));
    assert_eq!((result.stats.elements_in, result.stats.elements_out), (4, 4));
    assert!(result.delta.is_some() && !result.wants_finalize);
    scene.end().await;
}

#[tokio::test]
async fn a_response_may_overtake_the_data() {
    let mut scene = Scene::set().await;
    let (instruction, mut data) = scene.bundle(&[kv("a", "1")]).await;
    let input = data.input(&instruction).await;
    scene.worker.done(&instruction);
    // An answer that the worker gives behind the response has the server read the response first.
    let [main, other] = scene.job.sinks();
    data.send(&instruction, &other, input.clone(), true);
    data.send(&instruction, &main, input, true);
    let result = scene.job.finished().await;
    assert_eq!(scene.job.values(&result).len(), 2);
    scene.end().await;
}

#[tokio::test]
async fn an_element_may_straddle_messages() {
    let mut scene = Scene::set().await;
    let elements = [kv("key", "first"), kv("key", "second")];
    let (instruction, data) = scene.bundle(&elements).await;
    let [main, other] = scene.job.sinks();
    for byte in wire(&elements) {
        data.send(&instruction, &main, vec![byte], false);
    }
    data.end(&instruction, &[main, other]);
    scene.worker.done(&instruction);
    let result = scene.job.finished().await;
    assert_eq!(scene.job.values(&result), elements);
    scene.end().await;
}

#[tokio::test]
async fn an_error_is_the_users_and_leaves_nothing() {
    let mut scene = Scene::set().await;
    let (instruction, data) = scene.bundle(&[kv("a", "1")]).await;
    let [main, _] = scene.job.sinks();
    data.send(&instruction, &main, wire(&[kv("x", "y")]), false);
    scene.worker.fail(&instruction, "Traceback: ValueError: no");
    assert_eq!(scene.job.failed().await, Failure::User("Traceback: ValueError: no".to_owned()));
    // What comes late for a bundle that has ended is dropped, and the worker goes on with the next.
    data.send(&instruction, &main, b"late and no element".to_vec(), true);
    scene.job.start(&[]);
    let (instruction, _) = scene.worker.bundle().await;
    data.end(&instruction, &scene.job.sinks());
    scene.worker.done(&instruction);
    let result = scene.job.finished().await;
    assert_eq!(result.outputs, []);
    scene.end().await;
}

#[tokio::test]
async fn bytes_that_are_no_elements_fail_the_bundle_and_name_the_output() {
    let mut scene = Scene::set().await;
    let (instruction, data) = scene.bundle(&[]).await;
    let [main, _] = scene.job.sinks();
    // A timestamp that Beam does not have: no more bytes can make it good.
    data.send(&instruction, &main, vec![0xff; 40], false);
    let Failure::Garbage(why) = scene.job.failed().await else { panic!("not garbage") };
    assert!(why.contains("`Work`") && why.contains("`Work.0`") && why.contains("timestamp"), "{why}");
    scene.end().await;
}

#[tokio::test]
async fn an_element_without_an_end_fails_the_bundle() {
    let mut scene = Scene::set().await;
    let (instruction, data) = scene.bundle(&[]).await;
    let [main, _] = scene.job.sinks();
    let mut bytes = wire(&[kv("a", "1")]);
    bytes.pop();
    data.send(&instruction, &main, bytes, true);
    let Failure::Garbage(why) = scene.job.failed().await else { panic!("not garbage") };
    assert!(why.contains("`Work.0`") && why.contains("element 0"), "{why}");
    scene.end().await;
}

#[tokio::test]
async fn elements_of_a_transform_that_is_no_sink_fail_the_bundle() {
    let mut scene = Scene::set().await;
    let (instruction, data) = scene.bundle(&[]).await;
    data.send(&instruction, "work", Vec::new(), true);
    let Failure::Garbage(why) = scene.job.failed().await else { panic!("not garbage") };
    assert!(why.contains("`work`, which is no output of stage `Work`"), "{why}");
    scene.end().await;
}

#[tokio::test]
async fn a_lost_worker_is_replaced_and_its_bundle_comes_back() {
    let mut scene = Scene::set().await;
    let (_, data) = scene.bundle(&[kv("a", "1")]).await;
    let lost = scene.worker.id.clone();
    drop((scene.worker, data));
    assert_eq!(scene.job.slots().await, 0);
    let Failure::WorkerLost(why) = scene.job.failed().await else { panic!("not lost") };
    assert!(why.contains("environment `env`") && why.contains(&scene.pool.endpoint), "{why}");
    assert_eq!(scene.pool.stopped().await, lost);
    // Its id is not used again, for pools may remember it.
    let next = scene.pool.asked().await.worker_id;
    assert_ne!(next, lost);
    let error = Harness::try_connect(&scene.server.endpoint, &lost).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::NotFound);
    scene.worker = Harness::connect(&scene.server.endpoint, &next).await;
    assert_eq!(scene.job.slots().await, 1);
    let (instruction, data) = scene.bundle(&[kv("a", "1")]).await;
    data.end(&instruction, &scene.job.sinks());
    scene.worker.done(&instruction);
    scene.job.finished().await;
    scene.job.executor.shutdown(Parting::InPeace);
    assert_eq!(scene.pool.stopped().await, next);
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn a_job_whose_workers_only_die_ends() {
    let limits = WorkerLimits { losses_max: 2, ..WorkerLimits::default() };
    let mut scene = Scene::with(limits).await;
    drop(scene.worker);
    assert_eq!(scene.job.slots().await, 0);
    let second = scene.pool.asked().await.worker_id;
    let worker = Harness::connect(&scene.server.endpoint, &second).await;
    assert_eq!(scene.job.slots().await, 1);
    drop(worker);
    assert_eq!(scene.job.slots().await, 0);
    let why = scene.job.broken().await;
    assert!(why.starts_with("2 workers in a row were lost before one of them finished a bundle"), "{why}");
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn a_second_control_stream_of_a_worker_ends_the_first() {
    let mut scene = Scene::set().await;
    let (_, data) = scene.bundle(&[kv("a", "1")]).await;
    let second = Harness::connect(&scene.server.endpoint, &scene.pool_worker()).await;
    let mut first = std::mem::replace(&mut scene.worker, second);
    first.told_to_leave().await;
    let Failure::WorkerLost(why) = scene.job.failed().await else { panic!("not lost") };
    assert!(why.contains("connected again"), "{why}");
    assert_eq!(scene.job.slots().await, 1);
    drop((first, data));
    // The end of the first stream is no loss of the worker.
    let (instruction, data) = scene.bundle(&[kv("a", "1")]).await;
    data.end(&instruction, &scene.job.sinks());
    scene.worker.done(&instruction);
    scene.job.finished().await;
    scene.end().await;
}

#[tokio::test]
async fn a_worker_has_one_data_stream() {
    let scene = Scene::set().await;
    let data = scene.worker.open_data().await;
    let error = scene.worker.try_open_data().await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::AlreadyExists);
    drop(data);
    scene.end().await;
}

#[tokio::test]
async fn a_data_stream_that_ends_in_the_middle_of_a_bundle_loses_the_worker() {
    let mut scene = Scene::set().await;
    let (_, data) = scene.bundle(&[kv("a", "1")]).await;
    drop(data);
    assert_eq!(scene.job.slots().await, 0);
    let Failure::WorkerLost(why) = scene.job.failed().await else { panic!("not lost") };
    assert!(why.contains("data stream"), "{why}");
    scene.worker.told_to_leave().await;
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn an_aborted_bundle_ends_at_once_although_its_worker_does_not_read() {
    let mut scene = Scene::set().await;
    // More than all queues and windows hold, so that the feeder waits.
    let elements: Vec<_> = (0..600).map(|_| [vec![1, b'k', 0x80, 0x80, 0x08], vec![7; 1 << 17]].concat()).collect();
    let running = scene.job.start(&elements);
    let (instruction, _) = scene.worker.bundle().await;
    let mut data = scene.worker.open_data().await;
    let first = data.received.message().await.unwrap().unwrap();
    assert!(first.data[0].data.len() <= 2 << 20, "messages are cut");
    running.abort();
    running.abort();
    assert_eq!(scene.job.failed().await, Failure::Aborted);
    let mut state = scene.worker.open_state().await;
    let key = fnpb::state_key::Type::BagUserState(fnpb::state_key::BagUserState::default());
    let error = state.ask(&instruction, key, support::harness::get(b"")).await.unwrap_err();
    assert!(error.contains("has ended"), "{error}");
    drop(data);
    scene.end().await;
}

#[tokio::test]
async fn a_large_input_comes_in_messages_of_whole_elements() {
    let mut scene = Scene::set().await;
    let elements: Vec<_> = (0..60).map(|_| [vec![1, b'k', 0x80, 0x80, 0x08], vec![7; 1 << 17]].concat()).collect();
    let (instruction, mut data) = scene.bundle(&elements).await;
    assert_eq!(data.input(&instruction).await, wire(&elements));
    data.end(&instruction, &scene.job.sinks());
    scene.worker.done(&instruction);
    scene.job.finished().await;
    scene.end().await;
}

#[tokio::test]
async fn an_element_that_fits_into_no_message_is_refused_by_name() {
    let server =
        Server::with(FnApiConfig { message_size_max: 1 << 16, ..FnApiConfig::default() }, WorkerLimits::default())
            .await;
    let mut pool = WorkerPool::start().await;
    let mut job = Job::open(&server, external(&pool.endpoint));
    let mut worker = Harness::connect(&server.endpoint, &pool.asked().await.worker_id).await;
    assert_eq!(job.slots().await, 1);
    job.start(&[[vec![1, b'k', 0x80, 0x80, 0x08], vec![7; 1 << 17]].concat()]);
    worker.bundle().await;
    let Failure::Garbage(why) = job.failed().await else { panic!("not garbage") };
    assert!(why.contains("`Work`") && why.contains("--max-message-size"), "{why}");
    job.end(&server).await;
}

#[tokio::test]
async fn a_worker_whose_message_is_too_large_is_lost_with_that_reason() {
    let config = FnApiConfig { message_size_max: 1 << 16, ..FnApiConfig::default() };
    let server = Server::with(config, WorkerLimits::default()).await;
    let mut pool = WorkerPool::start().await;
    let mut job = Job::open(&server, external(&pool.endpoint));
    let mut worker = Harness::connect(&server.endpoint, &pool.asked().await.worker_id).await;
    assert_eq!(job.slots().await, 1);
    job.start(&[kv("a", "1")]);
    let (instruction, _) = worker.bundle().await;
    let data = worker.open_data().await;
    data.send(&instruction, &sink(job.plan.main), vec![7; 1 << 17], false);
    assert_eq!(job.slots().await, 0);
    let Failure::WorkerLost(why) = job.failed().await else { panic!("not lost") };
    assert!(why.contains("too large") && why.contains("--max-message-size"), "{why}");
    job.end(&server).await;
}

#[tokio::test]
async fn a_job_that_is_dropped_lets_its_workers_go() {
    let Scene { server, mut pool, job, mut worker } = Scene::set().await;
    drop(job);
    assert_eq!(pool.stopped().await, worker.id);
    worker.told_to_leave().await;
    support::soon("the workers to be gone", server.hub.drained()).await;
}

#[tokio::test]
async fn a_committed_bundle_is_finalized_once_and_before_its_worker_leaves() {
    let mut scene = Scene::set().await;
    let (instruction, data) = scene.bundle(&[kv("a", "1")]).await;
    data.end(&instruction, &scene.job.sinks());
    let response = fnpb::ProcessBundleResponse { requires_finalization: true, ..Default::default() };
    scene.worker.answer(&instruction, Answer::ProcessBundle(response));
    assert!(scene.job.finished().await.wants_finalize);
    let bundle = purlin_engine::core::action::BundleId(0);
    scene.job.executor.finalize(bundle);
    scene.job.executor.finalize(bundle);
    scene.job.executor.shutdown(Parting::InPeace);
    let (question, ask) = scene.worker.instruction().await;
    let fnpb::instruction_request::Request::FinalizeBundle(finalize) = ask else { panic!("{ask:?}") };
    assert_eq!(finalize.instruction_id, instruction);
    // Nobody is stopped while he finalizes.
    let stopped = scene.pool.stopped();
    tokio::pin!(stopped);
    assert!(stopped.as_mut().now_or_never().is_none());
    scene.worker.answer(&question, Answer::FinalizeBundle(fnpb::FinalizeBundleResponse {}));
    assert_eq!(stopped.await, scene.worker.id);
    scene.worker.told_to_leave().await;
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn outputs_of_a_failed_bundle_are_not_kept() {
    let mut scene = Scene::set().await;
    let (instruction, data) = scene.bundle(&[kv("a", "1")]).await;
    let before = scene.job.batches.resident_bytes();
    let [main, _] = scene.job.sinks();
    // More than a batch, so that some of it has reached the store.
    let large = [vec![1, b'k', 0x80, 0x80, 0x40], vec![7; 1 << 20]].concat();
    data.send(&instruction, &main, wire(&[large.clone(), large]), true);
    let mut state = scene.worker.open_state().await;
    let key = fnpb::state_key::Type::BagUserState(fnpb::state_key::BagUserState::default());
    state.ask(&instruction, key, support::harness::get(b"")).await.unwrap_err();
    scene.worker.fail(&instruction, "no");
    scene.job.failed().await;
    assert_eq!(scene.job.batches.resident_bytes(), before);
    scene.job.batches.free(&[]);
    scene.end().await;
}

impl Scene {
    fn pool_worker(&self) -> String {
        self.worker.id.clone()
    }
}
