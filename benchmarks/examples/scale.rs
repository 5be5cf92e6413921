//! What a native job costs at a size: one line of figures, for `benchmarks/scale.py`.
//!
//! ```text
//!   scale group 1000000     source ─► key ─► group ─► count          the same work several times over, so that the clock of
//!   scale stages 100 20000  source ─► 100 stages that pass it on     CPU time, which ticks coarsely, has enough to count
//!   scale keys 1000000      source ─► a value and a timer per key
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use purlin_direct::{EagerOptions, EagerSchedule};
use purlin_engine::core::action::Outcome;
use purlin_engine::core::stage::OutputHandle;
use purlin_engine::store::{Cell, Page, Timer, TimerDomain};
use purlin_model::coder::Coder;
use purlin_model::element::Header;
use purlin_model::ids::CoderId;
use purlin_model::pane::PaneInfo;
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::{BoundedWindow, WindowCoder};
use purlin_model::windowing_strategy::WindowingStrategy;
use purlin_native::{
    Chunk, Codec, Int, NativeBundle, NativeError, NativeJob, NativeStage, Pair, Repeated, SyntheticSource, Text,
    count_per_key, identity, key_by_prefix, typed,
};
use purlin_store::{MemoryBroker, SpillFolder, Storage};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The source is cut into as many pieces.
const PIECES: i64 = 16;

/// So many elements through so many stages are processed at least, by as many jobs as it takes.
const WORK_MIN: i64 = 10_000_000;

/// So many positions, in pieces.
fn pieces(elements: i64) -> impl NativeStage {
    typed::<Text, Pair<Int, Int>, _>(move |_: Chunk<'_, Vec<u8>>, out: &mut Vec<(i64, i64)>| {
        out.extend((0..PIECES).map(|piece| (elements * piece / PIECES, elements * (piece + 1) / PIECES)));
        Ok(())
    })
}

/// Elements of 100 bytes, with 1,000 different keys in front.
fn source(job: &mut NativeJob, elements: i64) -> OutputHandle {
    let impulse = job.graph.impulse("Impulse");
    let pieces = job.stage::<Pair<Int, Int>>("Split", &[impulse], WindowCoder::Global, pieces(elements));
    let read = SyntheticSource {
        positions_max: i64::MAX,
        step: Millis(0),
        resume_delay: None,
        element: |position: i64, out: &mut Vec<u8>| {
            let mut text =
                *b"0000000000 and eighty-nine bytes more, which no stage of this job looks at, for all it does is coun";
            for (digit, power) in text.iter_mut().take(10).rev().zip(0u32..4) {
                *digit += (position * 7_919 % 1_000 / 10i64.pow(power) % 10) as u8;
            }
            Text::encode(&text.to_vec(), out);
        },
    };
    let read = job.stage::<Text>("Read", &[pieces], WindowCoder::Global, read);
    let stage = job.graph.producer(read);
    job.graph.stage_mut(stage).splittable = true;
    read
}

fn group(elements: i64) -> NativeJob {
    let mut job = NativeJob::new();
    let read = source(&mut job, elements);
    let keyed = job.stage::<Pair<Text, Text>>("Key", &[read], WindowCoder::Global, key_by_prefix(10));
    let coder = Coder::kv(Coder::Bytes, Repeated::<Text>::coder());
    let grouped = job.graph.group("Group", &[keyed], &WindowingStrategy::global(CoderId::new("global")), coder);
    job.stage::<Pair<Text, Int>>("Count", &[grouped], WindowCoder::Global, count_per_key());
    job
}

fn stages(count: i64, elements: i64) -> NativeJob {
    let mut job = NativeJob::new();
    let mut last = source(&mut job, elements);
    for number in 0..count {
        last = job.stage::<Text>(&format!("Pass {number}"), &[last], WindowCoder::Global, identity());
    }
    job
}

/// How many elements each key has.
const ELEMENTS_PER_KEY: i64 = 4;

/// Counts the elements of each key in a value state, and says at the end, by a timer, how many there were.
#[derive(Debug)]
struct Remember {
    transform: Arc<str>,
    state: Arc<str>,
    /// The resident memory when everything was kept, for the first job.
    resident: Arc<AtomicU64>,
}

impl Remember {
    fn cell(&self, key: Bytes) -> Cell {
        let (transform, state) = (self.transform.clone(), self.state.clone());
        Cell { transform, state, window: Bytes::new(), key, map_key: None }
    }

    fn count(bundle: &mut NativeBundle<'_>, cell: &Cell) -> Result<i64, NativeError> {
        let (kept, _) = bundle.state().read(cell, Page::default())?;
        if kept.is_empty() { Ok(0) } else { Int::decode(&mut &kept[..]) }
    }
}

impl NativeStage for Remember {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let mut rest = element.value;
                Int::decode(&mut rest)?;
                let key = Bytes::copy_from_slice(&element.value[..element.value.len() - rest.len()]);
                let cell = self.cell(key);
                let mut kept = Vec::new();
                Int::encode(&(Self::count(bundle, &cell)? + 1), &mut kept);
                bundle.state().clear(&cell)?;
                bundle.state().append(&cell, kept.into())?;
                bundle.state().set_timer(Timer {
                    key: cell.key,
                    fire_at: Some(EventTime::GLOBAL_WINDOW_MAX.millis()),
                    transform: cell.transform,
                    family: cell.state,
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
            let due = bundle.take_due(10_000)?;
            if due.is_empty() {
                return Ok(());
            }
            // Only the first bundle that fires timers sees all of it.
            let _ = self.resident.compare_exchange(0, resident("VmRSS:"), Ordering::Relaxed, Ordering::Relaxed);
            for timer in due {
                let cell = self.cell(timer.key);
                let mut value = cell.key.to_vec();
                Int::encode(&Self::count(bundle, &cell)?, &mut value);
                bundle.state().clear(&cell)?;
                bundle.emit(0, &header, EventTime::GLOBAL_WINDOW_MAX, &value)?;
            }
        }
    }
}

