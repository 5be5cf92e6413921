//! Laws of state: a view sees its own writes over what is committed, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use purlin_engine::core::action::{BundleDraft, LedgerSeq};
use purlin_engine::core::bundle::GroupSummary;
use purlin_engine::store::{Cell, DueBound, Page, StateError, StateStore, StateView, Timer, TimerDomain};
use purlin_model::key_group::KeyGroup;
use purlin_model::time::{EventTime, ProcessingTime};
use purlin_store::{SpillingStateStore, StateSize};
use support::{draft_of, pages};

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
    pages(view, cell).unwrap().concat()
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
        let store = SpillingStateStore::in_memory();
        let keys: [&[u8]; 3] = [&[0], &[1], &[2]];
        let mut committed: [Vec<u8>; 3] = Default::default();
        let mut seen = committed.clone();
        let mut view = store.view(&draft_of(&keys));
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
                    view = store.view(&draft_of(&keys));
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
    let store = SpillingStateStore::in_memory();
    let mut view = store.view(&draft_of(&[b"mine"]));
    let foreign =
        (0u8..).map(|byte| vec![byte]).find(|key| KeyGroup::of_key(key) != KeyGroup::of_key(b"mine")).unwrap();
    let expected = StateError::ForeignKey { transform: "Count".into(), state: "seen".into() };
    assert_eq!(view.append(&cell(&foreign, None), Bytes::from_static(b"x")), Err(expected));
}

#[test]
fn large_state_is_read_in_pages_that_end_between_appends() {
    let store = SpillingStateStore::in_memory();
    let mut view = store.view(&draft_of(&[b"k"]));
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
    let store = SpillingStateStore::in_memory();
    let mut view = store.view(&draft_of(&[b"k"]));
    for map_key in [b"b", b"a", b"c"] {
        view.append(&cell(b"k", Some(map_key)), Bytes::from_static(b"v")).unwrap();
    }
    let (delta, _) = view.finish();
    store.apply(delta, LedgerSeq(0));
    let mut view = store.view(&draft_of(&[b"k"]));
    view.clear(&cell(b"k", Some(b"c"))).unwrap();
    view.append(&cell(b"k", Some(b"d")), Bytes::from_static(b"v")).unwrap();
    let keys: Vec<_> = view.map_keys(&cell(b"k", None)).unwrap();
    assert_eq!(keys, [&b"a"[..], b"b", b"d"]);
}

fn timer(key: &[u8], tag: &[u8], at: Option<i64>, domain: TimerDomain) -> Timer {
    Timer {
        key: Bytes::copy_from_slice(key),
        fire_at: at,
        transform: "Count".into(),
        family: "flush".into(),
        tag: Bytes::copy_from_slice(tag),
        window: Bytes::new(),
        domain,
        expires: None,
        hold: EventTime::from_millis(at.unwrap_or(0)),
        output_timestamp: None,
        pane: Bytes::from_static(&[0x0f]),
    }
}

#[test]
fn timers_are_set_moved_cleared_and_taken_in_order() {
    let store = SpillingStateStore::in_memory();
    let timer = |key: &'static [u8], tag: &'static [u8], at: Option<i64>| timer(key, tag, at, TimerDomain::EventTime);
    let mut view = store.view(&draft_of(&[b"a", b"b"]));
    view.set_timer(timer(b"b", b"", Some(5))).unwrap();
    view.set_timer(timer(b"a", b"x", Some(9))).unwrap();
    view.set_timer(timer(b"a", b"y", Some(3))).unwrap();
    view.set_timer(timer(b"a", b"z", Some(4))).unwrap();
    view.set_timer(timer(b"a", b"z", None)).unwrap();
    view.set_timer(timer(b"a", b"x", Some(7))).unwrap();
    let (delta, summaries) = view.finish();
    store.apply(delta, LedgerSeq(0));
    assert_eq!(summaries.iter().filter_map(|(_, summary)| summary.next_event).min(), Some(EventTime::from_millis(3)));
    let mut view = store.view(&draft_of(&[b"a", b"b"]));
    let bound = DueBound::of_bundle(EventTime::from_millis(8), ProcessingTime(0), false, 10);
    let due: Vec<_> = view.take_due(&bound).unwrap().into_iter().map(|timer| (timer.key, timer.fire_at)).collect();
    let expected = [(Bytes::from("a"), Some(3)), (Bytes::from("a"), Some(7)), (Bytes::from("b"), Some(5))];
    assert_eq!(due, expected);
    assert!(view.take_due(&bound).unwrap().is_empty());
    let store: Arc<dyn StateStore> = Arc::new(store);
    let (delta, summaries) = view.finish();
    store.apply(delta, LedgerSeq(1));
    assert!(summaries.iter().all(|(_, summary)| summary.next_event.is_none()));
}

