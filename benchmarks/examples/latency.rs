//! How long an element is on its way through a stream: one line of figures, for `benchmarks/latency.py`.
//!
//! ```text
//!   latency 10000 20      elements per second, seconds
//!   a source that keeps to the clock ─► a keyed stage with a value state ─► the last stage, which looks at the clock
//! ```
//! The continuous runner's schedule, the native executor: no SDK, no gRPC. An element is on its way from the moment at which the
//! source has made it; what its bundle makes behind it is part of the way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use purlin_continuous::{FlowOptions, FlowSchedule};
use purlin_engine::core::action::Outcome;
use purlin_engine::store::{Cell, Page};
use purlin_model::element::Header;
use purlin_model::pane::PaneInfo;
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::{BoundedWindow, WindowCoder};
use purlin_native::{Chunk, Codec, Int, NativeBundle, NativeError, NativeJob, NativeStage, Pair, Text, typed};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: i64 = 100;

/// The source looks at the clock this often.
const RESUME_DELAY: Millis = Millis(1);

/// What was measured does not count before the job has run this long, in milliseconds: threads start, memory is touched.
const WARM_UP_MS: i64 = 1_000;

/// Makes the elements that are due by the clock, each with the instant at which it was made, and comes again.
#[derive(Debug)]
struct Paced {
    began: Instant,
    per_second: i64,
}

impl NativeStage for Paced {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let (mut next, until) = Pair::<Int, Int>::decode(&mut &element.value[..])?;
                let due = (self.began.elapsed().as_nanos() as i64 / 1_000).saturating_mul(self.per_second) / 1_000_000;
                let now = EventTime::from_millis(bundle.now().0);
                let mut header = Vec::new();
                Header::new(now, BoundedWindow::Global, PaneInfo::NO_FIRING).encode(&mut header);
                while next < until.min(due) {
                    let mut value = Vec::new();
                    Pair::<Int, Int>::encode(&(next % KEYS, self.began.elapsed().as_nanos() as i64), &mut value);
                    bundle.emit(0, &header, now, &value)?;
                    next += 1;
                }
                if next < until {
                    let mut rest = element.header.to_vec();
                    Pair::<Int, Int>::encode(&(next, until), &mut rest);
                    bundle.leave(&rest, Some(bundle.now() + RESUME_DELAY), now, false)?;
                }
            }
        }
        Ok(())
    }
}

/// Counts the elements of each key in a value state, and passes them on.
#[derive(Debug)]
struct Count {
    transform: Arc<str>,
    state: Arc<str>,
}

impl NativeStage for Count {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let mut rest = element.value;
                Int::decode(&mut rest)?;
                let key = Bytes::copy_from_slice(&element.value[..element.value.len() - rest.len()]);
                let (transform, state) = (self.transform.clone(), self.state.clone());
                let cell = Cell { transform, state, window: Bytes::new(), key, map_key: None };
                let (kept, _) = bundle.state().read(&cell, Page::default())?;
                let count = if kept.is_empty() { 0 } else { Int::decode(&mut &kept[..])? };
                let mut kept = Vec::new();
                Int::encode(&(count + 1), &mut kept);
                bundle.state().clear(&cell)?;
                bundle.state().append(&cell, kept.into())?;
                let header = Header::decode(&mut &element.header[..], WindowCoder::Global)
                    .map_err(|why| NativeError::Decode { expected: "a header", why: why.to_string() })?;
                bundle.emit(0, element.header, header.timestamp, element.value)?;
            }
        }
        Ok(())
    }
}

/// When elements were made and when they arrived, in nanoseconds since the beginning.
type Ways = Arc<Mutex<Vec<(i64, i64)>>>;

#[derive(Debug)]
struct Arrive {
    began: Instant,
    ways: Ways,
}

impl NativeStage for Arrive {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let (_, made) = Pair::<Int, Int>::decode(&mut &element.value[..])?;
                let arrived = self.began.elapsed().as_nanos() as i64;
                self.ways.lock().unwrap_or_else(PoisonError::into_inner).push((made, arrived));
            }
        }
        Ok(())
    }
}

fn main() {
    let words: Vec<i64> = std::env::args().skip(1).map(|word| word.parse().expect("numbers")).collect();
    let &[per_second, seconds] = &words[..] else { panic!("say `ELEMENTS_PER_SECOND SECONDS`") };
    let elements = per_second * seconds;
    let threads = Arc::new(rayon::ThreadPoolBuilder::new().build().expect("threads start"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let (began, ways) = (Instant::now(), Ways::default());
    let mut job = NativeJob::new();
    let impulse = job.graph.impulse("Impulse");
    let range = typed::<Text, Pair<Int, Int>, _>(move |_: Chunk<'_, Vec<u8>>, out: &mut Vec<(i64, i64)>| {
        out.push((0, elements));
        Ok(())
    });
    let range = job.stage::<Pair<Int, Int>>("Range", &[impulse], WindowCoder::Global, range);
    let read = job.stage::<Pair<Int, Int>>("Read", &[range], WindowCoder::Global, Paced { began, per_second });
    let stage = job.graph.producer(read);
    job.graph.stage_mut(stage).splittable = true;
    job.graph.stage_mut(stage).unbounded = true;
    let count = Count { transform: "Count".into(), state: "count".into() };
    let counted = job.stage::<Pair<Int, Int>>("Count", &[read], WindowCoder::Global, count);
    let stage = job.graph.producer(counted);
    job.graph.stage_mut(stage).keyed = true;
    job.sink("Arrive", &[counted], Arrive { began, ways: ways.clone() });
    let schedule = Box::new(FlowSchedule::new(FlowOptions::default()));
    let ended = runtime.block_on(job.run(schedule, threads));
    assert_eq!(ended.outcome, Outcome::Done);
    let ways = ways.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(ways.len(), elements as usize, "no element may be lost or doubled");
    let mut took: Vec<i64> =
        ways.iter().filter(|(made, _)| *made >= WARM_UP_MS * 1_000_000).map(|(made, arrived)| arrived - made).collect();
    took.sort_unstable();
    let percentile = |of: usize| took[(took.len() - 1) * of / 1_000] as f64 / 1e6;
    #[allow(clippy::print_stdout, reason = "its result is this line")]
    {
        println!(
            "{{\"elements\": {}, \"p50_ms\": {:.3}, \"p99_ms\": {:.3}, \"max_ms\": {:.3}}}",
            took.len(),
            percentile(500),
            percentile(990),
            percentile(1_000)
        );
    }
}
