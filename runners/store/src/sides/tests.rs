//! Side inputs, in memory and out of it: what is read is what was appended, page by page.

use std::collections::BTreeMap;

use super::elements::PAGE_BYTES;
use super::*;
use crate::disk::MemoryDisk;
use crate::{MemoryBroker, SpillingBatchStore};
use proptest::prelude::*;
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::JobGraphBuilder;
use purlin_engine::data::ElementBatchBuilder;
use purlin_engine::store::BatchPlace;
use purlin_model::coder::Coder;
use purlin_model::ids::CoderId;
use purlin_model::pane::PaneInfo;
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::{WindowCoder, WindowFn};
use purlin_model::windowing_strategy::WindowingStrategy;

struct Setting {
    graph: Arc<JobGraph>,
    broker: Arc<MemoryBroker>,
    disk: MemoryDisk,
    batches: Arc<SpillingBatchStore>,
    sides: BatchSideStore,
    side: SideId,
}

fn setting(coder: Coder, access: SideAccess, budget: u64) -> Setting {
    let mut job = JobGraphBuilder::new();
    let env = job.environment();
    let impulse = job.impulse("impulse");
    let values = job.worker("values", env, &[impulse], coder, WindowCoder::Global);
    let side = job.side_input("side", &[values], access, WindowFn::Global);
    let (broker, disk) = (MemoryBroker::for_data(budget), MemoryDisk::new(1 << 30));
    let batches = SpillingBatchStore::new(&broker.job(), Arc::new(disk.clone()));
    let graph = Arc::new(job.build());
    let sides = BatchSideStore::new(graph.clone(), batches.clone());
    Setting { graph, broker, disk, batches, sides, side }
}

impl Setting {
    fn append(&self, values: &[Vec<u8>]) {
        let mut header = Vec::new();
        Header::new(EventTime::MIN, BoundedWindow::Global, PaneInfo::NO_FIRING).encode(&mut header);
        let mut builder = ElementBatchBuilder::new();
        for value in values {
            builder.push(&header, EventTime::MIN, value);
        }
        let materialize = self.graph.side(self.side).materialize;
        let place = BatchPlace { stage: materialize, lane: Lane::Any, window_max: None, soon: false };
        let kept = self.batches.put(&[place], builder.finish()).unwrap()[0];
        let batch = self.batches.get(kept.id).unwrap();
        self.sides.append(self.side, &batch, &BatchSlice::whole(kept), EventTime::MIN).unwrap();
        drop(batch);
        // The engine is done with its input.
        self.batches.free(&[kept.id]);
    }

    fn pages(&self, read: impl Fn(&dyn SideView, u64) -> SidePage) -> Vec<Vec<u8>> {
        let (mut pages, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let page = read(&*self.sides.view(), at);
            pages.push(page.data.to_vec());
            from = page.next;
        }
        pages
    }

    fn iterable(&self) -> Vec<Vec<u8>> {
        self.pages(|sides, at| sides.read_iterable(self.side, &BoundedWindow::Global, at).unwrap())
    }

    fn values(&self, key: &[u8]) -> Vec<Vec<u8>> {
        self.pages(|sides, at| sides.read_multimap(self.side, &BoundedWindow::Global, key, at).unwrap())
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        self.pages(|sides, at| sides.read_keys(self.side, &BoundedWindow::Global, at).unwrap())
    }

    fn entries(&self) -> Vec<Vec<u8>> {
        self.pages(|sides, at| sides.read_entries(self.side, &BoundedWindow::Global, at).unwrap())
    }
}

fn vecs(values: &[&[u8]]) -> Vec<Vec<u8>> {
    values.iter().map(|value| value.to_vec()).collect()
}

#[test]
fn pages_hold_whole_elements_and_end() {
    let with = setting(Coder::Bytes, SideAccess::Iterable, 1 << 30);
    let large = vec![7u8; PAGE_BYTES + 1];
    with.append(&vecs(&[b"\x01a", &large, b"\x01b", b"\x01c"]));
    let sizes: Vec<_> = with.iterable().iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, PAGE_BYTES + 1, 4]);
}

#[test]
fn pages_of_entries_hold_whole_ones() {
    let with = setting(Coder::kv(Coder::VarInt, Coder::Bytes), SideAccess::Multimap, 1 << 30);
    let value = |key: u8| [&[key, 0x80, 0x80, 0x40][..], &vec![key; 0x10_0000]].concat();
    with.append(&[value(1), value(2), value(1), value(3)]);
    let mut sizes: Vec<_> = with.entries().iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [0x10_0003 + 5, 0x10_0003 + 5, 2 * 0x10_0003 + 5]);
}

