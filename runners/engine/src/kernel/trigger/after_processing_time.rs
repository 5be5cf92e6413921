//! After processing time: fires once, when the clock has passed the arrival of a pane's first element, moved as the
//! pipeline says.

use purlin_model::time::{Millis, ProcessingTime};
use purlin_model::trigger::TimestampTransform;

use super::{At, Node};

pub(super) fn on_elements(node: &mut Node, transforms: &[TimestampTransform], at: &At) {
    if node.due.is_none() && !node.finished {
        node.due = Some(transforms.iter().fold(at.now, transformed));
    }
}

fn transformed(from: ProcessingTime, transform: &TimestampTransform) -> ProcessingTime {
    match transform {
        TimestampTransform::Delay(delay) => from + *delay,
        // An instant that is aligned stays, as Java has it.
        TimestampTransform::AlignTo { period, offset } => {
            let behind = from.0.saturating_sub(offset.0).rem_euclid(period.0.max(1));
            if behind == 0 { from } else { from + Millis(period.0 - behind) }
        }
    }
}

pub(super) fn should_fire(node: &Node, at: &At) -> bool {
    node.due.is_some_and(|due| due <= at.now)
}

/// The earlier of the two; a window that has fired already makes the merged one finished.
pub(super) fn merge(node: &mut Node, other: &Node) {
    *node = if node.finished || other.finished {
        Node::FINISHED
    } else {
        Node { due: [node.due, other.due].into_iter().flatten().min(), ..*node }
    };
}
