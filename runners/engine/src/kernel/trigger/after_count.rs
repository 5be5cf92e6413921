//! After a count of elements: fires once.

use super::Node;

pub(super) fn on_elements(node: &mut Node, count: u64) {
    node.seen += count;
}

pub(super) fn should_fire(node: &Node, count: i32) -> bool {
    i64::try_from(node.seen).unwrap_or(i64::MAX) >= i64::from(count)
}

/// Counts add up; a window that has fired already makes the merged one finished.
pub(super) fn merge(node: &mut Node, other: &Node) {
    *node =
        if node.finished || other.finished { Node::FINISHED } else { Node { seen: node.seen + other.seen, ..*node } };
}