#[test]
fn an_empty_window_is_empty_and_not_an_error() {
    let with = setting(Coder::Bytes, SideAccess::Iterable, 1 << 30);
    assert_eq!(with.iterable(), vecs(&[b""]));
    with.append(&vecs(&[b"\x01a"]));
    assert_eq!(with.sides.view().read_iterable(with.side, &BoundedWindow::Global, u64::MAX), Ok(SidePage::default()));
    assert_eq!(with.values(b"key"), vecs(&[b""]));
}

#[test]
fn a_multimap_is_read_by_key() {
    let with = setting(Coder::kv(Coder::Bytes, Coder::VarInt), SideAccess::Multimap, 1 << 30);
    with.append(&vecs(&[b"\x01a\x01", b"\x01b\x02", b"\x01a\x03"]));
    assert_eq!(with.values(b"\x01a"), vecs(&[b"\x01\x03"]));
    assert_eq!(with.values(b"\x01z"), vecs(&[b""]));
    // What comes later is found too.
    with.append(&vecs(&[b"\x01a\x04", b"\x01c\x05"]));
    assert_eq!(with.values(b"\x01a"), vecs(&[b"\x01\x03\x04"]));
    let keys = with.keys().concat();
    let mut keys: Vec<_> = keys.chunks(2).collect();
    keys.sort_unstable();
    assert_eq!(keys, [b"\x01a", b"\x01b", b"\x01c"]);
    assert_eq!(with.entries().concat().len(), 3 * (2 + 4) + 5);
    assert_eq!(with.sides.view().read_entries(with.side, &BoundedWindow::Global, u64::MAX), Ok(SidePage::default()));
}

#[test]
fn a_side_input_that_is_larger_than_memory_is_read_all_the_same() {
    const BUDGET: u64 = 2 << 20;
    let with = setting(Coder::kv(Coder::VarInt, Coder::Bytes), SideAccess::Multimap, BUDGET);
    // 20 MB, of which one key has half.
    let element = |number: u32| {
        let key = if number.is_multiple_of(2) { 0 } else { (number % 100) as u8 };
        [&[key, 0x80 | 0x68, 0x07][..], &number.to_be_bytes(), &[key; 996]].concat()
    };
    for chunk in 0..200 {
        let elements: Vec<_> = (chunk * 100..chunk * 100 + 100).map(element).collect();
        with.append(&elements);
    }
    for key in [0u8, 1, 99] {
        let found = with.values(&[key]);
        assert!(found.iter().all(|page| page.len() <= PAGE_BYTES), "pages are pages");
        let expected: Vec<_> = (0..20_000).map(element).filter(|element| element[0] == key).collect();
        let expected: Vec<_> = expected.iter().flat_map(|element| &element[1..]).copied().collect();
        assert!(found.concat() == expected, "key {key}");
    }
    assert_eq!(with.keys().concat().len(), 51);
    assert!(with.disk.free() < 1 << 30);
    assert!(with.broker.peak() < 4 * BUDGET, "{}", with.broker.peak());
    drop((with.sides, with.batches));
    assert_eq!(with.broker.used(), 0);
}

proptest! {
    /// However it is appended and whenever it is read: a multimap is a map of lists.
    #[test]
    fn a_multimap_is_a_map_of_lists(
        appends in prop::collection::vec(prop::collection::vec((0u8..6, 0usize..5_000), 0..30), 1..6),
        budget in prop_oneof![Just(1u64 << 30), 100_000u64..2_000_000],
        read_between in any::<bool>(),
    ) {
        let with = setting(Coder::kv(Coder::VarInt, Coder::Bytes), SideAccess::Multimap, budget);
        let mut expected = BTreeMap::<u8, Vec<u8>>::new();
        for (number, append) in appends.iter().enumerate() {
            let mut elements = Vec::new();
            for (key, size) in append {
                let mut value = Vec::new();
                purlin_model::coder::varint::write_varint(*size as i64, &mut value);
                value.extend(std::iter::repeat_n(number as u8, *size));
                expected.entry(*key).or_default().extend(&value);
                elements.push([&[*key][..], &value].concat());
            }
            with.append(&elements);
            if read_between {
                for key in 0..6 {
                    prop_assert_eq!(with.values(&[key]).concat(), expected.get(&key).cloned().unwrap_or_default());
                }
            }
        }
        for key in 0..6 {
            prop_assert_eq!(with.values(&[key]).concat(), expected.get(&key).cloned().unwrap_or_default());
        }
        let mut keys = with.keys().concat();
        keys.sort_unstable();
        prop_assert_eq!(keys, expected.keys().copied().collect::<Vec<_>>());
        let entries: usize = with.entries().iter().map(Vec::len).sum();
        prop_assert_eq!(entries, expected.values().map(|values| 5 + values.len()).sum::<usize>());
        drop((with.sides, with.batches));
        prop_assert_eq!((with.broker.used(), with.disk.files()), (0, 0));
    }
}

