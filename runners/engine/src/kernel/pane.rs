//! Panes: index, timing, first and last of each firing of a key and window.
//!
//! ```text
//!   PaneState ──next(is it past the end, is it the last)──► PaneInfo
//! ```
//! Timing: early before the end of the window; then one pane on time, if the window was there before its end; all
//! others are late. A window that late data makes has no pane on time: nothing has waited for it. Only panes that are
//! emitted count.

use purlin_model::coder::varint::{read_varint, write_varint};
use purlin_model::pane::{PaneInfo, PaneTiming};

/// What is kept of the panes of a key and window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PaneState {
    /// Whether a pane on time may still come.
    awaited: bool,
    next_index: i64,
    next_non_speculative: i64,
}

impl PaneState {
    /// No pane yet. `in_time` tells whether the window came up before its end.
    pub(crate) fn new(in_time: bool) -> Self {
        Self { awaited: in_time, next_index: 0, next_non_speculative: 0 }
    }

    /// Whether a pane on time may still come.
    pub(crate) fn awaits_on_time(&self) -> bool {
        self.awaited
    }

    /// The timing of a pane that fires now.
    pub(crate) fn timing(&self, past_end: bool) -> PaneTiming {
        match (self.awaited, past_end) {
            (true, false) => PaneTiming::Early,
            (true, true) => PaneTiming::OnTime,
            (false, _) => PaneTiming::Late,
        }
    }

    /// The pane that is emitted now.
    pub(crate) fn emit(&mut self, past_end: bool, is_last: bool) -> PaneInfo {
        let timing = self.timing(past_end);
        let index = self.next_index;
        self.next_index += 1;
        let non_speculative_index = if timing == PaneTiming::Early {
            -1
        } else {
            self.next_non_speculative += 1;
            self.next_non_speculative - 1
        };
        self.pass(past_end);
        PaneInfo { is_first: index == 0, is_last, timing, index, non_speculative_index }
    }

    /// The trigger has fired, though no pane was emitted. The pane on time is over, if it was that.
    pub(crate) fn pass(&mut self, past_end: bool) {
        self.awaited &= !past_end;
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.awaited));
        write_varint(self.next_index, out);
        write_varint(self.next_non_speculative, out);
    }

    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (awaited, rest) = bytes.split_first()?;
        *bytes = rest;
        let (next_index, next_non_speculative) = (read_varint(bytes).ok()?, read_varint(bytes).ok()?);
        Some(Self { awaited: *awaited != 0, next_index, next_non_speculative })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panes by whether the watermark is past the end; the last of them is the last.
    fn check(in_time: bool, past_end: &[bool], expected: &[(PaneTiming, i64)]) {
        let mut state = PaneState::new(in_time);
        let panes: Vec<_> =
            (1..).zip(past_end).map(|(count, past)| state.emit(*past, count == past_end.len())).collect();
        let told: Vec<_> = panes.iter().map(|pane| (pane.timing, pane.non_speculative_index)).collect();
        assert_eq!(told, expected);
        assert!(panes.iter().enumerate().all(|(index, pane)| pane.index == index as i64));
        assert!(panes.iter().all(|pane| pane.is_first == (pane.index == 0)));
        assert_eq!(panes.iter().filter(|pane| pane.is_last).count(), 1);
        let mut kept = Vec::new();
        state.encode(&mut kept);
        assert_eq!(PaneState::decode(&mut &kept[..]), Some(state));
    }

    #[test]
    fn one_pane_is_on_time() {
        use PaneTiming::{Early, Late, OnTime};
        check(true, &[true], &[(OnTime, 0)]);
        check(true, &[false, false, true, true], &[(Early, -1), (Early, -1), (OnTime, 0), (Late, 1)]);
        check(false, &[true, true], &[(Late, 0), (Late, 1)]);
    }

    #[test]
    fn a_pane_on_time_that_is_not_shown_is_over() {
        let mut state = PaneState::new(true);
        state.pass(false);
        assert_eq!(state.timing(true), PaneTiming::OnTime);
        state.pass(true);
        assert_eq!(state.emit(true, true).timing, PaneTiming::Late);
    }
}
