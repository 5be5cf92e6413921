//! The address of a cell as bytes: what a window, a key or a multimap has stands together, map keys in order.
//!
//! ```text
//!   number of (transform, state): u32 │ length, window │ length, key │ 0, or 1 and the map key
//! ```
//! Law: an address tells its cell, within a key group.

use std::sync::Arc;

use purlin_engine::store::Cell;
use purlin_model::coder::varint::{read_varint, write_length};

/// Where the window begins.
const NUMBER_BYTES: usize = 4;

/// States by number.
#[derive(Debug, Default)]
pub(super) struct States {
    known: Vec<(Arc<str>, Arc<str>)>,
}

impl States {
    fn number(&self, cell: &Cell) -> Option<u32> {
        // There are few; and names that are shared are compared in no time.
        let same = |known: &(Arc<str>, Arc<str>)| *known.1 == *cell.state && *known.0 == *cell.transform;
        self.known.iter().position(same).map(|number| number as u32)
    }

    /// The address of a cell, if there can be one.
    pub(super) fn address(&self, cell: &Cell) -> Option<Address> {
        self.number(cell).map(|number| Address::new(number, cell))
    }

    /// The address of a cell that is written.
    pub(super) fn new_address(&mut self, cell: &Cell) -> Address {
        let number = self.number(cell).unwrap_or_else(|| {
            self.known.push((cell.transform.clone(), cell.state.clone()));
            self.known.len() as u32 - 1
        });
        Address::new(number, cell)
    }
}

/// The address of a cell.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    bytes: Vec<u8>,
}

impl Address {
    fn new(number: u32, cell: &Cell) -> Self {
        let map_key = cell.map_key.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(NUMBER_BYTES + cell.window.len() + cell.key.len() + map_key.len() + 7);
        bytes.extend_from_slice(&number.to_be_bytes());
        write_length(cell.window.len(), &mut bytes);
        bytes.extend_from_slice(&cell.window);
        write_length(cell.key.len(), &mut bytes);
        bytes.extend_from_slice(&cell.key);
        bytes.push(u8::from(cell.map_key.is_some()));
        bytes.extend_from_slice(map_key);
        Self { bytes }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn window(&self) -> &[u8] {
        Self::window_of(&self.bytes)
    }

    /// The window of an address; of what is none, nothing.
    pub(super) fn window_of(address: &[u8]) -> &[u8] {
        let mut rest = address.get(NUMBER_BYTES..).unwrap_or_default();
        let length = read_varint(&mut rest).ok().and_then(|length| usize::try_from(length).ok());
        length.and_then(|length| rest.get(..length)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn cells() -> impl Strategy<Value = Cell> {
        let bytes = || proptest::collection::vec(0u8..3, 0..4).prop_map(Bytes::from);
        let name = || proptest::sample::select(vec!["a", "b", "ab"]).prop_map(Arc::<str>::from);
        (name(), name(), bytes(), bytes(), proptest::option::of(bytes()))
            .prop_map(|(transform, state, window, key, map_key)| Cell { transform, state, window, key, map_key })
    }

    proptest! {
        #[test]
        fn an_address_tells_its_cell(one in cells(), other in cells()) {
            let mut states = States::default();
            let [first, second] = [&one, &other].map(|cell| states.new_address(cell));
            prop_assert_eq!(first == second, one == other);
            prop_assert_eq!(first.window(), &one.window[..]);
            let again = states.address(&one);
            prop_assert_eq!(again.as_ref(), Some(&first));
            // Of one multimap, in the order of the map keys, behind a common beginning.
            let of_map = |key: &[u8]| Cell { map_key: Some(Bytes::copy_from_slice(key)), ..one.clone() };
            let whole = states.new_address(&of_map(&[]));
            let of_key = states.new_address(&of_map(&other.key));
            prop_assert_eq!(of_key.bytes().strip_prefix(whole.bytes()), Some(&other.key[..]));
        }
    }
}
