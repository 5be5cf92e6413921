//! What the tests of state share: bundles that own key groups, and cells read to their end.
#![allow(dead_code, reason = "each test target uses its own part")]

use bytes::Bytes;
use purlin_engine::core::action::{BundleDraft, BundleId};
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::StageId;
use purlin_engine::store::{Cell, Page, StateError, StateView};
use purlin_model::key_group::{KEY_GROUPS, KeyGroup};
use purlin_model::time::{EventTime, ProcessingTime};

/// A bundle without input that owns these key groups, and finds all timers due.
pub(crate) fn draft(groups: impl IntoIterator<Item = KeyGroup>) -> BundleDraft {
    let mut lanes: Vec<_> = groups.into_iter().map(Lane::Group).collect();
    lanes.sort();
    lanes.dedup();
    BundleDraft {
        id: BundleId(0),
        stage: StageId(1),
        lanes,
        input: Vec::new(),
        merged: Vec::new(),
        watermark: EventTime::MAX,
        now: ProcessingTime(0),
        attempt: 0,
        draining: false,
    }
}

/// One that owns all of them.
pub(crate) fn draft_of_all() -> BundleDraft {
    draft((0..KEY_GROUPS).filter_map(KeyGroup::new))
}

/// One that owns those of these keys.
pub(crate) fn draft_of(keys: &[&[u8]]) -> BundleDraft {
    draft(keys.iter().map(|key| KeyGroup::of_key(key)))
}

/// All pages of a cell, as they come.
pub(crate) fn pages(view: &mut dyn StateView, cell: &Cell) -> Result<Vec<Bytes>, StateError> {
    let (mut pages, mut from) = (Vec::new(), Some(Page::default()));
    while let Some(page) = from {
        let (data, next) = view.read(cell, page)?;
        pages.push(data);
        from = next;
    }
    Ok(pages)
}
