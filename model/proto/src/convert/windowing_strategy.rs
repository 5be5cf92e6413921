//! Windowing strategies: the `WindowingStrategy` message, complete on the other side.
//!
//! ```text
//!   pb::WindowingStrategy ──► window_fn, trigger ──► their own files
//!                         └─► enums, lateness, ids ──► model WindowingStrategy
//! ```
//!
//! Every enum must be set: SDKs differ in their defaults, so that an unset one cannot be guessed. Does not look up ids:
//! whether the window coder and the environment exist is the plan's to say.

use purlin_model::ids::{CoderId, EnvironmentId};
use purlin_model::time::Millis;
use purlin_model::windowing_strategy::{
    AccumulationMode, Asked, ClosingBehavior, MergeStatus, OnTimeBehavior, TimestampCombiner, WindowingStrategy,
};

use super::problem::{Fault, Path, Problems};
use super::{trigger, window_fn};
use crate::pipeline::v1 as pb;

const MERGE_STATUS: &str = "NON_MERGING, NEEDS_MERGE, ALREADY_MERGED";
const ACCUMULATION: &str = "DISCARDING, ACCUMULATING";
const OUTPUT_TIME: &str = "END_OF_WINDOW, LATEST_IN_PANE, EARLIEST_IN_PANE";
const CLOSING: &str = "EMIT_ALWAYS, EMIT_IF_NONEMPTY";
const ON_TIME: &str = "FIRE_ALWAYS, FIRE_IF_NONEMPTY";

/// Reads a windowing strategy.
pub fn from_wire(wire: &pb::WindowingStrategy, at: &Path<'_>, problems: &mut Problems) -> Option<WindowingStrategy> {
    // All fields are read before the first `?`, so that all faults are told.
    let window_fn = match &wire.window_fn {
        Some(it) => window_fn::from_wire(it, &at.field("window_fn"), problems),
        None => missing(problems, &at.field("window_fn"), "a window function"),
    };
    let merge_status = merge_status(wire.merge_status, &at.field("merge_status"), problems);
    let window_coder_id = match wire.window_coder_id.as_str() {
        "" => missing(problems, &at.field("window_coder_id"), "the id of a coder"),
        id => Some(CoderId::new(id)),
    };
    let trigger = match &wire.trigger {
        Some(it) => trigger::from_wire(it, &at.field("trigger"), problems),
        None => missing(problems, &at.field("trigger"), "a trigger"),
    };
    let accumulation = accumulation(wire.accumulation_mode, &at.field("accumulation_mode"), problems);
    let timestamp_combiner = timestamp_combiner(wire.output_time, &at.field("output_time"), problems);
    let closing = closing(wire.closing_behavior, &at.field("closing_behavior"), problems);
    let on_time = on_time(wire.on_time_behavior, &at.field("on_time_behavior"), problems);
    if wire.allowed_lateness < 0 {
        let value = format!("{} ms", wire.allowed_lateness);
        problems.report(&at.field("allowed_lateness"), Fault::OutOfRange { value, expected: "zero or more" });
    }
    Some(WindowingStrategy {
        window_fn: window_fn?,
        merge_status: merge_status?,
        window_coder_id: window_coder_id?,
        trigger: trigger?,
        accumulation: accumulation?,
        timestamp_combiner: timestamp_combiner?,
        closing: closing?,
        // SDKs differ, and do not say it.
        asked: Asked::BehindEachElement,
        on_time: on_time?,
        allowed_lateness: (wire.allowed_lateness >= 0).then_some(Millis(wire.allowed_lateness))?,
        assigns_to_one_window: wire.assigns_to_one_window,
        environment_id: Some(wire.environment_id.as_str()).filter(|id| !id.is_empty()).map(EnvironmentId::new),
    })
}