#[test]
fn more_timers_than_are_taken_at_once_come_in_the_order_of_time() {
    let store = SpillingStateStore::in_memory();
    let mut view = store.view(&draft_of(&[b"a", b"b"]));
    for at in 0..10_i64 {
        let key: &[u8] = if at % 2 == 0 { b"a" } else { b"b" };
        view.set_timer(timer(key, &at.to_be_bytes(), Some(at), TimerDomain::EventTime)).unwrap();
    }
    let (delta, _) = view.finish();
    store.apply(delta, LedgerSeq(0));
    let mut view = store.view(&draft_of(&[b"a", b"b"]));
    let bound = DueBound::of_bundle(EventTime::from_millis(9), ProcessingTime(0), false, 4);
    let mut taken: Vec<Timer> = Vec::new();
    loop {
        let page = view.take_due(&bound).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 4);
        taken.extend(page);
    }
    for key in [b"a", b"b"] {
        let of_key = taken.iter().filter(|timer| timer.key == key[..]).filter_map(|timer| timer.fire_at);
        let expected: Vec<i64> = (0..9).filter(|at| (at % 2 == 0) == (key == b"a")).collect();
        assert_eq!(of_key.collect::<Vec<_>>(), expected);
    }
    assert_eq!(taken.len(), 9);
}

/// In the order in which they fire.
const TURNS: [TimerDomain; 3] = [TimerDomain::ProcessingTime, TimerDomain::EventTime, TimerDomain::WindowExpiration];

/// A timer as a look at all of them knows it: its times, the instant of its window's expiry, its hold.
#[derive(Clone, Copy, Debug)]
struct Known {
    domain: TimerDomain,
    at: i64,
    expires: Option<i64>,
    hold: i64,
}

impl Known {
    fn is_due(&self, bound: &DueBound) -> bool {
        let expired = self.expires.is_some_and(|at| bound.is_expired(EventTime::from_millis(at)));
        bound.is_due(self.domain, self.at) || expired
    }
}

/// Sets the timer of a key and a tag, or clears it.
#[derive(Clone, Copy, Debug)]
struct Write {
    key: usize,
    tag: u8,
    times: Option<Known>,
}

#[derive(Clone, Debug)]
struct Bundle {
    writes: Vec<Write>,
    watermark: EventTime,
    now: i64,
    draining: bool,
    counts: bool,
}

fn bundle() -> impl Strategy<Value = Bundle> {
    let expires = proptest::option::of(0i64..20);
    let known = (proptest::sample::select(&TURNS), 0i64..20, expires, 0i64..20);
    let known = known.prop_map(|(domain, at, expires, hold)| {
        let expires = expires.filter(|_| domain == TimerDomain::ProcessingTime);
        Known { domain, at, expires, hold }
    });
    let write = (0usize..2, 0u8..4, proptest::option::of(known));
    let writes = proptest::collection::vec(write.prop_map(|(key, tag, times)| Write { key, tag, times }), 0..6);
    let watermark = prop_oneof![9 => (0i64..20).prop_map(EventTime::from_millis), 1 => Just(EventTime::MAX)];
    (writes, watermark, 0i64..20, any::<bool>(), any::<bool>())
        .prop_map(|(writes, watermark, now, draining, counts)| Bundle { writes, watermark, now, draining, counts })
}

