//! Laws of state that is written out: wherever it is, it says the same; and what the disk does wrong is told, where it is asked for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use purlin_engine::core::action::LedgerSeq;
use purlin_engine::core::bundle::GroupSummary;
use purlin_engine::core::stage::StageId;
use purlin_engine::store::{Cell, DueBound, MemoryClass, Page, StateError, StateStore, StateView, Timer, TimerDomain};
use purlin_model::key_group::{KeyGroup, hash_key};
use purlin_model::time::{EventTime, ProcessingTime};
use purlin_store::{JobMemory, MemoryBroker, MemoryDisk, SpillingStateStore, StateSize};
use support::{draft_of_all, pages};

/// When two of the three windows expire.
const EXPIRY: EventTime = EventTime::from_millis(10);

fn cell(key: u8, state: &str, window: u8, map_key: Option<u8>) -> Cell {
    Cell {
        transform: "Count".into(),
        state: state.into(),
        window: vec![window; usize::from(window)].into(),
        key: vec![key].into(),
        map_key: map_key.map(|map_key| vec![map_key].into()),
    }
}

/// A process with this much memory for one job.
fn account(budget: u64) -> (Arc<MemoryBroker>, Arc<JobMemory>) {
    let broker = MemoryBroker::for_data(budget);
    let account = broker.job();
    (broker, account)
}

#[derive(Clone, Debug)]
enum Step {
    Append(Cell, usize),
    Clear(Cell),
    Timer {
        key: u8,
        window: u8,
        at: Option<i64>,
    },
    Due(i64),
    Collect(i64),
    /// Ends the bundle: true commits, false discards.
    End(bool),
    /// Ends the bundle, and writes out what there is.
    Evict(bool),
    /// Writes out what there is while a bundle owns it.
    EvictOwned,
}

fn cells() -> impl Strategy<Value = Cell> {
    let map_key = prop_oneof![Just(None), (0u8..4).prop_map(Some)];
    (0u8..3, prop::sample::select(vec!["a", "b"]), 0u8..3, map_key)
        .prop_map(|(key, state, window, map_key)| cell(key, state, window, map_key))
}

fn step() -> impl Strategy<Value = Step> {
    // Most are small; some fill blocks and pages.
    let length = prop_oneof![8 => 0usize..20, 2 => Just(3_000usize), 1 => Just(700_000usize)];
    prop_oneof![
        8 => (cells(), length).prop_map(|(cell, length)| Step::Append(cell, length)),
        3 => cells().prop_map(Step::Clear),
        1 => (0u8..3, 0u8..3, proptest::option::of(0i64..20)).prop_map(|(key, window, at)| Step::Timer { key, window, at }),
        1 => (0i64..20).prop_map(Step::Due),
        1 => (0i64..20).prop_map(Step::Collect),
        2 => any::<bool>().prop_map(Step::End),
        4 => any::<bool>().prop_map(Step::Evict),
        1 => Just(Step::EvictOwned),
    ]
}

fn timer(key: u8, window: u8, at: Option<i64>) -> Timer {
    Timer {
        key: vec![key].into(),
        fire_at: at,
        transform: "Count".into(),
        family: "flush".into(),
        tag: Bytes::new(),
        window: vec![window; usize::from(window)].into(),
        domain: TimerDomain::EventTime,
        expires: None,
        hold: EventTime::from_millis(at.unwrap_or(0)),
        output_timestamp: None,
        pane: Bytes::from_static(&[0x0f]),
    }
}

fn view(store: &SpillingStateStore) -> Box<dyn StateView> {
    let mut view = store.view(&draft_of_all());
    for window in 1..3u8 {
        view.expire_window(&vec![window; usize::from(window)].into(), EXPIRY);
    }
    view
}