/// Each of so many keys comes up once in a round; the rounds go on in one order that is not that of the keys.
fn keys(keys: i64, resident: &Arc<AtomicU64>) -> NativeJob {
    let mut job = NativeJob::new();
    let impulse = job.graph.impulse("Impulse");
    let elements = keys * ELEMENTS_PER_KEY;
    let pieces = job.stage::<Pair<Int, Int>>("Split", &[impulse], WindowCoder::Global, pieces(elements));
    let read = SyntheticSource {
        positions_max: i64::MAX,
        step: Millis(0),
        resume_delay: None,
        element: move |position: i64, out: &mut Vec<u8>| {
            Pair::<Int, Int>::encode(&(position * 7_919 % keys, position), out);
        },
    };
    let read = job.stage::<Pair<Int, Int>>("Read", &[pieces], WindowCoder::Global, read);
    let stage = job.graph.producer(read);
    job.graph.stage_mut(stage).splittable = true;
    let remember = Remember { transform: "Remember".into(), state: "count".into(), resident: resident.clone() };
    let counts = job.stage::<Pair<Int, Int>>("Remember", &[read], WindowCoder::Global, remember);
    let stage = job.graph.producer(counts);
    job.graph.stage_mut(stage).keyed = true;
    let check = typed::<Pair<Int, Int>, Int, _>(|chunk: Chunk<'_, (i64, i64)>, _: &mut Vec<i64>| {
        let whole = chunk.values.iter().all(|(_, count)| *count == ELEMENTS_PER_KEY);
        if whole { Ok(()) } else { Err(NativeError::User("a key has forgotten an element".to_owned())) }
    });
    job.stage::<Int>("Check", &[counts], WindowCoder::Global, check);
    job
}

/// What this process has of memory, in bytes, by a name in its status; Linux only.
fn resident(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells it");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kilobytes * 1024
}

/// User and system time of this process, in seconds, and the most memory that it had, in bytes; Linux only.
fn used() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has /proc");
    // The name of the program, in brackets, may hold anything; what follows it does not.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .expect("the name stands in brackets")
        .1
        .split_whitespace()
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    ((fields[11] + fields[12]) as f64 / 100.0, resident("VmHWM:"))
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let kept = Arc::new(AtomicU64::new(0));
    let number = |text: &String| text.parse::<i64>().unwrap_or_else(|_| panic!("`{text}` is no number"));
    let mut storage = Storage::unbounded();
    let (elements, passes, make): (i64, i64, Box<dyn Fn() -> NativeJob>) =
        match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["group", _] => {
                let elements = number(&words[1]);
                (elements, 1, Box::new(move || group(elements)))
            }
            ["stages", _, _] => {
                let (count, elements) = (number(&words[1]), number(&words[2]));
                (elements, count, Box::new(move || stages(count, elements)))
            }
            ["keys", _] | ["keys", _, _] => {
                let (count, kept) = (number(&words[1]), kept.clone());
                if let Some(mebibytes) = words.get(2) {
                    let folder = SpillFolder::temporary().expect("there is a folder for temporary files");
                    let broker = MemoryBroker::for_data(number(mebibytes).unsigned_abs() << 20);
                    storage = Storage::new(broker, folder);
                }
                (count * ELEMENTS_PER_KEY, 1, Box::new(move || keys(count, &kept)))
            }
            _ => panic!("say `group ELEMENTS`, `stages COUNT ELEMENTS` or `keys KEYS [MEBIBYTES]`"),
        };
    let threads = Arc::new(rayon::ThreadPoolBuilder::new().build().expect("threads start"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let jobs = (WORK_MIN / (elements * passes.max(1))).max(1);
    let (before, _) = used();
    let empty = resident("VmRSS:");
    let began = std::time::Instant::now();
    for _ in 0..jobs {
        let schedule = Box::new(EagerSchedule::new(EagerOptions::default()));
        let ended = runtime.block_on(make().storage(&storage).run(schedule, threads.clone()));
        assert_eq!(ended.outcome, Outcome::Done);
        let read = ended.control.profile().stages.iter().map(|stage| stage.elements_out).max();
        assert_eq!(read, Some(elements as u64), "no element may be lost");
    }
    let wall = began.elapsed().as_secs_f64();
    let (after, peak) = used();
    let spilled = storage.broker().spilled();
    let kept = kept.load(Ordering::Relaxed);
    let per_key = kept.saturating_sub(empty) * ELEMENTS_PER_KEY as u64 / elements.max(1) as u64;
    let ns_per_element = (after - before) * 1e9 / (jobs * elements) as f64;
    #[allow(clippy::print_stdout, reason = "its result is this line")]
    {
        println!(
            "{{\"elements\": {elements}, \"passes\": {passes}, \"jobs\": {jobs}, \"cpu_ns_per_element\": {ns_per_element:.1}, \
             \"wall_s\": {wall:.3}, \"peak_bytes\": {peak}, \"bytes_per_key\": {per_key}, \"spilled_bytes\": {spilled}}}"
        );
    }
}
