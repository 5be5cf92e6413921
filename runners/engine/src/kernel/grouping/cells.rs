//! Where a grouping keeps what it knows, in the cells and timers of its lanes.
//!
//! ```text
//!   key, window ─► `window`  trigger, panes, counts           (windows that do not merge)
//!   key         ─► `windows` the same of all active windows   (windows that merge)
//!   key, buffer ─► `values`  encoded values, one extent per bundle
//!   key, window ─► timers `end` (event time; its hold is the window's) and `clock`
//! ```
//! Knows how things are addressed and kept; does not know when anything fires.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use purlin_model::element::{decode_window, encode_window};
use purlin_model::time::{EventTime, ProcessingTime};
use purlin_model::window::{BoundedWindow, WindowCoder};
use purlin_model::windowing_strategy::WindowingStrategy;

use crate::kernel::KernelError;
use crate::kernel::window::{ActiveWindows, Contents};
use crate::store::{Cell, DueBound, Page, StateView, Timer, TimerDomain};

/// A state view, as a grouping uses it.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    state: &'a mut dyn StateView,
    strategy: &'a WindowingStrategy,
    windows: WindowCoder,
    stage: Arc<str>,
    names: Names,
}

#[derive(Debug)]
struct Names {
    window: Arc<str>,
    windows: Arc<str>,
    values: Arc<str>,
    end: Arc<str>,
    clock: Arc<str>,
}

/// When a window of a key is looked at again, and what it holds until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wake {
    /// Behind this instant of event time.
    pub(super) event: EventTime,
    /// At this instant of the clock; `None` leaves it alone.
    pub(super) clock: Option<ProcessingTime>,
    /// The least timestamp that may still be emitted.
    pub(super) hold: Option<EventTime>,
}

impl<'a> Cells<'a> {
    /// The cells of a stage.
    pub(super) fn new(
        state: &'a mut dyn StateView,
        stage: &Arc<str>,
        strategy: &'a WindowingStrategy,
        windows: WindowCoder,
    ) -> Self {
        let names = Names {
            window: "window".into(),
            windows: "windows".into(),
            values: "values".into(),
            end: "end".into(),
            clock: "clock".into(),
        };
        Self { state, strategy, windows, stage: stage.clone(), names }
    }

    /// The windows of keys that are due, by key, each once.
    pub(super) fn take_due(&mut self, bound: &DueBound) -> Result<Vec<(Bytes, BoundedWindow)>, KernelError> {
        let mut due = Vec::<(Bytes, BoundedWindow)>::new();
        for timer in self.state.take_due(bound)? {
            let window = decode_window(&mut &timer.window[..], self.windows)?;
            due.push((timer.key, window));
        }
        // Both clocks may have called for the same window.
        due.sort();
        due.dedup();
        Ok(due)
    }

    /// What is kept of a window that does not merge.
    pub(super) fn read_window(&mut self, key: &Bytes, window: &Bytes) -> Result<Option<Contents>, KernelError> {
        let bytes = self.read(&self.cell(&self.names.window, key, window))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        Contents::decode(self.strategy, &mut &bytes[..]).map(Some).ok_or(KernelError::Kept)
    }

    /// Keeps what is known of a window that does not merge; `None` forgets it.
    pub(super) fn write_window(
        &mut self,
        key: &Bytes,
        window: &Bytes,
        contents: Option<&Contents>,
    ) -> Result<(), KernelError> {
        let cell = self.cell(&self.names.window, key, window);
        let mut bytes = Vec::new();
        if let Some(contents) = contents {
            contents.encode(&mut bytes);
        }
        self.replace(&cell, bytes)
    }

    /// The active windows of a key whose windows merge.
    pub(super) fn read_windows(&mut self, key: &Bytes) -> Result<ActiveWindows, KernelError> {
        let bytes = self.read(&self.cell(&self.names.windows, key, &Bytes::new()))?;
        if bytes.is_empty() {
            return Ok(ActiveWindows::default());
        }
        ActiveWindows::decode(self.strategy, self.windows, &mut &bytes[..]).ok_or(KernelError::Kept)
    }