proptest! {
    /// What is taken, and what is told of a group, is what a look at all of its timers would give; what a bundle that does not
    /// count has taken and set is as if it had never been. In a drained job all timers are due at the end of the input, one
    /// of each key and window at a time, and none is set again that has fired there.
    #[test]
    fn timers_by_time_are_those_of_a_look_at_all_of_them(
        bundles in proptest::collection::vec(bundle(), 0..12),
        count_max in 1usize..5,
    ) {
        let store = SpillingStateStore::in_memory();
        let keys: [&[u8]; 2] = [b"a", b"b"];
        let mut set = std::collections::BTreeMap::<(usize, u8), Known>::new();
        let mut over = std::collections::BTreeSet::<(usize, u8)>::new();
        for Bundle { writes, watermark, now, draining, counts } in bundles {
            let draft = BundleDraft { watermark, now: ProcessingTime(now), draining, ..draft_of(&keys) };
            let mut view = store.view(&draft);
            let mut with = set.clone();
            let mut over_with = over.clone();
            let bound = draft.due(count_max);
            let ends = draining && watermark == EventTime::MAX;
            let mut told = Vec::new();
            loop {
                let due = view.take_due(&bound).unwrap();
                prop_assert!(due.len() <= count_max);
                if due.is_empty() {
                    break;
                }
                told.extend(due.iter().map(|timer| (usize::from(timer.key[0] - b'a'), timer.tag[0])));
            }
            told.sort_unstable();
            let is_due = |timer: &Known| ends || timer.is_due(&bound);
            let mut expected: Vec<_> = with.iter().filter(|(_, timer)| is_due(timer)).map(|(id, _)| *id).collect();
            if ends {
                // Of each key, all of which is in one window, the first one: the clock comes before event time.
                let turn = |id: &(usize, u8)| TURNS.iter().position(|domain| *domain == with[id].domain);
                let rank = |id: &(usize, u8)| (id.0, turn(id), with[id].at, id.1);
                expected.sort_by_key(rank);
                expected.dedup_by_key(|id| id.0);
                over_with.extend(&expected);
            }
            prop_assert_eq!(&told, &expected);
            with.retain(|id, _| !told.contains(id));
            for Write { key, tag, times } in writes {
                let domain = times.map_or(TimerDomain::EventTime, |times| times.domain);
                let mut timer = timer(keys[key], &[tag], times.map(|times| times.at), domain);
                let again = ends && times.is_some() && over_with.contains(&(key, tag));
                match times.filter(|_| !again) {
                    Some(times) => {
                        timer.hold = EventTime::from_millis(times.hold);
                        timer.expires = times.expires.map(EventTime::from_millis);
                        with.insert((key, tag), times);
                    }
                    None => drop(with.remove(&(key, tag))),
                }
                prop_assert_eq!(view.set_timer(timer).unwrap(), !again);
            }
            let (delta, summaries) = view.finish();
            let told = |of: fn(&GroupSummary) -> Option<i64>| summaries.iter().filter_map(|(_, summary)| of(summary)).min();
            let on_clock = |timer: &&Known| timer.domain == TimerDomain::ProcessingTime;
            let next = |clock| with.values().filter(|timer| on_clock(timer) == clock).map(|timer| timer.at).min();
            prop_assert_eq!(told(|it| it.next_event.map(EventTime::millis)), next(false));
            prop_assert_eq!(told(|it| it.next_processing.map(|at| at.0)), next(true));
            prop_assert_eq!(told(|it| it.next_expiry.map(EventTime::millis)), with.values().filter_map(|it| it.expires).min());
            prop_assert_eq!(told(|it| it.min_hold.map(EventTime::millis)), with.values().map(|it| it.hold).min());
            if counts {
                store.apply(delta, LedgerSeq(0));
                (set, over) = (with, over_with);
            } else {
                store.discard(delta);
            }
            prop_assert_eq!(store.size().timers, set.len());
        }
    }
}

/// Bundles over a few keys, as the core would hand them out.
struct Keyed {
    store: SpillingStateStore,
    watermark: EventTime,
    summaries: std::collections::BTreeMap<KeyGroup, GroupSummary>,
    fired: Vec<(i64, TimerDomain)>,
}

const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];

impl Keyed {
    fn view(&self) -> Box<dyn StateView> {
        self.store.view(&BundleDraft { watermark: self.watermark, ..draft_of(&KEYS) })
    }

    fn end(&mut self, view: Box<dyn StateView>) {
        let (delta, summaries) = view.finish();
        self.store.apply(delta, LedgerSeq(0));
        self.summaries.extend(summaries);
    }

    /// Hands out what is due, until nothing is. Timers find the state of their window.
    fn settle(&mut self) {
        let bound = DueBound::of_bundle(self.watermark, ProcessingTime(0), false, 100);
        let is_due = |summary: &GroupSummary| {
            summary.next_event.is_some_and(|at| bound.is_due(TimerDomain::EventTime, at.millis()))
                || summary.next_expiry.is_some_and(|at| bound.is_expired(at))
        };
        let mut bundles = 0;
        while self.summaries.values().any(is_due) {
            bundles += 1;
            assert!(bundles < 10, "it never ends");
            let mut view = self.view();
            if view.collect_expired(&bound).unwrap() {
                for timer in view.take_due(&bound).unwrap() {
                    let cell = Cell { window: timer.window.clone(), ..cell(&timer.key, None) };
                    assert_eq!(read_all(&mut *view, &cell), b"seen", "state is there until the timers have fired");
                    let window = i64::from_be_bytes(timer.window[..].try_into().unwrap());
                    self.fired.push((window, timer.domain));
                }
            }
            self.end(view);
        }
    }
}

