//! Laws of groupings: where two ways of grouping apply they give the same panes, and what any of them does keeps the
//! promises of watermarks and panes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod grouping;

use std::collections::BTreeMap;

use grouping::{Element, Groups, Pane, interval};
use proptest::prelude::*;
use purlin_engine::core::stage::Grouping;
use purlin_model::ids::CoderId;
use purlin_model::pane::PaneTiming;
use purlin_model::time::{EventTime, Millis};
use purlin_model::trigger::{TimestampTransform, Trigger};
use purlin_model::window::{WindowCoder, WindowFn};
use purlin_model::windowing_strategy::{
    AccumulationMode, ClosingBehavior, MergeStatus, OnTimeBehavior, TimestampCombiner, WindowingStrategy,
};

fn any_combiner() -> impl Strategy<Value = TimestampCombiner> {
    prop_oneof![
        Just(TimestampCombiner::EndOfWindow),
        Just(TimestampCombiner::Earliest),
        Just(TimestampCombiner::Latest)
    ]
}

fn any_windows() -> impl Strategy<Value = WindowFn> {
    prop_oneof![
        Just(WindowFn::Fixed { size: Millis(10), offset: Millis(0) }),
        Just(WindowFn::Sliding { size: Millis(10), period: Millis(5), offset: Millis(0) }),
        Just(WindowFn::Session { gap: Millis(4) }),
    ]
}

fn any_trigger() -> impl Strategy<Value = Trigger> {
    let clock = (0i64..10)
        .prop_map(|delay| Trigger::AfterProcessingTime { transforms: vec![TimestampTransform::Delay(Millis(delay))] });
    let leaf = prop_oneof![
        Just(Trigger::Default),
        Just(Trigger::Always),
        Just(Trigger::Never),
        (1i32..4).prop_map(|count| Trigger::ElementCount { count }),
        clock,
    ];
    leaf.prop_recursive(2, 6, 2, |sub| {
        let option = proptest::option::of(sub.clone().prop_map(Box::new));
        prop_oneof![
            (option.clone(), option).prop_map(|(early, late)| Trigger::AfterEndOfWindow { early, late }),
            sub.clone().prop_map(|sub| Trigger::Repeat(Box::new(sub))),
            proptest::collection::vec(sub.clone(), 1..3).prop_map(Trigger::AfterAny),
            proptest::collection::vec(sub.clone(), 1..3).prop_map(Trigger::AfterAll),
            proptest::collection::vec(sub, 1..3).prop_map(Trigger::AfterEach),
        ]
    })
}

prop_compose! {
    fn any_strategy(triggers: impl Strategy<Value = Trigger>)(
        trigger in triggers,
        window_fn in any_windows(),
        combiner in any_combiner(),
        accumulating in any::<bool>(),
        on_time in any::<bool>(),
        closing in any::<bool>(),
        lateness in 0i64..12,
    ) -> WindowingStrategy {
        WindowingStrategy {
            merge_status: if window_fn.is_session() { MergeStatus::NeedsMerge } else { MergeStatus::NonMerging },
            window_fn,
            trigger,
            timestamp_combiner: combiner,
            accumulation: if accumulating { AccumulationMode::Accumulating } else { AccumulationMode::Discarding },
            on_time: if on_time { OnTimeBehavior::FireAlways } else { OnTimeBehavior::FireIfNonempty },
            closing: if closing { ClosingBehavior::EmitAlways } else { ClosingBehavior::EmitIfNonempty },
            allowed_lateness: Millis(lateness),
            ..WindowingStrategy::global(CoderId::new("interval"))
        }
    }
}

/// What happens to a grouping.
#[derive(Clone, Debug)]
enum Step {
    Elements(Vec<(u8, i64)>),
    Watermark(i64),
    Clock(i64),
}

fn any_elements() -> impl Strategy<Value = Vec<(u8, i64)>> {
    proptest::collection::vec((0u8..4, 0i64..40), 0..12)
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => any_elements().prop_map(Step::Elements),
        1 => (0i64..12).prop_map(Step::Watermark),
        1 => (1i64..8).prop_map(Step::Clock),
    ];
    proptest::collection::vec(step, 0..12)
}

