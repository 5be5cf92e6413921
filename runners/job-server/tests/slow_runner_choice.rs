//! Which runner a job gets, and what it is told when no runner will do: by the sheets, at Prepare.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::sync::Arc;

use purlin_backend::Registry;
use purlin_continuous::ContinuousBackend;
use purlin_direct::DirectBackend;
use purlin_job_server::ServerConfig;
use purlin_micro_batch::MicroBatchBackend;
use support::{history, impulse, on_runner, options, prepare, refused, serve, submit, written_in_rust};

/// The runners of the program `purlin`.
fn config(runner: &str) -> ServerConfig {
    let registry = Registry::new()
        .with(Arc::new(DirectBackend))
        .with(Arc::new(MicroBatchBackend))
        .with(Arc::new(ContinuousBackend));
    ServerConfig::new(registry, runner)
}

#[tokio::test]
async fn what_a_runner_lacks_is_refused_with_all_of_it_and_who_would_do() {
    let (_server, mut client) = serve(config("direct")).await;
    insta::assert_snapshot!(refused(prepare(&mut client, written_in_rust(), on_runner("direct")).await));
}

#[tokio::test]
async fn auto_takes_the_first_that_can_and_says_why() {
    let (_server, mut client) = serve(config("direct")).await;
    let job = submit(&mut client, impulse(), on_runner("auto")).await;
    insta::assert_snapshot!(history(&mut client, &job).await.join("\n"));
}

#[tokio::test]
async fn auto_may_be_what_jobs_get_that_name_no_runner() {
    let (_server, mut client) = serve(config("auto")).await;
    let job = submit(&mut client, impulse(), options(&[])).await;
    let lines = history(&mut client, &job).await;
    assert!(lines.iter().any(|line| line.starts_with("BASIC: auto chose runner `direct`")), "{lines:?}");
}

#[tokio::test]
async fn auto_takes_a_runner_whose_options_are_given() {
    let (_server, mut client) = serve(config("direct")).await;
    let given = options(&[("purlin_runner", "auto"), ("continuous_bundle_age_ms", "7")]);
    let job = submit(&mut client, impulse(), given).await;
    insta::assert_snapshot!(history(&mut client, &job).await.join("\n"));
}

#[tokio::test]
async fn when_auto_finds_none_every_runner_says_why() {
    let (_server, mut client) = serve(config("auto")).await;
    insta::assert_snapshot!(refused(prepare(&mut client, written_in_rust(), options(&[])).await));
}

#[tokio::test]
async fn options_of_other_runners_and_values_out_of_range_are_refused_together() {
    let (_server, mut client) = serve(config("direct")).await;
    let given = options(&[
        ("direct_bundle_elements_max", "0"),
        ("direct_shuffle_seed", "x"),
        ("micro_batch_bundle_bytes_max", "77"),
        // What SDKs were told is the default says nothing.
        ("continuous_bundle_age_ms", "100"),
    ]);
    insta::assert_snapshot!(refused(prepare(&mut client, written_in_rust(), given).await));
}

#[tokio::test]
async fn what_is_wrong_with_options_and_pipeline_is_told_at_once() {
    let (_server, mut client) = serve(config("direct")).await;
    let mut pipeline = impulse();
    pipeline.components.as_mut().unwrap().pcollections.get_mut("started").unwrap().coder_id = "gone".to_owned();
    let given = options(&[("continuous_bundle_age_ms", "5")]);
    insta::assert_snapshot!(refused(prepare(&mut client, pipeline, given).await));
}