#[test]
fn state_of_windows_is_collected_behind_their_expiry_and_their_timers() {
    let mut keyed = Keyed {
        store: SpillingStateStore::in_memory(),
        watermark: EventTime::MIN,
        summaries: Default::default(),
        fired: Vec::new(),
    };
    for number in 0..1_000_i64 {
        let window = Bytes::copy_from_slice(&number.to_be_bytes());
        let expiry = EventTime::from_millis(number * 10 + 9);
        let mut view = keyed.view();
        view.expire_window(&window, expiry);
        for key in KEYS {
            view.append(&Cell { window: window.clone(), ..cell(key, None) }, Bytes::from_static(b"seen")).unwrap();
            let of_map = Cell { window: window.clone(), state: "map".into(), ..cell(key, Some(b"m")) };
            view.append(&of_map, Bytes::from_static(b"x")).unwrap();
            let at_end = timer(key, b"end", Some(expiry.millis()), TimerDomain::EventTime);
            view.set_timer(Timer { window: window.clone(), ..at_end }).unwrap();
            // The clock never comes there.
            let late = timer(key, b"late", Some(i64::MAX), TimerDomain::ProcessingTime);
            view.set_timer(Timer { window: window.clone(), expires: Some(expiry), ..late }).unwrap();
        }
        keyed.end(view);
        keyed.settle();
        assert_eq!(keyed.store.size().cells, 2 * KEYS.len(), "at the end of window {number}");
        // At the last instant nothing is gone yet; behind it, everything.
        keyed.watermark = expiry;
        keyed.settle();
        assert_eq!(keyed.store.size().cells, 2 * KEYS.len());
        keyed.watermark = EventTime::from_millis(expiry.millis() + 1);
        keyed.settle();
        assert_eq!(keyed.store.size(), StateSize::default(), "behind window {number}");
        let fired: Vec<_> = keyed.fired.drain(..).collect();
        assert_eq!(fired.len(), 2 * KEYS.len());
        assert!(fired.iter().all(|(window, _)| *window == number));
    }
    assert!(keyed.summaries.values().all(|summary| *summary == GroupSummary::default()));
}

#[test]
fn state_of_other_windows_stays_when_one_is_collected() {
    let store = SpillingStateStore::in_memory();
    let windows: [&[u8]; 3] = [b"", b"\x00", b"\x00\x01"];
    let cell = |window: &'static [u8], state: &str| Cell {
        window: Bytes::from_static(window),
        state: state.into(),
        ..cell(b"a", None)
    };
    let mut view = store.view(&draft_of(&[b"a"]));
    view.expire_window(&Bytes::from_static(windows[1]), EventTime::from_millis(5));
    for window in windows {
        for state in ["s", "s\0", "t"] {
            view.append(&cell(window, state), Bytes::from_static(b"kept")).unwrap();
        }
    }
    let (delta, summaries) = view.finish();
    store.apply(delta, LedgerSeq(0));
    assert_eq!(summaries[0].1.next_expiry, Some(EventTime::from_millis(5)));
    assert_eq!(summaries[0].1.bytes, 36);
    let bound = DueBound::of_bundle(EventTime::from_millis(6), ProcessingTime(0), false, 100);
    let mut view = store.view(&draft_of(&[b"a"]));
    assert!(!view.collect_expired(&bound).unwrap());
    let (delta, summaries) = view.finish();
    assert_eq!((summaries[0].1.next_expiry, summaries[0].1.bytes), (None, 24));
    store.apply(delta, LedgerSeq(1));
    assert_eq!(store.size(), StateSize { cells: 6, bytes: 24, ..StateSize::default() });
    let mut view = store.view(&draft_of(&[b"a"]));
    for state in ["s", "s\0", "t"] {
        let read: Vec<_> = windows.map(|window| read_all(&mut *view, &cell(window, state))).to_vec();
        assert_eq!(read, [&b"kept"[..], b"", b"kept"]);
    }
}

#[test]
fn a_bundle_that_does_not_count_collects_nothing() {
    let store = SpillingStateStore::in_memory();
    let mut view = store.view(&draft_of(&[b"a"]));
    view.expire_window(&Bytes::new(), EventTime::from_millis(5));
    view.append(&cell(b"a", None), Bytes::from_static(b"kept")).unwrap();
    let (delta, _) = view.finish();
    store.apply(delta, LedgerSeq(0));
    let bound = |watermark| DueBound::of_bundle(watermark, ProcessingTime(0), false, 100);
    let collect = |watermark| {
        let mut view = store.view(&draft_of(&[b"a"]));
        assert!(!view.collect_expired(&bound(watermark)).unwrap());
        view.finish()
    };
    let (delta, summaries) = collect(EventTime::from_millis(6));
    assert_eq!(summaries[0].1, GroupSummary::default());
    store.discard(delta);
    assert_eq!(store.size(), StateSize { cells: 1, bytes: 4, ..StateSize::default() });
    // Nor at the end of the input: the job ends with all that it keeps.
    for watermark in [EventTime::from_millis(5), EventTime::MAX] {
        let (delta, summaries) = collect(watermark);
        assert_eq!(summaries[0].1.bytes, 4);
        store.apply(delta, LedgerSeq(1));
        assert_eq!(store.size().cells, 1);
    }
}