/// A side input in fixed windows of ten, which is refreshed or drops what comes too late.
fn windowed(refreshed: bool, access: SideAccess) -> Setting {
    let coder = Coder::kv(Coder::StringUtf8, Coder::StringUtf8);
    let mut job = JobGraphBuilder::new();
    let env = job.environment();
    let impulse = job.impulse("impulse");
    let values = job.worker("values", env, &[impulse], coder, WindowCoder::Interval);
    let window_fn = WindowFn::Fixed { size: Millis(10), offset: Millis(0) };
    let side = if refreshed {
        let strategy = WindowingStrategy { window_fn, ..WindowingStrategy::global(CoderId::new("windows")) };
        job.refreshed_side_input("side", &[values], access, &strategy)
    } else {
        let side = job.side_input("side", &[values], access, window_fn);
        job.in_time(side);
        side
    };
    let graph = Arc::new(job.build());
    graph.check().unwrap();
    let (broker, disk) = (MemoryBroker::for_data(1 << 30), MemoryDisk::new(1 << 30));
    let batches = SpillingBatchStore::new(&broker.job(), Arc::new(disk.clone()));
    let sides = BatchSideStore::new(graph.clone(), batches.clone());
    Setting { graph, broker, disk, batches, sides, side }
}

fn from(start: i64) -> BoundedWindow {
    let (start, end) = (EventTime::from_millis(start), EventTime::from_millis(start + 10));
    BoundedWindow::Interval { start, end }
}

fn pair(key: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [text(key), text(value)].concat()
}

impl Setting {
    /// A batch of these values, each in one window; freed by the caller, as the engine does.
    fn batch(&self, values: &[(i64, Vec<u8>)]) -> (Arc<ElementBatch>, BatchSlice) {
        let mut builder = ElementBatchBuilder::new();
        for (window, value) in values {
            let mut header = Vec::new();
            Header::new(EventTime::from_millis(*window), from(*window), PaneInfo::NO_FIRING).encode(&mut header);
            builder.push(&header, EventTime::from_millis(*window), value);
        }
        let materialize = self.graph.side(self.side).materialize;
        let place = BatchPlace { stage: materialize, lane: Lane::Any, window_max: None, soon: false };
        let kept = self.batches.put(&[place], builder.finish()).unwrap()[0];
        (self.batches.get(kept.id).unwrap(), BatchSlice::whole(kept))
    }

    /// Keeps panes as one bundle, which is not committed.
    fn replace(&self, bundle: u64, panes: &[(i64, &[Vec<u8>])]) {
        let pane = |values: &[Vec<u8>]| [&(values.len() as u32).to_be_bytes()[..], &values.concat()].concat();
        let panes: Vec<_> = panes.iter().map(|(window, values)| (*window, pane(values))).collect();
        let (batch, slice) = self.batch(&panes);
        self.sides.replace(BundleId(bundle), self.side, &batch, &slice).unwrap();
        self.batches.free(&[slice.batch.id]);
    }

    fn of(&self, view: &dyn SideView, window: i64) -> Vec<u8> {
        view.read_iterable(self.side, &from(window), 0).unwrap().data.to_vec()
    }
}

#[test]
fn a_pane_replaces_the_one_before_for_those_who_begin_later() {
    let with = windowed(true, SideAccess::Iterable);
    let (a, b) = (pair("k", "a"), pair("k", "b"));
    with.replace(0, &[(0, &[a.clone(), a.clone()])]);
    let before = with.sides.view();
    assert_eq!(with.of(&*before, 0), b"", "nothing is seen of a bundle that has not committed");
    with.sides.commit(BundleId(0));
    let first = with.sides.view();
    with.replace(1, &[(0, std::slice::from_ref(&b)), (10, &[]), (10, &[a.clone(), b.clone()])]);
    with.sides.commit(BundleId(1));
    let second = with.sides.view();
    with.replace(2, &[(0, std::slice::from_ref(&a))]);
    with.sides.discard(BundleId(2));
    assert_eq!((with.of(&*before, 0), with.of(&*first, 0)), (vec![], [a.clone(), a.clone()].concat()));
    assert_eq!((with.of(&*first, 10), with.of(&*second, 10)), (vec![], [a, b.clone()].concat()));
    assert_eq!(with.of(&*second, 0), b);
    let versions = [&before, &first, &second].map(|view| view.version(with.side));
    assert_eq!(versions, [0, 1, 2], "who keeps what was read, asks again");
}

