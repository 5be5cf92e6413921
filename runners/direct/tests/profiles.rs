//! The profile of a job, by native jobs: what it counts is what was there, and a hot key is named.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use purlin_backend::profile::{JobProfile, StageProfile};
use purlin_engine::core::action::Outcome;
use purlin_model::ids::CoderId;
use purlin_model::key_group::KeyGroup;
use purlin_model::window::WindowCoder;
use purlin_model::windowing_strategy::WindowingStrategy;
use purlin_native::{Chunk, Codec, Int, NativeError, NativeJob, Pair, Repeated, Text, count_per_key, typed};

use support::{schedule, threads};

const ELEMENTS: u64 = 60_000;

/// Pairs whose keys this function chooses by number, grouped and counted.
async fn profile(key: fn(u64) -> String) -> JobProfile {
    let mut job = NativeJob::new();
    let impulse = job.graph.impulse("Impulse");
    let create = typed::<Text, Pair<Text, Text>, _>(move |_: Chunk<'_, Vec<u8>>, out: &mut Vec<(Vec<u8>, Vec<u8>)>| {
        out.extend((0..ELEMENTS).map(|number| (key(number).into_bytes(), vec![b'v'; 80])));
        Ok(())
    });
    let pairs = job.stage::<Pair<Text, Text>>("Create", &[impulse], WindowCoder::Global, create);
    let strategy = WindowingStrategy::global(CoderId::new("global"));
    let grouped = job.graph.group("Group", &[pairs], &strategy, Pair::<Text, Repeated<Text>>::coder());
    job.stage::<Pair<Text, Int>>("Count", &[grouped], WindowCoder::Global, count_per_key());
    let ended = job.run(schedule(), threads()).await;
    assert_eq!(ended.outcome, Outcome::Done);
    ended.control.profile()
}

fn stage<'a>(profile: &'a JobProfile, name: &str) -> &'a StageProfile {
    profile.stages.iter().find(|stage| &*stage.name == name).unwrap()
}

#[tokio::test]
async fn a_hot_key_is_named_with_its_lane() {
    let profile = profile(|number| if number % 2 == 0 { "hot\n".to_owned() } else { format!("key {number}") }).await;
    let [hot] = &stage(&profile, "Group").hot_lanes[..] else { panic!("{profile:?}") };
    let mut encoded = Vec::new();
    Text::encode(&b"hot\n".to_vec(), &mut encoded);
    assert_eq!(hot.group, KeyGroup::of_key(&encoded));
    assert!((0.45..0.6).contains(&hot.share), "{hot:?}");
    assert!((ELEMENTS / 2..ELEMENTS).contains(&hot.elements), "{hot:?}");
    let key = hot.key.as_ref().unwrap();
    assert_eq!(key.text, r#""hot\n""#);
    assert!(key.share > 0.8, "{key:?}");
    assert_eq!(stage(&profile, "Count").hot_lanes, [], "it does not read by key");
}

#[tokio::test]
async fn keys_that_are_spread_evenly_are_not_hot() {
    let profile = profile(|number| format!("key {number}")).await;
    assert_eq!(stage(&profile, "Group").hot_lanes, []);
}

#[tokio::test]
async fn elements_bytes_and_times_are_those_of_the_job() {
    let profile = profile(|number| format!("key {}", number % 100)).await;
    let (create, group, count) = (stage(&profile, "Create"), stage(&profile, "Group"), stage(&profile, "Count"));
    assert_eq!((create.elements_in, create.elements_out), (1, ELEMENTS));
    assert_eq!((group.elements_in, group.elements_out), (ELEMENTS, 100));
    assert_eq!((count.elements_in, count.elements_out), (100, 100));
    assert!(create.bytes_out > 80 * ELEMENTS && group.bytes_out > 80 * ELEMENTS);
    assert!(group.bytes_in > 80 * ELEMENTS && group.bytes_in <= create.bytes_out + 4 * ELEMENTS + 100_000);
    assert!(group.by_runner && group.sdk_us == 0 && group.runner.group_us > 0);
    assert!(!create.by_runner && create.sdk_us > 0);
    assert!(profile.elapsed_us > 0 && profile.core_us < profile.elapsed_us);
    for stage in &profile.stages {
        assert!(stage.bundles > 0 && stage.failed == 0 && stage.retried == 0, "{stage:?}");
        assert!(stage.runner.total_us() + stage.sdk_us <= stage.bundle_us + 1_000, "{stage:?}");
    }
}

#[tokio::test]
async fn a_bundle_that_failed_is_counted_and_its_elements_are_not() {
    let mut job = NativeJob::new();
    let impulse = job.graph.impulse("Impulse");
    let failing =
        typed::<Text, Int, _>(|_: Chunk<'_, Vec<u8>>, _: &mut Vec<i64>| Err(NativeError::User("no".to_owned())));
    job.stage::<Int>("Fail", &[impulse], WindowCoder::Global, failing);
    let ended = job.run(schedule(), threads()).await;
    assert!(matches!(ended.outcome, Outcome::Failed(_)));
    let profile = ended.control.profile();
    let fail = stage(&profile, "Fail");
    assert_eq!((fail.bundles, fail.failed, fail.elements_in), (0, 1, 0));
}