/// All that a view can be asked.
fn all(view: &mut dyn StateView) -> (Vec<Vec<Bytes>>, Vec<Vec<Bytes>>) {
    let (mut read, mut maps) = (Vec::new(), Vec::new());
    for key in 0..3 {
        for state in ["a", "b"] {
            for window in 0..3 {
                let map = cell(key, state, window, None);
                maps.push(view.map_keys(&map).unwrap());
                read.push(pages(view, &map).unwrap());
                let map_keys = (0..4).map(|map_key| cell(key, state, window, Some(map_key)));
                read.extend(map_keys.map(|cell| pages(view, &cell).unwrap()));
            }
        }
    }
    (read, maps)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// A store that writes out whatever it can equals one that is in memory, operation by operation.
    #[test]
    fn state_says_the_same_in_memory_and_on_disk(steps in proptest::collection::vec(step(), 0..60)) {
        let (broker, account) = account(1 << 20);
        let disk = MemoryDisk::new(1 << 30);
        let stores = [
            SpillingStateStore::in_memory(),
            SpillingStateStore::new(&account, Arc::new(disk.clone())),
        ];
        let mut views = [view(&stores[0]), view(&stores[1])];
        for (number, step) in steps.into_iter().enumerate() {
            let bound = |at| DueBound::of_bundle(EventTime::from_millis(at), ProcessingTime(0), false, 3);
            match step {
                Step::Append(cell, length) => {
                    let value = Bytes::from(vec![number as u8; length]);
                    views.iter_mut().for_each(|view| view.append(&cell, value.clone()).unwrap());
                }
                Step::Clear(cell) => views.iter_mut().for_each(|view| view.clear(&cell).unwrap()),
                Step::Timer { key, window, at } => {
                    for view in &mut views {
                        view.set_timer(timer(key, window, at)).unwrap();
                    }
                }
                Step::Due(at) => {
                    let [one, other] = views.each_mut().map(|view| view.take_due(&bound(at)).unwrap());
                    prop_assert_eq!(one, other);
                }
                Step::Collect(at) => {
                    let [one, other] = views.each_mut().map(|view| view.collect_expired(&bound(at)).unwrap());
                    prop_assert_eq!(one, other);
                }
                Step::EvictOwned => {
                    stores[1].evict_all();
                }
                Step::End(_) | Step::Evict(_) => {
                    let ended = views.map(|view| view.finish());
                    let known = |summaries: &[(KeyGroup, GroupSummary)]| -> Vec<_> {
                        summaries.iter().map(|(group, summary)| (*group, GroupSummary { bytes: 0, ..*summary })).collect()
                    };
                    prop_assert_eq!(known(&ended[0].1), known(&ended[1].1));
                    let bytes = |summaries: &[(KeyGroup, GroupSummary)]| summaries.iter().map(|it| it.1.bytes).sum::<u64>();
                    prop_assert!(bytes(&ended[0].1) <= bytes(&ended[1].1));
                    for (store, (delta, _)) in stores.iter().zip(&ended) {
                        match step {
                            Step::End(false) | Step::Evict(false) => store.discard(*delta),
                            _ => store.apply(*delta, LedgerSeq(number as u64)),
                        }
                    }
                    if matches!(step, Step::Evict(_)) {
                        stores[1].evict_all();
                        prop_assert_eq!(stores[1].size().cells, 0);
                    }
                    views = [view(&stores[0]), view(&stores[1])];
                }
            }
            let [one, other] = views.each_mut().map(|view| all(&mut **view));
            prop_assert_eq!(one, other);
        }
        drop((views, stores));
        prop_assert_eq!(broker.used(), 0);
        prop_assert_eq!((disk.files(), disk.free()), (0, 1 << 30));
    }
}

/// A bundle that puts a value of so many bytes in the place of what each of these keys had.
fn put(store: &SpillingStateStore, keys: std::ops::Range<u32>, length: usize) -> Result<(), StateError> {
    let mut view = store.view(&draft_of_all());
    for key in keys {
        let cell = Cell { key: Bytes::copy_from_slice(&key.to_be_bytes()), ..cell(0, "a", 0, None) };
        view.clear(&cell)?;
        view.append(&cell, value(key, length))?;
    }
    let (delta, _) = view.finish();
    store.apply(delta, LedgerSeq(0));
    Ok(())
}

/// Bytes that no compression makes fewer.
fn value(key: u32, length: usize) -> Bytes {
    let noise = (0..).flat_map(|part: u64| hash_key(&(u64::from(key) << 32 | part).to_le_bytes()).to_le_bytes());
    noise.take(length).collect::<Vec<_>>().into()
}

fn get(view: &mut dyn StateView, key: u32) -> Result<Bytes, StateError> {
    let cell = Cell { key: Bytes::copy_from_slice(&key.to_be_bytes()), ..cell(0, "a", 0, None) };
    view.read(&cell, Page::default()).map(|(value, _)| value)
}

