//! The front of an element on the wire: timestamp, windows, pane (`beam:coder:windowed_value:v1`).
//!
//! ```text
//!  timestamp 8 │ windows: count 4, then each │ pane ≥ 1 │ value
//!  └──────────── header ────────────────────────────────┘
//! ```
//! Knows where the header ends; does not know what the value is.

use bytes::Bytes;
use thiserror::Error;

use crate::coder::varint::{read_varint, write_length, write_varint};
use crate::pane::PaneInfo;
use crate::time::EventTime;
use crate::window::{BoundedWindow, WindowCoder};

/// Why bytes are not the front of an element.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// The bytes end inside the header.
    #[error("an element's {part} is cut short after {left} bytes")]
    Truncated {
        /// Which part of the header.
        part: &'static str,
        /// How many bytes were left for it.
        left: usize,
    },
    /// A timestamp or a window's end outside Beam's range.
    #[error("an element's {part} lies outside the range of timestamps that Beam defines")]
    TimestampOutOfRange {
        /// Which part of the header.
        part: &'static str,
    },
    /// A count of windows that cannot be.
    #[error("an element claims to stand in {count} windows")]
    WindowCount {
        /// What the wire says.
        count: i32,
    },
    /// A pane of an unknown form.
    #[error("an element's pane has an unknown form")]
    Pane,
}

/// Where an element's header ends, and its timestamp. Reads no more than that: 10 ns in the common case.
///
/// # Errors
/// See [`HeaderError`].
#[inline]
pub fn skip_header(bytes: &[u8], windows: WindowCoder) -> Result<(usize, EventTime), HeaderError> {
    let mut rest = bytes;
    let timestamp = read_timestamp(&mut rest, "timestamp")?;
    let count = read_count(&mut rest, windows)?;
    for _ in 0..count {
        skip_window(&mut rest, windows)?;
    }
    PaneInfo::skip(&mut rest).ok_or(HeaderError::Pane)?;
    Ok((bytes.len() - rest.len(), timestamp))
}

/// A header, read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The element's timestamp.
    pub timestamp: EventTime,
    /// The windows that it stands in.
    pub windows: Vec<BoundedWindow>,
    /// Which firing it came from.
    pub pane: PaneInfo,
}

impl Header {
    /// An element in one window.
    pub fn new(timestamp: EventTime, window: BoundedWindow, pane: PaneInfo) -> Self {
        Self { timestamp, windows: vec![window], pane }
    }

    /// Reads the header at the front of `bytes` and moves past it.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn decode(bytes: &mut &[u8], coder: WindowCoder) -> Result<Self, HeaderError> {
        let timestamp = read_timestamp(bytes, "timestamp")?;
        let count = read_count(bytes, coder)?;
        // The count alone must not decide what is reserved.
        let mut windows = Vec::with_capacity(count.min(16) as usize);
        for _ in 0..count {
            windows.push(decode_window(bytes, coder)?);
        }
        let pane = PaneInfo::decode(bytes).ok_or(HeaderError::Pane)?;
        Ok(Self { timestamp, windows, pane })
    }

    /// Appends the header as it stands on the wire.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_wire());
        out.extend_from_slice(&(self.windows.len() as i32).to_be_bytes());
        for window in &self.windows {
            encode_window(window, out);
        }
        self.pane.encode(out);
    }
}

/// Appends one window as it stands on the wire.
pub fn encode_window(window: &BoundedWindow, out: &mut Vec<u8>) {
    match window {
        BoundedWindow::Global => {}
        BoundedWindow::Interval { start, end } => {
            out.extend_from_slice(&end.to_wire());
            write_varint(end.millis() - start.millis(), out);
        }
        BoundedWindow::Custom { max_timestamp, encoded } => {
            out.extend_from_slice(&max_timestamp.to_wire());
            write_length(encoded.len(), out);
            out.extend_from_slice(encoded);
        }
    }
}

/// Reads one window and moves past it.
///
/// # Errors
/// See [`HeaderError`].
pub fn decode_window(bytes: &mut &[u8], coder: WindowCoder) -> Result<BoundedWindow, HeaderError> {
    match coder {
        WindowCoder::Global => Ok(BoundedWindow::Global),
        WindowCoder::Interval => {
            let end = read_timestamp(bytes, "window")?;
            let length = read_length(bytes)?;
            let start = i64::try_from(length)
                .ok()
                .and_then(|length| end.millis().checked_sub(length))
                .filter(|start| *start >= EventTime::MIN.millis())
                .ok_or(HeaderError::TimestampOutOfRange { part: "window" })?;
            Ok(BoundedWindow::Interval { start: EventTime::from_millis(start), end })
        }
        WindowCoder::Custom => {
            let max_timestamp = read_timestamp(bytes, "window")?;
            let encoded = take_prefixed(bytes)?;
            Ok(BoundedWindow::Custom { max_timestamp, encoded: Bytes::copy_from_slice(encoded) })
        }
    }
}

