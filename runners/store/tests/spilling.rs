//! Batches under a budget: what has no room is on disk, what is read back is what was put, and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::Arc;

use proptest::prelude::*;
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::StageId;
use purlin_engine::data::{BatchRef, ElementBatch, ElementBatchBuilder};
use purlin_engine::store::{BatchPlace, BatchStore, MemoryClass, StoreError};
use purlin_model::key_group::KeyGroup;
use purlin_model::time::EventTime;
use purlin_store::{JobMemory, MemoryBroker, MemoryDisk, SpillFolder, SpillingBatchStore};

fn batch(fill: u8, bytes: usize) -> ElementBatch {
    let mut builder = ElementBatchBuilder::new();
    for (index, chunk) in vec![fill; bytes].chunks(1_000).enumerate() {
        // A header begins with its timestamp, so that those of other timestamps differ.
        let header = format!("header {fill} {}", index / 3);
        builder.push(header.as_bytes(), EventTime::from_millis(fill.into()), chunk);
    }
    builder.finish()
}

fn place(stage: u32, group: u8) -> BatchPlace {
    BatchPlace {
        stage: StageId(stage),
        lane: Lane::Group(KeyGroup::new(group).unwrap()),
        window_max: None,
        soon: false,
    }
}

struct Setting {
    broker: Arc<MemoryBroker>,
    job: Arc<JobMemory>,
    disk: MemoryDisk,
    store: Arc<SpillingBatchStore>,
}

fn setting(budget: u64, disk: u64) -> Setting {
    let broker = MemoryBroker::for_data(budget);
    let (job, disk) = (broker.job(), MemoryDisk::new(disk));
    let store = SpillingBatchStore::new(&job, Arc::new(disk.clone()));
    Setting { broker, job, disk, store }
}

impl Setting {
    fn put(&self, place: BatchPlace, batch: ElementBatch) -> BatchRef {
        self.store.put(&[place], batch).unwrap()[0]
    }
}

#[test]
fn what_is_read_soon_stays_while_something_else_can_go() {
    let with = setting(100_000, 1 << 30);
    let small = with.put(place(0, 0), batch(1, 10_000));
    let soon = BatchPlace { soon: true, ..place(0, 1) };
    let soon: Vec<_> = (0..4).map(|fill| with.put(soon, batch(fill, 18_000))).collect();
    with.put(place(1, 0), batch(9, 18_000));
    let spilled = with.store.spilled();
    assert_eq!(spilled.keys().collect::<Vec<_>>(), [&StageId(0)]);
    assert_eq!(spilled[&StageId(0)], small.bytes, "the small lane waits, and goes");
    with.put(BatchPlace { soon: true, ..place(1, 1) }, batch(9, 90_000));
    assert!(with.store.spilled()[&StageId(0)] >= small.bytes + soon[0].bytes, "in the end everything goes");
}

#[test]
fn the_largest_lane_goes_first_and_its_last_batches_before_its_first() {
    let with = setting(100_000, 1 << 30);
    let small = with.put(place(0, 0), batch(1, 10_000));
    let large: Vec<_> = (0..4).map(|fill| with.put(place(0, 1), batch(fill, 18_000))).collect();
    assert_eq!(with.disk.files(), 0);
    with.put(place(0, 2), batch(9, 18_000));
    assert_eq!(with.disk.files(), 1);
    assert!(with.store.spilled()[&StageId(0)] >= large[3].bytes, "{:?}", with.store.spilled());
    let readers = |of: &BatchRef| {
        let held = with.store.get(of.id).unwrap();
        let readers = with.job.used_for(MemoryClass::Readers);
        drop(held);
        readers > 0
    };
    assert!(!readers(&small) && !readers(&large[0]) && readers(&large[3]));
    assert!(with.broker.peak() <= 100_000);
}

#[test]
fn what_somebody_looks_at_stays_and_what_has_no_room_goes_to_disk_itself() {
    let with = setting(50_000, 1 << 30);
    let first = with.put(place(0, 0), batch(1, 40_000));
    let looked_at = with.store.get(first.id).unwrap();
    let second = with.put(place(0, 1), batch(2, 20_000));
    assert_eq!(with.job.used_for(MemoryClass::Readers), 0);
    assert_eq!(*with.store.get(second.id).unwrap(), batch(2, 20_000));
    assert_eq!(*looked_at, batch(1, 40_000));
    assert!(with.store.written_bytes() > 0);
}

