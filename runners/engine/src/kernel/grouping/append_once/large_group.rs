//! Writes one group whose values go to extents, page by page, as they come.
//!
//! ```text
//!   value, value, … ─► first page, in the element itself ─► page ─► extent ─► page ─► extent ─► token
//! ```
//! Holds two pages at most, however large the group is.

use purlin_model::coder::varint::{write_length, write_varint};
use purlin_model::time::EventTime;

use crate::core::stage::OutputId;
use crate::data::{BatchId, GroupToken, LaneWriter, WriteError};

/// A page is closed before it would hold more than this; one value alone may.
const PAGE_BYTES: usize = 1 << 20;

pub(super) struct LargeGroup {
    key: Vec<u8>,
    /// Values that stand in the element itself.
    first: Vec<u8>,
    first_values: u64,
    first_is_full: bool,
    page: Vec<u8>,
    extents: Vec<BatchId>,
    extent_bytes: u64,
}

impl LargeGroup {
    pub(super) fn new(key: &[u8]) -> Self {
        Self {
            key: key.to_vec(),
            first: Vec::new(),
            first_values: 0,
            first_is_full: false,
            page: Vec::new(),
            extents: Vec::new(),
            extent_bytes: 0,
        }
    }

    pub(super) fn push(&mut self, value: &[u8], out: &mut LaneWriter) -> Result<(), WriteError> {
        if !self.first_is_full {
            if self.first.is_empty() || self.first.len() + value.len() <= PAGE_BYTES {
                self.first.extend_from_slice(value);
                self.first_values += 1;
                return Ok(());
            }
            self.first_is_full = true;
        }
        if !self.page.is_empty() && self.page.len() + value.len() > PAGE_BYTES {
            let page = std::mem::replace(&mut self.page, Vec::with_capacity(PAGE_BYTES));
            self.put(page, out)?;
        }
        self.page.extend_from_slice(value);
        Ok(())
    }

    /// Emits the element.
    pub(super) fn finish(
        mut self,
        output: OutputId,
        header: &[u8],
        timestamp: EventTime,
        out: &mut LaneWriter,
    ) -> Result<(), WriteError> {
        if !self.page.is_empty() {
            let page = std::mem::take(&mut self.page);
            self.put(page, out)?;
        }
        let mut value = self.key;
        value.reserve(self.first.len() + 16 + 10 * self.extents.len());
        value.extend_from_slice(&(-1_i32).to_be_bytes());
        write_varint(self.first_values.cast_signed(), &mut value);
        value.extend_from_slice(&self.first);
        if self.extents.is_empty() {
            write_varint(0, &mut value);
        } else {
            write_varint(-1, &mut value);
            let mut token = Vec::new();
            let extents = std::mem::take(&mut self.extents);
            GroupToken::new(extents.clone()).write(&mut token);
            write_length(token.len(), &mut value);
            value.extend_from_slice(&token);
            self.extents = extents;
        }
        out.push_group(output, header, timestamp, &value, &self.extents, self.extent_bytes)
    }

    fn put(&mut self, page: Vec<u8>, out: &mut LaneWriter) -> Result<(), WriteError> {
        self.extent_bytes += page.len() as u64;
        self.extents.push(out.put_extent(page)?);
        Ok(())
    }
}
