//! The state of keys: bags and multimaps, on which SDKs build their other kinds.
//!
//! Writes go to the bundle's view and are seen by its own reads; they count when the bundle commits.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use purlin_engine::store::{Cell, Page, StateView};
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::state_key::{BagUserState, MultimapKeysUserState, MultimapUserState};
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
    with_state(run, |state| {
        let keys = state.map_keys(&map)?;
        match operation {
            Operation::Get(get) => {
                let (data, next) = page_of(&keys, position(&get.continuation_token)?);
                Ok(page(data, next))
            }
            Operation::Clear(_) => {
                for map_key in keys {
                    state.clear(&Cell { map_key: Some(map_key), ..map.clone() })?;
                }
                Ok(Answer::Clear(fnpb::StateClearResponse {}))
            }
            Operation::Append(_) => {
                Err(StateFault::Operation { kind: "multimap_keys_user_state", done: "appended to" })
            }
        }
    })
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
    Ok(Cell { transform: name.into(), state: Arc::from(state), window, key, map_key })
}

/// Whole keys from a position on.
fn page_of(keys: &[Bytes], from: u64) -> (Bytes, Option<u64>) {
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(keys.len());
    let mut data = BytesMut::new();
    let mut until = from;
    for key in &keys[from..] {
        if until > from && data.len() + key.len() > PAGE_BYTES {
            break;
        }
        data.extend_from_slice(key);
        until += 1;
    }
    (data.freeze(), (until < keys.len()).then_some(until as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paged_whole() {
        let keys = [Bytes::from(vec![1; PAGE_BYTES + 1]), Bytes::from_static(b"a"), Bytes::from_static(b"b")];
        let (first, next) = page_of(&keys, 0);
        assert_eq!((first.len(), next), (PAGE_BYTES + 1, Some(1)));
        assert_eq!(page_of(&keys, 1), (Bytes::from_static(b"ab"), None));
        assert_eq!(page_of(&keys, u64::MAX), (Bytes::new(), None));
    }
}
