//! What small pipelines need, one row a line.

mod environment_rows;
mod windowing_rows;

use purlin_capability_matrix::row::Row;
use purlin_model::trigger::Trigger;
use purlin_model::window::WindowFn;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::pipeline::v1::state_spec::Spec;
use purlin_proto::urns::standard_environments::environments;
use purlin_proto::urns::standard_ptransforms::{
    composites, deprecated_primitives, primitives, splittable_par_do_components,
};
use purlin_proto::urns::standard_requirements;

use super::requirements;
use crate::testing::TestPipeline;

/// Each row with its transforms, but for what every pipeline of these tests needs: an environment.
fn needs(pipeline: TestPipeline) -> String {
    let found = requirements(&pipeline.validated());
    let lines = found.iter().filter(|(row, _)| row.id() != "environment-external").map(|(row, transforms)| {
        let transforms: Vec<_> = transforms.keys().map(String::as_str).collect();
        format!("{row}: {}", transforms.join(", "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `numbers`, made from an impulse.
fn numbers() -> TestPipeline {
    TestPipeline::new().impulse("start").par_do("Make", "start", &["numbers"])
}

fn windowed_group(strategy: &str) -> TestPipeline {
    grouped(TestPipeline::new(), strategy)
}

fn grouped(pipeline: TestPipeline, strategy: &str) -> TestPipeline {
    pipeline
        .windowed("pairs", "kv<bytes, varint>", strategy)
        .windowed("groups", "kv<bytes, iterable<varint>>", strategy)
        .impulse("start")
        .par_do("Pair", "start", &["pairs"])
        .group("Group", "pairs", "groups")
}

fn stateful(change: impl FnOnce(&mut pb::ParDoPayload)) -> String {
    let pairs = TestPipeline::new().collection("pairs", "kv<bytes, varint>");
    needs(
        pairs
            .impulse("start")
            .par_do("Pair", "start", &["pairs"])
            .par_do("Count", "pairs", &["counts"])
            .payload(change),
    )
}

fn with_state(spec: Spec) -> String {
    stateful(|payload| {
        payload.state_specs.insert("s".to_owned(), pb::StateSpec { spec: Some(spec), protocol: None });
    })
}

fn timers(domain: pb::time_domain::Enum) -> pb::TimerFamilySpec {
    pb::TimerFamilySpec { time_domain: domain.into(), timer_family_coder_id: "bytes".to_owned() }
}

fn in_environment(pipeline: TestPipeline, id: &str, environment: pb::Environment) -> TestPipeline {
    pipeline.change(|components| {
        components.environments.insert(id.to_owned(), environment);
    })
}

#[test]
fn a_row_names_each_transform_that_needs_it_once() {
    insta::assert_snapshot!(needs(numbers().par_do("Double", "numbers", &["doubled"])), @"par-do: Double, Make");
}

#[test]
fn flattens_and_groupings() {
    insta::assert_snapshot!(needs(windowed_group("global").flatten("Both", &["pairs", "pairs"], "both")), @"
    par-do: Pair
    group-by-key: Group
    flatten: Both
    global-windows: Group
    ");
}

#[test]
fn a_combiner_groups_too_whether_it_is_lifted_or_not() {
    let pipeline = |accumulator: &str| {
        TestPipeline::new()
            .collection("pairs", "kv<bytes, varint>")
            .collection("groups", "kv<bytes, iterable<varint>>")
            .impulse("start")
            .par_do("Pair", "start", &["pairs"])
            .combine("Sum", "pairs", "groups", "sums", accumulator)
    };
    insta::assert_snapshot!(needs(pipeline("varint")), @"
    par-do: Pair
    group-by-key: Sum
    combine: Sum
    global-windows: Sum
    ");
    let unlifted = pipeline("varint").edit(|sum| sum.spec.as_mut().expect("a spec").payload = Default::default());
    insta::assert_snapshot!(needs(unlifted), @"
    par-do: Pair, Sum/Values
    group-by-key: Sum/Group
    combine: Sum
    composite-transforms: Sum
    global-windows: Sum/Group
    ");
}

#[test]
fn a_reshuffle_needs_nothing_of_what_stands_in_it() {
    let pipeline = TestPipeline::new()
        .windowed("pairs", "kv<bytes, varint>", "sessions")
        .windowed("groups", "kv<bytes, iterable<varint>>", "sessions")
        .windowed("shuffled", "kv<bytes, varint>", "sessions")
        .impulse("start")
        .par_do("Pair", "start", &["pairs"])
        .transform("Reshuffle", composites::RESHUFFLE, &["pairs"], &["shuffled"])
        .group("Reshuffle/Group", "pairs", "groups")
        .inside("Reshuffle");
    insta::assert_snapshot!(needs(pipeline), @"par-do: Pair");
}

#[test]
fn side_inputs_and_those_that_come_again() {
    let main = numbers().par_do("Look up", "start", &["found"]).sides(&[("numbers", "iterable")]);
    insta::assert_snapshot!(needs(main), @"
    par-do: Look up, Make
    side-inputs: Look up
    iterable-side-inputs: Look up
    ");
    let again = TestPipeline::new()
        .strategy("again", "global_window", WindowFn::Global, |it| it.trigger = Trigger::Always)
        .windowed("numbers", "kv<bytes, bytes>", "again")
        .impulse("start")
        .par_do("Make", "start", &["numbers"])
        .par_do("Look up", "start", &["found"])
        .sides(&[("numbers", "multimap")]);
    insta::assert_snapshot!(needs(again), @"
    par-do: Look up, Make
    side-inputs: Look up
    multimap-side-inputs: Look up
    triggered-side-inputs: Look up
    ");
}

#[test]
fn a_side_input_with_windows() {
    let pipeline = numbers()
        .windowed("hours", "bytes", "fixed")
        .par_do("Window", "numbers", &["hours"])
        .par_do("Look up", "start", &["found"])
        .sides(&[("hours", "iterable")]);
    insta::assert_snapshot!(needs(pipeline), @"
    par-do: Look up, Make, Window
    side-inputs: Look up
    iterable-side-inputs: Look up
    windowed-side-inputs: Look up
    ");
}

#[test]
fn every_kind_of_state() {
    let (one, two) = (|| "bytes".to_owned(), || ("bytes".to_owned(), "varint".to_owned()));
    insta::assert_snapshot!(with_state(Spec::BagSpec(pb::BagStateSpec { element_coder_id: one() })), @"
    par-do: Count, Pair
    stateful-processing: Count
    global-windows: Count
    state-bag: Count
    ");
    insta::assert_snapshot!(with_state(Spec::ReadModifyWriteSpec(pb::ReadModifyWriteStateSpec { coder_id: one() })), @"
    par-do: Count, Pair
    stateful-processing: Count
    global-windows: Count
    state-value: Count
    ");
    insta::assert_snapshot!(with_state(Spec::CombiningSpec(pb::CombiningStateSpec { accumulator_coder_id: one(), combine_fn: None })), @"
    par-do: Count, Pair
    stateful-processing: Count
    global-windows: Count
    state-combining: Count
    ");
    insta::assert_snapshot!(with_state(Spec::SetSpec(pb::SetStateSpec { element_coder_id: one() })), @"
    par-do: Count, Pair
    stateful-processing: Count
    global-windows: Count
    state-set: Count
    ");
    insta::assert_snapshot!(with_state(Spec::OrderedListSpec(pb::OrderedListStateSpec { element_coder_id: one() })), @"
    par-do: Count, Pair
    stateful-processing: Count
    global-windows: Count
    state-ordered-list: Count
    ");
    let (key_coder_id, value_coder_id) = two();
    insta::assert_snapshot!(with_state(Spec::MapSpec(pb::MapStateSpec { key_coder_id, value_coder_id })), @"
    par-do: Count, Pair
    stateful-processing: Count
    global-windows: Count
    state-map: Count
    ");
    let (key_coder_id, value_coder_id) = two();
    insta::assert_snapshot!(with_state(Spec::MultimapSpec(pb::MultimapStateSpec { key_coder_id, value_coder_id })), @"
    par-do: Count, Pair
    stateful-processing: Count
    global-windows: Count
    state-multimap: Count
    ");
}

#[test]
fn timers_of_both_domains_and_the_end_of_windows() {
    let both = stateful(|payload| {
        payload.timer_family_specs.insert("e".to_owned(), timers(pb::time_domain::Enum::EventTime));
        payload.timer_family_specs.insert("p".to_owned(), timers(pb::time_domain::Enum::ProcessingTime));
    });
    insta::assert_snapshot!(both, @"
    par-do: Count, Pair
    global-windows: Count
    timers: Count
    event-time-timers: Count
    processing-time-timers: Count
    ");
    let expiry = stateful(|payload| {
        payload.timer_family_specs.insert("end".to_owned(), timers(pb::time_domain::Enum::EventTime));
        payload.on_window_expiration_timer_family_spec = "end".to_owned();
    });
    insta::assert_snapshot!(expiry, @"
    par-do: Count, Pair
    global-windows: Count
    on-window-expiration: Count
    ");
}

#[test]
fn state_is_kept_by_window() {
    let pipeline = TestPipeline::new()
        .windowed("pairs", "kv<bytes, varint>", "fixed")
        .impulse("start")
        .par_do("Pair", "start", &["pairs"])
        .par_do("Count", "pairs", &["counts"])
        .stateful();
    insta::assert_snapshot!(needs(pipeline), @"
    par-do: Count, Pair
    stateful-processing: Count
    fixed-windows: Count
    state-bag: Count
    ");
}

#[test]
fn sorted_and_stable_input_and_finalization() {
    let all = stateful(|payload| {
        payload.requires_time_sorted_input = true;
        payload.requires_stable_input = true;
        payload.requests_finalization = true;
    });
    insta::assert_snapshot!(all, @"
    par-do: Count, Pair
    time-sorted-input: Count
    stable-input: Count
    bundle-finalization: Count
    ");
}

#[test]
fn a_splittable_do_fn_is_unbounded_if_it_makes_something_unbounded_of_what_is_not() {
    let read = || {
        let sdf = numbers().par_do("Read", "start", &["read"]).sides(&[("numbers", "iterable")]).splittable("bytes");
        sdf.payload(|payload| payload.requests_finalization = true)
    };
    insta::assert_snapshot!(needs(read()), @"
    par-do: Make, Read
    side-inputs: Read
    bounded-sdf-base: Read
    bounded-sdf-side-inputs: Read
    bounded-sdf-bundle-finalization: Read
    iterable-side-inputs: Read
    bundle-finalization: Read
    ");
    insta::assert_snapshot!(needs(read().unbounded("read")), @"
    par-do: Make, Read
    side-inputs: Read
    unbounded-sdf-base: Read
    unbounded-sdf-side-inputs: Read
    unbounded-sdf-bundle-finalization: Read
    unbounded-pcollections: Read
    iterable-side-inputs: Read
    bundle-finalization: Read
    ");
    // Its input is unbounded already: what it does for each element is not known.
    let behind = read().unbounded("read").par_do("Follow", "read", &["followed"]).splittable("bytes");
    insta::assert_snapshot!(needs(behind.unbounded("followed")), @"
    par-do: Follow, Make, Read
    side-inputs: Read
    bounded-sdf-base: Follow
    unbounded-sdf-base: Read
    unbounded-sdf-side-inputs: Read
    unbounded-sdf-bundle-finalization: Read
    unbounded-pcollections: Read
    iterable-side-inputs: Read
    bundle-finalization: Read
    ");
}

#[test]
fn what_is_unbounded_is_told_of_the_transform_that_makes_it() {
    let pipeline = windowed_group("global").unbounded("pairs").unbounded("groups");
    insta::assert_snapshot!(needs(pipeline), @"
    par-do: Pair
    group-by-key: Group
    global-windows: Group
    unbounded-pcollections: Pair
    ");
}

#[test]
fn composites_and_what_they_stand_for() {
    let pipeline = numbers()
        .transform("Report", "test:report", &["numbers"], &["count"])
        .transform("Report/Count", composites::COMBINE_GLOBALLY, &["numbers"], &["count"])
        .par_do("Report/Count/Add", "numbers", &["count"])
        .inside("Report/Count")
        .inside("Report");
    insta::assert_snapshot!(needs(pipeline), @"
    par-do: Make, Report/Count/Add
    combine: Report/Count
    composite-transforms: Report, Report/Count
    ");
}

#[test]
fn a_test_stream_is_a_source_that_only_the_runner_can_play() {
    let pipeline = || numbers().transform("Events", primitives::TEST_STREAM, &[], &["events"]);
    insta::assert_snapshot!(needs(pipeline()), @"
    par-do: Make
    test-stream: Events
    ");
    assert_eq!(pipeline().problems(), "");
    let twice = pipeline().transform("More", primitives::TEST_STREAM, &[], &["more"]);
    insta::assert_snapshot!(twice.problems(), @"More: is a second TestStream, and a job has one clock only; merge their events into one, with an output each");
}

#[test]
fn roots_of_other_kinds_that_an_environment_lists() {
    let rooted = |urn: &str| {
        let py = pb::Environment { urn: environments::EXTERNAL.to_owned(), ..pb::Environment::default() };
        let py = pb::Environment { capabilities: vec![urn.to_owned()], ..py };
        let pipeline = in_environment(numbers(), "py", py);
        needs(pipeline.transform("Root", urn, &["start"], &["events"]).in_env("py"))
    };
    insta::assert_snapshot!(rooted(primitives::TEST_STREAM), @"
    par-do: Make
    test-stream: Root
    ");
    insta::assert_snapshot!(rooted(deprecated_primitives::READ), @"
    par-do: Make
    source-api: Root
    ");
    insta::assert_snapshot!(rooted(splittable_par_do_components::PAIR_WITH_RESTRICTION), @"
    par-do: Make
    bounded-sdf-base: Root
    ");
    insta::assert_snapshot!(rooted("beam:transform:to_string:v1"), @"par-do: Make, Root");
}

#[test]
fn what_the_pipeline_states_and_no_transform_shows() {
    let stated = numbers()
        .requires(standard_requirements::REQUIRES_STABLE_INPUT)
        .requires(standard_requirements::REQUIRES_STATEFUL_PROCESSING)
        .requires(standard_requirements::REQUIRES_SPLITTABLE_DOFN);
    insta::assert_snapshot!(needs(stated), @"
    par-do: Make
    stateful-processing: the pipeline
    stable-input: the pipeline
    ");
    let shown = numbers().payload(|payload| payload.requires_stable_input = true);
    let stated = shown.clone().requires(standard_requirements::REQUIRES_STABLE_INPUT);
    assert_eq!(needs(stated), needs(shown));
}

#[test]
fn limits_hear_of_what_is_unbounded_and_of_windows_that_merge() {
    let pipeline =
        windowed_group("sessions").unbounded("pairs").unbounded("groups").par_do("Map", "start", &["mapped"]);
    let found = requirements(&pipeline.validated());
    let under = |row: Row| format!("{:?}", found.iter().find(|(needed, _)| *needed == row).expect("a need").1);
    insta::assert_snapshot!(under(Row::GroupByKey), @r#"{"Group": {Unbounded, MergingWindows}}"#);
    insta::assert_snapshot!(under(Row::ParDo), @r#"{"Map": {}, "Pair": {Unbounded}}"#);
}

/// Each row that features.toml calls `checked` is looked for somewhere here, and no other is.
#[test]
fn every_row_that_a_check_can_see_is_looked_for() {
    let sources = [
        include_str!("../requirements.rs"),
        include_str!("environment.rs"),
        include_str!("par_do.rs"),
        include_str!("windowing.rs"),
    ]
    .concat();
    let looked_for = |row: Row| {
        let name = format!("Row::{row:?}");
        sources.match_indices(&name).any(|(at, _)| !sources[at + name.len()..].starts_with(char::is_alphanumeric))
    };
    for &row in Row::ALL {
        assert_eq!(looked_for(row), row.feature().checked, "{row}");
    }
}
