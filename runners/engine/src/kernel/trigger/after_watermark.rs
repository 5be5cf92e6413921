//! After the end of the window: early panes before it, the one on time, late panes behind it.
//!
//! ```text
//!   early, again and again ──end of the window──► the pane on time ──► late, again and again, or finished
//! ```
//! Windows that merge go back to the first phase, unless both were behind it and the end of what they became is past
//! too: data that has not been shown on time yet gets its pane on time.

use purlin_model::trigger::Trigger;

use super::{At, Node, is_finished, reset, size};

/// The nodes of `early` and of `late`.
fn parts<'a>(early: Option<&Trigger>, subs: &'a mut [Node]) -> (&'a mut [Node], &'a mut [Node]) {
    subs.split_at_mut(early.map_or(0, size))
}

pub(super) fn on_elements(
    node: &Node,
    early: Option<&Trigger>,
    late: Option<&Trigger>,
    subs: &mut [Node],
    count: u64,
    at: &At,
) {
    let (early_nodes, late_nodes) = parts(early, subs);
    // Where windows merge, either phase may turn out to be the one.
    if let Some(early) = early.filter(|_| at.merging || !node.ended) {
        super::on_elements(early, early_nodes, count, at);
    }
    if let Some(late) = late.filter(|_| at.merging || node.ended) {
        super::on_elements(late, late_nodes, count, at);
    }
}

pub(super) fn should_fire(
    node: &Node,
    early: Option<&Trigger>,
    late: Option<&Trigger>,
    subs: &[Node],
    at: &At,
) -> bool {
    let (early_nodes, late_nodes) = subs.split_at(early.map_or(0, size));
    if node.ended {
        late.is_some_and(|late| super::should_fire(late, late_nodes, at))
    } else {
        at.is_past_end() || early.is_some_and(|early| super::should_fire(early, early_nodes, at))
    }
}

pub(super) fn on_fire(node: &mut Node, early: Option<&Trigger>, late: Option<&Trigger>, subs: &mut [Node], at: &At) {
    let (early_nodes, late_nodes) = parts(early, subs);
    if node.ended {
        fire_again(late, late_nodes, at);
        reset(early_nodes);
    } else if at.is_past_end() {
        // What the phases counted so far has just been shown.
        reset(early_nodes);
        reset(late_nodes);
        node.ended = true;
        node.finished = late.is_none();
    } else {
        fire_again(early, early_nodes, at);
        reset(late_nodes);
    }
}

/// Early and late triggers repeat, whether they say so or not.
fn fire_again(trigger: Option<&Trigger>, nodes: &mut [Node], at: &At) {
    if let Some(trigger) = trigger {
        super::on_fire(trigger, nodes, at);
        if is_finished(nodes) {
            reset(nodes);
        }
    }
}

pub(super) fn merge(
    node: &mut Node,
    other: &Node,
    early: Option<&Trigger>,
    late: Option<&Trigger>,
    (subs, others): (&mut [Node], &[Node]),
    at: &At,
) {
    let (early_nodes, late_nodes) = parts(early, subs);
    let (early_others, late_others) = others.split_at(early.map_or(0, size));
    node.ended &= other.ended && at.is_past_end();
    node.finished = node.ended && late.is_none();
    if node.ended {
        reset(early_nodes);
        if let Some(late) = late {
            super::merge(late, late_nodes, late_others, at);
        }
    } else {
        reset(late_nodes);
        if let Some(early) = early {
            super::merge(early, early_nodes, early_others, at);
        }
    }
}
