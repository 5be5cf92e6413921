//! Groups that are larger than an element should be: their values lie in extents, and the element holds a token.
//!
//! ```text
//!   element   key │ ff ff ff ff │ n, first page │ -1 │ token: extent 7, extent 8, …
//!   extent    one batch in the store: a page of values, nested, behind one another; whole values only
//! ```
//! This is how `beam:coder:state_backed_iterable:v1` stands on the wire; SDKs send the token back as `StateKey.runner`, and are
//! given page after page. Does not know who keeps extents for how long.

use bytes::Bytes;
use purlin_model::coder::varint::{read_varint, write_length, write_varint};
use thiserror::Error;

use crate::data::BatchId;
use crate::store::{BatchStore, StoreError};

/// Names the extents of a group, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupToken(Vec<BatchId>);

/// Why the values of a group cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GroupError {
    /// The bytes are no token.
    #[error("the token of a group of {0} bytes is not one that this runner gave out")]
    Token(usize),
    /// The bytes are no iterable.
    #[error("a group's values cannot be read: {0}")]
    Values(&'static str),
    /// The extent is gone or cannot be read back.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl GroupToken {
    /// A token for these extents.
    pub fn new(extents: Vec<BatchId>) -> Self {
        Self(extents)
    }

    /// The extents, in order.
    pub fn extents(&self) -> &[BatchId] {
        &self.0
    }

    /// Appends the token: how many extents, then how far each lies behind the one before it.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_length(self.0.len(), out);
        let mut before = 0;
        for extent in &self.0 {
            write_varint(extent.0.wrapping_sub(before).cast_signed(), out);
            before = extent.0;
        }
    }

    /// Reads a token, which comes back from a worker and may be anything.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(mut bytes: &[u8]) -> Result<Self, GroupError> {
        let wrong = GroupError::Token(bytes.len());
        let next = |bytes: &mut &[u8]| read_varint(bytes).map_err(|_| wrong.clone());
        let count = next(&mut bytes)?;
        // Each extent takes a byte at least, so that a count that lies is found before anything is reserved.
        let count = usize::try_from(count).ok().filter(|count| *count <= bytes.len()).ok_or_else(|| wrong.clone())?;
        let mut extents = Vec::with_capacity(count);
        let mut before = 0_u64;
        for _ in 0..count {
            before = before.wrapping_add(next(&mut bytes)?.cast_unsigned());
            extents.push(BatchId(before));
        }
        if bytes.is_empty() { Ok(Self(extents)) } else { Err(wrong) }
    }

    /// The page at a position, counted from 0, and the position of the next one, if there is one.
    ///
    /// # Errors
    /// If it cannot be read back.
    pub fn page(&self, store: &dyn BatchStore, position: u64) -> Result<(Bytes, Option<u64>), GroupError> {
        let extent = usize::try_from(position).ok().and_then(|position| self.0.get(position));
        let Some(extent) = extent else { return Ok((Bytes::new(), None)) };
        let batch = store.get(*extent)?;
        let page = if batch.is_empty() { Bytes::new() } else { batch.value_bytes(0) };
        let next = position + 1;
        Ok((page, (next < self.0.len() as u64).then_some(next)))
    }
}

/// Reads the values of a group page by page, in whichever form they stand.
#[derive(Debug)]
pub struct GroupReader<'a> {
    rest: &'a [u8],
    /// How many values the element itself still holds; `None` where blocks say it one by one.
    inline: Inline,
    token: GroupToken,
    position: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inline {
    Counted(u64),
    Blocks,
    Done,
}

/// Some values of a group, nested, behind one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupPage<'a> {
    /// So many values at the front of these bytes; how long they are is for their coder to say. Give what follows
    /// them back by [`GroupReader::go_on`].
    Inline {
        /// How many.
        count: u64,
        /// Where they begin.
        bytes: &'a [u8],
    },
    /// All of these bytes are values.
    Extent(Bytes),
}

impl<'a> GroupReader<'a> {
    /// A reader of an iterable, which stands behind the key in the value of a group.
    ///
    /// # Errors
    /// If it is none.
    pub fn new(iterable: &'a [u8]) -> Result<Self, GroupError> {
        let (count, rest) = iterable.split_first_chunk::<4>().ok_or(GroupError::Values("they are cut short"))?;
        let inline = match i32::from_be_bytes(*count) {
            -1 => Inline::Blocks,
            count => Inline::Counted(u64::try_from(count).map_err(|_| GroupError::Values("their count is negative"))?),
        };
        Ok(Self { rest, inline, token: GroupToken::default(), position: None })
    }

    /// The next values; `None` at the end. After an inline page [`go_on`](Self::go_on) must follow.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn next_page(&mut self, store: &dyn BatchStore) -> Result<Option<GroupPage<'a>>, GroupError> {
        match self.inline {
            Inline::Counted(count) => {
                self.inline = Inline::Done;
                Ok(Some(GroupPage::Inline { count, bytes: self.rest }))
            }
            Inline::Blocks => {
                let short = GroupError::Values("they are cut short");
                match read_varint(&mut self.rest).map_err(|_| short.clone())? {
                    0 => self.inline = Inline::Done,
                    -1 => {
                        let length = read_varint(&mut self.rest).map_err(|_| short.clone())?;
                        let token = usize::try_from(length).ok().and_then(|length| self.rest.get(..length));
                        self.token = GroupToken::read(token.ok_or(short)?)?;
                        self.inline = Inline::Done;
                        self.position = Some(0);
                    }
                    count => {
                        let count = u64::try_from(count).map_err(|_| GroupError::Values("a count is negative"))?;
                        return Ok(Some(GroupPage::Inline { count, bytes: self.rest }));
                    }
                }
                self.next_page(store)
            }
            Inline::Done => {
                let Some(position) = self.position else { return Ok(None) };
                let (page, next) = self.token.page(store, position)?;
                self.position = next;
                Ok(Some(GroupPage::Extent(page)))
            }
        }
    }

    /// What stands behind the values of the inline page that was read last.
    pub fn go_on(&mut self, rest: &'a [u8]) {
        self.rest = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tokens_round_trip(ids in proptest::collection::vec(any::<u64>(), 0..50)) {
            let token = GroupToken::new(ids.into_iter().map(BatchId).collect());
            let mut bytes = Vec::new();
            token.write(&mut bytes);
            prop_assert_eq!(GroupToken::read(&bytes), Ok(token));
            for cut in 0..bytes.len() {
                prop_assert!(GroupToken::read(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_a_token_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(token) = GroupToken::read(&bytes) {
                prop_assert!(token.extents().len() <= bytes.len());
            }
        }
    }

    #[test]
    fn a_count_that_lies_reserves_nothing() {
        let mut bytes = Vec::new();
        write_varint(i64::MAX, &mut bytes);
        let length = bytes.len();
        assert_eq!(GroupToken::read(&bytes), Err(GroupError::Token(length)));
    }
}
