//! Jobs with less memory than data: they end, with the right results, within their budget, and leave nothing behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use purlin_backend::driver::JobEvent;
use purlin_engine::core::action::Outcome;
use purlin_engine::core::stage::{OutputHandle, SideAccess, SideId, SideMapping};
use purlin_model::coder::Coder;
use purlin_model::ids::CoderId;
use purlin_model::key_group::hash_key;
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::{BoundedWindow, WindowCoder, WindowFn};
use purlin_model::windowing_strategy::WindowingStrategy;
use purlin_native::{
    Chunk, Codec, Int, NativeBundle, NativeError, NativeJob, NativeStage, Pair, Repeated, SyntheticSource, Text,
    collect, count_per_key, typed,
};
use purlin_store::{MemoryBroker, SpillFolder, Storage};
use tempfile::TempDir;

use support::{schedule, threads};

const MIB: u64 = 1 << 20;

/// A process's storage, and the folder that must be empty again in the end.
struct Setting {
    broker: Arc<MemoryBroker>,
    storage: Storage,
    folder: TempDir,
}

fn setting(budget: u64) -> Setting {
    let folder = tempfile::tempdir().unwrap();
    let broker = MemoryBroker::for_data(budget);
    let storage = Storage::new(broker.clone(), SpillFolder::open(folder.path()).unwrap());
    Setting { broker, storage, folder }
}

impl Setting {
    fn spill(&self) -> std::path::PathBuf {
        self.folder.path().join("spill")
    }

