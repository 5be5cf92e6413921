//! What native jobs of tests share: how they run, how they read, and a stream in windows that does not end, with late elements.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::Arc;

use purlin_backend::driver::{JobControl, JobEvent};
use purlin_direct::{EagerOptions, EagerSchedule};
use purlin_engine::core::action::Outcome;
use purlin_engine::core::stage::OutputHandle;
use purlin_model::element::Header;
use purlin_model::pane::PaneInfo;
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::{BoundedWindow, WindowCoder};
use purlin_native::{
    Chunk, Codec, Int, NativeBundle, NativeError, NativeJob, NativeStage, Pair, SyntheticSource, Text, typed,
};
use tokio::sync::mpsc::UnboundedReceiver;

/// Two data threads, however many cores there are.
pub(crate) fn threads() -> Arc<rayon::ThreadPool> {
    Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two threads"))
}

/// The direct runner's schedule.
pub(crate) fn schedule() -> Box<EagerSchedule> {
    Box::new(EagerSchedule::new(EagerOptions::default()))
}

/// What a source emits for these restrictions, each of which may be split.
pub(crate) fn read<O: Codec>(
    job: &mut NativeJob,
    restrictions: Vec<(i64, i64)>,
    source: impl NativeStage + 'static,
) -> OutputHandle {
    let impulse = job.graph.impulse("Impulse");
    let split = typed::<Text, Pair<Int, Int>, _>(move |_: Chunk<'_, Vec<u8>>, out: &mut Vec<(i64, i64)>| {
        out.extend(restrictions.iter().copied());
        Ok(())
    });
    let split = job.stage::<Pair<Int, Int>>("Split", &[impulse], WindowCoder::Global, split);
    let read = job.stage::<O>("Read", &[split], WindowCoder::Global, source);
    let stage = job.graph.producer(read);
    job.graph.stage_mut(stage).splittable = true;
    read
}

/// How many positions, and milliseconds, a window has.
pub(crate) const WINDOW: i64 = 10;

/// Elements with this key come too late for the window that they say they are in.
pub(crate) const LATE: i64 = 1;

pub(crate) fn window_of(at: i64) -> BoundedWindow {
    let start = at - at.rem_euclid(WINDOW);
    BoundedWindow::Interval { start: EventTime::from_millis(start), end: EventTime::from_millis(start + WINDOW) }
}

/// Puts each position into its window, as `KV<0, position>`; now and then one more, into the first window of all.
#[derive(Debug)]
struct IntoWindows;

impl NativeStage for IntoWindows {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let position = Int::decode(&mut &element.value[..])?;
                let late = (position % 1_000 == 999).then_some((LATE, 0));
                for (key, at) in [Some((0, position)), late].into_iter().flatten() {
                    let (mut header, mut value) = (Vec::new(), Vec::new());
                    let timestamp = EventTime::from_millis(at);
                    Header::new(timestamp, window_of(at), PaneInfo::NO_FIRING).encode(&mut header);
                    Pair::<Int, Int>::encode(&(key, position), &mut value);
                    bundle.emit(0, &header, timestamp, &value)?;
                }
            }
        }
        Ok(())
    }
}

/// A stream of `KV<key, position>`, a position for each millisecond.
pub(crate) fn windowed_stream(job: &mut NativeJob) -> OutputHandle {
    let endless = SyntheticSource {
        positions_max: 100,
        step: Millis(1),
        resume_delay: None,
        element: |position: i64, out: &mut Vec<u8>| Int::encode(&position, out),
    };
    let read = read::<Int>(job, vec![(0, i64::MAX)], endless);
    let stage = job.graph.producer(read);
    job.graph.stage_mut(stage).unbounded = true;
    job.stage::<Pair<Int, Int>>("IntoWindows", &[read], WindowCoder::Interval, IntoWindows)
}

/// Cancels a job that goes well, and waits for its end.
pub(crate) async fn cancelled(control: &JobControl, events: &mut UnboundedReceiver<JobEvent>) {
    control.cancel();
    loop {
        match events.recv().await {
            Some(JobEvent::Ended(outcome)) => break assert_eq!(outcome, Outcome::Cancelled),
            Some(JobEvent::Message(_)) => {}
            None => panic!("the job ended without an outcome"),
        }
    }
}

/// Whether the job has counted late elements.
pub(crate) fn drops_late(control: &JobControl) -> bool {
    let of_drops = |text: &str| text.contains("droppedDueToLateness");
    let metrics = control.metrics().committed;
    metrics.iter().any(|(key, _)| key.labels.values().any(|label| of_drops(label)))
}
