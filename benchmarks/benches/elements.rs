//! What an element costs on its way into a lane and through a grouping. Budgets: 50 ns per element appended, 0.5 µs
//! per 100-byte element grouped (the wire included).

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use purlin_engine::core::action::BundleId;
use purlin_engine::core::bundle::DropCounts;
use purlin_engine::core::stage::{JobGraph, JobGraphBuilder, OutputId, StageId};
use purlin_engine::data::{BatchInput, BatchSlice, LaneWriter};
use purlin_engine::kernel::{KernelIo, run_kernel};
use purlin_engine::store::BatchStore;
use purlin_model::coder::Coder;
use purlin_model::element::Header;
use purlin_model::ids::CoderId;
use purlin_model::pane::PaneInfo;
use purlin_model::time::EventTime;
use purlin_model::window::{BoundedWindow, WindowCoder};
use purlin_model::windowing_strategy::WindowingStrategy;
use purlin_native::{Codec, Pair, Repeated, Text};
use purlin_store::{BatchSideStore, MemoryBatchStore};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ELEMENTS: u64 = 100_000;

/// Elements of 100 bytes (10 of key, 90 of value) with 1,000 different keys, as they stand on the wire.
fn frame() -> Vec<u8> {
    let mut header = Vec::new();
    Header::new(EventTime::MIN, BoundedWindow::Global, PaneInfo::NO_FIRING).encode(&mut header);
    let mut frame = Vec::new();
    for index in 0..ELEMENTS {
        frame.extend_from_slice(&header);
        let key = format!("{:010}", index * 7_919 % 1_000).into_bytes();
        Pair::<Text, Text>::encode(&(key, vec![index as u8; 88]), &mut frame);
    }
    frame
}

fn graph(keyed: bool) -> Arc<JobGraph> {
    let mut job = JobGraphBuilder::new();
    let env = job.environment();
    let impulse = job.impulse("impulse");
    let read = job.worker("read", env, &[impulse], Pair::<Text, Text>::coder(), WindowCoder::Global);
    if keyed {
        let coder = Coder::kv(Coder::Bytes, Repeated::<Text>::coder());
        let grouped = job.group("group", &[read], &WindowingStrategy::global(CoderId::new("global")), coder);
        job.sink("write", env, &[grouped]);
    } else {
        job.sink("write", env, &[read]);
    }
    Arc::new(job.build())
}

fn append(c: &mut Criterion) {
    let frame = frame();
    let mut group = c.benchmark_group("append to a lane, per element");
    group.throughput(Throughput::Elements(ELEMENTS));
    for (name, keyed) in [("one lane", false), ("128 lanes by key", true)] {
        let graph = graph(keyed);
        group.bench_function(name, |b| {
            b.iter(|| {
                let store: Arc<dyn BatchStore> = Arc::new(MemoryBatchStore::new());
                let mut out = LaneWriter::new(&graph, StageId(1), store);
                out.write_frame(OutputId(1), black_box(&frame)).expect("the frame is sound");
                black_box(out.finish().expect("memory suffices"))
            });
        });
    }
    group.finish();
}

fn group(c: &mut Criterion) {
    let frame = frame();
    let graph = graph(true);
    let store: Arc<dyn BatchStore> = Arc::new(MemoryBatchStore::new());
    let sides = BatchSideStore::new(graph.clone(), store.clone());
    let mut group = c.benchmark_group("append-once grouping, per element");
    group.throughput(Throughput::Elements(ELEMENTS));
    group.bench_function("frame in, lanes, sort, groups out, frame out", |b| {
        b.iter(|| {
            let mut out = LaneWriter::new(&graph, StageId(1), store.clone());
            out.write_frame(OutputId(1), black_box(&frame)).expect("the frame is sound");
            let (routed, _) = out.finish().expect("memory suffices");
            let slices = routed.iter().map(|routed| BatchSlice::whole(routed.batch)).collect();
            let input = BatchInput::new(slices, store.clone());
            let merged = BatchInput::new(Vec::new(), store.clone());
            let mut out = LaneWriter::new(&graph, StageId(2), store.clone());
            let io = &mut KernelIo {
                bundle: BundleId(0),
                watermark: EventTime::MAX,
                input,
                merged,
                sides: &sides,
                kept: None,
                dropped: DropCounts::default(),
                out: &mut out,
                share_bytes: u64::MAX,
            };
            run_kernel(&graph, StageId(2), io).expect("it groups");
            let (grouped, _) = out.finish().expect("memory suffices");
            let mut wire = Vec::new();
            for routed in &grouped {
                let batch = store.get(routed.batch.id).expect("batches are in memory");
                batch.write_wire(0, batch.len(), &mut wire);
            }
            let ids: Vec<_> = routed.iter().chain(&grouped).map(|routed| routed.batch.id).collect();
            store.free(&ids);
            wire
        });
    });
    group.finish();
}

criterion_group!(benches, append, group);
criterion_main!(benches);
