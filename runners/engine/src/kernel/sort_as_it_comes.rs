//! Sorting by time of input that does not end: what a DoFn with `requires_time_sorted_input` sees in a stream.
//!
//! ```text
//!   element ─► too late? dropped, counted          key, timestamp ─► cell of elements, timer at timestamp + lateness
//!   timers that are due, by key and time ─► the elements of their cells, in order of arrival ─► cleared
//! ```
//! An element is kept until the watermark is further past it than anything may be late, so that none can come that belongs
//! before it; until then it holds the output where it stands. So a stream is as late as its lateness allows: Beam's Java
//! runners wait as long. Elements pass as they stand on the wire, in all of their windows at once.

use std::sync::Arc;

use bytes::Bytes;
use purlin_model::coder::varint::{read_varint, write_length};
use purlin_model::element::skip_header;
use purlin_model::time::{EventTime, Millis};

use super::{KernelError, KernelIo};
use crate::core::stage::{OutputId, OutputSpec, StageSpec};
use crate::store::{Cell, DueBound, Page, StateView, Timer, TimerDomain};

/// Keeps the elements of a bundle, or lets go of those whose time has come. `input` is the collection that they came from.
///
/// # Errors
/// If an element's key or header cannot be read, or state fails.
pub(super) fn sort(
    spec: &StageSpec,
    input: &OutputSpec,
    lateness: Millis,
    output: OutputId,
    io: &mut KernelIo<'_>,
) -> Result<(), KernelError> {
    let kept = io.kept.as_mut().ok_or(KernelError::NoState(spec.id))?;
    let mut waiting =
        Waiting { state: &mut *kept.view, stage: &spec.name, cell: "waiting".into(), timer: "sorted".into() };
    if io.input.slices().is_empty() {
        // There are none of the clock.
        let bound = DueBound::of_kernel(io.watermark, kept.now);
        for timer in waiting.state.take_due(&bound)? {
            let at =
                EventTime::from_wire(*timer.tag.first_chunk().ok_or(KernelError::Kept)?).ok_or(KernelError::Kept)?;
            waiting.take(&timer.key, at, |header, value| Ok(io.out.push(output, header, at, value)?))?;
        }
        return Ok(());
    }
    for loaded in io.input.stream() {
        let (batch, slice) = loaded?;
        for index in slice.first..slice.last {
            let view = batch.get(index as usize);
            let (_, at) = skip_header(view.header, input.windows)?;
            if io.watermark > at + lateness {
                io.dropped.late += 1;
                continue;
            }
            let key = input.coder.key_of(view.value).map_err(KernelError::Key)?;
            waiting.put(&Bytes::copy_from_slice(key), at, lateness, view.header, view.value)?;
        }
    }
    Ok(())
}

/// The elements that wait, by key and timestamp.
struct Waiting<'a> {
    state: &'a mut dyn StateView,
    stage: &'a Arc<str>,
    cell: Arc<str>,
    timer: Arc<str>,
}

impl Waiting<'_> {
    fn cell(&self, key: &Bytes, at: EventTime) -> Cell {
        Cell {
            transform: self.stage.clone(),
            state: self.cell.clone(),
            // Elements wait by time, whatever their windows.
            window: Bytes::copy_from_slice(&at.to_wire()),
            key: key.clone(),
            map_key: None,
        }
    }

    /// Keeps an element: the lengths of header and value, each in front of it.
    fn put(
        &mut self,
        key: &Bytes,
        at: EventTime,
        lateness: Millis,
        header: &[u8],
        value: &[u8],
    ) -> Result<(), KernelError> {
        let mut kept = Vec::with_capacity(header.len() + value.len() + 4);
        for part in [header, value] {
            write_length(part.len(), &mut kept);
            kept.extend_from_slice(part);
        }
        self.state.append(&self.cell(key, at), kept.into())?;
        self.state.set_timer(Timer {
            key: key.clone(),
            fire_at: Some((at + lateness).millis()),
            transform: self.stage.clone(),
            family: self.timer.clone(),
            tag: Bytes::copy_from_slice(&at.to_wire()),
            window: Bytes::new(),
            domain: TimerDomain::EventTime,
            expires: None,
            hold: at,
            output_timestamp: None,
            pane: Bytes::new(),
        })?;
        Ok(())
    }

    /// Takes the elements of a timestamp out, in order of arrival.
    fn take(
        &mut self,
        key: &Bytes,
        at: EventTime,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        let cell = self.cell(key, at);
        let mut page = Some(Page::default());
        while let Some(from) = page {
            let (bytes, next) = self.state.read(&cell, from)?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                each(part(&mut rest)?, part(&mut rest)?)?;
            }
            page = next;
        }
        Ok(self.state.clear(&cell)?)
    }
}

/// A length, and what it is the length of.
fn part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], KernelError> {
    let length = read_varint(rest).ok().and_then(|length| usize::try_from(length).ok());
    let (part, behind) = length.and_then(|length| rest.split_at_checked(length)).ok_or(KernelError::Kept)?;
    *rest = behind;
    Ok(part)
}
