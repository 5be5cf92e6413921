//! After each: one trigger after the other; finishes with the last.
//!
//! Where windows merge, a trigger that was over may begin again, so that all of them hear of elements, and begin anew
//! after each pane.

use purlin_model::trigger::Trigger;

use super::{At, Node, each, each_mut, each_pair, is_finished, reset};

pub(super) fn on_elements(triggers: &[Trigger], subs: &mut [Node], count: u64, at: &At) {
    let current = each_mut(triggers, subs).filter(|(_, nodes)| !is_finished(nodes));
    let heard = if at.merging { triggers.len() } else { 1 };
    current.take(heard).for_each(|(trigger, nodes)| super::on_elements(trigger, nodes, count, at));
}

pub(super) fn should_fire(triggers: &[Trigger], subs: &[Node], at: &At) -> bool {
    let mut current = each(triggers, subs).filter(|(_, nodes)| !is_finished(nodes));
    current.next().is_some_and(|(trigger, nodes)| super::should_fire(trigger, nodes, at))
}

pub(super) fn on_fire(node: &mut Node, triggers: &[Trigger], subs: &mut [Node], at: &At) {
    let current = each_mut(triggers, &mut *subs).find(|(_, nodes)| !is_finished(nodes));
    if let Some((trigger, nodes)) = current {
        super::on_fire(trigger, nodes, at);
    }
    if at.merging {
        each_mut(triggers, &mut *subs).filter(|(_, nodes)| !is_finished(nodes)).for_each(|(_, nodes)| reset(nodes));
    }
    node.finished = each(triggers, subs).all(|(_, nodes)| is_finished(nodes));
}

pub(super) fn merge(node: &mut Node, triggers: &[Trigger], (subs, others): (&mut [Node], &[Node]), at: &At) {
    node.finished = true;
    for (trigger, nodes, others) in each_pair(triggers, (subs, others)) {
        if node.finished {
            super::merge(trigger, nodes, others, at);
            node.finished &= is_finished(nodes);
        } else {
            // Its turn has not come yet, or comes again.
            reset(nodes);
        }
    }
}