#[inline]
fn skip_window(bytes: &mut &[u8], coder: WindowCoder) -> Result<(), HeaderError> {
    match coder {
        WindowCoder::Global => Ok(()),
        WindowCoder::Interval => {
            read_timestamp(bytes, "window")?;
            read_length(bytes).map(|_| ())
        }
        WindowCoder::Custom => {
            read_timestamp(bytes, "window")?;
            take_prefixed(bytes).map(|_| ())
        }
    }
}

fn take_prefixed<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], HeaderError> {
    let length = read_length(bytes)?;
    let truncated = HeaderError::Truncated { part: "window", left: bytes.len() };
    let length = usize::try_from(length).map_err(|_| truncated.clone())?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(truncated)?;
    *bytes = rest;
    Ok(taken)
}

#[inline]
fn read_timestamp(bytes: &mut &[u8], part: &'static str) -> Result<EventTime, HeaderError> {
    let (&first, rest) = bytes.split_first_chunk::<8>().ok_or(HeaderError::Truncated { part, left: bytes.len() })?;
    *bytes = rest;
    EventTime::from_wire(first).ok_or(HeaderError::TimestampOutOfRange { part })
}

#[inline]
fn read_count(bytes: &mut &[u8], windows: WindowCoder) -> Result<i32, HeaderError> {
    let (&first, rest) =
        bytes.split_first_chunk::<4>().ok_or(HeaderError::Truncated { part: "window count", left: bytes.len() })?;
    *bytes = rest;
    let count = i32::from_be_bytes(first);
    // There is one global window, and it has no bytes: a count would make readers loop over nothing, and writers copy an
    // element once for each.
    let most = match windows {
        WindowCoder::Global => 1,
        WindowCoder::Interval | WindowCoder::Custom => WINDOWS_MAX,
    };
    if !(0..=most).contains(&count) {
        return Err(HeaderError::WindowCount { count });
    }
    Ok(count)
}

/// No window function assigns an element to more windows than this.
const WINDOWS_MAX: i32 = 1 << 20;

#[inline]
fn read_length(bytes: &mut &[u8]) -> Result<u64, HeaderError> {
    // A length past 63 bits is one that no bytes follow, which is what callers say of it.
    let length = read_varint(bytes).map_err(|_| HeaderError::Truncated { part: "window", left: bytes.len() })?;
    Ok(length as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(coder: WindowCoder) -> impl Strategy<Value = Header> {
        let range = -1_000_000i64..1_000_000;
        let window = (range.clone(), 0i64..100_000, proptest::collection::vec(any::<u8>(), 0..5)).prop_map(
            move |(start, length, bytes)| match coder {
                WindowCoder::Global => BoundedWindow::Global,
                WindowCoder::Interval => BoundedWindow::Interval {
                    start: EventTime::from_millis(start),
                    end: EventTime::from_millis(start + length),
                },
                WindowCoder::Custom => {
                    BoundedWindow::Custom { max_timestamp: EventTime::from_millis(start), encoded: bytes.into() }
                }
            },
        );
        let most = if coder == WindowCoder::Global { 1 } else { 3 };
        (range, proptest::collection::vec(window, 0..=most)).prop_map(|(timestamp, windows)| Header {
            timestamp: EventTime::from_millis(timestamp),
            windows,
            pane: PaneInfo::NO_FIRING,
        })
    }

    fn any_coder() -> impl Strategy<Value = WindowCoder> {
        prop_oneof![Just(WindowCoder::Global), Just(WindowCoder::Interval), Just(WindowCoder::Custom)]
    }

    proptest! {
        #[test]
        fn headers_round_trip_and_are_skipped_whole((coder, header) in any_coder().prop_flat_map(|c| (Just(c), header(c))), value in proptest::collection::vec(any::<u8>(), 0..9)) {
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            let end = bytes.len();
            bytes.extend_from_slice(&value);
            prop_assert_eq!(skip_header(&bytes, coder), Ok((end, header.timestamp)));
            let mut rest = &bytes[..];
            prop_assert_eq!(Header::decode(&mut rest, coder), Ok(header));
            prop_assert_eq!(rest, &value[..]);
            for cut in 0..end {
                prop_assert!(skip_header(&bytes[..cut], coder).is_err());
            }
        }

        #[test]
        fn hostile_headers_are_refused_the_same_way_twice(coder in any_coder(), bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let skipped = skip_header(&bytes, coder).is_ok();
            let mut rest = &bytes[..];
            let decoded = Header::decode(&mut rest, coder);
            // Skipping does not check that an interval's start lies in range; decoding does.
            prop_assert!(decoded.is_err() || skipped);
        }
    }

    #[test]
    fn nobody_stands_in_the_global_window_twice() {
        for count in [2, 1 << 20, i32::MAX, -1] {
            let mut bytes = EventTime::MIN.to_wire().to_vec();
            bytes.extend_from_slice(&count.to_be_bytes());
            bytes.push(0x0f);
            assert_eq!(skip_header(&bytes, WindowCoder::Global), Err(HeaderError::WindowCount { count }));
            assert_eq!(Header::decode(&mut &bytes[..], WindowCoder::Global), Err(HeaderError::WindowCount { count }));
        }
    }
}