/// Writes a windowing strategy; [`from_wire`] reads it back.
pub fn to_wire(strategy: &WindowingStrategy) -> pb::WindowingStrategy {
    let merge_status = match strategy.merge_status {
        MergeStatus::NonMerging => pb::merge_status::Enum::NonMerging,
        MergeStatus::NeedsMerge => pb::merge_status::Enum::NeedsMerge,
        MergeStatus::AlreadyMerged => pb::merge_status::Enum::AlreadyMerged,
    };
    let accumulation_mode = match strategy.accumulation {
        AccumulationMode::Discarding => pb::accumulation_mode::Enum::Discarding,
        AccumulationMode::Accumulating => pb::accumulation_mode::Enum::Accumulating,
    };
    let output_time = match strategy.timestamp_combiner {
        TimestampCombiner::EndOfWindow => pb::output_time::Enum::EndOfWindow,
        TimestampCombiner::Latest => pb::output_time::Enum::LatestInPane,
        TimestampCombiner::Earliest => pb::output_time::Enum::EarliestInPane,
    };
    let closing_behavior = match strategy.closing {
        ClosingBehavior::EmitAlways => pb::closing_behavior::Enum::EmitAlways,
        ClosingBehavior::EmitIfNonempty => pb::closing_behavior::Enum::EmitIfNonempty,
    };
    let on_time_behavior = match strategy.on_time {
        OnTimeBehavior::FireAlways => pb::on_time_behavior::Enum::FireAlways,
        OnTimeBehavior::FireIfNonempty => pb::on_time_behavior::Enum::FireIfNonempty,
    };
    pb::WindowingStrategy {
        window_fn: Some(window_fn::to_wire(&strategy.window_fn)),
        merge_status: merge_status.into(),
        window_coder_id: strategy.window_coder_id.as_str().to_owned(),
        trigger: Some(trigger::to_wire(&strategy.trigger)),
        accumulation_mode: accumulation_mode.into(),
        output_time: output_time.into(),
        closing_behavior: closing_behavior.into(),
        allowed_lateness: strategy.allowed_lateness.0,
        on_time_behavior: on_time_behavior.into(),
        assigns_to_one_window: strategy.assigns_to_one_window,
        environment_id: strategy.environment_id.as_ref().map_or("", EnvironmentId::as_str).to_owned(),
    }
}

fn missing<T>(problems: &mut Problems, at: &Path<'_>, expected: &'static str) -> Option<T> {
    problems.report(at, Fault::Missing { expected });
    None
}

fn unknown<T>(problems: &mut Problems, at: &Path<'_>, number: i32, expected: &'static str) -> Option<T> {
    problems.report(at, Fault::UnknownNumber { number, expected });
    None
}

fn merge_status(number: i32, at: &Path<'_>, problems: &mut Problems) -> Option<MergeStatus> {
    match pb::merge_status::Enum::try_from(number) {
        Ok(pb::merge_status::Enum::NonMerging) => Some(MergeStatus::NonMerging),
        Ok(pb::merge_status::Enum::NeedsMerge) => Some(MergeStatus::NeedsMerge),
        Ok(pb::merge_status::Enum::AlreadyMerged) => Some(MergeStatus::AlreadyMerged),
        Ok(pb::merge_status::Enum::Unspecified) => missing(problems, at, MERGE_STATUS),
        Err(_) => unknown(problems, at, number, MERGE_STATUS),
    }
}

fn accumulation(number: i32, at: &Path<'_>, problems: &mut Problems) -> Option<AccumulationMode> {
    match pb::accumulation_mode::Enum::try_from(number) {
        Ok(pb::accumulation_mode::Enum::Discarding) => Some(AccumulationMode::Discarding),
        Ok(pb::accumulation_mode::Enum::Accumulating) => Some(AccumulationMode::Accumulating),
        Ok(pb::accumulation_mode::Enum::Retracting) => {
            problems.report(at, Fault::Unsupported { value: "RETRACTING", instead: ACCUMULATION });
            None
        }
        Ok(pb::accumulation_mode::Enum::Unspecified) => missing(problems, at, ACCUMULATION),
        Err(_) => unknown(problems, at, number, ACCUMULATION),
    }
}

fn timestamp_combiner(number: i32, at: &Path<'_>, problems: &mut Problems) -> Option<TimestampCombiner> {
    match pb::output_time::Enum::try_from(number) {
        Ok(pb::output_time::Enum::EndOfWindow) => Some(TimestampCombiner::EndOfWindow),
        Ok(pb::output_time::Enum::LatestInPane) => Some(TimestampCombiner::Latest),
        Ok(pb::output_time::Enum::EarliestInPane) => Some(TimestampCombiner::Earliest),
        Ok(pb::output_time::Enum::Unspecified) => missing(problems, at, OUTPUT_TIME),
        Err(_) => unknown(problems, at, number, OUTPUT_TIME),
    }
}

fn closing(number: i32, at: &Path<'_>, problems: &mut Problems) -> Option<ClosingBehavior> {
    match pb::closing_behavior::Enum::try_from(number) {
        Ok(pb::closing_behavior::Enum::EmitAlways) => Some(ClosingBehavior::EmitAlways),
        Ok(pb::closing_behavior::Enum::EmitIfNonempty) => Some(ClosingBehavior::EmitIfNonempty),
        Ok(pb::closing_behavior::Enum::Unspecified) => missing(problems, at, CLOSING),
        Err(_) => unknown(problems, at, number, CLOSING),
    }
}

