//! What is kept of a key and window between bundles: trigger, panes, counts, the hold; not the values.
//!
//! ```text
//!   elements ──add──► Contents ──poll_pane(watermark, clock)──► Pane: what to emit, and whether its values stay
//!                        ├─hold──► how far the output's watermark may go
//!                        └─wake──► when to look again: the end of the window, then its expiry
//! ```
//! Values lie in cells of the state view. A window that has merged has those of its parts, whose names are kept here, so
//! that merging moves no value. Knows neither keys nor cells.

use bytes::Bytes;
use purlin_model::coder::varint::{read_varint, write_length, write_varint};
use purlin_model::pane::{PaneInfo, PaneTiming};
use purlin_model::time::{EventTime, ProcessingTime};
use purlin_model::window::BoundedWindow;
use purlin_model::windowing_strategy::{
    AccumulationMode, ClosingBehavior, OnTimeBehavior, TimestampCombiner, WindowingStrategy,
};

use super::expiry;
use crate::kernel::pane::PaneState;
use crate::kernel::trigger::{At, TriggerState};

/// What is kept of a key and window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    trigger: TriggerState,
    pane: PaneState,
    /// Elements since the last pane.
    fresh: u64,
    /// Values in the buffers.
    buffered: u64,
    /// The timestamp of the next pane, if anything has set one: a hold.
    timestamp: Option<EventTime>,
    /// The names of the buffers, in order; never empty.
    buffers: Vec<Bytes>,
}

/// A pane to emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pane {
    /// What SDKs are told of it.
    pub(crate) info: PaneInfo,
    /// The timestamp of the element that carries it.
    pub(crate) timestamp: EventTime,
    /// How many values it has: all that are in the buffers.
    pub(crate) values: u64,
    /// Whether the values are kept for later panes.
    pub(crate) keeps: bool,
}

impl Contents {
    /// A window that its first element makes.
    pub(crate) fn new(strategy: &WindowingStrategy, buffer: Bytes, at: &At) -> Self {
        Self {
            trigger: TriggerState::new(&strategy.trigger),
            pane: PaneState::new(!at.is_past_end()),
            fresh: 0,
            buffered: 0,
            timestamp: None,
            buffers: vec![buffer],
        }
    }

    /// Whether the trigger has finished: what comes is dropped.
    pub(crate) fn is_closed(&self) -> bool {
        self.trigger.is_finished()
    }

    /// The buffers of its values, in order.
    pub(crate) fn buffers(&self) -> &[Bytes] {
        &self.buffers
    }

    /// The buffer that takes new values.
    pub(crate) fn buffer(&self) -> &Bytes {
        &self.buffers[self.buffers.len() - 1]
    }

    /// Forgets all buffers but the one that takes new values; returns the others.
    pub(crate) fn forget_buffers(&mut self) -> Vec<Bytes> {
        let last = self.buffers.len() - 1;
        self.buffers.drain(..last).collect()
    }

    /// Takes note of elements with these timestamps, and returns of how many: up to the first behind which the trigger
    /// fires, if it tells elements apart, and of all of them if it does not.
    pub(crate) fn add(
        &mut self,
        strategy: &WindowingStrategy,
        timestamps: impl ExactSizeIterator<Item = EventTime>,
        at: &At,
    ) -> usize {
        let count = timestamps.len();
        let apart = strategy.tells_elements_apart();
        if !apart {
            self.trigger.on_elements(&strategy.trigger, count as u64, at);
        }
        let mut taken = 0;
        for timestamp in timestamps {
            self.add_timestamp(strategy.timestamp_combiner, timestamp, at);
            taken += 1;
            if apart {
                self.trigger.on_elements(&strategy.trigger, 1, at);
                if self.trigger.should_fire(&strategy.trigger, &At { more: taken < count, ..*at }) {
                    break;
                }
            }
        }
        self.fresh += taken as u64;
        self.buffered += taken as u64;
        taken
    }

    fn add_timestamp(&mut self, combiner: TimestampCombiner, timestamp: EventTime, at: &At) {
        let output = match combiner {
            TimestampCombiner::EndOfWindow => at.window_max,
            TimestampCombiner::Earliest | TimestampCombiner::Latest => timestamp.min(at.window_max),
        };
        // What is late cannot hold a watermark that has passed it: while its bundle runs, nothing holds it there.
        if output >= at.watermark {
            self.timestamp = Some(self.timestamp.map_or(output, |other| combine(combiner, other, output)));
        }
    }

    /// The pane that is to be emitted now, if any; it counts as emitted.
    pub(crate) fn poll_pane(&mut self, strategy: &WindowingStrategy, at: &At, expired: bool) -> Option<Pane> {
        if self.is_closed() {
            return None;
        }
        let fires = self.trigger.should_fire(&strategy.trigger, at);
        let past_end = at.is_past_end();
        if !fires && !expired {
            if self.timestamp.is_none() {
                // Nothing holds the watermark for a pane on time any more.
                self.pane.pass(past_end);
            }
            return None;
        }
        if fires {
            self.trigger.on_fire(&strategy.trigger, at);
        }
        let is_last = expired || self.is_closed();
        let on_time = fires && self.pane.timing(past_end) == PaneTiming::OnTime;
        let shown = self.fresh > 0
            || on_time && strategy.on_time == OnTimeBehavior::FireAlways
            || is_last && strategy.closing == ClosingBehavior::EmitAlways;
        if !shown {
            self.pane.pass(past_end);
            return None;
        }
        let pane = Pane {
            info: self.pane.emit(past_end, is_last),
            timestamp: self.timestamp.map_or(at.window_max, |timestamp| timestamp.min(at.window_max)),
            values: self.buffered,
            keeps: !is_last && strategy.accumulation == AccumulationMode::Accumulating,
        };
        self.fresh = 0;
        self.timestamp = None;
        if !pane.keeps {
            self.buffered = 0;
        }
        Some(pane)
    }

