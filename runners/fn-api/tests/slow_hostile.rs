//! Workers that lie, over real streams: each lie fails its own bundle, in words that say where, and the worker goes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use purlin_engine::core::event::Failure;
use purlin_fn_api::WorkerLimits;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::elements::Timers;
use purlin_proto::fn_execution::v1::instruction_response::Response as Answer;
use support::harness::{DataStream, Harness, metric};
use support::job::{Job, header, kv, wire};
use support::scene::Scene;
use support::server::Server;
use support::worker_pool::WorkerPool;

/// A job with one worker that is up, and its data stream.
struct Liar {
    server: Server,
    _pool: WorkerPool,
    job: Job,
    worker: Harness,
    data: DataStream,
}

impl Liar {
    async fn set() -> Self {
        Self::with(WorkerLimits::default()).await
    }

    async fn with(limits: WorkerLimits) -> Self {
        let Scene { server, pool, job, worker } = Scene::with(limits).await;
        let data = worker.open_data().await;
        Self { server, _pool: pool, job, worker, data }
    }

    async fn bundle(&mut self) -> String {
        self.job.start(&[kv("a", "1")]);
        self.worker.bundle().await.0
    }

    /// Why the bundle failed. Whatever it was, the next one passes.
    async fn refused(&mut self) -> String {
        let Failure::Garbage(why) = self.job.failed().await else { panic!("not garbage") };
        assert!(why.contains("`Work`"), "it names the stage: {why}");
        self.passes().await;
        why
    }

    /// An honest bundle.
    async fn passes(&mut self) {
        let instruction = self.bundle().await;
        let [main, other] = self.job.sinks();
        self.data.send(&instruction, &main, wire(&[kv("a", "1")]), false);
        self.data.end(&instruction, &[main, other]);
        self.worker.done(&instruction);
        let result = self.job.finished().await;
        assert_eq!(self.job.values(&result), [kv("a", "1")]);
    }

    async fn end(self) {
        self.job.end(&self.server).await;
    }
}

#[tokio::test]
async fn a_length_that_no_element_has_is_refused_before_its_bytes_come() {
    let mut scene = Liar::set().await;
    let [main, _] = scene.job.sinks();
    for lie in [&[1, b'k', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..], &[0x80; 11], &[0xff; 10]] {
        let instruction = scene.bundle().await;
        scene.data.send(&instruction, &main, [&header()[..], lie].concat(), false);
        let why = scene.refused().await;
        assert!(why.contains("`Work.0`") && why.contains("element 0"), "{why}");
    }
    scene.end().await;
}

#[tokio::test]
async fn a_count_of_windows_that_cannot_be_is_refused() {
    let mut scene = Liar::set().await;
    let [main, _] = scene.job.sinks();
    for count in [-1_i32, 2, 1 << 20, i32::MAX] {
        let instruction = scene.bundle().await;
        let mut element = header();
        element[8..12].copy_from_slice(&count.to_be_bytes());
        scene.data.send(&instruction, &main, [element, kv("a", "1")].concat(), false);
        let why = scene.refused().await;
        assert!(why.contains(&format!("claims to stand in {count} windows")), "{why}");
    }
    scene.end().await;
}

#[tokio::test]
async fn an_instant_outside_of_beams_range_is_refused() {
    let mut scene = Liar::set().await;
    let [main, _] = scene.job.sinks();
    for instant in [[0; 8], [0xff; 8]] {
        let instruction = scene.bundle().await;
        let mut element = header();
        element[..8].copy_from_slice(&instant);
        scene.data.send(&instruction, &main, [element, kv("a", "1")].concat(), false);
        let why = scene.refused().await;
        assert!(why.contains("`Work.0`") && why.contains("outside"), "{why}");
    }
    scene.end().await;
}

#[tokio::test]
async fn what_comes_after_the_last_is_refused() {
    let mut scene = Liar::set().await;
    let [main, _] = scene.job.sinks();
    for late in [Bytes::new(), Bytes::from(wire(&[kv("a", "1")]))] {
        let instruction = scene.bundle().await;
        scene.data.send(&instruction, &main, Bytes::new(), true);
        scene.data.send(&instruction, &main, late, true);
        let why = scene.refused().await;
        assert!(why.contains(&format!("elements of `{main}`")) && why.contains("is_last"), "{why}");
    }
    scene.end().await;
}

