//! The default trigger: at the end of the window, then for each late batch. Never finishes.

use super::At;

pub(super) fn should_fire(at: &At) -> bool {
    at.is_past_end()
}