    /// Takes in what is kept of a window that this one has merged with; `at` speaks of what they became. Returns how
    /// many elements are lost, because the other window was closed already.
    pub(crate) fn merge(&mut self, other: Self, strategy: &WindowingStrategy, at: &At) -> u64 {
        self.trigger.merge(&other.trigger, &strategy.trigger, at);
        self.fresh += other.fresh;
        self.buffered += other.buffered;
        let timestamps = [self.timestamp, other.timestamp].into_iter().flatten();
        let timestamp = timestamps.reduce(|a, b| combine(strategy.timestamp_combiner, a, b));
        self.timestamp = timestamp.map(|timestamp| moved(strategy.timestamp_combiner, timestamp, at));
        self.buffers.extend(other.buffers);
        if self.is_closed() { std::mem::take(&mut self.fresh) } else { 0 }
    }

    /// It has become a window that was not there before: its panes are counted anew.
    pub(crate) fn renew(&mut self, strategy: &WindowingStrategy, at: &At) {
        self.pane = PaneState::new(!at.is_past_end());
        self.trigger.merge(&TriggerState::neutral(&strategy.trigger), &strategy.trigger, at);
        self.timestamp = self.timestamp.map(|timestamp| moved(strategy.timestamp_combiner, timestamp, at));
    }

    /// The least timestamp that it may still emit.
    pub(crate) fn hold(&self, strategy: &WindowingStrategy, window: &BoundedWindow, at: &At) -> Option<EventTime> {
        if self.is_closed() {
            return None;
        }
        let pending = self.fresh > 0;
        let awaits_on_time = self.pane.awaits_on_time() && !at.is_past_end();
        let later = if awaits_on_time && (pending || strategy.on_time == OnTimeBehavior::FireAlways) {
            Some(at.window_max)
        } else if pending || strategy.closing == ClosingBehavior::EmitAlways {
            // Behind its expiry, those who group next would drop it.
            Some(expiry(window, strategy))
        } else {
            None
        };
        [self.timestamp, later].into_iter().flatten().min()
    }

    /// The instant of event time behind which to look again.
    pub(crate) fn wake(&self, strategy: &WindowingStrategy, window: &BoundedWindow, at: &At) -> EventTime {
        if at.is_past_end() { expiry(window, strategy) } else { at.window_max }
    }

    /// The instant of the clock at which to look again, if there is one.
    pub(crate) fn wake_clock(&self, at: &At) -> Option<ProcessingTime> {
        self.trigger.next_clock(at.now).filter(|_| !self.is_closed())
    }

    /// Appends what is kept.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.trigger.encode(out);
        self.pane.encode(out);
        write_varint(self.fresh as i64, out);
        write_varint(self.buffered as i64, out);
        out.push(u8::from(self.timestamp.is_some()));
        if let Some(timestamp) = self.timestamp {
            out.extend_from_slice(&timestamp.to_wire());
        }
        write_length(self.buffers.len(), out);
        for buffer in &self.buffers {
            write_length(buffer.len(), out);
            out.extend_from_slice(buffer);
        }
    }

    /// Reads what [`encode`](Self::encode) wrote under the same strategy, and moves past it; `None` if it is not that.
    pub(crate) fn decode(strategy: &WindowingStrategy, bytes: &mut &[u8]) -> Option<Self> {
        let trigger = TriggerState::decode(&strategy.trigger, bytes)?;
        let pane = PaneState::decode(bytes)?;
        let (fresh, buffered) = (read_varint(bytes).ok()? as u64, read_varint(bytes).ok()? as u64);
        let (has_timestamp, rest) = bytes.split_first()?;
        *bytes = rest;
        let timestamp = if *has_timestamp == 0 {
            None
        } else {
            let (timestamp, rest) = bytes.split_first_chunk::<8>()?;
            *bytes = rest;
            Some(EventTime::from_wire(*timestamp)?)
        };
        let mut buffers = Vec::new();
        for _ in 0..read_varint(bytes).ok()? {
            let length = usize::try_from(read_varint(bytes).ok()?).ok()?;
            let (buffer, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            buffers.push(Bytes::copy_from_slice(buffer));
        }
        (!buffers.is_empty()).then_some(Self { trigger, pane, fresh, buffered, timestamp, buffers })
    }
}

/// A pane's timestamp when its window has become another one.
fn moved(combiner: TimestampCombiner, timestamp: EventTime, at: &At) -> EventTime {
    match combiner {
        TimestampCombiner::EndOfWindow => at.window_max,
        TimestampCombiner::Earliest | TimestampCombiner::Latest => timestamp,
    }
}

fn combine(combiner: TimestampCombiner, a: EventTime, b: EventTime) -> EventTime {
    match combiner {
        TimestampCombiner::Earliest => a.min(b),
        TimestampCombiner::EndOfWindow | TimestampCombiner::Latest => a.max(b),
    }
}
