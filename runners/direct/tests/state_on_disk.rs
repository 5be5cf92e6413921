//! State of more keys than memory holds: a job ends, with the right results, within its budget; and what the disk
//! does wrong ends the job alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use purlin_direct::{EagerOptions, EagerSchedule};
use purlin_engine::core::action::Outcome;
use purlin_engine::core::stage::OutputHandle;
use purlin_engine::store::{Cell, Page, Timer, TimerDomain};
use purlin_model::element::Header;
use purlin_model::key_group::hash_key;
use purlin_model::pane::PaneInfo;
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::{BoundedWindow, WindowCoder};
use purlin_native::{
    Codec, Collected, Int, NativeBundle, NativeError, NativeJob, NativeStage, Pair, SyntheticSource, collect,
};
use purlin_store::{MemoryBroker, SpillFolder, Storage};
use support::threads;

const MIB: u64 = 1 << 20;
const KEYS: i64 = 8_000;
const ROUNDS: i64 = 3;
const LENGTH: usize = 3_000;

/// Keeps a value for each key, which each further element puts another in the place of; says at the end, by a timer, how many
/// elements there were and what the hash of the value is.
#[derive(Debug)]
struct Remember {
    /// Called once, when all elements have been read and their keys are asked for again.
    at_end: Option<fn(&Path)>,
    folder: std::path::PathBuf,
    called: AtomicBool,
}

impl Remember {
    fn cell(key: Bytes, state: &str) -> Cell {
        Cell { transform: "Remember".into(), state: state.into(), window: Bytes::new(), key, map_key: None }
    }

    fn kept(bundle: &mut NativeBundle<'_>, key: &Bytes) -> Result<(i64, Bytes), NativeError> {
        let (kept, _) = bundle.state().read(&Self::cell(key.clone(), "value"), Page::default())?;
        if kept.is_empty() {
            return Ok((0, kept));
        }
        let mut rest = &kept[..];
        let count = Int::decode(&mut rest)?;
        let value = kept.slice_ref(rest);
        Ok((count, value))
    }
}

impl NativeStage for Remember {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let mut rest = element.value;
                Int::decode(&mut rest)?;
                let key = Bytes::copy_from_slice(&element.value[..element.value.len() - rest.len()]);
                let (count, before) = Self::kept(bundle, &key)?;
                if count > 0 && before != value(&key, count) {
                    return Err(NativeError::User(format!("key {key:?} has another value than it was given")));
                }
                let mut kept = Vec::new();
                Int::encode(&(count + 1), &mut kept);
                kept.extend_from_slice(&value(&key, count + 1));
                let cell = Self::cell(key.clone(), "value");
                bundle.state().clear(&cell)?;
                bundle.state().append(&cell, kept.into())?;
                bundle.state().append(&Self::cell(key.clone(), "seen"), Bytes::from_static(b"x"))?;
                bundle.state().set_timer(Timer {
                    key,
                    fire_at: Some(EventTime::GLOBAL_WINDOW_MAX.millis()),
                    transform: cell.transform,
                    family: "end".into(),
                    tag: Bytes::new(),
                    window: Bytes::new(),
                    domain: TimerDomain::EventTime,
                    expires: None,
                    hold: EventTime::GLOBAL_WINDOW_MAX,
                    output_timestamp: None,
                    pane: Bytes::new(),
                })?;
            }
        }
        let mut header = Vec::new();
        Header::new(EventTime::GLOBAL_WINDOW_MAX, BoundedWindow::Global, PaneInfo::NO_FIRING).encode(&mut header);
        loop {
            let due = bundle.take_due(1_000)?;
            if due.is_empty() {
                return Ok(());
            }
            if !self.called.swap(true, Ordering::Relaxed) {
                self.at_end.iter().for_each(|call| call(&self.folder));
            }
            for Timer { mut key, .. } in due {
                let (count, kept) = Self::kept(bundle, &key)?;
                let (seen, _) = bundle.state().read(&Self::cell(key.clone(), "seen"), Page::default())?;
                let right = kept == value(&key, count) && seen.len() as i64 == count;
                bundle.state().clear(&Self::cell(key.clone(), "value"))?;
                let mut result = Vec::new();
                let number = Int::decode(&mut &key[..])?;
                Pair::<Int, Int>::encode(&(number, if right { count } else { -1 }), &mut result);
                key.clear();
                bundle.emit(0, &header, EventTime::GLOBAL_WINDOW_MAX, &result)?;
            }
        }
    }
}

