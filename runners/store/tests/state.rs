//! Laws of state: a view sees its own writes over what is committed, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use purlin_engine::core::action::{BundleDraft, BundleId, LedgerSeq};
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::StageId;
use purlin_engine::store::{Cell, DueBound, Page, StateError, StateStore, StateView, Timer, TimerDomain};
use purlin_model::key_group::KeyGroup;
use purlin_model::time::{EventTime, ProcessingTime};
use purlin_store::MemoryStateStore;

fn draft(keys: &[&[u8]]) -> BundleDraft {
    let mut lanes: Vec<_> = keys.iter().map(|key| Lane::Group(KeyGroup::of_key(key))).collect();
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

fn cell(key: &[u8], map_key: Option<&[u8]>) -> Cell {
    Cell {
        transform: "Count".into(),
        state: "seen".into(),
        window: Bytes::new(),
        key: Bytes::copy_from_slice(key),
        map_key: map_key.map(Bytes::copy_from_slice),
    }
}

fn read_all(view: &mut dyn StateView, cell: &Cell) -> Vec<u8> {
    let mut all = Vec::new();
    let mut from = Some(Page::default());
    while let Some(page) = from {
        let (data, next) = view.read(cell, page).unwrap();
        all.extend_from_slice(&data);
        from = next;
    }
    all
}

#[derive(Clone, Debug)]
enum Operation {
    Append(u8, Vec<u8>),
    Clear(u8),
    /// Ends the bundle: true commits, false discards.
    End(bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0u8..3, proptest::collection::vec(any::<u8>(), 0..4)).prop_map(|(key, bytes)| Operation::Append(key, bytes)),
        1 => (0u8..3).prop_map(Operation::Clear),
        2 => any::<bool>().prop_map(Operation::End),
    ]
}

proptest! {
    #[test]
    fn a_view_sees_its_own_writes_over_what_is_committed(operations in proptest::collection::vec(operation(), 0..60)) {
        let store = MemoryStateStore::new();
        let keys: [&[u8]; 3] = [&[0], &[1], &[2]];
        let mut committed: [Vec<u8>; 3] = Default::default();
        let mut seen = committed.clone();
        let mut view = store.view(&draft(&keys));
        for (seq, operation) in operations.into_iter().enumerate() {
            match operation {
                Operation::Append(key, bytes) => {
                    seen[key as usize].extend_from_slice(&bytes);
                    view.append(&cell(&[key], None), bytes.into()).unwrap();
                }
                Operation::Clear(key) => {
                    seen[key as usize].clear();
                    view.clear(&cell(&[key], None)).unwrap();
                }
                Operation::End(commit) => {
                    let (delta, _) = view.finish();
                    if commit {
                        store.apply(delta, LedgerSeq(seq as u64));
                        committed = seen.clone();
                    } else {
                        store.discard(delta);
                        seen = committed.clone();
                    }
                    view = store.view(&draft(&keys));
                }
            }
            for key in 0..3u8 {
                prop_assert_eq!(&read_all(&mut *view, &cell(&[key], None)), &seen[key as usize]);
            }
        }
    }
}

#[test]
fn a_key_outside_the_bundle_is_refused_by_name() {
    let store = MemoryStateStore::new();
    let mut view = store.view(&draft(&[b"mine"]));
    let foreign =
        (0u8..).map(|byte| vec![byte]).find(|key| KeyGroup::of_key(key) != KeyGroup::of_key(b"mine")).unwrap();
    let expected = StateError::ForeignKey { transform: "Count".into(), state: "seen".into() };
    assert_eq!(view.append(&cell(&foreign, None), Bytes::from_static(b"x")), Err(expected));
}

#[test]
fn large_state_is_read_in_pages_that_end_between_appends() {
    let store = MemoryStateStore::new();
    let mut view = store.view(&draft(&[b"k"]));
    for size in [600_000usize, 600_000, 2_000_000, 1] {
        view.append(&cell(b"k", None), vec![1; size].into()).unwrap();
    }
    let mut pages = Vec::new();
    let mut from = Some(Page::default());
    while let Some(page) = from {
        let (data, next) = view.read(&cell(b"k", None), page).unwrap();
        pages.push(data.len());
        from = next;
    }
    assert_eq!(pages, [600_000, 600_000, 2_000_000, 1]);
}

#[test]
fn map_keys_are_those_that_hold_something() {
    let store = MemoryStateStore::new();
    let mut view = store.view(&draft(&[b"k"]));
    for map_key in [b"b", b"a", b"c"] {
        view.append(&cell(b"k", Some(map_key)), Bytes::from_static(b"v")).unwrap();
    }
    let (delta, _) = view.finish();
    store.apply(delta, LedgerSeq(0));
    let mut view = store.view(&draft(&[b"k"]));
    view.clear(&cell(b"k", Some(b"c"))).unwrap();
    view.append(&cell(b"k", Some(b"d")), Bytes::from_static(b"v")).unwrap();
    let keys: Vec<_> = view.map_keys(&cell(b"k", None)).unwrap();
    assert_eq!(keys, [&b"a"[..], b"b", b"d"]);
}

#[test]
fn timers_are_set_moved_cleared_and_taken_in_order() {
    let store = MemoryStateStore::new();
    let timer = |key: &'static [u8], tag: &'static [u8], at: Option<i64>| Timer {
        key: Bytes::from_static(key),
        fire_at: at,
        transform: "Count".into(),
        family: "flush".into(),
        tag: Bytes::from_static(tag),
        window: Bytes::new(),
        domain: TimerDomain::EventTime,
        hold: EventTime::from_millis(at.unwrap_or(0)),
        pane: Bytes::from_static(&[0x0f]),
    };
    let mut view = store.view(&draft(&[b"a", b"b"]));
    view.set_timer(timer(b"b", b"", Some(5))).unwrap();
    view.set_timer(timer(b"a", b"x", Some(9))).unwrap();
    view.set_timer(timer(b"a", b"y", Some(3))).unwrap();
    view.set_timer(timer(b"a", b"z", Some(4))).unwrap();
    view.set_timer(timer(b"a", b"z", None)).unwrap();
    view.set_timer(timer(b"a", b"x", Some(7))).unwrap();
    let (delta, summaries) = view.finish();
    store.apply(delta, LedgerSeq(0));
    assert_eq!(summaries.iter().filter_map(|(_, summary)| summary.next_event).min(), Some(EventTime::from_millis(3)));
    let mut view = store.view(&draft(&[b"a", b"b"]));
    let bound = DueBound { watermark: EventTime::from_millis(8), now: ProcessingTime(0), count_max: 10 };
    let due: Vec<_> = view.take_due(&bound).unwrap().into_iter().map(|timer| (timer.key, timer.fire_at)).collect();
    let expected = [(Bytes::from("a"), Some(3)), (Bytes::from("a"), Some(7)), (Bytes::from("b"), Some(5))];
    assert_eq!(due, expected);
    assert!(view.take_due(&bound).unwrap().is_empty());
    let store: Arc<dyn StateStore> = Arc::new(store);
    let (delta, summaries) = view.finish();
    store.apply(delta, LedgerSeq(1));
    assert!(summaries.iter().all(|(_, summary)| summary.next_event.is_none()));
}