#[test]
fn a_version_that_nobody_can_read_takes_no_room() {
    let with = windowed(true, SideAccess::Multimap);
    let values = |text: &str| vec![pair("k", text); 2000];
    with.replace(0, &[(0, &values("a"))]);
    with.sides.commit(BundleId(0));
    let first = with.sides.view();
    let of_key = |view: &dyn SideView| view.read_multimap(with.side, &from(0), &pair("k", "")[..2], 0).unwrap().data;
    assert_eq!(of_key(&*first), pair("a", "")[..2].repeat(2000));
    let one = with.broker.used();
    for bundle in 1..20 {
        with.replace(bundle, &[(0, &values("b"))]);
        with.sides.commit(BundleId(bundle));
        assert_eq!(of_key(&*with.sides.view()), pair("b", "")[..2].repeat(2000));
    }
    assert_eq!(of_key(&*first), pair("a", "")[..2].repeat(2000), "the first is still being read");
    assert!(with.broker.used() <= 3 * one, "{} for two versions of {one}", with.broker.used());
    drop(first);
    assert!(with.broker.used() <= one, "{} for one version of {one}", with.broker.used());
}

#[test]
fn what_comes_behind_the_end_of_a_window_that_was_read_is_dropped_and_counted() {
    let with = windowed(false, SideAccess::Iterable);
    let append = |watermark, values: &[(i64, Vec<u8>)]| {
        let (batch, slice) = with.batch(values);
        let watermark = EventTime::from_millis(watermark);
        let dropped = with.sides.append(with.side, &batch, &slice, watermark).unwrap();
        with.batches.free(&[slice.batch.id]);
        dropped
    };
    let (a, b) = (pair("k", "a"), pair("k", "b"));
    // At its last instant a window still takes elements.
    assert_eq!(append(9, &[(0, a.clone())]), 0);
    assert_eq!(append(10, &[(0, b.clone())]), 0, "nobody has read it");
    assert_eq!(with.of(&*with.sides.view(), 0), [a.clone(), b.clone()].concat());
    assert_eq!(with.of(&*with.sides.view(), 20), b"");
    assert_eq!(append(30, &[(0, b.clone()), (10, b.clone()), (0, b.clone()), (20, b.clone())]), 3);
    let large: Vec<_> = (0..40_000).map(|_| (0, b.clone())).collect();
    assert_eq!(append(10, &large), 40_000);
    let view = with.sides.view();
    let seen = [0, 10, 20].map(|window| with.of(&*view, window));
    assert_eq!(seen, [[a, b.clone()].concat(), b, vec![]]);
}

#[test]
fn what_is_forgotten_takes_no_room_and_takes_nothing_more() {
    let a = pair("k", "a");
    let check = |with: &Setting, keep: &dyn Fn(u64, i64) -> u64| {
        let used = with.broker.used();
        for bundle in 0..10 {
            keep(bundle, bundle as i64 * 10);
        }
        assert_eq!(with.of(&*with.sides.view(), 90), a);
        with.sides.forget(with.side, EventTime::from_millis(99));
        assert_eq!(with.of(&*with.sides.view(), 90), a, "it may be read at its last instant");
        assert_eq!(with.of(&*with.sides.view(), 80), b"");
        with.sides.forget(with.side, EventTime::from_millis(100));
        assert_eq!(with.of(&*with.sides.view(), 90), b"");
        assert_eq!(keep(10, 50), 0, "nobody reads it, but it did not come too late");
        assert_eq!(with.of(&*with.sides.view(), 50), b"");
        assert_eq!(with.broker.used(), used);
    };
    let with = windowed(true, SideAccess::Iterable);
    check(&with, &|bundle, window| {
        with.replace(bundle, &[(window, std::slice::from_ref(&a))]);
        with.sides.commit(BundleId(bundle));
        0
    });
    let with = windowed(false, SideAccess::Iterable);
    check(&with, &|_, window| {
        let (batch, slice) = with.batch(&[(window, a.clone())]);
        let dropped = with.sides.append(with.side, &batch, &slice, EventTime::MIN).unwrap();
        with.batches.free(&[slice.batch.id]);
        dropped
    });
}
