//! A PCollection's windowing, complete: no field is optional past the border.

use crate::ids::{CoderId, EnvironmentId};
use crate::time::Millis;
use crate::trigger::Trigger;
use crate::window::WindowFn;

/// `MergeStatus.Enum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MergeStatus {
    /// Windows never merge.
    NonMerging,
    /// The next grouping merges windows.
    NeedsMerge,
    /// A grouping merged them; the next one treats them as they are.
    AlreadyMerged,
}

/// `AccumulationMode.Enum`, without retractions, which Beam's SDKs do not offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccumulationMode {
    /// Each pane holds what came since the last one.
    Discarding,
    /// Each pane holds all that came.
    Accumulating,
}

/// `OutputTime.Enum`: the timestamp of a grouped element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampCombiner {
    /// The last instant of the window.
    EndOfWindow,
    /// The latest timestamp in the pane.
    Latest,
    /// The earliest timestamp in the pane.
    Earliest,
}

/// `ClosingBehavior.Enum`: whether an empty last pane is emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClosingBehavior {
    /// Always.
    EmitAlways,
    /// Only if it holds something.
    EmitIfNonempty,
}

/// `OnTimeBehavior.Enum`: whether an empty on-time pane is emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnTimeBehavior {
    /// Always.
    FireAlways,
    /// Only if it holds something.
    FireIfNonempty,
}

/// When a trigger is asked that [looks at elements](Trigger::tells_elements_apart). No part of Beam's message: SDKs differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// Behind each element.
    BehindEachElement,
    /// Once, behind all elements of a key and window that come together.
    OncePerBundle,
}

/// `WindowingStrategy` of `beam_runner_api.proto`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WindowingStrategy {
    /// Assigns elements to windows.
    pub window_fn: WindowFn,
    /// Whether a grouping must merge windows.
    pub merge_status: MergeStatus,
    /// How a window stands on the wire.
    pub window_coder_id: CoderId,
    /// When panes fire.
    pub trigger: Trigger,
    /// When the trigger is asked.
    pub asked: Asked,
    /// What a pane holds.
    pub accumulation: AccumulationMode,
    /// What timestamp a pane carries.
    pub timestamp_combiner: TimestampCombiner,
    /// Empty last panes.
    pub closing: ClosingBehavior,
    /// Empty on-time panes.
    pub on_time: OnTimeBehavior,
    /// How long after its end a window still takes elements; not negative.
    pub allowed_lateness: Millis,
    /// Whether each element stands in exactly one window.
    pub assigns_to_one_window: bool,
    /// The environment that can run the window function; empty for the standard ones.
    pub environment_id: Option<EnvironmentId>,
}

impl WindowingStrategy {
    /// Beam's default: one global window, the default trigger, no lateness.
    pub fn global(window_coder_id: CoderId) -> Self {
        Self {
            window_fn: WindowFn::Global,
            merge_status: MergeStatus::NonMerging,
            window_coder_id,
            trigger: Trigger::Default,
            asked: Asked::BehindEachElement,
            accumulation: AccumulationMode::Discarding,
            timestamp_combiner: TimestampCombiner::EndOfWindow,
            closing: ClosingBehavior::EmitIfNonempty,
            on_time: OnTimeBehavior::FireAlways,
            allowed_lateness: Millis(0),
            assigns_to_one_window: true,
            environment_id: None,
        }
    }

    /// Whether a pane may fire between two elements that come together.
    pub fn tells_elements_apart(&self) -> bool {
        self.asked == Asked::BehindEachElement && self.trigger.tells_elements_apart()
    }
}
