//! What a fused native operation costs per element (budget: 2 ns), and a whole native job.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use purlin_direct::{EagerOptions, EagerSchedule};
use purlin_engine::core::action::Outcome;
use purlin_model::coder::Coder;
use purlin_model::ids::CoderId;
use purlin_model::time::Millis;
use purlin_model::window::WindowCoder;
use purlin_model::windowing_strategy::WindowingStrategy;
use purlin_native::{
    CHUNK_ELEMENTS_MAX, Chunk, Codec, Int, NativeJob, Pair, Repeated, SyntheticSource, Text, count_per_key,
    key_by_prefix, operations, typed,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn fused(c: &mut Criterion) {
    let values: Vec<i64> = (0..CHUNK_ELEMENTS_MAX as i64).collect();
    let mut group = c.benchmark_group("fused native operations, per element and operation");
    let four = operations::start::<i64>()
        .map(|value| value.wrapping_mul(31))
        .filter(|value| value % 7 != 0)
        .map(|value| value ^ 0x55)
        .map(|value| value.wrapping_add(3));
    group.throughput(Throughput::Elements(values.len() as u64 * 4));
    let mut out = Vec::with_capacity(values.len());
    group.bench_function("map, filter, map, map", |b| {
        b.iter(|| {
            out.clear();
            four.apply(black_box(&values), &mut out);
            black_box(out.len())
        });
    });
    group.finish();
}

/// Source, key, group, count over so many elements of 100 bytes.
fn word_count(elements: i64) -> NativeJob {
    let mut job = NativeJob::new();
    let impulse = job.graph.impulse("Impulse");
    let restrictions = typed::<Text, Pair<Int, Int>, _>(move |_: Chunk<'_, Vec<u8>>, out: &mut Vec<(i64, i64)>| {
        out.extend((0..8).map(|piece| (elements * piece / 8, elements * (piece + 1) / 8)));
        Ok(())
    });
    let pieces = job.stage::<Pair<Int, Int>>("Split", &[impulse], WindowCoder::Global, restrictions);
    let source = SyntheticSource {
        positions_max: i64::MAX,
        step: Millis(0),
        resume_delay: None,
        element: |position: i64, out: &mut Vec<u8>| {
            Text::encode(&format!("{:010}{:089}", position * 7_919 % 1_000, position).into_bytes(), out);
        },
    };
    let read = job.stage::<Text>("Read", &[pieces], WindowCoder::Global, source);
    let stage = job.graph.producer(read);
    job.graph.stage_mut(stage).splittable = true;
    let keyed = job.stage::<Pair<Text, Text>>("Key", &[read], WindowCoder::Global, key_by_prefix(10));
    let coder = Coder::kv(Coder::Bytes, Repeated::<Text>::coder());
    let grouped = job.graph.group("Group", &[keyed], &WindowingStrategy::global(CoderId::new("global")), coder);
    job.stage::<Pair<Text, Int>>("Count", &[grouped], WindowCoder::Global, count_per_key());
    job
}

fn jobs(c: &mut Criterion) {
    let threads = Arc::new(rayon::ThreadPoolBuilder::new().build().expect("threads start"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let mut group = c.benchmark_group("a native job: source, key, group, count; per element");
    group.sample_size(10);
    for elements in [10_000i64, 100_000, 1_000_000] {
        group.throughput(Throughput::Elements(elements as u64));
        group.bench_function(format!("{elements} elements of 100 bytes"), |b| {
            b.iter(|| {
                let schedule = Box::new(EagerSchedule::new(EagerOptions::default()));
                let ended = runtime.block_on(word_count(elements).run(schedule, threads.clone()));
                assert_eq!(ended.outcome, Outcome::Done);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, fused, jobs);
criterion_main!(benches);
