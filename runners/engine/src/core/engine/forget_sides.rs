//! Forgetting: windows of side inputs go when nobody can read them any more.
//!
//! ```text
//!   reader A: input at 70, lateness 10 ─► 60 ─┐
//!   reader B: input at 50, lateness 0  ─► 50 ─┴─ least ─► windows that end before 50 are forgotten
//! ```
//! The window that a main window reads holds the main window's last instant, and so does not end before it. Behind its end and the
//! allowed lateness no element of the main window is let in, and what was let in before holds the watermark until it is through.
//!
//! Law: a window is never forgotten while an element, a timer or a residual that is not too late could still read it.

use purlin_model::time::{EventTime, Millis};

use super::Engine;
use crate::core::action::Action;
use crate::core::stage::{SideId, StageId};
use crate::data::BatchRef;

impl Engine {
    /// Looks at the side inputs whose readers have changed.
    pub(super) fn forget_sides(&mut self) {
        while let Some(side) = self.read_sides.pop_first() {
            let until = self.unread_until(side);
            let before = self.forgotten.get(&side).copied().unwrap_or(EventTime::MIN);
            if until > before {
                self.forgotten.insert(side, until);
                self.actions.push_back(Action::ForgetSide { side, until });
            }
        }
    }

    /// Notes the side inputs of a stage that has changed, if windows of them can be forgotten at all.
    pub(super) fn note_reader(&mut self, stage: StageId) {
        let gates = self.graph.stage(stage).gates.iter().filter(|gate| gate.lateness.is_some());
        self.read_sides.extend(gates.map(|gate| gate.side));
    }

    /// Whether elements come so late that the windows of side inputs that they read may be forgotten. Those that come before that hold
    /// the watermark until they are through, so that nobody has to look again.
    pub(super) fn comes_too_late(&self, stage: StageId, batch: &BatchRef) -> bool {
        let at = self.stages[stage.index()].input.at();
        let too_late = |lateness| batch.window_max.is_some_and(|max| max + lateness < at);
        // At the end of time there is nothing behind it but what stands there itself.
        at != EventTime::MAX && self.graph.stage(stage).gates.iter().filter_map(|gate| gate.lateness).any(too_late)
    }

    /// Windows that end before this instant are read by nobody any more.
    fn unread_until(&self, side: SideId) -> EventTime {
        let readers = self.readers.get(&self.graph.side(side).materialize).into_iter().flatten();
        let gates = readers.flat_map(|reader| self.graph.stage(*reader).gates.iter().map(move |gate| (*reader, gate)));
        let of_gate = |(reader, lateness): (StageId, Option<Millis>)| {
            lateness.map_or(EventTime::MIN, |lateness| self.read_from(reader) - lateness)
        };
        let gates = gates.filter(|(_, gate)| gate.side == side).map(|(reader, gate)| (reader, gate.lateness));
        gates.map(of_gate).min().unwrap_or(EventTime::MIN)
    }

    /// What a stage may still process is not in windows that, with their lateness, end before this instant.
    fn read_from(&self, reader: StageId) -> EventTime {
        let state = &self.stages[reader.index()];
        // In which window a residual is, only its worker knows.
        if state.has_residuals() {
            return EventTime::MIN;
        }
        let at = state.input.at();
        let Some(waits) = state.waits() else { return at };
        // They are due a millisecond behind a window's lateness at the latest. Those of the clock expire with their windows, but for the global one.
        let timers = [waits.next_event, waits.next_expiry].into_iter().flatten().map(|due| due - Millis(1));
        let clock = waits.next_processing.map(|_| EventTime::GLOBAL_WINDOW_MAX);
        timers.chain(clock).fold(at, EventTime::min)
    }
}
