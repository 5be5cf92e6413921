//! Expiry: the instant at which a window is collected, and behind which its elements are dropped and counted.
//!
//! ```text
//!   ──── window ────│max─── allowed lateness ───│expiry ──── elements are dropped
//! ```

use purlin_model::time::EventTime;
use purlin_model::window::BoundedWindow;
use purlin_model::windowing_strategy::WindowingStrategy;

/// The last instant of the watermark at which a window still takes elements.
pub(crate) fn expiry(window: &BoundedWindow, strategy: &WindowingStrategy) -> EventTime {
    window.max_timestamp() + strategy.allowed_lateness
}

/// Whether a window is gone.
pub(crate) fn is_expired(window: &BoundedWindow, strategy: &WindowingStrategy, watermark: EventTime) -> bool {
    watermark > expiry(window, strategy) || watermark == EventTime::MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_model::ids::CoderId;
    use purlin_model::time::Millis;

    #[test]
    fn a_window_is_gone_when_the_watermark_has_passed_its_lateness() {
        let strategy =
            WindowingStrategy { allowed_lateness: Millis(5), ..WindowingStrategy::global(CoderId::new("w")) };
        let window = BoundedWindow::Interval { start: EventTime::from_millis(0), end: EventTime::from_millis(10) };
        let expired = |at| is_expired(&window, &strategy, EventTime::from_millis(at));
        assert_eq!((expired(9), expired(14), expired(15)), (false, false, true));
        assert!(!is_expired(&BoundedWindow::Global, &strategy, EventTime::GLOBAL_WINDOW_MAX));
        assert!(is_expired(&BoundedWindow::Global, &strategy, EventTime::MAX));
    }
}
