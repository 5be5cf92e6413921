//! What windows that slide cost a native job: one line of figures, for `benchmarks/windows.py`.
//!
//! ```text
//!   windows 1000000 100ms
//!   elements of 100 s, 10 keys ─► a sum per key and window, early ─► group ─► the sum of sums per key and window
//! ```
//! Windows are ten seconds long. Where they overlap, the early part of the sum is kept per slice, and slices go to windows in the
//! grouping, as in the plan of any pipeline (`slice_windows`). The direct runner's schedule, the native executor: no SDK, no gRPC.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use purlin_direct::{EagerOptions, EagerSchedule};
use purlin_engine::core::action::Outcome;
use purlin_model::coder::Coder;
use purlin_model::element::Header;
use purlin_model::ids::CoderId;
use purlin_model::pane::PaneInfo;
use purlin_model::slices::SlicedWindows;
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::{BoundedWindow, WindowCoder, WindowFn};
use purlin_model::windowing_strategy::WindowingStrategy;
use purlin_native::{
    Chunk, Codec, Int, NativeBundle, NativeError, NativeJob, NativeStage, Pair, Repeated, Text, typed,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: i64 = 10;
const SPAN_MS: i64 = 100_000;
const SIZE: Millis = Millis(10_000);
const PIECES: i64 = 16;

/// Emits a one for each position, evenly over keys and time.
#[derive(Debug)]
struct Source {
    elements: i64,
}

impl NativeStage for Source {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        let (mut header, mut value) = (Vec::new(), Vec::new());
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let (from, until) = Pair::<Int, Int>::decode(&mut &element.value[..])?;
                for position in from..until {
                    let at = EventTime::from_millis(position * SPAN_MS / self.elements);
                    header.clear();
                    value.clear();
                    Header::new(at, BoundedWindow::Global, PaneInfo::NO_FIRING).encode(&mut header);
                    Pair::<Int, Int>::encode(&(position % KEYS, 1), &mut value);
                    bundle.emit(0, &header, at, &value)?;
                }
            }
        }
        Ok(())
    }
}

/// Puts each element into the window of its time, of this length, and adds up what is in the same one, a bundle at a time.
#[derive(Debug)]
struct SumEarly {
    length: Millis,
}

impl NativeStage for SumEarly {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        let mut sums = HashMap::<(i64, i64), i64>::new();
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let header = Header::decode(&mut &element.header[..], WindowCoder::Global)
                    .map_err(|why| NativeError::Decode { expected: "a header", why: why.to_string() })?;
                let (key, one) = Pair::<Int, Int>::decode(&mut &element.value[..])?;
                let start = header.timestamp.millis().div_euclid(self.length.0) * self.length.0;
                *sums.entry((start, key)).or_default() += one;
            }
        }
        let (mut header, mut value) = (Vec::new(), Vec::new());
        for ((start, key), sum) in sums {
            header.clear();
            value.clear();
            let window = BoundedWindow::Interval {
                start: EventTime::from_millis(start),
                end: EventTime::from_millis(start + self.length.0),
            };
            let at = window.max_timestamp();
            Header::new(at, window, PaneInfo::NO_FIRING).encode(&mut header);
            Pair::<Int, Int>::encode(&(key, sum), &mut value);
            bundle.emit(0, &header, at, &value)?;
        }
        Ok(())
    }
}

fn job(elements: i64, period: Millis, total: &Arc<AtomicI64>) -> NativeJob {
    let mut job = NativeJob::new();
    let impulse = job.graph.impulse("Impulse");
    let pieces = typed::<Text, Pair<Int, Int>, _>(move |_: Chunk<'_, Vec<u8>>, out: &mut Vec<(i64, i64)>| {
        out.extend((0..PIECES).map(|piece| (elements * piece / PIECES, elements * (piece + 1) / PIECES)));
        Ok(())
    });
    let pieces = job.stage::<Pair<Int, Int>>("Split", &[impulse], WindowCoder::Global, pieces);
    let read = job.stage::<Pair<Int, Int>>("Read", &[pieces], WindowCoder::Global, Source { elements });
    let sliding = WindowFn::Sliding { size: SIZE, period, offset: Millis(0) };
    let slices = SlicedWindows::of(&sliding);
    let length = slices.map_or(SIZE, |slices| slices.slice());
    let early = job.stage::<Pair<Int, Int>>("SumEarly", &[read], WindowCoder::Interval, SumEarly { length });
    let window_fn = if slices.is_some() { sliding } else { WindowFn::Fixed { size: SIZE, offset: Millis(0) } };
    let strategy = WindowingStrategy { window_fn, ..WindowingStrategy::global(CoderId::new("interval")) };
    let coder = Coder::kv(Int::coder(), Repeated::<Int>::coder());
    let grouped = job.graph.group("Group", &[early], &strategy, coder);
    if let Some(slices) = slices {
        job.graph.group_slices(grouped, slices);
    }
    let total = total.clone();
    let sum = typed::<Pair<Int, Repeated<Int>>, Pair<Int, Int>, _>(
        move |chunk: Chunk<'_, (i64, Vec<i64>)>, out: &mut Vec<(i64, i64)>| {
            for (key, sums) in chunk.values {
                let sum = sums.iter().sum();
                total.fetch_add(sum, Ordering::Relaxed);
                out.push((*key, sum));
            }
            Ok(())
        },
    );
    job.stage::<Pair<Int, Int>>("Sum", &[grouped], WindowCoder::Interval, sum);
    job
}

/// User and system time of this process, in seconds; Linux only.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has /proc");
    // The name of the program, in brackets, may hold anything; what follows it does not.
    let rest = stat.rsplit_once(')').expect("the name stands in brackets").1;
    let fields: Vec<u64> = rest.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
    (fields[11] + fields[12]) as f64 / 100.0
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (elements, period) = match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [elements, "10s"] => (elements.parse::<i64>(), SIZE),
        [elements, "100ms"] => (elements.parse::<i64>(), Millis(100)),
        _ => panic!("say `ELEMENTS 10s` or `ELEMENTS 100ms`"),
    };
    let elements = elements.expect("a number of elements");
    let threads = Arc::new(rayon::ThreadPoolBuilder::new().build().expect("threads start"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let total = Arc::new(AtomicI64::new(0));
    let (before, began) = (cpu_s(), Instant::now());
    let schedule = Box::new(EagerSchedule::new(EagerOptions::default()));
    let ended = runtime.block_on(job(elements, period, &total).run(schedule, threads));
    assert_eq!(ended.outcome, Outcome::Done);
    let (wall_s, cpu_s) = (began.elapsed().as_secs_f64(), cpu_s() - before);
    let windows = SIZE.0 / period.0;
    assert_eq!(total.load(Ordering::Relaxed), elements * windows, "each element is in so many windows");
    #[allow(clippy::print_stdout, reason = "its result is this line")]
    {
        println!(
            "{{\"elements\": {elements}, \"windows\": {windows}, \"wall_s\": {wall_s:.3}, \"cpu_s\": {cpu_s:.2}}}"
        );
    }
}
