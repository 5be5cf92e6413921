//! A batch of elements: headers once when all are the same, values behind one another.
//!
//! ```text
//!  wire:   [header│value][header│value][header│value]
//!  batch:  header (uniform) or a table of headers and which one each element has   │ values: [value][value][value] │ ends: 3 × u32
//! ```
//! Knows bytes and boundaries; does not know what a value means.

use std::sync::Arc;

use bytes::Bytes;
use purlin_model::coder::{Coder, CoderError, CoderFault};
use purlin_model::element::{HeaderError, skip_header};
use purlin_model::time::EventTime;
use purlin_model::window::WindowCoder;
use thiserror::Error;

use crate::store::Reservation;

/// Elements, immutable and cheap to share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementBatch {
    pub(super) headers: Headers,
    pub(super) values: Bytes,
    /// Where each value ends in `values`; ascending.
    pub(super) ends: Vec<u32>,
    pub(super) min_timestamp: EventTime,
    held: Held,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Headers {
    /// All elements have these bytes in front.
    Uniform(Vec<u8>),
    /// Elements differ: the headers that follow one another (`ends` ascend), and which of them each element has.
    Table { bytes: Vec<u8>, ends: Vec<u32>, of: Vec<u32> },
}

/// The memory that a batch is in, given back with its last owner. Says nothing about what the batch is.
#[derive(Clone, Debug, Default)]
struct Held(Option<Arc<Reservation>>);

impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Held {}

/// One element of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementView<'a> {
    /// Timestamp, windows and pane as they stand on the wire.
    pub header: &'a [u8],
    /// The value's nested encoding.
    pub value: &'a [u8],
}

impl ElementBatch {
    pub(super) fn of_parts(headers: Headers, values: Bytes, ends: Vec<u32>, min_timestamp: EventTime) -> Self {
        Self { headers, values, ends, min_timestamp, held: Held::default() }
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many bytes of payload it keeps alive.
    pub fn bytes(&self) -> u64 {
        let headers = match &self.headers {
            Headers::Uniform(header) => header.len(),
            Headers::Table { bytes, ends, of } => bytes.len() + 4 * (ends.len() + of.len()),
        };
        (headers + self.values.len() + 4 * self.ends.len()) as u64
    }

    /// The same batch, in memory that is reserved: given back when nobody has the batch any more. Values that were
    /// taken out of it are not counted for longer than that.
    pub fn held_by(self, reservation: Reservation) -> Self {
        Self { held: Held(Some(Arc::new(reservation))), ..self }
    }

    /// Whether its memory is reserved.
    pub fn is_held(&self) -> bool {
        self.held.0.is_some()
    }

    /// The elements of several batches behind one another, copied.
    pub fn concat(batches: &[Arc<Self>]) -> Self {
        let elements = batches.iter().map(|batch| batch.len()).sum();
        let bytes = batches.iter().map(|batch| batch.values.len()).sum();
        let mut builder = ElementBatchBuilder::with_capacity(elements, bytes);
        for batch in batches {
            for element in batch.iter(0, batch.len()) {
                // Only the least of the timestamps is kept.
                builder.push(element.header, batch.min_timestamp, element.value);
            }
        }
        builder.finish()
    }

    /// How many bytes its elements have on the wire.
    pub fn wire_bytes(&self) -> u64 {
        let headers = match &self.headers {
            Headers::Uniform(header) => header.len() * self.len(),
            Headers::Table { bytes, ends, of } => {
                of.iter().map(|index| header_at(bytes, ends, *index as usize).len()).sum()
            }
        };
        (headers + self.values.len()) as u64
    }

    /// A batch of one value without a header, in its own memory: a page of something else.
    pub fn of_one(value: Vec<u8>) -> Self {
        let ends = vec![value.len() as u32];
        Self::of_parts(Headers::Uniform(Vec::new()), value.into(), ends, EventTime::MAX)
    }

    /// The least timestamp; [`EventTime::MAX`] without elements.
    pub fn min_timestamp(&self) -> EventTime {
        self.min_timestamp
    }

    /// The header that all elements share, if they do.
    pub fn uniform_header(&self) -> Option<&[u8]> {
        match &self.headers {
            Headers::Uniform(header) => Some(header),
            Headers::Table { .. } => None,
        }
    }

    /// The element at this position.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn get(&self, index: usize) -> ElementView<'_> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        let value = &self.values[start..self.ends[index] as usize];
        let header = match &self.headers {
            Headers::Uniform(header) => header,
            Headers::Table { bytes, ends, of } => header_at(bytes, ends, of[index] as usize),
        };
        ElementView { header, value }
    }