/// Bytes that no compression makes fewer.
fn value(key: &[u8], count: i64) -> Vec<u8> {
    let mut value = hash_key(&[key, &count.to_be_bytes()].concat()).to_le_bytes().to_vec();
    while value.len() < LENGTH {
        value.extend_from_slice(&hash_key(&value[value.len() - 8..]).to_le_bytes());
    }
    value
}

fn source(job: &mut NativeJob) -> OutputHandle {
    let elements = KEYS * ROUNDS;
    let pieces = (0..8).map(|piece| (elements / 8 * piece, elements / 8 * (piece + 1)));
    let numbers = SyntheticSource {
        positions_max: i64::MAX,
        step: Millis(0),
        resume_delay: None,
        element: |position: i64, out: &mut Vec<u8>| {
            // In an order that is not that of the keys.
            Pair::<Int, Int>::encode(&(position * 7_919 % KEYS, position), out);
        },
    };
    support::read::<Pair<Int, Int>>(job, pieces.collect(), numbers)
}

/// A job of [`KEYS`] keys, each of which has [`ROUNDS`] elements.
fn remembering(folder: &Path, at_end: Option<fn(&Path)>) -> (NativeJob, Collected<(i64, i64)>) {
    let mut job = NativeJob::new();
    let read = source(&mut job);
    let remember = Remember { at_end, folder: folder.to_owned(), called: AtomicBool::new(false) };
    let counts = job.stage::<Pair<Int, Int>>("Remember", &[read], WindowCoder::Global, remember);
    let stage = job.graph.producer(counts);
    job.graph.stage_mut(stage).keyed = true;
    let (sink, collected) = collect::<Pair<Int, Int>>(WindowCoder::Global);
    job.sink("Collect", &[counts], sink);
    (job, collected)
}

fn schedule(bundle_elements_max: u64) -> Box<EagerSchedule> {
    Box::new(EagerSchedule::new(EagerOptions { bundle_elements_max, ..EagerOptions::default() }))
}

#[tokio::test(flavor = "multi_thread")]
async fn state_of_more_keys_than_memory_holds_is_right_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let broker = MemoryBroker::for_data(8 * MIB);
    let storage = Storage::new(broker.clone(), SpillFolder::open(folder.path()).unwrap());
    let (job, collected) = remembering(folder.path(), None);
    let ended = job.storage(&storage).run(schedule(500), threads()).await;
    assert_eq!(ended.outcome, Outcome::Done);
    let counts: BTreeMap<_, _> = collected.lock().unwrap().iter().map(|(_, counted)| *counted).collect();
    assert_eq!(counts, (0..KEYS).map(|key| (key, ROUNDS)).collect());
    let stages = ended.control.profile().stages;
    let spilled: u64 = stages.iter().map(|stage| stage.state_bytes_spilled).max().unwrap_or_default();
    assert!(spilled > 16 * MIB, "{spilled}");
    // The timers stay in memory, and what the bundle writes in which all of them fire.
    assert!(broker.peak() < 16 * MIB, "{}", broker.peak());
    drop(ended.control);
    while std::fs::read_dir(folder.path().join("spill")).unwrap().count() > 1 || broker.used() > 0 {
        tokio::task::yield_now().await;
    }
}

/// Turns over a bit in each kilobyte of each file of the job.
fn alter(folder: &Path) {
    for entry in std::fs::read_dir(folder.join("spill/job-0")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.iter_mut().step_by(1 << 10).for_each(|byte| *byte ^= 1);
        std::fs::write(&path, bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_that_was_altered_on_disk_ends_the_job_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::new(MemoryBroker::for_data(8 * MIB), SpillFolder::open(folder.path()).unwrap());
    let (job, _) = remembering(folder.path(), Some(alter));
    let Outcome::Failed(why) = job.storage(&storage).run(schedule(u64::MAX), threads()).await.outcome else {
        panic!("it went on with what was altered")
    };
    assert!(why.contains("of transform `Remember` for key `") && why.contains("was altered"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn state_that_finds_no_room_on_disk_ends_the_job_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::new(MemoryBroker::for_data(8 * MIB), SpillFolder::open(folder.path()).unwrap());
    // Where the job's files would be is something else.
    std::fs::write(folder.path().join("spill/job-0"), b"").unwrap();
    let (job, _) = remembering(folder.path(), None);
    let Outcome::Failed(why) = job.storage(&storage).run(schedule(u64::MAX), threads()).await.outcome else {
        panic!("it kept what there is no room for")
    };
    assert!(why.contains("cannot begin a file") && why.contains("--data-dir"), "{why}");
}
