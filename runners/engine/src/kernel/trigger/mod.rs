//! Triggers: when the contents of a window are emitted.
//!
//! ```text
//!   elements of a window ──on_elements──► TriggerState ──should_fire──► a pane ──on_fire──► TriggerState
//!   windows that merge   ──merge────────►     │
//!                                             └─next_clock──► a timer of the clock; the end of the window has its own
//! ```
//! One [`Node`] per trigger of the tree, in preorder: all that is kept of a key and window between bundles. A trigger that
//! looks at elements is asked behind each of them; one that looks at time only, once per bundle, key and window. A finished
//! trigger never fires again. Continuation triggers are the SDK's business.
//!
//! Each kind has a file of its own. None of them knows elements, panes or timers.

mod after_all;
mod after_any;
mod after_count;
mod after_each;
mod after_processing_time;
mod after_watermark;
mod default;
mod never_always;
mod node;
mod or_finally;
mod repeatedly;

#[cfg(test)]
mod tests;

use purlin_model::time::{EventTime, ProcessingTime};
use purlin_model::trigger::Trigger;

pub(crate) use node::TriggerState;
use node::{Node, each, each_mut, each_pair, reset, size};

/// What a trigger is asked in view of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    /// How far event time has come.
    pub(crate) watermark: EventTime,
    /// The last instant of the window.
    pub(crate) window_max: EventTime,
    /// The clock.
    pub(crate) now: ProcessingTime,
    /// Whether windows may merge, so that what is over may begin again.
    pub(crate) merging: bool,
    /// Whether more elements of the window stand in the bundle, behind those that were taken in.
    pub(crate) more: bool,
}

impl At {
    /// Whether no more elements of the window are expected.
    pub(crate) fn is_past_end(&self) -> bool {
        self.watermark > self.window_max || self.watermark == EventTime::MAX
    }
}

impl TriggerState {
    /// So many elements have arrived.
    pub(crate) fn on_elements(&mut self, trigger: &Trigger, count: u64, at: &At) {
        on_elements(trigger, self.nodes_mut(), count, at);
    }

    /// Whether a pane is to be emitted now.
    pub(crate) fn should_fire(&self, trigger: &Trigger, at: &At) -> bool {
        should_fire(trigger, self.nodes(), at)
    }

    /// A pane is emitted, because [`should_fire`](Self::should_fire) has said so.
    pub(crate) fn on_fire(&mut self, trigger: &Trigger, at: &At) {
        on_fire(trigger, self.nodes_mut(), at);
    }

    /// Takes in the state of another window, with which this one has merged; `at` speaks of what they became.
    pub(crate) fn merge(&mut self, other: &Self, trigger: &Trigger, at: &At) {
        merge(trigger, self.nodes_mut(), other.nodes(), at);
    }
}

fn on_elements(trigger: &Trigger, nodes: &mut [Node], count: u64, at: &At) {
    let Some((node, subs)) = nodes.split_first_mut() else { return };
    match trigger {
        Trigger::Default | Trigger::Always | Trigger::Never | Trigger::AfterSynchronizedProcessingTime => {}
        Trigger::ElementCount { .. } => after_count::on_elements(node, count),
        Trigger::AfterProcessingTime { transforms } => after_processing_time::on_elements(node, transforms, at),
        Trigger::AfterEndOfWindow { early, late } => {
            after_watermark::on_elements(node, early.as_deref(), late.as_deref(), subs, count, at);
        }
        Trigger::AfterEach(triggers) => after_each::on_elements(triggers, subs, count, at),
        Trigger::AfterAll(triggers) | Trigger::AfterAny(triggers) => {
            each_mut(triggers, subs).for_each(|(trigger, nodes)| on_elements(trigger, nodes, count, at));
        }
        Trigger::OrFinally { main, finally } => {
            each_mut([&**main, &**finally], subs).for_each(|(trigger, nodes)| on_elements(trigger, nodes, count, at));
        }
        Trigger::Repeat(sub) => on_elements(sub, subs, count, at),
    }
}

fn should_fire(trigger: &Trigger, nodes: &[Node], at: &At) -> bool {
    let Some((node, subs)) = nodes.split_first().filter(|(node, _)| !node.finished) else { return false };
    match trigger {
        Trigger::Default => default::should_fire(at),
        Trigger::Always => never_always::ALWAYS,
        Trigger::AfterSynchronizedProcessingTime => never_always::synchronized(at),
        Trigger::Never => never_always::NEVER,
        Trigger::ElementCount { count } => after_count::should_fire(node, *count),
        Trigger::AfterProcessingTime { .. } => after_processing_time::should_fire(node, at),
        Trigger::AfterEndOfWindow { early, late } => {
            after_watermark::should_fire(node, early.as_deref(), late.as_deref(), subs, at)
        }
        Trigger::AfterAll(triggers) => after_all::should_fire(triggers, subs, at),
        Trigger::AfterAny(triggers) => after_any::should_fire(triggers, subs, at),
        Trigger::AfterEach(triggers) => after_each::should_fire(triggers, subs, at),
        Trigger::OrFinally { main, finally } => or_finally::should_fire(main, finally, subs, at),
        Trigger::Repeat(sub) => should_fire(sub, subs, at),
    }
}

fn on_fire(trigger: &Trigger, nodes: &mut [Node], at: &At) {
    let Some((node, subs)) = nodes.split_first_mut() else { return };
    match trigger {
        Trigger::Default | Trigger::Always | Trigger::Never | Trigger::AfterSynchronizedProcessingTime => {}
        Trigger::ElementCount { .. } | Trigger::AfterProcessingTime { .. } => *node = Node::FINISHED,
        Trigger::AfterEndOfWindow { early, late } => {
            after_watermark::on_fire(node, early.as_deref(), late.as_deref(), subs, at);
        }
        Trigger::AfterAll(triggers) => after_all::on_fire(node, triggers, subs, at),
        Trigger::AfterAny(triggers) => after_any::on_fire(node, triggers, subs, at),
        Trigger::AfterEach(triggers) => after_each::on_fire(node, triggers, subs, at),
        Trigger::OrFinally { main, finally } => or_finally::on_fire(node, main, finally, subs, at),
        Trigger::Repeat(sub) => repeatedly::on_fire(sub, subs, at),
    }
}

fn merge(trigger: &Trigger, nodes: &mut [Node], others: &[Node], at: &At) {
    let (Some((node, subs)), Some((other, other_subs))) = (nodes.split_first_mut(), others.split_first()) else {
        return;
    };
    match trigger {
        Trigger::Default | Trigger::Always | Trigger::Never | Trigger::AfterSynchronizedProcessingTime => {}
        Trigger::ElementCount { .. } => after_count::merge(node, other),
        Trigger::AfterProcessingTime { .. } => after_processing_time::merge(node, other),
        Trigger::AfterEndOfWindow { early, late } => {
            after_watermark::merge(node, other, early.as_deref(), late.as_deref(), (subs, other_subs), at);
        }
        Trigger::AfterAll(triggers) => after_all::merge(node, triggers, (subs, other_subs), at),
        Trigger::AfterAny(triggers) => after_any::merge(node, triggers, (subs, other_subs), at),
        Trigger::AfterEach(triggers) => after_each::merge(node, triggers, (subs, other_subs), at),
        Trigger::OrFinally { main, finally } => or_finally::merge(node, other, main, finally, (subs, other_subs), at),
        Trigger::Repeat(sub) => merge(sub, subs, other_subs, at),
    }
}

/// Whether a trigger has finished.
fn is_finished(nodes: &[Node]) -> bool {
    nodes.first().is_some_and(|node| node.finished)
}
