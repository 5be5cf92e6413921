//! What a read of state costs through the stream (budget: 20 µs from memory): both ends in this process, over a real socket.
//!
//! ```text
//!   harness ══StateRequest══► server ─► view of the bundle ─► StateResponse ══► harness
//! ```
//! One at a time, which is what a DoFn that waits for its state sees, two changes of thread included; and many at once, which
//! is what the work itself takes.

#[path = "../tests/support/mod.rs"]
mod support;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use purlin_proto::fn_execution::v1::state_key::{BagUserState, Type};

use support::harness::{Harness, StateStream, append, get};
use support::job::{Job, kv};
use support::plan::external;
use support::server::Server;
use support::worker_pool::WorkerPool;

const AT_ONCE: usize = 1_000;

/// A bundle that runs, with a bag of 100 bytes, and everything that keeps it running.
struct Scene {
    state: StateStream,
    instruction: String,
    _keep: (Server, Job, WorkerPool, Harness),
}

fn bag() -> Type {
    Type::BagUserState(BagUserState {
        transform_id: "work".to_owned(),
        user_state_id: "bag".to_owned(),
        window: Bytes::new(),
        key: Bytes::from_static(b"key"),
    })
}

async fn scene() -> Scene {
    let server = Server::start().await;
    let mut pool = WorkerPool::start().await;
    let mut job = Job::open(&server, external(&pool.endpoint));
    let mut worker = Harness::connect(&server.endpoint, &pool.asked().await.worker_id).await;
    assert_eq!(job.slots().await, 1);
    job.start(&[kv("a", "1")]);
    let (instruction, _) = worker.bundle().await;
    let mut state = worker.open_state().await;
    state.ask(&instruction, bag(), append(&[7; 100])).await.expect("memory takes it");
    Scene { state, instruction, _keep: (server, job, pool, worker) }
}

fn through_the_stream(c: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut scene = runtime.block_on(scene());
    c.bench_function("state Get through the stream, one at a time", |b| {
        b.iter(|| {
            let answer = runtime.block_on(scene.state.ask(&scene.instruction, bag(), get(b"")));
            assert_eq!(answer.expect("memory has it").0.len(), 100);
        });
    });
    let mut group = c.benchmark_group("state Get through the stream, many at once");
    group.throughput(Throughput::Elements(AT_ONCE as u64));
    group.bench_function(format!("{AT_ONCE}"), |b| {
        b.iter(|| runtime.block_on(scene.state.ask_many(&scene.instruction, AT_ONCE, || (bag(), get(b"")))));
    });
    group.finish();
}

criterion_group!(benches, through_the_stream);
criterion_main!(benches);
