//! What a read of state costs in process (budget: 1 µs from memory).

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use purlin_engine::core::action::{BundleDraft, BundleId, LedgerSeq};
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::StageId;
use purlin_engine::store::{Cell, Page, StateStore};
use purlin_model::key_group::{KEY_GROUPS, KeyGroup};
use purlin_model::time::{EventTime, ProcessingTime};
use purlin_store::SpillingStateStore;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u32 = 10_000;

fn draft() -> BundleDraft {
    BundleDraft {
        id: BundleId(0),
        stage: StageId(1),
        lanes: (0..KEY_GROUPS).filter_map(KeyGroup::new).map(Lane::Group).collect(),
        input: Vec::new(),
        merged: Vec::new(),
        watermark: EventTime::MIN,
        now: ProcessingTime(0),
        attempt: 0,
        draining: false,
    }
}

fn get(c: &mut Criterion) {
    let cells: Vec<_> = (0..KEYS)
        .map(|key| Cell {
            transform: "Count".into(),
            state: "seen".into(),
            window: Bytes::new(),
            key: Bytes::copy_from_slice(&key.to_be_bytes()),
            map_key: None,
        })
        .collect();
    let store = SpillingStateStore::in_memory();
    let mut view = store.view(&draft());
    for cell in &cells {
        view.append(cell, Bytes::from_static(&[7; 100])).expect("memory takes it");
    }
    let (delta, _) = view.finish();
    store.apply(delta, LedgerSeq(0));
    let mut view = store.view(&draft());
    let mut next = cells.iter().cycle();
    c.bench_function("state Get in process, of 100 bytes among 10000 keys", |b| {
        b.iter(|| {
            let cell = next.next().expect("it goes round");
            black_box(view.read(black_box(cell), Page(0)).expect("memory has it"))
        });
    });
}

criterion_group!(benches, get);
criterion_main!(benches);