fn on_time(number: i32, at: &Path<'_>, problems: &mut Problems) -> Option<OnTimeBehavior> {
    match pb::on_time_behavior::Enum::try_from(number) {
        Ok(pb::on_time_behavior::Enum::FireAlways) => Some(OnTimeBehavior::FireAlways),
        Ok(pb::on_time_behavior::Enum::FireIfNonempty) => Some(OnTimeBehavior::FireIfNonempty),
        Ok(pb::on_time_behavior::Enum::Unspecified) => missing(problems, at, ON_TIME),
        Err(_) => unknown(problems, at, number, ON_TIME),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_model::trigger::Trigger;
    use purlin_model::window::WindowFn;

    fn read(wire: &pb::WindowingStrategy) -> Result<WindowingStrategy, Problems> {
        let mut problems = Problems::new();
        let root = Path::root("windowing_strategies");
        let strategy = from_wire(wire, &root.key("w"), &mut problems);
        assert_eq!(strategy.is_none(), !problems.is_empty(), "None exactly when something was reported");
        problems.finish(strategy)
    }

    fn strategy() -> WindowingStrategy {
        WindowingStrategy {
            window_fn: WindowFn::Fixed { size: Millis(60_000), offset: Millis(0) },
            merge_status: MergeStatus::NonMerging,
            window_coder_id: CoderId::new("c"),
            trigger: Trigger::Default,
            accumulation: AccumulationMode::Discarding,
            timestamp_combiner: TimestampCombiner::EndOfWindow,
            closing: ClosingBehavior::EmitAlways,
            asked: Asked::BehindEachElement,
            on_time: OnTimeBehavior::FireAlways,
            allowed_lateness: Millis(0),
            assigns_to_one_window: false,
            environment_id: None,
        }
    }

    #[test]
    fn every_value_of_every_field_is_read_back() {
        let mut cases = vec![strategy()];
        let mut case = |change: &dyn Fn(&mut WindowingStrategy)| {
            let mut changed = strategy();
            change(&mut changed);
            cases.push(changed);
        };
        case(&|it| it.merge_status = MergeStatus::NeedsMerge);
        case(&|it| it.merge_status = MergeStatus::AlreadyMerged);
        case(&|it| it.accumulation = AccumulationMode::Accumulating);
        case(&|it| it.timestamp_combiner = TimestampCombiner::Latest);
        case(&|it| it.timestamp_combiner = TimestampCombiner::Earliest);
        case(&|it| it.closing = ClosingBehavior::EmitIfNonempty);
        case(&|it| it.on_time = OnTimeBehavior::FireIfNonempty);
        case(&|it| it.allowed_lateness = Millis(i64::MAX));
        case(&|it| it.assigns_to_one_window = true);
        case(&|it| it.environment_id = Some(EnvironmentId::new("e")));
        case(&|it| it.window_fn = WindowFn::Global);
        case(&|it| it.trigger = Trigger::Never);
        for case in cases {
            assert_eq!(read(&to_wire(&case)), Ok(case));
        }
    }

    #[test]
    fn an_empty_message_lacks_everything_that_has_no_default() {
        let problems = read(&pb::WindowingStrategy::default()).expect_err("nothing is set");
        assert_eq!(
            problems.to_string(),
            "windowing_strategies[\"w\"].window_fn is not set; send a window function\n\
             windowing_strategies[\"w\"].merge_status is not set; send NON_MERGING, NEEDS_MERGE, ALREADY_MERGED\n\
             windowing_strategies[\"w\"].window_coder_id is not set; send the id of a coder\n\
             windowing_strategies[\"w\"].trigger is not set; send a trigger\n\
             windowing_strategies[\"w\"].accumulation_mode is not set; send DISCARDING, ACCUMULATING\n\
             windowing_strategies[\"w\"].output_time is not set; send END_OF_WINDOW, LATEST_IN_PANE, EARLIEST_IN_PANE\n\
             windowing_strategies[\"w\"].closing_behavior is not set; send EMIT_ALWAYS, EMIT_IF_NONEMPTY\n\
             windowing_strategies[\"w\"].on_time_behavior is not set; send FIRE_ALWAYS, FIRE_IF_NONEMPTY"
        );
    }

    #[test]
    fn values_that_no_runner_knows_are_told_together() {
        let wire = pb::WindowingStrategy {
            merge_status: 9,
            accumulation_mode: pb::accumulation_mode::Enum::Retracting.into(),
            output_time: -1,
            closing_behavior: 3,
            on_time_behavior: 3,
            allowed_lateness: -1,
            window_fn: Some(pb::FunctionSpec::default()),
            trigger: Some(pb::Trigger::default()),
            ..to_wire(&strategy())
        };
        let problems = read(&wire).expect_err("nothing is right");
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        let at = |name: &str| format!("windowing_strategies[\"w\"].{name}");
        assert_eq!(
            paths,
            [
                at("window_fn.urn"),
                at("merge_status"),
                at("trigger"),
                at("accumulation_mode"),
                at("output_time"),
                at("closing_behavior"),
                at("on_time_behavior"),
                at("allowed_lateness"),
            ]
        );
        assert!(problems.to_string().contains("accumulation_mode is RETRACTING, which is not supported"));
    }
}