/// Elements with the windows that the function gives, and values that tell them apart.
fn elements(window_fn: &WindowFn, bundle: &[(u8, i64)], next: &mut u8) -> Vec<Element> {
    let mut element = |&(key, timestamp): &(u8, i64)| {
        let windows = match window_fn {
            WindowFn::Session { gap } => vec![interval(timestamp, timestamp + gap.0)],
            WindowFn::Fixed { size, .. } => {
                let start = timestamp - timestamp.rem_euclid(size.0);
                vec![interval(start, start + size.0)]
            }
            WindowFn::Sliding { size, period, .. } => {
                let last = timestamp - timestamp.rem_euclid(period.0);
                let starts = (0..).map(|back| last - back * period.0).take_while(|start| *start > timestamp - size.0);
                starts.map(|start| interval(start, start + size.0)).collect()
            }
            WindowFn::Global | WindowFn::Custom { .. } => panic!("not among these windows"),
        };
        *next = next.wrapping_add(1);
        Element { key, value: *next, timestamp, windows }
    };
    bundle.iter().map(&mut element).collect()
}

fn groups(strategy: &WindowingStrategy, grouping: Grouping) -> Groups {
    Groups::new(strategy, WindowCoder::Interval, grouping)
}

/// How many values the panes have that elements of one bundle make, and then the end of the input, for one key and window.
fn check_panes(trigger: &Trigger, elements_count: usize, expected: &[usize]) {
    let strategy = WindowingStrategy {
        trigger: trigger.clone(),
        window_fn: WindowFn::Fixed { size: Millis(10), offset: Millis(0) },
        ..WindowingStrategy::global(CoderId::new("interval"))
    };
    let mut groups = groups(&strategy, Grouping::KeyMajor);
    let bundle = elements(&strategy.window_fn, &vec![(1, 5); elements_count], &mut 0);
    let mut panes = groups.elements(&bundle);
    panes.extend(groups.watermark(EventTime::MAX));
    let counts: Vec<usize> = panes.iter().map(|pane| pane.values.len()).filter(|count| *count > 0).collect();
    assert_eq!(counts, expected, "{trigger:?}");
}

#[test]
fn elements_that_come_together_are_told_apart_by_triggers_that_look_at_them() {
    let count = |count| Trigger::ElementCount { count };
    let repeat = |trigger| Trigger::Repeat(Box::new(trigger));
    let end = |early: Option<Trigger>| Trigger::AfterEndOfWindow { early: early.map(Box::new), late: None };
    check_panes(&Trigger::Always, 3, &[1, 1, 1]);
    check_panes(&count(2), 3, &[2]);
    check_panes(&repeat(count(2)), 5, &[2, 2, 1]);
    check_panes(&end(Some(count(2))), 3, &[2, 1]);
    check_panes(&repeat(Trigger::AfterEach(vec![count(3), Trigger::Always])), 5, &[3, 1, 1]);
    check_panes(&repeat(Trigger::AfterAny(vec![count(3), Trigger::Always])), 3, &[1, 1, 1]);
    let finally = Box::new(count(2));
    check_panes(&Trigger::OrFinally { main: Box::new(Trigger::Always), finally }, 3, &[1, 1]);
    // These look at time, which stands while a bundle is taken in.
    check_panes(&Trigger::Default, 3, &[3]);
    check_panes(&end(None), 3, &[3]);
    check_panes(&repeat(Trigger::AfterSynchronizedProcessingTime), 3, &[3]);
    check_panes(&Trigger::AfterAny(vec![Trigger::AfterSynchronizedProcessingTime, count(5)]), 3, &[3]);
}