#[tokio::test]
async fn timers_of_nobody_are_refused() {
    let mut scene = Liar::set().await;
    for transform in ["work", "nobody"] {
        let instruction_id = scene.bundle().await;
        let timers = Timers {
            instruction_id,
            transform_id: transform.to_owned(),
            timer_family_id: "family".to_owned(),
            timers: Bytes::new(),
            is_last: true,
        };
        scene.data.sent.send(fnpb::Elements { data: Vec::new(), timers: vec![timers] }).unwrap();
        let why = scene.refused().await;
        assert!(why.contains("`family`") && why.contains("declares timers"), "{why}");
    }
    scene.end().await;
}

#[tokio::test]
async fn a_bundle_is_answered_once() {
    let mut scene = Liar::set().await;
    let instruction = scene.bundle().await;
    scene.worker.done(&instruction);
    scene.worker.done(&instruction);
    let why = scene.refused().await;
    assert!(why.contains("twice"), "{why}");
    scene.end().await;
}

#[tokio::test]
async fn an_answer_of_another_kind_is_refused() {
    let mut scene = Liar::set().await;
    let instruction = scene.bundle().await;
    scene.worker.answer(&instruction, Answer::FinalizeBundle(fnpb::FinalizeBundleResponse {}));
    let why = scene.refused().await;
    assert!(why.contains("something else"), "{why}");
    scene.end().await;
}

#[tokio::test]
async fn a_stream_that_never_ends_fails_the_bundle_once_its_worker_has_answered() {
    let limits = WorkerLimits { rest_timeout: Duration::from_millis(50), ..WorkerLimits::default() };
    let mut scene = Liar::with(limits).await;
    let instruction = scene.bundle().await;
    let [main, other] = scene.job.sinks();
    scene.data.send(&instruction, &main, wire(&[kv("a", "1")]), true);
    scene.worker.done(&instruction);
    let Failure::Garbage(why) = scene.job.failed().await else { panic!("not garbage") };
    assert!(why.contains("`Work`") && why.contains(&format!("the end of output `{other}`")), "{why}");
    assert!(!why.contains(&format!("`{main}`")) && why.contains("is_last"), "{why}");
    scene.end().await;
}

#[tokio::test]
async fn what_is_said_of_strangers_changes_nothing() {
    let mut scene = Liar::set().await;
    let instruction = scene.bundle().await;
    let [main, other] = scene.job.sinks();
    scene.data.send("i-of-nobody", &main, vec![0xff; 64], true);
    let progress = fnpb::ProcessBundleProgressResponse::default();
    scene.worker.answer("i-of-nobody", Answer::ProcessBundleProgress(progress));
    scene.worker.answer("i-of-nobody", Answer::ProcessBundleSplit(fnpb::ProcessBundleSplitResponse::default()));
    scene.worker.fail("i-of-nobody", "no");
    scene.worker.done("i-of-nobody");
    scene.data.end(&instruction, &[main, other]);
    scene.worker.done(&instruction);
    scene.job.finished().await;
    scene.passes().await;
    scene.end().await;
}

#[tokio::test]
async fn metrics_that_are_none_do_not_fail_a_bundle() {
    let mut scene = Liar::set().await;
    let instruction = scene.bundle().await;
    scene.data.end(&instruction, &scene.job.sinks());
    let mut garbage = metric("work", "count");
    garbage.payload = Bytes::from_static(&[0xff; 40]);
    let unheard = purlin_proto::pipeline::v1::MonitoringInfo::default();
    let monitoring_infos = vec![garbage, unheard];
    let response = fnpb::ProcessBundleResponse { monitoring_infos, ..Default::default() };
    scene.worker.answer(&instruction, Answer::ProcessBundle(response));
    scene.job.finished().await;
    scene.passes().await;
    scene.end().await;
}
