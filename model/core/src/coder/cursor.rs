//! Where a coder stands in its input and its output.
//!
//! ```text
//!   bytes ─► Reader: take, varint, prefixed, timestamp … ─► parts, or a fault with its byte offset
//!   parts ─► Writer ─► bytes
//! ```
//! Both count how deep coders are nested. The reader also keeps a budget for values that take no bytes, so that a few
//! bytes cannot ask for gigabytes of nulls. Does not know any coder.

use super::error::{CoderError, CoderFault};
use super::value::Value;
use super::varint::{self, VarintError};
use crate::pane::PaneInfo;
use crate::time::EventTime;

/// How deep coders, and the types of a schema, may be nested. SDKs nest a handful.
pub const DEPTH_MAX: usize = 100;

/// Values that take no bytes: this many are free, and a few more for each byte of input. A null in a row takes a bit.
const EMPTY_FREE: usize = 1 << 16;
const EMPTY_PER_BYTE: usize = 16;

#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// The offset of the end of `rest`, counted from where the outermost value began.
    end: usize,
    empty_left: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let empty_left = bytes.len().saturating_mul(EMPTY_PER_BYTE).saturating_add(EMPTY_FREE);
        Self { rest: bytes, end: bytes.len(), empty_left, depth: 0 }
    }

    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    #[cold]
    pub(super) fn fault(&self, fault: CoderFault) -> CoderError {
        CoderError::new(Some(self.end - self.rest.len()), fault)
    }

    #[cold]
    fn truncated(&self, needed: usize) -> CoderError {
        self.fault(CoderFault::Truncated { needed, left: self.left() })
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CoderError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.truncated(N)),
        }
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, CoderError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Everything that is left: the outer encoding of bytes.
    #[inline]
    pub(super) fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<i64, CoderError> {
        varint::read_varint(&mut self.rest).map_err(|error| {
            self.fault(match error {
                VarintError::Truncated => CoderFault::VarintTruncated,
                VarintError::Overflow => CoderFault::VarintOverflow,
            })
        })
    }

    /// A varint length and as many bytes: the nested encoding of bytes.
    #[inline]
    pub(super) fn prefixed(&mut self) -> Result<&'a [u8], CoderError> {
        let before = self.rest;
        let length = self.varint()?;
        match usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length)) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => {
                let left = self.left();
                // The fault is in the prefix, so that is where it is reported.
                self.rest = before;
                Err(self.fault(CoderFault::Length { length, left }))
            }
        }
    }

    pub(super) fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str, CoderError> {
        std::str::from_utf8(bytes).map_err(|error| {
            let valid = error.valid_up_to();
            CoderError::new(Some(self.end - self.rest.len() - bytes.len() + valid), CoderFault::NotUtf8 { valid })
        })
    }

    /// One byte that is 0 or 1.
    pub(super) fn flag(&mut self, zero: &'static str, one: &'static str) -> Result<bool, CoderError> {
        match self.rest.first() {
            Some(&found) if found > 1 => Err(self.fault(CoderFault::Flag { found, zero, one })),
            Some(_) | None => self.byte().map(|byte| byte == 1),
        }
    }

    pub(super) fn count(&mut self) -> Result<i32, CoderError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn timestamp(&mut self) -> Result<EventTime, CoderError> {
        let before = self.rest;
        let wire = self.array()?;
        EventTime::from_wire(wire).ok_or_else(|| {
            self.rest = before;
            let millis = i64::from_be_bytes(wire) ^ i64::MIN;
            self.fault(CoderFault::Timestamp { millis })
        })
    }

    pub(super) fn pane(&mut self) -> Result<PaneInfo, CoderError> {
        let mut after = self.rest;
        let pane = PaneInfo::decode(&mut after).ok_or_else(|| self.fault(CoderFault::Pane))?;
        self.rest = after;
        Ok(pane)
    }

    pub(super) fn skip_pane(&mut self) -> Result<(), CoderError> {
        let mut after = self.rest;
        PaneInfo::skip(&mut after).ok_or_else(|| self.fault(CoderFault::Pane))?;
        self.rest = after;
        Ok(())
    }

    /// Reads from `part`, which was just taken from here, as if nothing followed it; all of it must be read.
    pub(super) fn inside<T>(
        &mut self,
        part: &'a [u8],
        read: impl FnOnce(&mut Self) -> Result<T, CoderError>,
    ) -> Result<T, CoderError> {
        let (after, end) = (self.rest, self.end);
        self.end -= after.len();
        self.rest = part;
        let value = read(self)?;
        self.finish()?;
        (self.rest, self.end) = (after, end);
        Ok(value)
    }

    pub(super) fn finish(&self) -> Result<(), CoderError> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.fault(CoderFault::Trailing { left })),
        }
    }

    /// Accounts for values that no byte stands for.
    pub(super) fn spend_empty(&mut self, count: usize) -> Result<(), CoderError> {
        match self.empty_left.checked_sub(count) {
            Some(left) => {
                self.empty_left = left;
                Ok(())
            }
            None => Err(self.fault(CoderFault::TooManyEmpty)),
        }
    }

    /// One level deeper; [`leave`](Self::leave) follows unless reading fails.
    #[inline]
    pub(super) fn enter(&mut self) -> Result<(), CoderError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(self.fault(CoderFault::TooDeep { max: DEPTH_MAX })) } else { Ok(()) }
    }

    #[inline]
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }
}

#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub(super) out: &'a mut Vec<u8>,
    depth: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, depth: 0 }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn varint(&mut self, value: i64) {
        varint::write_varint(value, self.out);
    }

    pub(super) fn prefixed(&mut self, bytes: &[u8]) {
        varint::write_length(bytes.len(), self.out);
        self.bytes(bytes);
    }

    pub(super) fn count(&mut self, count: usize) -> Result<(), CoderError> {
        let wire = i32::try_from(count).map_err(|_| fault(CoderFault::TooMany { count }))?;
        self.bytes(&wire.to_be_bytes());
        Ok(())
    }

    pub(super) fn timestamp(&mut self, instant: EventTime) {
        self.bytes(&instant.to_wire());
    }

    pub(super) fn enter(&mut self) -> Result<(), CoderError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(fault(CoderFault::TooDeep { max: DEPTH_MAX })) } else { Ok(()) }
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }
}

/// A fault of a value that is being written.
pub(super) fn fault(fault: CoderFault) -> CoderError {
    CoderError::new(None, fault)
}

/// The fault of a value of another kind than the coder writes.
pub(super) fn mismatch(expected: &'static str, found: &Value) -> CoderError {
    fault(CoderFault::Mismatch { expected, found: found.kind() })
}
