//! Or finally: as the one trigger says, until the other fires; that ends both.

use purlin_model::trigger::Trigger;

use super::{At, Node, each, each_pair, is_finished, size};

pub(super) fn should_fire(main: &Trigger, finally: &Trigger, subs: &[Node], at: &At) -> bool {
    each([main, finally], subs).any(|(trigger, nodes)| super::should_fire(trigger, nodes, at))
}

pub(super) fn on_fire(node: &mut Node, main: &Trigger, finally: &Trigger, subs: &mut [Node], at: &At) {
    let (main_nodes, finally_nodes) = subs.split_at_mut(size(main));
    if super::should_fire(finally, finally_nodes, at) {
        node.finished = true;
    } else {
        super::on_fire(main, main_nodes, at);
        node.finished = is_finished(main_nodes);
    }
}

pub(super) fn merge(
    node: &mut Node,
    other: &Node,
    main: &Trigger,
    finally: &Trigger,
    (subs, others): (&mut [Node], &[Node]),
    at: &At,
) {
    // A window that is over ends the one that it becomes part of, as a count that was reached does.
    node.finished |= other.finished;
    for (trigger, nodes, others) in each_pair([main, finally], (subs, others)) {
        super::merge(trigger, nodes, others, at);
        node.finished |= is_finished(nodes);
    }
}
