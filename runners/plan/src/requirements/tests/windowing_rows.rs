//! What windows, triggers and lateness need, one row a line.

use purlin_model::time::Millis;
use purlin_model::trigger::Trigger;
use purlin_model::window::WindowFn;
use purlin_model::windowing_strategy::{AccumulationMode, TimestampCombiner, WindowingStrategy};
use purlin_proto::urns::standard_ptransforms::primitives;

use super::{grouped, needs, numbers, windowed_group};
use crate::testing::TestPipeline;

/// The rows of a grouping with this trigger, changed as wanted.
fn grouping(change: impl FnOnce(&mut WindowingStrategy)) -> String {
    let fixed = WindowFn::Fixed { size: Millis(10_000), offset: Millis(0) };
    needs(grouped(TestPipeline::new().strategy("changed", "interval_window", fixed, change), "changed"))
}

fn triggered(trigger: Trigger) -> String {
    grouping(|it| it.trigger = trigger)
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
fn windows_merge_once_until_others_are_assigned() {
    let pipeline = windowed_group("sessions")
        .windowed("mapped", "kv<bytes, varint>", "sessions")
        .windowed("again", "kv<bytes, varint>", "sessions")
        .windowed("both", "kv<bytes, varint>", "sessions")
        .par_do("Map", "groups", &["mapped"])
        .transform("Assign", primitives::ASSIGN_WINDOWS, &["mapped"], &["again"])
        .in_env("py")
        .flatten("Join", &["mapped", "again"], "both");
    let valid = pipeline.validated();
    let merging: Vec<_> = super::super::merging(&valid.graph).into_iter().map(ToString::to_string).collect();
    assert_eq!(merging.join(", "), "again, both, pairs");
}
