//! The state of keys: bags, multimaps and ordered lists, on which SDKs build their other kinds.
//!
//! Writes go to the bundle's view and are seen by its own reads; they count when the bundle commits.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use purlin_engine::store::{Cell, Page, StateError, StateView};
use purlin_model::coder::varint::read_varint;
use purlin_model::coder::{Coder, Context};
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::state_key::{
    BagUserState, MultimapEntriesUserState, MultimapKeysUserState, MultimapUserState, OrderedListUserState,
};
use purlin_proto::fn_execution::v1::state_request::Request as Operation;
use purlin_proto::fn_execution::v1::state_response::Response as Answer;

use super::{StateFault, page, position};
use crate::lock::lock;
use crate::process_bundle::BundleRun;

/// Keys of a multimap are sent in pages of about this much.
const PAGE_BYTES: usize = 1 << 20;

pub(super) fn bag(run: &BundleRun, key: BagUserState, operation: Operation) -> Result<Answer, StateFault> {
    let cell = cell(run, &key.transform_id, &key.user_state_id, key.window, key.key, None)?;
    with_state(run, |state| operate(state, &cell, operation))
}

pub(super) fn multimap(run: &BundleRun, key: MultimapUserState, operation: Operation) -> Result<Answer, StateFault> {
    let cell = cell(run, &key.transform_id, &key.user_state_id, key.window, key.key, Some(key.map_key))?;
    with_state(run, |state| operate(state, &cell, operation))
}

/// Clearing the keys clears the map.
pub(super) fn multimap_keys(
    run: &BundleRun,
    key: MultimapKeysUserState,
    operation: &Operation,
) -> Result<Answer, StateFault> {
    let map = cell(run, &key.transform_id, &key.user_state_id, key.window, key.key, None)?;
    with_state(run, |state| match operation {
        Operation::Get(get) => {
            let keys = state.map_keys(&map)?;
            let item = |index: usize| Ok(keys[index].clone());
            let (data, next) = page_of(keys.len(), position(&get.continuation_token)?, item)?;
            Ok(page(data, next))
        }
        Operation::Clear(_) => clear_map(state, &map),
        Operation::Append(_) => Err(StateFault::Operation { kind: "multimap_keys_user_state", done: "appended to" }),
    })
}

/// Each key of a map with its values, as `KV<K, Iterable<V>>`: how many there are stands before them. Java asks for it.
pub(super) fn multimap_entries(
    run: &BundleRun,
    key: MultimapEntriesUserState,
    operation: &Operation,
) -> Result<Answer, StateFault> {
    let MultimapEntriesUserState { transform_id, user_state_id, window, key } = key;
    let map = cell(run, &transform_id, &user_state_id, window, key, None)?;
    let values = run.stage.map_values(&transform_id, &user_state_id);
    with_state(run, |state| match operation {
        Operation::Get(get) => {
            let coder = values.ok_or_else(|| StateFault::NoMap { state: user_state_id.clone() })?;
            let keys = state.map_keys(&map)?;
            let item = |index: usize| {
                let cell = Cell { map_key: Some(keys[index].clone()), ..map.clone() };
                entry(&keys[index], &whole(state, &cell)?, coder)
                    .ok_or_else(|| StateFault::Values { state: user_state_id.clone(), coder: coder.to_string() })
            };
            let (data, next) = page_of(keys.len(), position(&get.continuation_token)?, item)?;
            Ok(page(data, next))
        }
        Operation::Clear(_) => clear_map(state, &map),
        Operation::Append(_) => Err(StateFault::Operation { kind: "multimap_entries_user_state", done: "appended to" }),
    })
}

fn clear_map(state: &mut dyn StateView, map: &Cell) -> Result<Answer, StateFault> {
    for map_key in state.map_keys(map)? {
        state.clear(&Cell { map_key: Some(map_key), ..map.clone() })?;
    }
    Ok(Answer::Clear(fnpb::StateClearResponse {}))
}