proptest! {
    /// The same input gives the same panes, however it is cut into bundles.
    #[test]
    fn append_once_and_key_major_agree_on_bounded_input(
        strategy in any_strategy(prop_oneof![Just(Trigger::Default), Just(Trigger::AfterEndOfWindow { early: None, late: None })]),
        bundles in proptest::collection::vec(any_elements(), 0..5),
    ) {
        let mut next = 0;
        let bundles: Vec<_> = bundles.iter().map(|bundle| elements(&strategy.window_fn, bundle, &mut next)).collect();
        let mut once = groups(&strategy, Grouping::AppendOnce).elements(&bundles.concat());
        let mut key_major = groups(&strategy, Grouping::KeyMajor);
        let mut panes: Vec<Pane> = bundles.iter().flat_map(|bundle| key_major.elements(bundle)).collect();
        prop_assert_eq!(&panes, &[]);
        panes.extend(key_major.watermark(EventTime::MAX));
        prop_assert!(key_major.is_empty());
        // Which of two elements of merged windows comes first is not said.
        panes.iter_mut().chain(&mut once).for_each(|pane| pane.values.sort_unstable());
        panes.sort();
        once.sort();
        prop_assert_eq!(panes, once);
    }

    /// What a trigger that looks at elements makes of them does not depend on how they come together.
    #[test]
    fn one_bundle_makes_the_panes_of_many(
        strategy in any_strategy(any_trigger().prop_filter("looks at elements", Trigger::tells_elements_apart))
            .prop_filter("windows stay apart", |strategy| strategy.merge_status == MergeStatus::NonMerging),
        steps in proptest::collection::vec((any_elements(), 0i64..12), 0..5),
    ) {
        let (mut together, mut single) = (groups(&strategy, Grouping::KeyMajor), groups(&strategy, Grouping::KeyMajor));
        let (mut next, mut watermark) = (0, -5);
        for (bundle, by) in &steps {
            let bundle = elements(&strategy.window_fn, bundle, &mut next);
            let mut panes = together.elements(&bundle);
            let mut singly: Vec<Pane> = bundle.iter().flat_map(|element| single.elements(std::slice::from_ref(element))).collect();
            watermark += by;
            panes.extend(together.watermark(EventTime::from_millis(watermark)));
            singly.extend(single.watermark(EventTime::from_millis(watermark)));
            panes.sort();
            singly.sort();
            prop_assert_eq!(panes, singly);
        }
        prop_assert_eq!(together.dropped, single.dropped);
    }

    /// Whatever the trigger: nothing is lost or doubled, panes are counted as Beam says, and nothing is emitted behind
    /// a hold that stood before.
    #[test]
    fn panes_keep_their_promises(strategy in any_strategy(any_trigger()), steps in any_steps()) {
        let mut groups = groups(&strategy, Grouping::KeyMajor);
        let (mut next, mut watermark, mut clock, mut taken) = (0, -5, 0, 0_u64);
        let mut output = EventTime::MIN;
        let mut panes = Vec::new();
        for step in &steps {
            let fired = match step {
                Step::Elements(bundle) => {
                    let bundle = elements(&strategy.window_fn, bundle, &mut next);
                    taken += bundle.iter().map(|element| element.windows.len() as u64).sum::<u64>();
                    let mut fired = groups.elements(&bundle);
                    fired.extend(groups.fire_due());
                    fired
                }
                Step::Watermark(by) => {
                    watermark += by;
                    groups.watermark(EventTime::from_millis(watermark))
                }
                Step::Clock(by) => {
                    clock += by;
                    groups.clock(clock)
                }
            };
            for pane in &fired {
                let late = pane.info.timing == PaneTiming::Late;
                prop_assert!(late || pane.timestamp >= output, "{:?} behind {}", pane, output);
                prop_assert!(pane.timestamp <= pane.window.max_timestamp());
            }
            panes.extend(fired);
            let input = EventTime::from_millis(watermark);
            output = output.max(groups.hold().map_or(input, |hold| hold.min(input)));
        }
        panes.extend(groups.watermark(EventTime::MAX));
        prop_assert!(groups.is_empty(), "what has expired is gone");

        if strategy.accumulation == AccumulationMode::Discarding {
            let shown: u64 = panes.iter().map(|pane| pane.values.len() as u64).sum();
            prop_assert_eq!(shown + groups.dropped.late + groups.dropped.closed, taken);
        }
        if strategy.merge_status == MergeStatus::NonMerging {
            let mut by_window = BTreeMap::<_, Vec<&Pane>>::new();
            panes.iter().for_each(|pane| by_window.entry((pane.key, &pane.window)).or_default().push(pane));
            for of_window in by_window.values() {
                let indices: Vec<i64> = of_window.iter().map(|pane| pane.info.index).collect();
                prop_assert_eq!(&indices, &(0..of_window.len() as i64).collect::<Vec<_>>());
                let timings: Vec<PaneTiming> = of_window.iter().map(|pane| pane.info.timing).collect();
                prop_assert!(timings.is_sorted(), "{:?}", timings);
                prop_assert!(timings.iter().filter(|timing| **timing == PaneTiming::OnTime).count() <= 1);
                let last = of_window.iter().position(|pane| pane.info.is_last);
                prop_assert!(last.is_none_or(|last| last + 1 == of_window.len()));
            }
        }
    }
}
