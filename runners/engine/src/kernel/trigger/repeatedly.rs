//! Repeatedly: when the trigger in it has finished, it begins anew. Never finishes.

use purlin_model::trigger::Trigger;

use super::{At, Node, is_finished, reset};

pub(super) fn on_fire(sub: &Trigger, subs: &mut [Node], at: &At) {
    super::on_fire(sub, subs, at);
    if is_finished(subs) {
        reset(subs);
    }
}