/// All pages of a cell.
fn whole(state: &mut dyn StateView, cell: &Cell) -> Result<BytesMut, StateError> {
    let (mut all, mut from) = (BytesMut::new(), Some(Page::default()));
    while let Some(page) = from {
        let (data, next) = state.read(cell, page)?;
        all.extend_from_slice(&data);
        from = next;
    }
    Ok(all)
}

/// A key and its values, or `None` if these are not of their coder.
fn entry(key: &[u8], values: &[u8], coder: &Coder) -> Option<Bytes> {
    let (mut rest, mut count) = (values, 0_i32);
    while !rest.is_empty() {
        let before = rest.len();
        coder.skip(&mut rest, Context::Nested).ok()?;
        // Values without bytes could not be counted; who wrote none has none.
        if rest.len() == before {
            return None;
        }
        count = count.checked_add(1)?;
    }
    Some([key, &count.to_be_bytes(), values].concat().into())
}

/// An ordered list is kept as a multimap from sort keys, so written that their bytes sort as they do, to entries.
pub(super) fn ordered_list(
    run: &BundleRun,
    key: OrderedListUserState,
    operation: Operation,
) -> Result<Answer, StateFault> {
    let OrderedListUserState { transform_id, user_state_id, window, key, range } = key;
    let list = cell(run, &transform_id, &user_state_id, window, key, None)?;
    let at = |sort_key: Bytes| Cell { map_key: Some(sort_key), ..list.clone() };
    with_state(run, |state| match operation {
        Operation::Get(get) => {
            let sort_keys = within(state.map_keys(&list)?, range.as_ref());
            let item = |index: usize| Ok(whole(state, &at(sort_keys[index].clone()))?.freeze());
            let (data, next) = page_of(sort_keys.len(), position(&get.continuation_token)?, item)?;
            Ok(page(data, next))
        }
        Operation::Append(append) => {
            for (sort_key, entry) in entries_of(&append.data)? {
                state.append(&at(sort_key_bytes(sort_key)), entry)?;
            }
            Ok(Answer::Append(fnpb::StateAppendResponse {}))
        }
        Operation::Clear(_) => {
            for sort_key in within(state.map_keys(&list)?, range.as_ref()) {
                state.clear(&at(sort_key))?;
            }
            Ok(Answer::Clear(fnpb::StateClearResponse {}))
        }
    })
}

/// The sort keys inside a range, which is half open; all of them without one.
fn within(mut sort_keys: Vec<Bytes>, range: Option<&fnpb::OrderedListRange>) -> Vec<Bytes> {
    if let Some(range) = range {
        let bounds = sort_key_bytes(range.start)..sort_key_bytes(range.end);
        sort_keys.retain(|sort_key| bounds.contains(sort_key));
    }
    sort_keys
}

fn sort_key_bytes(sort_key: i64) -> Bytes {
    Bytes::copy_from_slice(&((sort_key as u64) ^ (1 << 63)).to_be_bytes())
}

/// Each entry whole, with its sort key in front: `KV<varint, length-prefixed value>`.
fn entries_of(data: &Bytes) -> Result<Vec<(i64, Bytes)>, StateFault> {
    let mut entries = Vec::new();
    let mut rest = &data[..];
    while !rest.is_empty() {
        let start = data.len() - rest.len();
        let sort_key = read_varint(&mut rest).map_err(|_| StateFault::Entry)?;
        let length = read_varint(&mut rest).ok().and_then(|length| usize::try_from(length).ok());
        rest = length.and_then(|length| rest.get(length..)).ok_or(StateFault::Entry)?;
        entries.push((sort_key, data.slice(start..data.len() - rest.len())));
    }
    Ok(entries)
}

fn operate(state: &mut dyn StateView, cell: &Cell, operation: Operation) -> Result<Answer, StateFault> {
    match operation {
        Operation::Get(get) => {
            let (data, next) = state.read(cell, Page(position(&get.continuation_token)?))?;
            Ok(page(data, next.map(|next| next.0)))
        }
        Operation::Append(append) => {
            state.append(cell, append.data)?;
            Ok(Answer::Append(fnpb::StateAppendResponse {}))
        }
        Operation::Clear(_) => {
            state.clear(cell)?;
            Ok(Answer::Clear(fnpb::StateClearResponse {}))
        }
    }
}