#[test]
fn state_of_many_keys_stays_within_the_budget_and_is_read_back() {
    const KEYS: u32 = 20_000;
    let (broker, account) = account(4 << 20);
    let store = SpillingStateStore::new(&account, Arc::new(MemoryDisk::new(1 << 30)));
    for round in 0..3 {
        for from in (0..KEYS).step_by(500) {
            put(&store, from..from + 500, 500 + round).unwrap();
        }
    }
    let size = store.size();
    assert!(size.bytes + size.bytes_on_disk >= u64::from(KEYS) * 502, "{size:?}");
    assert!(size.bytes_on_disk > 8 << 20, "{size:?}");
    // What was replaced on disk goes when runs are merged.
    assert!(size.bytes_on_disk < 2 * u64::from(KEYS) * 502, "{size:?}");
    assert!(broker.peak() <= 4 << 20, "{}", broker.peak());
    let spilled = store.spilled();
    assert_eq!(spilled.keys().collect::<Vec<_>>(), [&StageId(1)]);
    assert!(spilled[&StageId(1)] >= size.bytes_on_disk, "{spilled:?}");
    let mut view = store.view(&draft_of_all());
    for key in 0..KEYS {
        assert_eq!(get(&mut *view, key).unwrap(), value(key, 502), "{key}");
    }
    assert_eq!(get(&mut *view, KEYS).unwrap(), Bytes::new());
    assert!(broker.peak() <= 4 << 20, "{}", broker.peak());
    drop((view, store));
    assert_eq!(broker.used(), 0);
}

#[test]
fn what_is_reserved_is_what_is_kept() {
    let (broker, account) = account(1 << 30);
    let store = SpillingStateStore::new(&account, Arc::new(MemoryDisk::new(1 << 30)));
    put(&store, 0..1_000, 100).unwrap();
    let kept = broker.used();
    assert_eq!(account.used_for(MemoryClass::State), kept);
    assert!(kept > 1_000 * (100 + 4), "{kept}");
    // The same again takes no more, and what does not count takes nothing.
    put(&store, 0..1_000, 100).unwrap();
    assert_eq!(broker.used(), kept);
    let mut view = store.view(&draft_of_all());
    view.append(&cell(7, "b", 0, None), vec![7; 1 << 20].into()).unwrap();
    assert!(broker.used() > kept + (1 << 20));
    let (delta, _) = view.finish();
    store.discard(delta);
    assert_eq!(broker.used(), kept);
    let freed = store.evict_all();
    assert_eq!(broker.used(), kept - freed);
    assert!(freed > kept * 3 / 4, "{freed} of {kept}");
}

#[test]
fn windows_that_are_collected_give_the_disk_back() {
    let (_broker, account) = account(1 << 30);
    let disk = MemoryDisk::new(1 << 30);
    let store = SpillingStateStore::new(&account, Arc::new(disk.clone()));
    for (window, at) in [(1, 10), (2, 20)] {
        let mut view = store.view(&draft_of_all());
        let of = |key| cell(key, "a", window, None);
        view.expire_window(&of(0).window, EventTime::from_millis(at));
        for key in 0..100 {
            view.append(&of(key), vec![window; 1_000].into()).unwrap();
        }
        let (delta, _) = view.finish();
        store.apply(delta, LedgerSeq(0));
        store.evict_all();
    }
    assert_eq!(store.size(), StateSize { bytes_on_disk: 200_000, ..StateSize::default() });
    for (at, left) in [(15, 100_000), (25, 0)] {
        let mut view = store.view(&draft_of_all());
        let bound = DueBound::of_bundle(EventTime::from_millis(at), ProcessingTime(0), false, 1);
        assert!(!view.collect_expired(&bound).unwrap());
        let (delta, summaries) = view.finish();
        assert_eq!(summaries.iter().map(|(_, summary)| summary.bytes).sum::<u64>(), left);
        store.apply(delta, LedgerSeq(0));
        assert_eq!(store.size().bytes_on_disk, left);
        let mut view = store.view(&draft_of_all());
        let read = |view: &mut dyn StateView, window| pages(view, &cell(3, "a", window, None)).unwrap().concat().len();
        assert_eq!([1, 2].map(|window| read(&mut *view, window)), [0, left as usize / 100]);
    }
}

