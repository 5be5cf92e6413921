//! Side inputs: read only, by window, and by key where the SDK wants a map.

use purlin_engine::core::stage::SideId;
use purlin_engine::store::{SidePage, SideView};
use purlin_model::element::decode_window;
use purlin_model::window::BoundedWindow;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::state_key::{
    IterableSideInput, MultimapKeysSideInput, MultimapKeysValuesSideInput, MultimapSideInput,
};
use purlin_proto::fn_execution::v1::state_request::Request as Operation;
use purlin_proto::fn_execution::v1::state_response::Response as Answer;

use super::{StateFault, page, position};
use crate::process_bundle::BundleRun;

pub(super) fn iterable(run: &BundleRun, key: &IterableSideInput, operation: &Operation) -> Result<Answer, StateFault> {
    let from = get(operation, "iterable_side_input")?;
    let (sides, side, window) = find(run, &key.transform_id, &key.side_input_id, &key.window)?;
    Ok(answer(sides.read_iterable(side, &window, from)?))
}

pub(super) fn multimap(run: &BundleRun, key: &MultimapSideInput, operation: &Operation) -> Result<Answer, StateFault> {
    let from = get(operation, "multimap_side_input")?;
    let (sides, side, window) = find(run, &key.transform_id, &key.side_input_id, &key.window)?;
    Ok(answer(sides.read_multimap(side, &window, &key.key, from)?))
}

pub(super) fn multimap_keys(
    run: &BundleRun,
    key: &MultimapKeysSideInput,
    operation: &Operation,
) -> Result<Answer, StateFault> {
    let from = get(operation, "multimap_keys_side_input")?;
    let (sides, side, window) = find(run, &key.transform_id, &key.side_input_id, &key.window)?;
    Ok(answer(sides.read_keys(side, &window, from)?))
}

/// Small maps are read whole by SDKs that are told of it, rather than key by key.
pub(super) fn multimap_entries(
    run: &BundleRun,
    key: &MultimapKeysValuesSideInput,
    operation: &Operation,
) -> Result<Answer, StateFault> {
    let from = get(operation, "multimap_keys_values_side_input")?;
    let (sides, side, window) = find(run, &key.transform_id, &key.side_input_id, &key.window)?;
    Ok(answer(sides.read_entries(side, &window, from)?))
}

fn answer(read: SidePage) -> Answer {
    page(read.data, read.next)
}

fn get(operation: &Operation, kind: &'static str) -> Result<u64, StateFault> {
    match operation {
        Operation::Get(fnpb::StateGetRequest { continuation_token }) => position(continuation_token),
        Operation::Append(_) => Err(StateFault::Operation { kind, done: "appended to" }),
        Operation::Clear(_) => Err(StateFault::Operation { kind, done: "cleared" }),
    }
}

/// The side input, and its own window: the SDK has mapped the main input's to it.
fn find<'a>(
    run: &'a BundleRun,
    transform: &str,
    side_input: &str,
    window: &[u8],
) -> Result<(&'a dyn SideView, SideId, BoundedWindow), StateFault> {
    let found = run.sides.as_deref().zip(run.stage.side(transform, side_input));
    let (sides, (side, windows)) = found.ok_or_else(|| StateFault::NoSideInput {
        transform: run.stage.unique_name(transform).unwrap_or(transform).to_owned(),
        side_input: side_input.to_owned(),
        stage: run.stage.name.clone(),
    })?;
    let mut rest = window;
    let window = decode_window(&mut rest, windows).map_err(|error| StateFault::Window(error.to_string()))?;
    if !rest.is_empty() {
        return Err(StateFault::Window(format!("{} bytes follow it", rest.len())));
    }
    Ok((sides, side, window))
}