fn with_state(
    run: &BundleRun,
    act: impl FnOnce(&mut dyn StateView) -> Result<Answer, StateFault>,
) -> Result<Answer, StateFault> {
    match &mut *lock(&run.state) {
        Some(state) => act(&mut **state),
        None => Err(StateFault::NoBundle(run.instruction.as_str().to_owned())),
    }
}

fn cell(
    run: &BundleRun,
    transform: &str,
    state: &str,
    window: Bytes,
    key: Bytes,
    map_key: Option<Bytes>,
) -> Result<Cell, StateFault> {
    let name = run
        .stage
        .unique_name(transform)
        .ok_or_else(|| StateFault::NoTransform { transform: transform.to_owned(), stage: run.stage.name.clone() })?;
    // No key is encoded in no bytes, and all keys would share what this asks for.
    if key.is_empty() {
        return Err(StateFault::NoKey { state: state.to_owned(), transform: name.to_owned() });
    }
    Ok(Cell { transform: name.into(), state: Arc::from(state), window, key, map_key })
}

/// Whole items of so many, from a position on.
fn page_of(
    number: usize,
    from: u64,
    mut item: impl FnMut(usize) -> Result<Bytes, StateFault>,
) -> Result<(Bytes, Option<u64>), StateFault> {
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(number);
    let mut data = BytesMut::new();
    let mut until = from;
    while until < number {
        let item = item(until)?;
        if until > from && data.len() + item.len() > PAGE_BYTES {
            break;
        }
        data.extend_from_slice(&item);
        until += 1;
    }
    Ok((data.freeze(), (until < number).then_some(until as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_ordered_lists_are_told_apart_and_sort_by_their_bytes() {
        let data = Bytes::from_static(&[5, 1, b'a', 0x7f, 0, 5, 2, b'b', b'c']);
        let entries = entries_of(&data).unwrap();
        assert_eq!(
            entries.iter().map(|(key, entry)| (*key, entry.len())).collect::<Vec<_>>(),
            [(5, 3), (127, 2), (5, 4)]
        );
        for cut in [1, 2, 4, 8] {
            assert!(entries_of(&data.slice(..cut)).is_err(), "{cut}");
        }
        let sorted: Vec<_> = [i64::MIN, -1, 0, 1, i64::MAX].map(sort_key_bytes).to_vec();
        assert!(sorted.is_sorted());
        let range = fnpb::OrderedListRange { start: -1, end: 1 };
        assert_eq!(within(sorted.clone(), Some(&range)), sorted[1..3]);
        assert_eq!(within(sorted.clone(), None), sorted);
    }

    #[test]
    fn keys_are_paged_whole() {
        let keys = [Bytes::from(vec![1; PAGE_BYTES + 1]), Bytes::from_static(b"a"), Bytes::from_static(b"b")];
        let page_of = |from| page_of(keys.len(), from, |index| Ok(keys[index].clone())).unwrap();
        let (first, next) = page_of(0);
        assert_eq!((first.len(), next), (PAGE_BYTES + 1, Some(1)));
        assert_eq!(page_of(1), (Bytes::from_static(b"ab"), None));
        assert_eq!(page_of(u64::MAX), (Bytes::new(), None));
    }

    #[test]
    fn an_entry_counts_its_values() {
        let coder = Coder::StringUtf8;
        assert_eq!(
            entry(b"\x01k", b"\x01a\x00\x02bc", &coder).as_deref(),
            Some(&b"\x01k\0\0\0\x03\x01a\x00\x02bc"[..])
        );
        assert_eq!(entry(b"\x01k", b"", &coder).as_deref(), Some(&b"\x01k\0\0\0\0"[..]));
        assert_eq!(entry(b"\x01k", b"\x05a", &coder), None);
    }
}
