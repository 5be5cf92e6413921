//! Draining native jobs, on the schedule of each runner: the clock is not waited for when the input is over.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use bytes::Bytes;
use purlin_backend::driver::JobEvent;
use purlin_continuous::{FlowOptions, FlowSchedule};
use purlin_engine::core::action::Outcome;
use purlin_engine::core::schedule::Schedule;
use purlin_engine::store::{Cell, Page, Timer, TimerDomain};
use purlin_micro_batch::{RoundOptions, RoundSchedule};
use purlin_model::element::{Header, encode_window};
use purlin_model::pane::PaneInfo;
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::{BoundedWindow, WindowCoder};
use purlin_native::{
    Codec, Collected, Int, NativeBundle, NativeError, NativeJob, NativeStage, Pair, SyntheticSource, collect,
};

use support::{read, schedule, threads};

const HOUR: i64 = 3_600_000;

/// Keeps a byte for each element of a key, and has the clock call twice, in two hours and in one: says how often it was called
/// for, and how many elements there are. Whoever is called has the clock call again.
#[derive(Debug)]
struct Later;

impl Later {
    fn cell(key: &Bytes, window: &Bytes) -> Cell {
        let (transform, state) = ("Later".into(), "kept".into());
        Cell { transform, state, window: window.clone(), key: key.clone(), map_key: None }
    }
}

impl NativeStage for Later {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        let mut window = Vec::new();
        encode_window(&BoundedWindow::Global, &mut window);
        let window = Bytes::from(window);
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let (key, position) = Pair::<Int, Int>::decode(&mut &element.value[..])?;
                let mut encoded = Vec::new();
                Int::encode(&key, &mut encoded);
                let key = Bytes::from(encoded);
                bundle.state().append(&Self::cell(&key, &window), Bytes::from_static(b"."))?;
                for hours in [2, 1] {
                    let fire_at = Some(bundle.now().0 + hours * HOUR);
                    let hold = EventTime::from_millis(position);
                    assert!(bundle.state().set_timer(Timer {
                        key: key.clone(),
                        fire_at,
                        transform: "Later".into(),
                        family: format!("in {hours}").into(),
                        tag: Bytes::from(vec![hours as u8]),
                        window: window.clone(),
                        domain: TimerDomain::ProcessingTime,
                        expires: None,
                        hold,
                        output_timestamp: None,
                        pane: Bytes::new(),
                    })?);
                }
            }
        }
        loop {
            let due = bundle.take_due(1)?;
            let [timer] = &due[..] else { return Ok(()) };
            let (kept, _) = bundle.state().read(&Self::cell(&timer.key, &timer.window), Page::default())?;
            let mut header = Vec::new();
            Header::new(timer.hold, BoundedWindow::Global, PaneInfo::NO_FIRING).encode(&mut header);
            let mut value = Vec::new();
            Pair::<Int, Int>::encode(&(timer.tag[0].into(), kept.len() as i64), &mut value);
            bundle.emit(0, &header, timer.hold, &value)?;
            // Only the first time: it would go on for ever.
            let again = Timer { fire_at: timer.fire_at.map(|at| at + HOUR), ..timer.clone() };
            assert!(!bundle.state().set_timer(again)?);
        }
    }
}

async fn drained(schedule: Box<dyn Schedule>) {
    let mut job = NativeJob::new();
    let endless = SyntheticSource {
        positions_max: 100,
        step: Millis(1),
        resume_delay: None,
        element: |position: i64, out: &mut Vec<u8>| Pair::<Int, Int>::encode(&(0, position), out),
    };
    let read = read::<Pair<Int, Int>>(&mut job, vec![(0, i64::MAX)], endless);
    let stage = job.graph.producer(read);
    job.graph.stage_mut(stage).unbounded = true;
    let later = job.stage::<Pair<Int, Int>>("Later", &[read], WindowCoder::Global, Later);
    let stage = job.graph.producer(later);
    job.graph.stage_mut(stage).keyed = true;
    let (sink, collected): (_, Collected<(i64, i64)>) = collect::<Pair<Int, Int>>(WindowCoder::Global);
    job.sink("Collect", &[later], sink);
    let (control, mut events) = job.start(schedule, threads());
    while !control.progress().iter().any(|stage| &*stage.name == "Later" && stage.elements_done > 0) {
        tokio::task::yield_now().await;
    }
    control.drain();
    let outcome = loop {
        match events.recv().await {
            Some(JobEvent::Ended(outcome)) => break outcome,
            Some(JobEvent::Message(_)) => {}
            None => panic!("the job ended without an outcome"),
        }
    };
    assert!(matches!(outcome, Outcome::Drained(_)), "{outcome:?}");
    let collected = collected.lock().unwrap();
    let called: Vec<_> = collected.iter().map(|(header, called)| (header.timestamp.millis(), *called)).collect();
    let kept = called[0].1.1;
    // In the order of the clock, where they were held: at the last position.
    assert_eq!(called, [(kept - 1, (1, kept)), (kept - 1, (2, kept))]);
}

#[tokio::test]
async fn direct_does_not_wait_for_the_clock() {
    drained(schedule()).await;
}

#[tokio::test]
async fn micro_batch_does_not_wait_for_the_clock() {
    drained(Box::new(RoundSchedule::new(RoundOptions::default()))).await;
}

#[tokio::test]
async fn continuous_does_not_wait_for_the_clock() {
    drained(Box::new(FlowSchedule::new(FlowOptions::default()))).await;
}
