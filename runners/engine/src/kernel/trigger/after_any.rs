//! After any: fires when a trigger in it is ready, and finishes with the first one that finishes.

use purlin_model::trigger::Trigger;

use super::{At, Node, each, each_mut, each_pair, is_finished};

pub(super) fn should_fire(triggers: &[Trigger], subs: &[Node], at: &At) -> bool {
    each(triggers, subs).any(|(trigger, nodes)| super::should_fire(trigger, nodes, at))
}

pub(super) fn on_fire(node: &mut Node, triggers: &[Trigger], subs: &mut [Node], at: &At) {
    for (trigger, nodes) in each_mut(triggers, subs) {
        if super::should_fire(trigger, nodes, at) {
            super::on_fire(trigger, nodes, at);
        }
        node.finished |= is_finished(nodes);
    }
}

pub(super) fn merge(node: &mut Node, triggers: &[Trigger], (subs, others): (&mut [Node], &[Node]), at: &At) {
    node.finished = false;
    for (trigger, nodes, others) in each_pair(triggers, (subs, others)) {
        super::merge(trigger, nodes, others, at);
        node.finished |= is_finished(nodes);
    }
}
