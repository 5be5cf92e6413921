//! Laws of the way from a frame to groups: the lane writer loses nothing and puts each key into its own lane, and the
//! append-once kernel agrees with an oracle that sorts and groups the plain way.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use purlin_engine::core::action::BundleId;
use purlin_engine::core::bundle::DropCounts;
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::{JobGraph, JobGraphBuilder, OutputId, SideAccess, SideMapping, StageId};
use purlin_engine::data::{BatchInput, BatchSlice, LaneWriter};
use purlin_engine::kernel::{KernelIo, run_kernel};
use purlin_engine::store::BatchStore;
use purlin_model::coder::Coder;
use purlin_model::element::Header;
use purlin_model::ids::CoderId;
use purlin_model::key_group::KeyGroup;
use purlin_model::pane::PaneInfo;
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::{BoundedWindow, WindowCoder, WindowFn};
use purlin_model::windowing_strategy::{TimestampCombiner, WindowingStrategy};
use purlin_store::{BatchSideStore, MemoryBatchStore};

#[derive(Clone, Debug)]
struct Element {
    timestamp: i64,
    /// Starts of 10 ms windows.
    windows: Vec<i64>,
    key: Vec<u8>,
    value: u8,
}

fn elements() -> impl Strategy<Value = Vec<Element>> {
    let element = (0i64..50, vec(0i64..5, 1..3), vec(any::<u8>(), 0..2), any::<u8>()).prop_map(
        |(timestamp, mut windows, key, value)| {
            windows.sort_unstable();
            windows.dedup();
            let windows = windows.into_iter().map(|window| window * 10).collect();
            Element { timestamp, windows, key, value }
        },
    );
    vec(element, 0..200)
}

fn window(start: i64) -> BoundedWindow {
    BoundedWindow::Interval { start: EventTime::from_millis(start), end: EventTime::from_millis(start + 10) }
}

fn frame(elements: &[Element]) -> Vec<u8> {
    let mut frame = Vec::new();
    for element in elements {
        Header {
            timestamp: EventTime::from_millis(element.timestamp),
            windows: element.windows.iter().map(|start| window(*start)).collect(),
            pane: PaneInfo::NO_FIRING,
        }
        .encode(&mut frame);
        frame.push(element.key.len() as u8);
        frame.extend_from_slice(&element.key);
        frame.push(1);
        frame.push(element.value);
    }
    frame
}

const READ: StageId = StageId(1);
const PAIRS: OutputId = OutputId(1);
const GROUP: StageId = StageId(2);

fn graph(combiner: TimestampCombiner) -> Arc<JobGraph> {
    let mut job = JobGraphBuilder::new();
    let env = job.environment();
    let impulse = job.impulse("impulse");
    let pairs = Coder::kv(Coder::Bytes, Coder::Bytes);
    let read = job.worker("read", env, &[impulse], pairs, WindowCoder::Interval);
    let strategy = WindowingStrategy {
        window_fn: WindowFn::Fixed { size: Millis(10), offset: Millis(0) },
        timestamp_combiner: combiner,
        ..WindowingStrategy::global(CoderId::new("interval"))
    };
    let coder = Coder::kv(Coder::Bytes, Coder::iterable(Coder::Bytes));
    let grouped = job.group("group", &[read], &strategy, coder);
    job.sink("write", env, &[grouped]);
    let side = job.side_input("side", &[read], SideAccess::Multimap, strategy.window_fn);
    let main = job.sink("main", env, &[read]);
    job.reads(main, side, SideMapping::Default);
    Arc::new(job.build())
}

fn combiner() -> impl Strategy<Value = TimestampCombiner> {
    prop_oneof![
        Just(TimestampCombiner::EndOfWindow),
        Just(TimestampCombiner::Earliest),
        Just(TimestampCombiner::Latest)
    ]
}