    /// Keeps the active windows of a key.
    pub(super) fn write_windows(&mut self, key: &Bytes, windows: &ActiveWindows) -> Result<(), KernelError> {
        let cell = self.cell(&self.names.windows, key, &Bytes::new());
        let mut bytes = Vec::new();
        if !windows.is_empty() {
            windows.encode(&mut bytes);
        }
        self.replace(&cell, bytes)
    }

    /// Adds encoded values to a buffer, as one extent.
    pub(super) fn append_values(&mut self, key: &Bytes, buffer: &Bytes, values: Bytes) -> Result<(), KernelError> {
        let cell = self.cell(&self.names.values, key, buffer);
        Ok(self.state.append(&cell, values)?)
    }

    /// Appends the values of a buffer to `out`.
    pub(super) fn read_values(&mut self, key: &Bytes, buffer: &Bytes, out: &mut Vec<u8>) -> Result<(), KernelError> {
        let cell = self.cell(&self.names.values, key, buffer);
        let mut page = Some(Page::default());
        while let Some(from) = page {
            let (bytes, next) = self.state.read(&cell, from)?;
            out.extend_from_slice(&bytes);
            page = next;
        }
        Ok(())
    }

    /// Empties a buffer.
    pub(super) fn clear_values(&mut self, key: &Bytes, buffer: &Bytes) -> Result<(), KernelError> {
        let cell = self.cell(&self.names.values, key, buffer);
        Ok(self.state.clear(&cell)?)
    }

    /// Sets the timers of a window; `None` clears them.
    pub(super) fn set_wake(&mut self, key: &Bytes, window: &Bytes, wake: Option<Wake>) -> Result<(), KernelError> {
        let end = wake.map(|wake| wake.event.millis());
        let hold = wake.and_then(|wake| wake.hold).unwrap_or(EventTime::MAX);
        self.set_timer(key, window, TimerDomain::EventTime, end, hold)?;
        if self.strategy.trigger.waits_for_clock() {
            let clock = wake.and_then(|wake| wake.clock).map(|clock| clock.0);
            self.set_timer(key, window, TimerDomain::ProcessingTime, clock, EventTime::MAX)?;
        }
        Ok(())
    }

    fn set_timer(
        &mut self,
        key: &Bytes,
        window: &Bytes,
        domain: TimerDomain,
        fire_at: Option<i64>,
        hold: EventTime,
    ) -> Result<(), KernelError> {
        let family = match domain {
            TimerDomain::EventTime | TimerDomain::WindowExpiration => &self.names.end,
            TimerDomain::ProcessingTime => &self.names.clock,
        };
        let timer = Timer {
            key: key.clone(),
            fire_at,
            transform: self.stage.clone(),
            family: family.clone(),
            tag: Bytes::new(),
            window: window.clone(),
            domain,
            expires: None,
            hold,
            output_timestamp: None,
            pane: Bytes::new(),
        };
        self.state.set_timer(timer)?;
        Ok(())
    }

    fn cell(&self, state: &Arc<str>, key: &Bytes, window: &Bytes) -> Cell {
        Cell {
            transform: self.stage.clone(),
            state: state.clone(),
            window: window.clone(),
            key: key.clone(),
            map_key: None,
        }
    }

    fn read(&mut self, cell: &Cell) -> Result<Bytes, KernelError> {
        let (bytes, mut next) = self.state.read(cell, Page::default())?;
        if next.is_none() {
            return Ok(bytes);
        }
        let mut whole = BytesMut::from(&bytes[..]);
        while let Some(from) = next {
            let (bytes, behind) = self.state.read(cell, from)?;
            whole.extend_from_slice(&bytes);
            next = behind;
        }
        Ok(whole.freeze())
    }

    fn replace(&mut self, cell: &Cell, bytes: Vec<u8>) -> Result<(), KernelError> {
        self.state.clear(cell)?;
        Ok(self.state.append(cell, bytes.into())?)
    }
}

/// A window as it stands on the wire.
pub(super) fn window_bytes(window: &BoundedWindow) -> Bytes {
    let mut bytes = Vec::new();
    encode_window(window, &mut bytes);
    bytes.into()
}