    /// The last of a job is let go behind its end.
    async fn all_is_gone(&self) {
        while jobs_in(&self.spill()) > 0 || self.broker.used() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

fn jobs_in(spill: &Path) -> usize {
    let names = std::fs::read_dir(spill).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("job-")).count()
}

/// `elements` of `KV<position mod keys, length bytes>`.
fn source(job: &mut NativeJob, elements: i64, keys: i64, length: usize) -> OutputHandle {
    let pieces = (0..8).map(|piece| (elements / 8 * piece, elements / 8 * (piece + 1))).collect();
    let pairs = SyntheticSource {
        positions_max: i64::MAX,
        step: Millis(0),
        resume_delay: None,
        element: move |position: i64, out: &mut Vec<u8>| {
            let mut value = position.to_be_bytes().to_vec();
            while value.len() < length {
                value.extend_from_slice(&hash_key(&value).to_le_bytes());
            }
            Pair::<Int, Text>::encode(&(position % keys, value), out);
        },
    };
    support::read::<Pair<Int, Text>>(job, pieces, pairs)
}

fn strategy() -> WindowingStrategy {
    WindowingStrategy::global(CoderId::new("global"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grouping_of_more_than_memory_holds_is_right_and_leaves_nothing() {
    let with = setting(8 * MIB);
    let mut job = NativeJob::new();
    let read = source(&mut job, 40_000, 400, 1_000);
    let keyed = typed::<Pair<Int, Text>, Pair<Text, Text>, _>(
        |chunk: Chunk<'_, (i64, Vec<u8>)>, out: &mut Vec<(Vec<u8>, Vec<u8>)>| {
            out.extend(chunk.values.iter().map(|(key, value)| (key.to_be_bytes().to_vec(), value.clone())));
            Ok(())
        },
    );
    let keyed = job.stage::<Pair<Text, Text>>("Key", &[read], WindowCoder::Global, keyed);
    let grouped = job.graph.group("Group", &[keyed], &strategy(), Pair::<Text, Repeated<Text>>::coder());
    let counted = job.stage::<Pair<Text, Int>>("Count", &[grouped], WindowCoder::Global, count_per_key());
    let (sink, collected) = collect::<Pair<Text, Int>>(WindowCoder::Global);
    job.sink("Collect", &[counted], sink);
    let ended = job.storage(&with.storage).run(schedule(), threads()).await;
    assert_eq!(ended.outcome, Outcome::Done);
    let counts: BTreeMap<_, _> = collected.lock().unwrap().iter().map(|(_, counted)| counted.clone()).collect();
    assert_eq!(counts, (0..400i64).map(|key| (key.to_be_bytes().to_vec(), 100)).collect());
    assert!(with.broker.spilled() > 20 * MIB, "{}", with.broker.spilled());
    // A bundle of a grouping reads its lanes whole.
    assert!(with.broker.peak() < 48 * MIB, "{}", with.broker.peak());
    with.all_is_gone().await;
}

/// Counts the values of groups and their bytes, page by page.
#[derive(Debug)]
struct CountPages;

impl NativeStage for CountPages {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let mut rest = element.value;
                Int::decode(&mut rest)?;
                let (mut count, mut bytes) = (0, 0);
                bundle.values_of::<Text>(rest, |value| {
                    count += 1;
                    bytes += value.len() as i64;
                    Ok(())
                })?;
                let mut value = Vec::new();
                Pair::<Int, Int>::encode(&(count, bytes), &mut value);
                bundle.emit(0, element.header, EventTime::MIN, &value)?;
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_are_each_larger_than_memory_pass_through_it_page_by_page() {
    let with = setting(8 * MIB);
    let mut job = NativeJob::new();
    let read = source(&mut job, 48_000, 3, 1_000);
    let values = Coder::StateBackedIterable(Arc::new(Text::coder()));
    let grouped = job.graph.group("Group", &[read], &strategy(), Coder::kv(Int::coder(), values));
    let counted = job.stage::<Pair<Int, Int>>("Count", &[grouped], WindowCoder::Global, CountPages);
    let (sink, collected) = collect::<Pair<Int, Int>>(WindowCoder::Global);
    job.sink("Collect", &[counted], sink);
    let ended = job.storage(&with.storage).run(schedule(), threads()).await;
    assert_eq!(ended.outcome, Outcome::Done);
    let counts: Vec<_> = collected.lock().unwrap().iter().map(|(_, counted)| *counted).collect();
    assert_eq!(counts, [(16_000, 16_000_000); 3]);
    assert!(with.broker.peak() < 16 * MIB, "{}", with.broker.peak());
    with.all_is_gone().await;
}

/// Takes long for each element.
#[derive(Debug)]
struct Slow;

impl NativeStage for Slow {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        let (mut count, mut work) = (0, vec![7; 1 << 10]);
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                work[..8].copy_from_slice(&hash_key(element.value).to_le_bytes());
                count += i64::from(hash_key(&work) != 0);
            }
        }
        let mut value = Vec::new();
        Int::encode(&count, &mut value);
        let mut header = Vec::new();
        purlin_model::element::Header::new(
            EventTime::MIN,
            BoundedWindow::Global,
            purlin_model::pane::PaneInfo::NO_FIRING,
        )
        .encode(&mut header);
        bundle.emit(0, &header, EventTime::MIN, &value)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_lane_that_is_flooded_with_tiny_records_takes_no_more_than_its_budget() {
    const ELEMENTS: i64 = 800_000;
    let with = setting(4 * MIB);
    let mut job = NativeJob::new();
    let read = source(&mut job, ELEMENTS, 1, 8);
    let slow = job.stage::<Int>("Slow", &[read], WindowCoder::Global, Slow);
    let stage = job.graph.producer(slow);
    job.graph.stage_mut(stage).keyed = true;
    let (sink, collected) = collect::<Int>(WindowCoder::Global);
    job.sink("Collect", &[slow], sink);
    let ended = job.storage(&with.storage).run(schedule(), threads()).await;
    assert_eq!(ended.outcome, Outcome::Done);
    assert_eq!(collected.lock().unwrap().iter().map(|(_, count)| count).sum::<i64>(), ELEMENTS);
    assert!(with.broker.peak() < 8 * MIB, "{}", with.broker.peak());
    with.all_is_gone().await;
}

/// Adds the size of a side input to each bundle.
#[derive(Debug)]
struct AddSide {
    side: SideId,
}

impl NativeStage for AddSide {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        let mut rest = bundle.side_input(self.side, &BoundedWindow::Global)?.len() as i64;
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let mut value = Vec::new();
                Int::encode(&rest, &mut value);
                bundle.emit(0, element.header, EventTime::MIN, &value)?;
                rest = 0;
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_main_input_that_waits_for_a_large_side_input_fills_no_memory_and_gets_it() {
    const LENGTH: usize = 1_000;
    let with = setting(6 * MIB);
    let mut job = NativeJob::new();
    let main = source(&mut job, 16_000, 1, LENGTH);
    let side = source(&mut job, 32_000, 1, LENGTH);
    let side = job.graph.side_input("Keep", &[side], SideAccess::Iterable, WindowFn::Global);
    let added = job.stage::<Int>("Add", &[main], WindowCoder::Global, AddSide { side });
    let stage = job.graph.producer(added);
    job.graph.reads(stage, side, SideMapping::Default);
    let (sink, collected) = collect::<Int>(WindowCoder::Global);
    job.sink("Collect", &[added], sink);
    let ended = job.storage(&with.storage).run(schedule(), threads()).await;
    assert_eq!(ended.outcome, Outcome::Done);
    let seen: Vec<i64> = collected.lock().unwrap().iter().map(|(_, size)| *size).collect();
    assert_eq!(seen.len(), 16_000);
    // Key, length, value.
    let whole = 32_000 * (1 + 2 + LENGTH as i64);
    assert!(seen.iter().all(|size| [0, whole].contains(size)));
    assert!(seen.contains(&whole));
    assert!(with.broker.peak() < 12 * MIB, "{}", with.broker.peak());
    with.all_is_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cancelled_while_it_spills_takes_its_files_along() {
    let with = setting(4 * MIB);
    let mut job = NativeJob::new();
    let read = source(&mut job, i64::MAX / 16, 1_000, 1_000);
    job.graph.group("Group", &[read], &strategy(), Pair::<Int, Repeated<Text>>::coder());
    let (control, mut events) = job.storage(&with.storage).start(schedule(), threads());
    while with.broker.spilled() < 10 * MIB {
        tokio::task::yield_now().await;
    }
    assert_eq!(jobs_in(&with.spill()), 1);
    control.cancel();
    loop {
        match events.recv().await {
            Some(JobEvent::Ended(outcome)) => break assert_eq!(outcome, Outcome::Cancelled),
            Some(JobEvent::Message(_)) => {}
            None => panic!("the job ended without an outcome"),
        }
    }
    with.all_is_gone().await;
}

/// A job that groups `elements` of 1,000 bytes, and counts.
fn counting(elements: i64) -> (NativeJob, purlin_native::Collected<i64>) {
    let mut job = NativeJob::new();
    let read = source(&mut job, elements, 50, 1_000);
    let grouped = job.graph.group("Group", &[read], &strategy(), Pair::<Int, Repeated<Text>>::coder());
    let counted =
        typed::<Pair<Int, Repeated<Text>>, Int, _>(|chunk: Chunk<'_, (i64, Vec<Vec<u8>>)>, out: &mut Vec<i64>| {
            out.extend(chunk.values.iter().map(|(_, values)| values.len() as i64));
            Ok(())
        });
    let counted = job.stage::<Int>("Count", &[grouped], WindowCoder::Global, counted);
    let (sink, collected) = collect::<Int>(WindowCoder::Global);
    job.sink("Collect", &[counted], sink);
    (job, collected)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_finds_no_room_on_disk_fails_alone_and_says_why() {
    let with = setting(4 * MIB);
    // Where the first job's files would be is something else.
    std::fs::write(with.spill().join("job-0"), b"").unwrap();
    let threads = threads();
    let (first, _) = counting(16_000);
    let failed = first.storage(&with.storage).run(schedule(), threads.clone()).await;
    let Outcome::Failed(why) = failed.outcome else { panic!("{:?}", failed.outcome) };
    assert!(why.contains("cannot begin a file") && why.contains("--data-dir"), "{why}");
    let (second, collected) = counting(16_000);
    assert_eq!(second.storage(&with.storage).run(schedule(), threads).await.outcome, Outcome::Done);
    assert_eq!(collected.lock().unwrap().iter().map(|(_, count)| count).sum::<i64>(), 16_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_jobs_at_once_share_a_small_budget() {
    let with = setting(8 * MIB);
    let threads = threads();
    let jobs: Vec<_> = (0..100)
        .map(|_| {
            let (job, collected) = counting(400);
            (tokio::spawn(job.storage(&with.storage).run(schedule(), threads.clone())), collected)
        })
        .collect();
    for (job, collected) in jobs {
        assert_eq!(job.await.unwrap().outcome, Outcome::Done);
        assert_eq!(collected.lock().unwrap().iter().map(|(_, count)| count).sum::<i64>(), 400);
    }
    assert!(with.broker.peak() < 16 * MIB, "{}", with.broker.peak());
    with.all_is_gone().await;
}
