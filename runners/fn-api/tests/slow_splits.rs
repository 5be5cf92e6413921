//! What comes back of a bundle besides outputs: residuals, splits, metrics.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost_types::{Duration, Timestamp};
use purlin_engine::core::event::Failure;
use purlin_engine::store::BatchStore;
use purlin_model::time::EventTime;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::instruction_request::Request as Ask;
use purlin_proto::fn_execution::v1::instruction_response::Response as Answer;
use purlin_proto::fn_execution::v1::process_bundle_split_response::ChannelSplit;
use purlin_proto::pipeline::v1::{Environment, is_bounded};
use purlin_proto::urns::standard_protocols::MULTI_CORE_BUNDLE_PROCESSING;
use support::harness::{DataStream, Harness, metric};
use support::job::{Job, NOW, kv, wire};
use support::plan::external;
use support::server::Server;
use support::worker_pool::WorkerPool;

/// A bundle of four elements that has begun.
struct Scene {
    server: Server,
    job: Job,
    worker: Harness,
    data: DataStream,
    running: Box<dyn purlin_backend::RunningBundle>,
    instruction: String,
    sinks: [String; 2],
    _pool: WorkerPool,
}

impl Scene {
    async fn set() -> Self {
        Self::set_with(&[], 1).await
    }

    /// With a worker that says that it can do this, and so gets so many bundles at once.
    async fn set_with(capabilities: &[&str], slots: u32) -> Self {
        let server = Server::start().await;
        let mut pool = WorkerPool::start().await;
        let capabilities = capabilities.iter().map(|urn| (*urn).to_owned()).collect();
        let mut job = Job::open(&server, Environment { capabilities, ..external(&pool.endpoint) });
        let mut worker = Harness::connect(&server.endpoint, &pool.asked().await.worker_id).await;
        assert_eq!(job.slots().await, slots);
        let elements = ["a", "b", "c", "d"].map(|key| kv(key, "1"));
        let running = job.start(&elements);
        let (instruction, _) = worker.bundle().await;
        let mut data = worker.open_data().await;
        assert_eq!(data.input(&instruction).await, wire(&elements));
        let sinks = job.sinks();
        Self { server, job, worker, data, running, instruction, sinks, _pool: pool }
    }

    /// The worker's answer to a split of this share.
    async fn split(&mut self, fraction: f64, response: fnpb::ProcessBundleSplitResponse) {
        self.running.split(fraction);
        let (question, ask) = self.worker.instruction().await;
        let Ask::ProcessBundleSplit(split) = ask else { panic!("{ask:?}") };
        assert_eq!(split.instruction_id, self.instruction);
        let desired = &split.desired_splits["purlin:source"];
        assert_eq!((desired.fraction_of_remainder, desired.estimated_input_elements), (fraction, 4));
        self.worker.answer(&question, Answer::ProcessBundleSplit(response));
    }

    fn answer(&self, response: fnpb::ProcessBundleResponse) {
        self.data.end(&self.instruction, &self.sinks);
        self.worker.answer(&self.instruction, Answer::ProcessBundle(response));
    }
}

fn application(transform: &str, value: &str, watermarks: &[(&str, i64)]) -> fnpb::BundleApplication {
    let at = |seconds: i64| Timestamp { seconds, nanos: 0 };
    fnpb::BundleApplication {
        transform_id: transform.to_owned(),
        input_id: "in".to_owned(),
        element: wire(&[kv("k", value)]).into(),
        output_watermarks: watermarks.iter().map(|(tag, seconds)| ((*tag).to_owned(), at(*seconds))).collect(),
        is_bounded: is_bounded::Enum::Bounded.into(),
    }
}

fn delayed(application: fnpb::BundleApplication) -> fnpb::DelayedBundleApplication {
    fnpb::DelayedBundleApplication { application: Some(application), requested_time_delay: None }
}

fn channel(last_primary: i64, first_residual: i64) -> Vec<ChannelSplit> {
    vec![ChannelSplit {
        transform_id: "purlin:source".to_owned(),
        last_primary_element: last_primary,
        first_residual_element: first_residual,
    }]
}