proptest! {
    #[test]
    fn the_writer_loses_nothing_and_finds_each_lane(elements in elements()) {
        let graph = graph(TimestampCombiner::EndOfWindow);
        let store: Arc<dyn BatchStore> = Arc::new(MemoryBatchStore::new());
        let mut out = LaneWriter::new(&graph, READ, store.clone());
        out.write_frame(PAIRS, &frame(&elements)).unwrap();
        let (routed, totals) = out.finish().unwrap();
        prop_assert_eq!(totals.elements, elements.len() as u64);
        let mut arrived = BTreeMap::<StageId, u64>::new();
        for routed in &routed {
            let batch = store.get(routed.batch.id).unwrap();
            prop_assert_eq!(batch.len() as u32, routed.batch.count);
            *arrived.entry(routed.to).or_default() += batch.len() as u64;
            for element in batch.iter(0, batch.len()) {
                let header = Header::decode(&mut &element.header[..], WindowCoder::Interval).unwrap();
                prop_assert!(header.timestamp >= batch.min_timestamp());
                let key = graph.output(PAIRS).coder.key_of(element.value).unwrap();
                match routed.lane {
                    Lane::Group(group) => prop_assert_eq!(group, KeyGroup::of_key(key)),
                    Lane::Any => {}
                }
                if let Some(window_max) = routed.batch.window_max {
                    prop_assert_eq!(header.windows.len(), 1);
                    prop_assert_eq!(header.windows[0].max_timestamp(), window_max);
                }
            }
        }
        let exploded: usize = elements.iter().map(|element| element.windows.len()).sum();
        // Those who wait for side inputs by window get an element once per window, the others once.
        for (stage, count) in arrived {
            let gated = !graph.stage(stage).gates.is_empty();
            prop_assert_eq!(count, if gated { exploded } else { elements.len() } as u64);
        }
    }

    /// However little it may hold in memory, so that it must divide its input again and again.
    #[test]
    fn append_once_agrees_with_the_oracle(elements in elements(), combiner in combiner(), share_bytes in share()) {
        let graph = graph(combiner);
        let memory = Arc::new(MemoryBatchStore::new());
        let store: Arc<dyn BatchStore> = memory.clone();
        let mut out = LaneWriter::new(&graph, READ, store.clone());
        out.write_frame(PAIRS, &frame(&elements)).unwrap();
        let (routed, _) = out.finish().unwrap();
        let slices = routed
            .iter()
            .filter(|routed| routed.to == GROUP)
            .map(|routed| BatchSlice::whole(routed.batch))
            .collect();
        let sides = BatchSideStore::new(graph.clone(), store.clone());
        let mut out = LaneWriter::new(&graph, GROUP, store.clone());
        let io = &mut KernelIo {
            bundle: BundleId(0),
            watermark: EventTime::MAX,
            input: BatchInput::new(slices, store.clone()),
            merged: BatchInput::new(Vec::new(), store.clone()),
            sides: &sides,
            kept: None,
            dropped: DropCounts::default(),
            out: &mut out,
            share_bytes,
        };
        run_kernel(&graph, GROUP, io).unwrap();
        let (grouped, _) = out.finish().unwrap();
        let mut got = Vec::new();
        for routed in &grouped {
            let batch = store.get(routed.batch.id).unwrap();
            for element in batch.iter(0, batch.len()) {
                let header = Header::decode(&mut &element.header[..], WindowCoder::Interval).unwrap();
                prop_assert_eq!(header.pane, PaneInfo::ON_TIME_AND_ONLY);
                got.push((header.windows, header.timestamp, element.value.to_vec()));
            }
        }
        got.sort();
        prop_assert_eq!(got, oracle(&elements, combiner));
        store.free(&routed.iter().chain(&grouped).map(|routed| routed.batch.id).collect::<Vec<_>>());
        prop_assert_eq!(memory.resident_bytes(), 0, "what was divided is freed");
    }
}

fn share() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1u64..200, Just(u64::MAX)]
}

type Grouped = (Vec<BoundedWindow>, EventTime, Vec<u8>);

/// Groups the plain way: a map from window and key to values, in order of arrival.
fn oracle(elements: &[Element], combiner: TimestampCombiner) -> Vec<Grouped> {
    let mut groups = BTreeMap::<(i64, Vec<u8>), Vec<(i64, u8)>>::new();
    for element in elements {
        for window in &element.windows {
            let group = groups.entry((*window, element.key.clone())).or_default();
            group.push((element.timestamp, element.value));
        }
    }
    let mut expected = Vec::new();
    for ((start, key), values) in groups {
        let max = start + 9;
        let timestamps = values.iter().map(|(timestamp, _)| *timestamp);
        let at = match combiner {
            TimestampCombiner::EndOfWindow => max,
            TimestampCombiner::Latest => timestamps.max().unwrap().min(max),
            TimestampCombiner::Earliest => timestamps.min().unwrap().min(max),
        };
        let mut bytes = vec![key.len() as u8];
        bytes.extend_from_slice(&key);
        bytes.extend_from_slice(&(values.len() as i32).to_be_bytes());
        bytes.extend(values.iter().flat_map(|(_, value)| [1, *value]));
        expected.push((vec![window(start)], EventTime::from_millis(at), bytes));
    }
    expected.sort();
    expected
}
