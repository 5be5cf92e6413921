//! What the core costs per bundle and per batch. Budgets: 3 µs and 0.5 µs.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use purlin_direct::{EagerOptions, EagerSchedule};
use purlin_engine::core::action::{Action, BundleId};
use purlin_engine::core::bundle::{BundleResult, Routed};
use purlin_engine::core::config::EngineConfig;
use purlin_engine::core::engine::Engine;
use purlin_engine::core::event::Event;
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::{EnvIndex, JobGraphBuilder, OutputId, StageId};
use purlin_engine::data::{BatchId, BatchRef};
use purlin_model::coder::Coder;
use purlin_model::key_group::KeyGroup;
use purlin_model::time::{EventTime, ProcessingTime};
use purlin_model::window::WindowCoder;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A job that has begun: an impulse, then a chain of workers, the impulse's bundle still running.
fn chain(stages: usize, keyed: bool) -> Engine {
    let mut job = JobGraphBuilder::new();
    let env = job.environment();
    let mut last = job.impulse("impulse");
    for index in 0..stages {
        last = job.worker(&format!("stage {index}"), env, &[last], Coder::Bytes, WindowCoder::Global);
        if keyed && index > 0 {
            let stage = job.producer(last);
            job.stage_mut(stage).keyed = true;
        }
    }
    let schedule = Box::new(EagerSchedule::new(EagerOptions::default()));
    let mut engine = Engine::new(Arc::new(job.build()), EngineConfig::default(), schedule).expect("the graph is sound");
    engine.handle(Event::Start, ProcessingTime(0));
    engine.handle(Event::Workers { env: EnvIndex(0), slots: 1 }, ProcessingTime(0));
    while engine.poll_action().is_some() {}
    engine
}

fn routed(from: u32, to: u32, lane: Lane, id: u64) -> Routed {
    let batch =
        BatchRef { id: BatchId(id), count: 1_000, bytes: 100_000, min_timestamp: EventTime::MIN, window_max: None };
    Routed { from: OutputId(from), to: StageId(to), lane, batch }
}

/// Finishes one bundle after the other, each with one batch for the next stage, to the end of the chain.
fn run_chain(engine: &mut Engine, stages: u32) {
    for step in 0..=stages {
        let outputs = if step < stages { vec![routed(step, step + 1, Lane::Any, step.into())] } else { Vec::new() };
        let result = BundleResult { outputs, ..BundleResult::default() };
        engine.handle(Event::BundleFinished { bundle: BundleId(step.into()), result }, ProcessingTime(0));
        while let Some(action) = engine.poll_action() {
            black_box(&action);
        }
    }
}

fn bundles(c: &mut Criterion) {
    let mut group = c.benchmark_group("core, per bundle");
    for stages in [1u32, 10, 100] {
        group.throughput(Throughput::Elements(u64::from(stages) + 1));
        group.bench_function(format!("chain of {stages}"), |b| {
            b.iter_batched(
                || chain(stages as usize, false),
                |mut engine| run_chain(&mut engine, stages),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("core, per batch");
    for batches in [128u64, 1_024, 8_192] {
        group.throughput(Throughput::Elements(batches));
        group.bench_function(format!("{batches} batches into 128 lanes and out"), |b| {
            let setup = || {
                let mut engine = chain(2, true);
                let first = BundleResult { outputs: vec![routed(0, 1, Lane::Any, 0)], ..BundleResult::default() };
                engine.handle(Event::BundleFinished { bundle: BundleId(0), result: first }, ProcessingTime(0));
                while engine.poll_action().is_some() {}
                let lane = |index: u64| Lane::Group(KeyGroup::new((index % 128) as u8).expect("below 128"));
                let outputs = (0..batches).map(|index| routed(1, 2, lane(index), index + 1)).collect();
                (engine, BundleResult { outputs, ..BundleResult::default() })
            };
            b.iter_batched(
                setup,
                |(mut engine, result)| {
                    engine.handle(Event::BundleFinished { bundle: BundleId(1), result }, ProcessingTime(0));
                    let mut next = 2;
                    let mut done = false;
                    while !done {
                        while let Some(action) = engine.poll_action() {
                            done |= matches!(action, Action::JobDone(_));
                        }
                        let result = BundleResult::default();
                        engine.handle(Event::BundleFinished { bundle: BundleId(next), result }, ProcessingTime(0));
                        next += 1;
                    }
                    engine
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, bundles, batches);
criterion_main!(benches);