    /// The value at this position, sharing the batch's memory.
    ///
    /// # Panics
    /// If there is none.
    pub fn value_bytes(&self, index: usize) -> Bytes {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        self.values.slice(start..self.ends[index] as usize)
    }

    /// The elements at these positions, in order.
    pub fn iter(&self, first: usize, last: usize) -> impl ExactSizeIterator<Item = ElementView<'_>> {
        (first..last.min(self.len())).map(|index| self.get(index))
    }

    /// Appends the elements at these positions as they stand on the wire.
    pub fn write_wire(&self, first: usize, last: usize, out: &mut Vec<u8>) {
        for element in self.iter(first, last) {
            out.extend_from_slice(element.header);
            out.extend_from_slice(element.value);
        }
    }
}

/// The header at this position of a table.
#[inline]
fn header_at<'a>(bytes: &'a [u8], ends: &[u32], index: usize) -> &'a [u8] {
    let start = if index == 0 { 0 } else { ends[index - 1] as usize };
    &bytes[start..ends[index] as usize]
}

/// Gathers elements into a batch.
#[derive(Debug, Default)]
pub struct ElementBatchBuilder {
    /// Each header that differed from the one before it, and where it ends.
    headers: Vec<u8>,
    header_ends: Vec<u32>,
    /// Which header each element has; empty while there is only one.
    header_of: Vec<u32>,
    values: Vec<u8>,
    ends: Vec<u32>,
    min_timestamp: Option<EventTime>,
}

/// Bounds a batch, because positions in it are 32-bit.
pub(crate) const BATCH_BYTES_MAX: usize = 1 << 30;

impl ElementBatchBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing yet, with room for this much.
    pub fn with_capacity(elements: usize, value_bytes: usize) -> Self {
        Self { values: Vec::with_capacity(value_bytes), ends: Vec::with_capacity(elements), ..Self::default() }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many elements it holds.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes it holds.
    pub fn bytes(&self) -> usize {
        self.values.len() + self.headers.len() + 4 * (self.ends.len() + self.header_ends.len() + self.header_of.len())
    }

    /// How many bytes of memory it takes, room to grow included.
    pub fn capacity(&self) -> usize {
        let positions = self.ends.capacity() + self.header_ends.capacity() + self.header_of.capacity();
        self.values.capacity() + self.headers.capacity() + 4 * positions
    }

    /// Whether an element of this size still fits.
    #[inline]
    pub fn fits(&self, header: &[u8], value: &[u8]) -> bool {
        self.is_empty() || self.values.len() + self.headers.len() + header.len() + value.len() < BATCH_BYTES_MAX
    }

    /// Adds an element. `timestamp` is the one that the header begins with.
    #[inline]
    pub fn push(&mut self, header: &[u8], timestamp: EventTime, value: &[u8]) {
        self.push_parts(header, timestamp, &[value]);
    }

    /// Adds an element whose value is the concatenation of `parts`.
    #[inline]
    pub fn push_parts(&mut self, header: &[u8], timestamp: EventTime, parts: &[&[u8]]) {
        self.push_header(header, timestamp);
        for part in parts {
            self.values.extend_from_slice(part);
        }
        self.ends.push(self.values.len() as u32);
    }

    /// Adds an element whose value `write` appends to the buffer that it is given.
    pub fn push_with(&mut self, header: &[u8], timestamp: EventTime, write: impl FnOnce(&mut Vec<u8>)) {
        self.push_header(header, timestamp);
        write(&mut self.values);
        self.ends.push(self.values.len() as u32);
    }

    /// Adds an element whose value has this many bytes, and tells where these begin in [`values_mut`](Self::values_mut).
    pub fn push_room(&mut self, header: &[u8], timestamp: EventTime, bytes: usize) -> usize {
        self.push_header(header, timestamp);
        let start = self.values.len();
        self.values.resize(start + bytes, 0);
        self.ends.push(self.values.len() as u32);
        start
    }

    /// The values, to fill the room that was made.
    pub fn values_mut(&mut self) -> &mut [u8] {
        &mut self.values
    }

    #[inline]
    fn push_header(&mut self, header: &[u8], timestamp: EventTime) {
        match self.header_ends.len().checked_sub(1) {
            Some(last) if header_at(&self.headers, &self.header_ends, last) == header => {
                if last > 0 {
                    self.header_of.push(last as u32);
                }
            }
            Some(_) | None => self.push_new_header(header, timestamp),
        }
    }

    #[cold]
    fn push_new_header(&mut self, header: &[u8], timestamp: EventTime) {
        let index = self.header_ends.len() as u32;
        if index == 1 {
            // All elements so far have the first one.
            self.header_of.resize(self.ends.len(), 0);
        }
        if index > 0 {
            self.header_of.push(index);
        }
        self.headers.extend_from_slice(header);
        self.header_ends.push(self.headers.len() as u32);
        if self.min_timestamp.is_none_or(|least| timestamp < least) {
            self.min_timestamp = Some(timestamp);
        }
    }

    /// The batch, and an empty builder in its place.
    pub fn finish(&mut self) -> ElementBatch {
        let done = std::mem::take(self);
        let headers = if done.header_of.is_empty() {
            Headers::Uniform(done.headers)
        } else {
            Headers::Table { bytes: fitted(done.headers), ends: fitted(done.header_ends), of: fitted(done.header_of) }
        };
        let min_timestamp = done.min_timestamp.unwrap_or(EventTime::MAX);
        ElementBatch::of_parts(headers, fitted(done.values).into(), fitted(done.ends), min_timestamp)
    }
}