#[test]
fn a_large_bag_is_read_from_disk_page_by_page() {
    let (broker, account) = account(1 << 30);
    let store = SpillingStateStore::new(&account, Arc::new(MemoryDisk::new(1 << 30)));
    let bag = cell(0, "a", 0, None);
    for round in 0..3u8 {
        let mut view = store.view(&draft_of_all());
        for number in 0..1_000u16 {
            view.append(&bag, [&number.to_be_bytes()[..], &[round; 2_998]].concat().into()).unwrap();
        }
        let (delta, _) = view.finish();
        store.apply(delta, LedgerSeq(0));
        store.evict_all();
    }
    assert!(broker.used() < 1 << 20, "{}", broker.used());
    let mut view = store.view(&draft_of_all());
    let read = pages(&mut *view, &bag).unwrap();
    assert!(read.iter().all(|page| page.len() <= 1 << 20) && read.len() == 9, "{}", read.len());
    let read = read.concat();
    let numbers = read.chunks(3_000).map(|extent| (extent[2_999], u16::from_be_bytes([extent[0], extent[1]])));
    assert!(numbers.eq((0..3u8).flat_map(|round| (0..1_000).map(move |number| (round, number)))));
}

#[test]
fn a_full_disk_keeps_state_in_memory_and_fails_who_needs_more_than_there_is() {
    let (broker, account) = account(1 << 20);
    let disk = MemoryDisk::new(1 << 20);
    let store = SpillingStateStore::new(&account, Arc::new(disk));
    let failed = (0..100).map(|number| put(&store, number * 100..(number + 1) * 100, 1_000)).find_map(Result::err);
    let told = failed.unwrap().to_string();
    assert!(told.contains("state `a` of transform `Count` for key `\\x00"), "{told}");
    assert!(told.contains("disk") && told.contains("--data-dir"), "{told}");
    assert!(broker.peak() < 2 << 20, "{}", broker.peak());
    // What is there stays readable, wherever it is.
    let size = store.size();
    assert!(size.bytes > 0 && size.bytes_on_disk > 0, "{size:?}");
    let mut view = store.view(&draft_of_all());
    for key in 0..(size.bytes + size.bytes_on_disk) as u32 / 1_000 {
        assert_eq!(get(&mut *view, key).unwrap(), value(key, 1_000));
    }
}

#[test]
fn state_that_was_altered_on_disk_is_an_error_that_says_where() {
    let (_broker, account) = account(1 << 30);
    let disk = MemoryDisk::new(1 << 30);
    let store = SpillingStateStore::new(&account, Arc::new(disk.clone()));
    put(&store, 0..100, 100).unwrap();
    store.evict_all();
    disk.damage(1);
    let mut view = store.view(&draft_of_all());
    let told = get(&mut *view, 7).unwrap_err().to_string();
    let expected = "state `a` of transform `Count` for key `\\x00\\x00\\x00\\x07` in window ``: a block of cells cannot be \
                    read back from file 0 in memory at byte";
    assert!(told.starts_with(expected) && told.contains("run the job again"), "{told}");
    let of_map = cell(0, "a", 0, None);
    let map = Cell { key: Bytes::copy_from_slice(&7u32.to_be_bytes()), ..of_map };
    assert!(view.map_keys(&map).is_err());
    disk.damage(0);
    assert_eq!(get(&mut *view, 7).unwrap(), value(7, 100));
}

#[test]
fn what_one_bundle_does_not_fire_is_due_for_the_next() {
    let (_broker, account) = account(1 << 20);
    let store = SpillingStateStore::new(&account, Arc::new(MemoryDisk::new(1 << 30)));
    let mut view = store.view(&draft_of_all());
    let count = 25_000_i64;
    for at in 0..count {
        let tag = Bytes::copy_from_slice(&at.to_be_bytes());
        view.set_timer(Timer { tag, ..timer(0, 0, Some(at)) }).unwrap();
    }
    let (delta, _) = view.finish();
    store.apply(delta, LedgerSeq(0));
    let bound = DueBound::of_bundle(EventTime::MAX, ProcessingTime(0), false, 3_000);
    let mut fired = Vec::new();
    for seq in 1.. {
        let mut view = store.view(&draft_of_all());
        let before = fired.len();
        loop {
            let due = view.take_due(&bound).unwrap();
            if due.is_empty() {
                break;
            }
            fired.extend(due.into_iter().filter_map(|timer| timer.fire_at));
        }
        assert!(fired.len() - before < count as usize, "all in one bundle");
        let (delta, summaries) = view.finish();
        store.apply(delta, LedgerSeq(seq));
        let next = summaries.iter().find_map(|(_, summary)| summary.next_event).map(EventTime::millis);
        assert_eq!(next, (fired.len() < count as usize).then_some(fired.len() as i64));
        if next.is_none() {
            break;
        }
    }
    assert!(fired.into_iter().eq(0..count));
}