#[test]
fn consumers_share_what_is_kept() {
    let with = setting(30_000, 1 << 30);
    let both = with.store.put(&[place(0, 0), place(1, 0)], batch(1, 10_000)).unwrap();
    assert_ne!(both[0].id, both[1].id);
    let once = with.broker.used();
    assert!(once < 12_000, "{once}");
    with.store.free(&[both[0].id]);
    assert_eq!(with.store.get(both[0].id), Err(StoreError::Unknown(both[0].id)));
    with.store.share(&[both[1].id]);
    with.store.free(&[both[1].id]);
    assert_eq!(*with.store.get(both[1].id).unwrap(), batch(1, 10_000));
    with.store.free(&[both[1].id, both[1].id]);
    assert_eq!((with.broker.used(), with.store.held_bytes()), (0, 0));
}

#[test]
fn a_full_disk_is_an_error_of_the_job_that_fills_it() {
    let with = setting(20_000, 500);
    let other = SpillingBatchStore::new(&with.broker.job(), Arc::new(MemoryDisk::new(1 << 30)));
    let noise = |seed: u64| {
        let mut builder = ElementBatchBuilder::new();
        let words = (0..1_000u64).map(|word| purlin_model::key_group::hash_key(&(seed * 1_000 + word).to_le_bytes()));
        builder.push(b"", EventTime::MIN, &words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>());
        builder.finish()
    };
    let kept = [with.put(place(0, 0), noise(0)), with.put(place(0, 1), noise(1))];
    let full = with.store.put(&[place(0, 2)], noise(2)).unwrap_err().to_string();
    assert!(full.contains("write data that does not fit into memory") && full.contains("--data-dir"), "{full}");
    // What was there before still is, and another job, with another disk, goes on.
    assert_eq!(*with.store.get(kept[1].id).unwrap(), noise(1));
    let elsewhere = other.put(&[place(0, 0)], noise(3)).unwrap()[0];
    assert_eq!(*other.get(elsewhere.id).unwrap(), noise(3));
}

#[test]
fn an_altered_segment_is_told_with_what_where_and_which_file() {
    let with = setting(1_000, 1 << 30);
    let spilled = with.put(place(7, 3), batch(1, 10_000));
    with.disk.damage(1);
    let altered = with.store.get(spilled.id).unwrap_err().to_string();
    assert!(
        altered.starts_with(
            "batch0 of s7 in lane g3 cannot be read back from file 0 in memory at byte 0: its checksum is"
        ),
        "{altered}"
    );
    with.disk.damage(0);
    assert_eq!(*with.store.get(spilled.id).unwrap(), batch(1, 10_000));
}

#[test]
fn a_segment_that_is_cut_short_or_overwritten_on_a_real_disk_is_told() {
    let parent = tempfile::tempdir().unwrap();
    let folder = SpillFolder::open(parent.path()).unwrap();
    let broker = MemoryBroker::for_data(1_000);
    let store = SpillingBatchStore::new(&broker.job(), Arc::new(folder.job()));
    let spilled = store.put(&[place(0, 0)], batch(1, 10_000)).unwrap()[0];
    let file = parent.path().join("spill/job-0/0.segment");
    assert_eq!(*store.get(spilled.id).unwrap(), batch(1, 10_000));
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let altered = store.get(spilled.id).unwrap_err().to_string();
    assert!(altered.contains("0.segment at byte 0: its checksum is wrong"), "{altered}");
    std::fs::write(&file, &bytes[..20]).unwrap();
    let altered = store.get(spilled.id).unwrap_err().to_string();
    assert!(altered.contains("0.segment at byte 0: it ends too early"), "{altered}");
    // A job that ends, however it ends, takes its files along.
    drop(store);
    assert!(!parent.path().join("spill/job-0").exists());
}

