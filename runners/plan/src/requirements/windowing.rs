//! The rows that a windowing strategy needs, of the transforms for which each part of it matters.
//!
//! ```text
//!   WindowingStrategy ─► window function        (whoever assigns windows, groups in them or keeps state for them)
//!                     └► trigger, lateness, panes, timestamps                           (whoever groups in them)
//! ```
//! Does not know transforms.

use std::collections::BTreeSet;

use purlin_capability_matrix::row::Row;
use purlin_model::time::Millis;
use purlin_model::trigger::Trigger;
use purlin_model::window::WindowFn;
use purlin_model::windowing_strategy::{AccumulationMode, MergeStatus, TimestampCombiner, WindowingStrategy};

/// The rows of a transform that puts elements into windows, or works window by window.
pub(super) fn of_windows(strategy: &WindowingStrategy) -> BTreeSet<Row> {
    let row = match &strategy.window_fn {
        WindowFn::Global => Row::GlobalWindows,
        WindowFn::Fixed { .. } => Row::FixedWindows,
        WindowFn::Sliding { .. } => Row::SlidingWindows,
        WindowFn::Session { .. } => Row::SessionWindows,
        WindowFn::Custom { .. } => Row::CustomWindows,
    };
    let mut rows = BTreeSet::from([row]);
    if row == Row::CustomWindows && strategy.merge_status == MergeStatus::NeedsMerge {
        rows.insert(Row::CustomMergingWindows);
    }
    rows
}

/// The rows of a transform that groups by key and window.
pub(super) fn of_grouping(strategy: &WindowingStrategy) -> BTreeSet<Row> {
    let mut rows = of_windows(strategy);
    match strategy.timestamp_combiner {
        TimestampCombiner::EndOfWindow => {}
        TimestampCombiner::Earliest | TimestampCombiner::Latest => {
            rows.insert(Row::TimestampControl);
        }
    }
    let late = strategy.allowed_lateness > Millis(0);
    if late {
        rows.insert(Row::AllowedLateness);
    }
    let default = strategy.trigger == Trigger::Default;
    if !default {
        rows.insert(Row::ConfigurableTriggering);
        rows.extend(of_trigger(&strategy.trigger));
    }
    // With one pane for each window there is nothing to refine, whatever the SDK has written there.
    if late || !default {
        rows.insert(match strategy.accumulation {
            AccumulationMode::Discarding => Row::Discarding,
            AccumulationMode::Accumulating => Row::Accumulating,
        });
    }
    rows
}

/// The kinds of trigger of which a trigger is made.
fn of_trigger(trigger: &Trigger) -> BTreeSet<Row> {
    let composite = |subs: &mut dyn Iterator<Item = &Trigger>| {
        let mut rows: BTreeSet<_> = subs.flat_map(of_trigger).collect();
        rows.insert(Row::CompositeTriggers);
        rows
    };
    match trigger {
        // Those two ask for nothing but that the choice is the pipeline's.
        Trigger::Always | Trigger::Never => BTreeSet::new(),
        Trigger::Default => BTreeSet::from([Row::EventTimeTriggers]),
        Trigger::ElementCount { count: _ } => BTreeSet::from([Row::CountTriggers]),
        Trigger::AfterProcessingTime { transforms: _ } | Trigger::AfterSynchronizedProcessingTime => {
            BTreeSet::from([Row::ProcessingTimeTriggers])
        }
        Trigger::AfterEndOfWindow { early, late } => {
            let mut rows = match (early, late) {
                (None, None) => BTreeSet::new(),
                (Some(_), _) | (None, Some(_)) => composite(&mut early.iter().chain(late).map(|sub| &**sub)),
            };
            rows.insert(Row::EventTimeTriggers);
            rows
        }
        Trigger::AfterAll(subs) | Trigger::AfterAny(subs) | Trigger::AfterEach(subs) => composite(&mut subs.iter()),
        Trigger::OrFinally { main, finally } => composite(&mut [main, finally].into_iter().map(|sub| &**sub)),
        Trigger::Repeat(sub) => composite(&mut std::iter::once(&**sub)),
    }
}
