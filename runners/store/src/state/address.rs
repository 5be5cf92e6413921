//! The address of a cell, and who a timer is, as bytes: what a window, a key or a multimap has stands together, map keys in order.
//!
//! ```text
//!   number of (transform, state or family): u32 │ length, window │ length, key │ 0, or 1 and the map key or the timer's tag
//! ```
//! Laws: an address tells its cell, within a store; and bytes are compared in one go, where a cell has five parts in five places.

use std::borrow::Borrow;
use std::sync::{Arc, PoisonError, RwLock};

use purlin_engine::store::{Cell, Timer};
use purlin_model::coder::varint::{read_varint, write_length};

/// Where the window begins.
const NUMBER_BYTES: usize = 4;

/// A transform's unique name, and the name of a state or of a family of timers in it.
pub(super) type Name = (Arc<str>, Arc<str>);

/// What has state or timers in a job, by number; the same for as long as the store lives.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: RwLock<Vec<Name>>,
}

impl Names {
    /// The number of a name, which gets one if it is new.
    fn number(&self, transform: &Arc<str>, name: &Arc<str>) -> u32 {
        let position = |known: &[Name]| known.iter().position(|known| is(known, transform, name));
        let found = position(&self.known.read().unwrap_or_else(PoisonError::into_inner));
        let number = found.unwrap_or_else(|| {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            // Somebody may have added it meanwhile.
            position(&known).unwrap_or_else(|| {
                known.push((transform.clone(), name.clone()));
                known.len() - 1
            })
        });
        number as u32
    }

    /// The name with a number, or empty ones.
    pub(super) fn name(&self, number: u32) -> Name {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(number as usize).cloned().unwrap_or_else(|| ("".into(), "".into()))
    }
}

fn is(known: &Name, transform: &Arc<str>, name: &Arc<str>) -> bool {
    // Names mostly come from the same place, so that they are compared in no time.
    let same = |one: &Arc<str>, other: &Arc<str>| Arc::ptr_eq(one, other) || one == other;
    same(&known.1, name) && same(&known.0, transform)
}

/// Writes addresses, and remembers the numbers that it has used.
#[derive(Debug)]
pub(super) struct Addresses {
    names: Arc<Names>,
    used: Vec<(Name, u32)>,
    buffer: Vec<u8>,
}

impl Addresses {
    pub(super) fn new(names: Arc<Names>) -> Self {
        Self { names, used: Vec::new(), buffer: Vec::new() }
    }

    /// The address of a cell.
    pub(super) fn of_cell(&mut self, cell: &Cell) -> &[u8] {
        self.write(&cell.transform, &cell.state, &cell.window, &cell.key, cell.map_key.as_deref())
    }

    /// How the addresses of all cells of a multimap begin; what is behind it is the map key.
    pub(super) fn of_map(&mut self, map: &Cell) -> &[u8] {
        self.write(&map.transform, &map.state, &map.window, &map.key, Some(&[]))
    }

    /// Who a timer is: all timers with these bytes are the same one.
    pub(super) fn of_timer(&mut self, timer: &Timer) -> &[u8] {
        self.write(&timer.transform, &timer.family, &timer.window, &timer.key, Some(&timer.tag))
    }

    fn write(
        &mut self,
        transform: &Arc<str>,
        name: &Arc<str>,
        window: &[u8],
        key: &[u8],
        map_key: Option<&[u8]>,
    ) -> &[u8] {
        let number = self.number(transform, name);
        let buffer = &mut self.buffer;
        buffer.clear();
        begin(number, window, buffer);
        write_length(key.len(), buffer);
        buffer.extend_from_slice(key);
        buffer.push(u8::from(map_key.is_some()));
        buffer.extend_from_slice(map_key.unwrap_or_default());
        buffer
    }

    fn number(&mut self, transform: &Arc<str>, name: &Arc<str>) -> u32 {
        if let Some((_, number)) = self.used.iter().find(|(known, _)| is(known, transform, name)) {
            return *number;
        }
        let number = self.names.number(transform, name);
        self.used.push(((transform.clone(), name.clone()), number));
        number
    }
}

/// An address that is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address(Box<[u8]>);

impl From<&[u8]> for Address {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl Borrow<[u8]> for Address {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl Address {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What an address is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) number: u32,
    pub(super) window: &'a [u8],
    pub(super) key: &'a [u8],
    /// The map key, or the tag of a timer.
    pub(super) map_key: Option<&'a [u8]>,
}

/// Takes an address apart; of what is none, as far as it goes.
pub(super) fn parts(address: &[u8]) -> Parts<'_> {
    let mut rest = address.get(NUMBER_BYTES..).unwrap_or_default();
    let window = piece(&mut rest);
    let key = piece(&mut rest);
    let map_key = rest.split_first().filter(|(mark, _)| **mark == 1).map(|(_, map_key)| map_key);
    Parts { number: number_of(address).unwrap_or_default(), window, key, map_key }
}

/// The window of an address; of what is none, nothing.
pub(super) fn window_of(address: &[u8]) -> &[u8] {
    piece(&mut address.get(NUMBER_BYTES..).unwrap_or_default())
}

/// The window and the key of an address, in one piece: equal only where both are.
pub(super) fn owner_of(address: &[u8]) -> &[u8] {
    let owner = address.get(NUMBER_BYTES..).unwrap_or_default();
    let mut rest = owner;
    piece(&mut rest);
    piece(&mut rest);
    &owner[..owner.len() - rest.len()]
}

/// The number at the front of an address.
pub(super) fn number_of(address: &[u8]) -> Option<u32> {
    address.first_chunk().map(|number| u32::from_be_bytes(*number))
}

/// How the addresses of a state begin in a window.
pub(super) fn of_window(number: u32, window: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    begin(number, window, &mut bytes);
    bytes
}

fn begin(number: u32, window: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&number.to_be_bytes());
    write_length(window.len(), bytes);
    bytes.extend_from_slice(window);
}

fn piece<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let mut from = *rest;
    let length = read_varint(&mut from).ok().and_then(|length| usize::try_from(length).ok());
    let Some((piece, behind)) = length.and_then(|length| from.split_at_checked(length)) else { return &[] };
    *rest = behind;
    piece
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
            let names = Arc::new(Names::default());
            let [mut here, mut there] = [(); 2].map(|()| Addresses::new(names.clone()));
            let [first, second] = [&one, &other].map(|cell| Address::from(here.of_cell(cell)));
            prop_assert_eq!(first == second, one == other);
            prop_assert_eq!(window_of(first.bytes()), &one.window[..]);
            let same_owner = (&one.window, &one.key) == (&other.window, &other.key);
            prop_assert_eq!(owner_of(first.bytes()) == owner_of(second.bytes()), same_owner);
            prop_assert_eq!(there.of_cell(&one), first.bytes());
            let Parts { number, window, key, map_key } = parts(first.bytes());
            prop_assert_eq!(names.name(number), (one.transform.clone(), one.state.clone()));
            prop_assert_eq!((window, key, map_key), (&one.window[..], &one.key[..], one.map_key.as_deref()));
            prop_assert!(first.bytes().starts_with(&of_window(number, &one.window)));
            // Of one multimap, in the order of the map keys, behind a common beginning.
            let whole = here.of_map(&one).to_vec();
            let of_key = here.of_cell(&Cell { map_key: Some(other.key.clone()), ..one.clone() });
            prop_assert_eq!(of_key.strip_prefix(&whole[..]), Some(&other.key[..]));
        }

        #[test]
        fn what_is_no_address_is_taken_apart_too(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            parts(&bytes);
            owner_of(&bytes);
        }
    }
}