#[test]
fn many_jobs_at_once_share_a_budget_and_each_gets_its_own_back() {
    let broker = MemoryBroker::for_data(400_000);
    let disk = MemoryDisk::new(1 << 30);
    std::thread::scope(|scope| {
        for job in 0..100u8 {
            let (broker, disk) = (&broker, &disk);
            scope.spawn(move || {
                let store = SpillingBatchStore::new(&broker.job(), Arc::new(disk.clone()));
                let references: Vec<_> = (0..20u8)
                    .map(|index| store.put(&[place(0, index)], batch(job ^ index, 5_000)).unwrap()[0])
                    .collect();
                for (index, reference) in (0..20u8).zip(&references) {
                    assert_eq!(*store.get(reference.id).unwrap(), batch(job ^ index, 5_000));
                }
                let half: Vec<_> = references.iter().step_by(2).map(|reference| reference.id).collect();
                store.free(&half);
                // The rest goes with the store.
            });
        }
    });
    assert_eq!((broker.used(), disk.files(), disk.free()), (0, 0, 1 << 30));
    // Each of the threads may have had one batch in its hands.
    assert!(broker.peak() <= 400_000 + 100 * 6_000, "{}", broker.peak());
}

#[derive(Clone, Debug)]
enum Step {
    Put { lane: u8, bytes: usize },
    Get(prop::sample::Index),
    Hold(prop::sample::Index),
    LetGo,
    Join(prop::sample::Index),
    Free(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..5, 0usize..30_000).prop_map(|(lane, bytes)| Step::Put { lane, bytes }),
        2 => any::<prop::sample::Index>().prop_map(Step::Get),
        1 => any::<prop::sample::Index>().prop_map(Step::Hold),
        1 => Just(Step::LetGo),
        3 => any::<prop::sample::Index>().prop_map(Step::Join),
        2 => any::<prop::sample::Index>().prop_map(Step::Free),
    ]
}

proptest! {
    /// Whatever happens, what is in is what was put, the books are right, and memory stays within the budget and what is
    /// looked at.
    #[test]
    fn a_store_under_pressure_is_a_store(steps in prop::collection::vec(step(), 0..80), budget in 5_000u64..100_000) {
        let with = setting(budget, 1 << 30);
        let mut known: Vec<(BatchRef, ElementBatch)> = Vec::new();
        let mut held = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Put { lane, bytes } => {
                    let batch = batch(number as u8, bytes);
                    known.push((with.put(place(0, lane), batch.clone()), batch));
                }
                Step::Get(_) | Step::Hold(_) | Step::Free(_) if known.is_empty() => {}
                Step::Get(at) => {
                    let (reference, batch) = &known[at.index(known.len())];
                    prop_assert_eq!(&*with.store.get(reference.id).unwrap(), batch);
                }
                Step::Hold(at) => held.push(with.store.get(known[at.index(known.len())].0.id).unwrap()),
                Step::LetGo => held.clear(),
                Step::Join(_) if known.len() < 2 => {}
                Step::Join(at) => {
                    // The core's reference has the sums of both.
                    let (behind, last) = known.swap_remove(at.index(known.len()));
                    let at = at.index(known.len());
                    let (into, first) = &mut known[at];
                    with.store.join(into.id, behind.id);
                    *first = ElementBatch::concat(&[Arc::new(first.clone()), Arc::new(last)]);
                    into.count += behind.count;
                    prop_assert_eq!(with.store.get(behind.id), Err(StoreError::Unknown(behind.id)));
                }
                Step::Free(at) => {
                    let (reference, _) = known.swap_remove(at.index(known.len()));
                    with.store.free(&[reference.id]);
                    prop_assert_eq!(with.store.get(reference.id), Err(StoreError::Unknown(reference.id)));
                }
            }
            let looked_at: u64 = held.iter().map(|batch| batch.bytes() + 300).sum();
            prop_assert!(with.broker.used() <= budget + looked_at, "{} of {budget}", with.broker.used());
        }
        for (reference, batch) in &known {
            prop_assert_eq!(&*with.store.get(reference.id).unwrap(), batch);
        }
        held.clear();
        with.store.free(&known.iter().map(|(reference, _)| reference.id).collect::<Vec<_>>());
        prop_assert_eq!((with.broker.used(), with.store.held_bytes()), (0, 0));
        let Setting { store, disk, .. } = with;
        drop(store);
        prop_assert_eq!(disk.files(), 0);
    }
}
