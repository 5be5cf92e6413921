//! What small pipelines need, one row a line.

use purlin_model::time::Millis;
use purlin_model::trigger::Trigger;
use purlin_model::window::WindowFn;
use purlin_model::windowing_strategy::{AccumulationMode, TimestampCombiner, WindowingStrategy};
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
        let transforms: Vec<_> = transforms.iter().map(String::as_str).collect();
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

/// The rows of a grouping with this trigger, changed as wanted.
fn grouping(change: impl FnOnce(&mut WindowingStrategy)) -> String {
    let fixed = WindowFn::Fixed { size: Millis(10_000), offset: Millis(0) };
    needs(grouped(TestPipeline::new().strategy("changed", "interval_window", fixed, change), "changed"))
}

fn triggered(trigger: Trigger) -> String {
    grouping(|it| it.trigger = trigger)
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

/// An environment of this kind that an SDK with this base container describes.
fn environment(urn: &str, base: &str) -> pb::Environment {
    let standard = ["bytes", "kv", "iterable", "varint", "length_prefix", "global_window", "windowed_value"];
    let mut capabilities: Vec<String> = standard.iter().map(|name| format!("beam:coder:{name}:v1")).collect();
    capabilities.push(format!("beam:version:sdk_base:{base}"));
    pb::Environment { urn: urn.to_owned(), capabilities, ..pb::Environment::default() }
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
fn every_kind_of_window() {
    insta::assert_snapshot!(needs(windowed_group("fixed")), @"
    par-do: Pair
    group-by-key: Group
    fixed-windows: Group
    ");
    insta::assert_snapshot!(needs(windowed_group("sessions")), @"
    par-do: Pair
    group-by-key: Group
    session-windows: Group
    ");
    insta::assert_snapshot!(needs(windowed_group("custom")), @"
    par-do: Pair
    group-by-key: Group
    custom-windows: Group
    ");
    insta::assert_snapshot!(needs(windowed_group("custom_merging")), @"
    par-do: Pair
    group-by-key: Group
    custom-windows: Group
    custom-merging-windows: Group
    ");
    let sliding = WindowFn::Sliding { size: Millis(10), period: Millis(5), offset: Millis(0) };
    let pipeline = TestPipeline::new().strategy("sliding", "interval_window", sliding, |_| ());
    insta::assert_snapshot!(needs(grouped(pipeline, "sliding")), @"
    par-do: Pair
    group-by-key: Group
    sliding-windows: Group
    ");
}

#[test]
fn whoever_assigns_windows_needs_them_even_if_nobody_groups() {
    let pipeline = numbers()
        .windowed("windowed", "bytes", "fixed")
        .transform("Window", primitives::ASSIGN_WINDOWS, &["numbers"], &["windowed"])
        .in_env("py");
    insta::assert_snapshot!(needs(pipeline), @"
    par-do: Make
    fixed-windows: Window
    ");
}

#[test]
fn timestamps_and_lateness() {
    insta::assert_snapshot!(grouping(|it| it.timestamp_combiner = TimestampCombiner::Latest), @"
    par-do: Pair
    group-by-key: Group
    fixed-windows: Group
    timestamp-control: Group
    ");
    let late = |accumulation: AccumulationMode| {
        grouping(|it| {
            it.allowed_lateness = Millis(1);
            it.accumulation = accumulation;
        })
    };
    insta::assert_snapshot!(late(AccumulationMode::Accumulating), @"
    par-do: Pair
    group-by-key: Group
    fixed-windows: Group
    allowed-lateness: Group
    accumulating: Group
    ");
    insta::assert_snapshot!(late(AccumulationMode::Discarding), @"
    par-do: Pair
    group-by-key: Group
    fixed-windows: Group
    allowed-lateness: Group
    discarding: Group
    ");
    // Nothing comes after the one pane, so that nothing depends on what the SDK wrote.
    assert_eq!(grouping(|it| it.accumulation = AccumulationMode::Accumulating), grouping(|_| ()));
}

#[test]
fn every_kind_of_trigger() {
    let count = || Trigger::ElementCount { count: 3 };
    let clock = || Trigger::AfterProcessingTime { transforms: vec![] };
    insta::assert_snapshot!(triggered(Trigger::Always), @"
    par-do: Pair
    group-by-key: Group
    fixed-windows: Group
    configurable-triggering: Group
    discarding: Group
    ");
    insta::assert_snapshot!(triggered(count()), @"
    par-do: Pair
    group-by-key: Group
    fixed-windows: Group
    configurable-triggering: Group
    count-triggers: Group
    discarding: Group
    ");
    insta::assert_snapshot!(triggered(clock()), @"
    par-do: Pair
    group-by-key: Group
    fixed-windows: Group
    configurable-triggering: Group
    processing-time-triggers: Group
    discarding: Group
    ");
    insta::assert_snapshot!(triggered(Trigger::AfterEndOfWindow { early: None, late: None }), @"
    par-do: Pair
    group-by-key: Group
    fixed-windows: Group
    configurable-triggering: Group
    event-time-triggers: Group
    discarding: Group
    ");
    let early = Trigger::AfterEndOfWindow { early: Some(Box::new(count())), late: Some(Box::new(clock())) };
    insta::assert_snapshot!(triggered(early), @"
    par-do: Pair
    group-by-key: Group
    fixed-windows: Group
    configurable-triggering: Group
    event-time-triggers: Group
    processing-time-triggers: Group
    count-triggers: Group
    composite-triggers: Group
    discarding: Group
    ");
    insta::assert_snapshot!(triggered(Trigger::Repeat(Box::new(count()))), @"
    par-do: Pair
    group-by-key: Group
    fixed-windows: Group
    configurable-triggering: Group
    count-triggers: Group
    composite-triggers: Group
    discarding: Group
    ");
    insta::assert_snapshot!(triggered(Trigger::AfterAny(vec![Trigger::AfterSynchronizedProcessingTime, Trigger::Default])), @"
    par-do: Pair
    group-by-key: Group
    fixed-windows: Group
    configurable-triggering: Group
    event-time-triggers: Group
    processing-time-triggers: Group
    composite-triggers: Group
    discarding: Group
    ");
    insta::assert_snapshot!(triggered(Trigger::OrFinally { main: Box::new(Trigger::Never), finally: Box::new(count()) }), @"
    par-do: Pair
    group-by-key: Group
    fixed-windows: Group
    configurable-triggering: Group
    count-triggers: Group
    composite-triggers: Group
    discarding: Group
    ");
    assert_eq!(triggered(Trigger::Never), triggered(Trigger::Always));
    assert_eq!(triggered(Trigger::AfterAll(vec![count()])), triggered(Trigger::AfterEach(vec![count()])));
}

#[test]
fn side_inputs_and_those_that_come_again() {
    let main = numbers().par_do("Look up", "start", &["found"]).sides(&[("numbers", "iterable")]);
    insta::assert_snapshot!(needs(main), @"
    par-do: Look up, Make
    side-inputs: Look up
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
    triggered-side-inputs: Look up
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
    bundle-finalization: Read
    ");
    insta::assert_snapshot!(needs(read().unbounded("read")), @"
    par-do: Make, Read
    side-inputs: Read
    unbounded-sdf-base: Read
    unbounded-sdf-side-inputs: Read
    unbounded-sdf-bundle-finalization: Read
    unbounded-pcollections: Read
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
fn environments_languages_and_files() {
    let python = environment(environments::DOCKER, "apache/beam_python3.12_sdk:2.77.0");
    let java = environment(environments::PROCESS, "apache/beam_java17_sdk:2.77.0");
    let mut go = environment(environments::EXTERNAL, "go:apache/beam_go_sdk:2.77.0");
    go.dependencies.push(pb::ArtifactInformation::default());
    let pipeline = in_environment(in_environment(in_environment(numbers(), "p", python), "j", java), "g", go);
    let pipeline = pipeline
        .par_do("Python", "numbers", &["a"])
        .in_env("p")
        .par_do("More Python", "a", &["b"])
        .in_env("p")
        .par_do("Java", "b", &["c"])
        .in_env("j")
        .par_do("Go", "c", &["d"])
        .in_env("g");
    // The environment of `Make` does not say what it is, and its DoFn neither.
    insta::assert_snapshot!(needs(pipeline), @"
    par-do: Go, Java, Make, More Python, Python
    sdk-python: More Python, Python
    sdk-java: Java
    sdk-go: Go
    cross-language: Go, Java, Make
    environment-process: Java
    environment-docker: More Python, Python
    artifact-staging: Go
    ");
}

#[test]
fn an_environment_that_says_nothing_is_known_by_its_do_fns() {
    let written = |urn: &str| {
        let do_fn = pb::FunctionSpec { urn: urn.to_owned(), ..pb::FunctionSpec::default() };
        needs(numbers().payload(|payload| payload.do_fn = Some(do_fn)))
    };
    insta::assert_snapshot!(written("beam:dofn:pickled_python_info:v1"), @"
    par-do: Make
    sdk-python: Make
    ");
    insta::assert_snapshot!(written("beam:dofn:javasdk:0.1"), @"
    par-do: Make
    sdk-java: Make
    ");
    insta::assert_snapshot!(written("beam:go:transform:dofn:v1"), @"
    par-do: Make
    sdk-go: Make
    ");
    insta::assert_snapshot!(written("somebody:else"), @"par-do: Make");
}

#[test]
fn two_environments_of_one_language_are_no_other_language() {
    let python = || environment(environments::EXTERNAL, "apache/beam_python3.12_sdk:2.77.0");
    let pipeline = in_environment(in_environment(numbers(), "py", python()), "large", python());
    insta::assert_snapshot!(needs(pipeline.par_do("Train", "numbers", &["model"]).in_env("large")), @"
    par-do: Make, Train
    sdk-python: Make, Train
    ");
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
