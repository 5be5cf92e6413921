//! After all: fires when each trigger in it is ready, and finishes when all have finished.

use purlin_model::trigger::Trigger;

use super::{At, Node, each, each_mut, each_pair, is_finished};

pub(super) fn should_fire(triggers: &[Trigger], subs: &[Node], at: &At) -> bool {
    each(triggers, subs).all(|(trigger, nodes)| is_finished(nodes) || super::should_fire(trigger, nodes, at))
}

pub(super) fn on_fire(node: &mut Node, triggers: &[Trigger], subs: &mut [Node], at: &At) {
    node.finished = true;
    for (trigger, nodes) in each_mut(triggers, subs) {
        if !is_finished(nodes) {
            super::on_fire(trigger, nodes, at);
        }
        node.finished &= is_finished(nodes);
    }
}

pub(super) fn merge(node: &mut Node, triggers: &[Trigger], (subs, others): (&mut [Node], &[Node]), at: &At) {
    node.finished = true;
    for (trigger, nodes, others) in each_pair(triggers, (subs, others)) {
        super::merge(trigger, nodes, others, at);
        node.finished &= is_finished(nodes);
    }
}