#[tokio::test]
async fn residuals_keep_their_element_their_bounds_and_their_delay() {
    let mut scene = Scene::set().await;
    let mut later = delayed(application("work", "rest", &[("a", 7), ("b", 5)]));
    later.requested_time_delay = Some(Duration { seconds: 60, nanos: 500_000_000 });
    let mut unknown = application("work", "more", &[("a", -9_223_372_036_855)]);
    unknown.is_bounded = is_bounded::Enum::Unbounded.into();
    scene.answer(fnpb::ProcessBundleResponse { residual_roots: vec![later, delayed(unknown)], ..Default::default() });
    let result = scene.job.finished().await;
    let (main, other) = (scene.job.plan.main, scene.job.plan.other);
    let [later, unknown] = &result.residuals[..] else { panic!("{:?}", result.residuals) };
    assert_eq!(scene.job.batches.get(later.batch.id).unwrap().get(0).value, kv("k", "rest"));
    assert_eq!(later.to, scene.job.plan.work);
    // The local output `b` is not an output of the stage; `other` is made of it.
    let at = EventTime::from_millis;
    assert_eq!(later.watermarks, [(main, at(7000)), (other, at(5000))]);
    let not_before = later.not_before.unwrap();
    assert!((not_before - NOW).0 >= 60_500 && (not_before - NOW).0 < 120_000, "{not_before:?}");
    assert!(later.bounded && !unknown.bounded);
    assert_eq!(unknown.not_before, None);
    assert_eq!(unknown.watermarks, [(main, EventTime::MIN), (other, EventTime::MIN)]);
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn a_residual_of_a_transform_inside_the_stage_is_garbage() {
    let mut scene = Scene::set().await;
    let residual_roots = vec![delayed(application("after", "rest", &[]))];
    scene.answer(fnpb::ProcessBundleResponse { residual_roots, ..Default::default() });
    let Failure::Garbage(why) = scene.job.failed().await else { panic!("not garbage") };
    assert!(why.contains("`Pipeline/After`, which does not read the input of stage `Work`"), "{why}");
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn a_split_returns_whole_elements_and_parts() {
    let mut scene = Scene::set().await;
    let response = fnpb::ProcessBundleSplitResponse {
        channel_splits: channel(0, 2),
        primary_roots: vec![application("work", "half", &[])],
        residual_roots: vec![delayed(application("work", "other half", &[("a", 1), ("b", 1)]))],
    };
    scene.split(0.5, response).await;
    let split = scene.job.split().await;
    let values = |slices: &[purlin_engine::data::BatchSlice]| -> Vec<Vec<u8>> {
        let read = |slice: &purlin_engine::data::BatchSlice| {
            let batch = scene.job.batches.get(slice.batch.id).unwrap();
            batch
                .iter(slice.first as usize, slice.last as usize)
                .map(|element| element.value.to_vec())
                .collect::<Vec<_>>()
        };
        slices.iter().flat_map(read).collect()
    };
    assert_eq!(values(&split.primary), [kv("a", "1"), kv("k", "half")]);
    assert_eq!(values(&split.rest), [kv("c", "1"), kv("d", "1")]);
    assert_eq!(split.residuals.len(), 1);
    let residual = split.residuals[0].batch.id;
    // The parts outlive the bundle, even if it fails: the engine has been told of them.
    scene.worker.fail(&scene.instruction, "no");
    scene.job.failed().await;
    assert_eq!(scene.job.batches.get(residual).unwrap().get(0).value, kv("k", "other half"));
    assert_eq!(scene.job.batches.get(split.primary[1].batch.id).unwrap().get(0).value, kv("k", "half"));
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn a_bundle_waits_for_the_answer_to_its_split() {
    let mut scene = Scene::set().await;
    scene.running.split(0.0);
    let (question, _) = scene.worker.instruction().await;
    scene.answer(fnpb::ProcessBundleResponse::default());
    let response = fnpb::ProcessBundleSplitResponse { channel_splits: channel(1, 2), ..Default::default() };
    scene.worker.answer(&question, Answer::ProcessBundleSplit(response));
    let split = scene.job.split().await;
    assert_eq!((split.primary.len(), split.rest.len()), (1, 2));
    assert_eq!(scene.job.finished().await.stats.elements_in, 2);
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn a_refused_split_is_no_failure() {
    let mut scene = Scene::set().await;
    scene.split(0.5, fnpb::ProcessBundleSplitResponse::default()).await;
    scene.running.split(0.5);
    let (question, _) = scene.worker.instruction().await;
    scene.worker.fail(&question, "Unknown process bundle id");
    scene.answer(fnpb::ProcessBundleResponse::default());
    assert_eq!(scene.job.finished().await.stats.elements_in, 4);
    scene.job.end(&scene.server).await;
}

/// Why a bundle fails whose worker answers a split with these.
async fn garbage(channel_splits: Vec<ChannelSplit>) -> String {
    let mut scene = Scene::set().await;
    scene.split(0.5, fnpb::ProcessBundleSplitResponse { channel_splits, ..Default::default() }).await;
    let Failure::Garbage(why) = scene.job.failed().await else { panic!("not garbage") };
    scene.job.end(&scene.server).await;
    why
}

#[tokio::test]
async fn a_split_that_cannot_be_is_garbage() {
    let why = garbage(channel(3, 2)).await;
    assert!(why.contains("keeps elements up to 3 and gives back those from 2"), "{why}");
}

/// Java's harness leaves the source's name out.
#[tokio::test]
async fn a_split_that_does_not_name_the_source_is_of_the_only_one() {
    let mut scene = Scene::set().await;
    let mut channel_splits = channel(0, 1);
    channel_splits[0].transform_id = String::new();
    scene.split(0.5, fnpb::ProcessBundleSplitResponse { channel_splits, ..Default::default() }).await;
    let split = scene.job.split().await;
    assert_eq!((split.primary.len(), split.rest.len()), (1, 2));
    scene.answer(fnpb::ProcessBundleResponse::default());
    assert_eq!(scene.job.finished().await.stats.elements_in, 1);
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn a_split_of_something_else_is_garbage() {
    let mut channel_splits = channel(0, 1);
    channel_splits[0].transform_id = "work".to_owned();
    let why = garbage(channel_splits).await;
    assert!(why.contains("it is about `work`, which is not where the bundle reads its input"), "{why}");
    let why = garbage([channel(0, 1), channel(1, 2)].concat()).await;
    assert!(why.contains("it tells 2 times where the input is cut"), "{why}");
}

/// What ran the one bundle would run the other, and a harness that finds it by the first one's name would split the second.
#[tokio::test]
async fn a_worker_that_owes_a_split_gets_no_bundle_of_that_stage() {
    let mut scene = Scene::set_with(&[MULTI_CORE_BUNDLE_PROCESSING], 2).await;
    scene.running.split(0.5);
    let _second = scene.job.start(&[kv("e", "1")]);
    // The bundle would come from another thread, which has all of this time.
    let mut questions = Vec::new();
    for _ in 0..20 {
        let (question, ask) = scene.worker.instruction().await;
        assert!(matches!(ask, Ask::ProcessBundleSplit(_)), "{ask:?}");
        questions.push(question);
        scene.running.split(0.5);
    }
    questions.push(scene.worker.instruction().await.0);
    for question in &questions {
        scene.worker.answer(question, Answer::ProcessBundleSplit(fnpb::ProcessBundleSplitResponse::default()));
    }
    let (second, ask) = scene.worker.instruction().await;
    assert!(matches!(ask, Ask::ProcessBundle(_)), "{ask:?}");
    assert_eq!(scene.data.input(&second).await, wire(&[kv("e", "1")]));
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn short_ids_are_asked_for_once_and_metrics_bear_the_users_names() {
    let mut scene = Scene::set().await;
    let payload = |value: u8| Bytes::copy_from_slice(&[value]);
    let data = |ids: &[(&str, u8)]| -> BTreeMap<String, Bytes> {
        ids.iter().map(|(id, value)| ((*id).to_owned(), payload(*value))).collect()
    };
    // Progress with an unknown id: the worker is asked what it means, and the numbers come with the next progress.
    scene.running.progress();
    let (question, ask) = scene.worker.instruction().await;
    assert!(matches!(ask, Ask::ProcessBundleProgress(ref of) if of.instruction_id == scene.instruction), "{ask:?}");
    let answer = fnpb::ProcessBundleProgressResponse { monitoring_data: data(&[("1", 1)]), ..Default::default() };
    scene.worker.answer(&question, Answer::ProcessBundleProgress(answer.clone()));
    let (question, ask) = scene.worker.instruction().await;
    let Ask::MonitoringInfos(ids) = ask else { panic!("{ask:?}") };
    assert_eq!(ids.monitoring_info_id, ["1"]);
    let infos = BTreeMap::from([("1".to_owned(), metric("work", "ones"))]);
    let known = fnpb::MonitoringInfosMetadataResponse { monitoring_info: infos };
    scene.worker.answer(&question, Answer::MonitoringInfos(known));
    scene.running.progress();
    let (question, _) = scene.worker.instruction().await;
    scene.worker.answer(&question, Answer::ProcessBundleProgress(answer));
    let progress = scene.job.progress().await;
    assert_eq!(progress[0].1, payload(1));
    assert_eq!(progress[0].0.labels["NAME"], "ones");
    // The end waits until it is known what the new ids mean; of one the worker knows nothing.
    scene.answer(fnpb::ProcessBundleResponse {
        monitoring_data: data(&[("1", 2), ("2", 3), ("x", 4)]),
        ..Default::default()
    });
    let (question, ask) = scene.worker.instruction().await;
    let Ask::MonitoringInfos(ids) = ask else { panic!("{ask:?}") };
    assert_eq!(ids.monitoring_info_id, ["2", "x"]);
    let infos = BTreeMap::from([("2".to_owned(), metric("after", "twos"))]);
    let known = fnpb::MonitoringInfosMetadataResponse { monitoring_info: infos };
    scene.worker.answer(&question, Answer::MonitoringInfos(known));
    scene.job.finished().await;
    let metrics = &scene.job.metrics[&purlin_engine::core::action::BundleId(0)];
    let told: Vec<_> = metrics.iter().map(|(key, value)| (key.labels["PTRANSFORM"].as_str(), value[0])).collect();
    assert_eq!(told, [("work", 2), ("original", 3)]);
    assert_eq!(&*metrics[0].0.kind, "beam:metrics:sum_int64:v1");
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn metrics_in_both_forms_count_once() {
    let mut scene = Scene::set().await;
    let mut info = metric("work", "ones");
    info.payload = Bytes::from_static(&[5]);
    let runners_own = metric("purlin:source", "read");
    scene.answer(fnpb::ProcessBundleResponse {
        monitoring_infos: vec![info, runners_own],
        monitoring_data: BTreeMap::from([("1".to_owned(), Bytes::from_static(&[5]))]),
        ..Default::default()
    });
    scene.job.finished().await;
    let metrics = &scene.job.metrics[&purlin_engine::core::action::BundleId(0)];
    assert_eq!(metrics.len(), 1, "{metrics:?}");
    scene.job.end(&scene.server).await;
}