/// The same, without much room to grow: a batch may wait for long.
fn fitted<T>(mut of: Vec<T>) -> Vec<T> {
    if of.capacity() - of.len() > of.len() / 8 {
        of.shrink_to_fit();
    }
    of
}

/// Why a frame of elements cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// An element's header.
    #[error("element {index} at byte {offset}: {source}")]
    Header {
        /// Counted from 0 within the frame.
        index: usize,
        /// Where it begins.
        offset: usize,
        /// What is wrong.
        source: HeaderError,
    },
    /// An element's value.
    #[error("element {index} at byte {offset}: {source}")]
    Value {
        /// Counted from 0 within the frame.
        index: usize,
        /// Where its value begins.
        offset: usize,
        /// What is wrong.
        source: CoderError,
    },
}

/// No element is longer than a batch, and each thing that is counted in one takes a byte.
const ELEMENT_LENGTH_MAX: i64 = BATCH_BYTES_MAX as i64;

impl FrameError {
    /// Whether the frame may merely end too early, so that more bytes could make it whole.
    pub fn is_cut_short(&self) -> bool {
        match self {
            Self::Header { source, .. } => match source {
                HeaderError::Truncated { .. } | HeaderError::Pane => true,
                HeaderError::TimestampOutOfRange { .. } | HeaderError::WindowCount { .. } => false,
            },
            Self::Value { source, .. } => matches!(
                source.fault(),
                CoderFault::Truncated { .. }
                    | CoderFault::VarintTruncated
                    | CoderFault::Pane
                    // What claims to be longer than any element is no beginning of one.
                    | CoderFault::Length { length: 0..=ELEMENT_LENGTH_MAX, .. }
                    | CoderFault::Count { count: 0..=ELEMENT_LENGTH_MAX, .. }
            ),
        }
    }
}

impl ElementBatch {
    /// Reads a frame as it comes over the wire: elements behind one another.
    ///
    /// # Errors
    /// The first element that cannot be read, with its place in the frame.
    pub fn from_wire(frame: &[u8], coder: &Coder, windows: WindowCoder) -> Result<Self, FrameError> {
        let mut builder = ElementBatchBuilder::new();
        for_each_element(frame, coder, windows, |header, timestamp, value| builder.push(header, timestamp, value))?;
        Ok(builder.finish())
    }
}

/// Calls `take(header, timestamp, value)` for each element of a frame.
///
/// # Errors
/// The first element that cannot be read; those before it were taken.
#[inline]
pub(crate) fn for_each_element(
    frame: &[u8],
    coder: &Coder,
    windows: WindowCoder,
    mut take: impl FnMut(&[u8], EventTime, &[u8]),
) -> Result<(), FrameError> {
    let mut offset = 0;
    let mut index = 0;
    // Most frames repeat one header; comparing it is cheaper than reading it.
    let mut last: (&[u8], EventTime) = (&[], EventTime::MIN);
    while offset < frame.len() {
        let rest = &frame[offset..];
        let (header, timestamp) = if !last.0.is_empty() && rest.starts_with(last.0) {
            last
        } else {
            let (length, timestamp) =
                skip_header(rest, windows).map_err(|source| FrameError::Header { index, offset, source })?;
            last = (&rest[..length], timestamp);
            last
        };
        let mut value = &rest[header.len()..];
        let before = value;
        coder.skip(&mut value, purlin_model::coder::Context::Nested).map_err(|source| FrameError::Value {
            index,
            offset: offset + header.len(),
            source,
        })?;
        let length = before.len() - value.len();
        take(header, timestamp, &before[..length]);
        offset += header.len() + length;
        index += 1;
    }
    Ok(())
}
