//! Native jobs on the direct runner's schedule, with everything real but the SDK.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;

use purlin_engine::core::action::Outcome;
use purlin_engine::core::stage::{OutputHandle, SideAccess, SideMapping};
use purlin_model::ids::CoderId;
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::{BoundedWindow, WindowCoder, WindowFn};
use purlin_model::windowing_strategy::WindowingStrategy;
use purlin_native::{
    Chunk, Codec, Int, NativeBundle, NativeError, NativeJob, NativeStage, Pair, Repeated, SyntheticSource, Text,
    collect, count_per_key, identity, key_by_prefix, typed,
};

use support::{schedule, threads};

fn strategy() -> WindowingStrategy {
    WindowingStrategy::global(CoderId::new("global"))
}

/// A source of the texts `k0 … k9`, over the numbers of all pieces, in bundles of at most `positions_max`.
fn source(job: &mut NativeJob, pieces: Vec<(i64, i64)>, positions_max: i64) -> OutputHandle {
    let texts = SyntheticSource {
        positions_max,
        step: Millis(1),
        resume_delay: None,
        element: |position: i64, out: &mut Vec<u8>| {
            Text::encode(&format!("k{}-{position}", position % 10).into_bytes(), out)
        },
    };
    support::read::<Text>(job, pieces, texts)
}

#[tokio::test]
async fn counts_per_key_are_right_over_residuals_and_lanes() {
    let mut job = NativeJob::new();
    let read = source(&mut job, vec![(0, 3_000), (3_000, 10_000)], 700);
    let keyed = job.stage::<Pair<Text, Text>>("Key", &[read], WindowCoder::Global, key_by_prefix(2));
    let grouped = job.graph.group("Group", &[keyed], &strategy(), Pair::<Text, Repeated<Text>>::coder());
    let counted = job.stage::<Pair<Text, Int>>("Count", &[grouped], WindowCoder::Global, count_per_key());
    let (sink, collected) = collect::<Pair<Text, Int>>(WindowCoder::Global);
    job.sink("Collect", &[counted], sink);
    let ended = job.run(schedule(), threads()).await;
    assert_eq!(ended.outcome, Outcome::Done);
    let collected = collected.lock().unwrap();
    let counts: BTreeMap<_, _> =
        collected.iter().map(|(_, (key, count))| (String::from_utf8(key.clone()).unwrap(), *count)).collect();
    let expected: BTreeMap<_, _> = (0..10).map(|digit| (format!("k{digit}"), 1_000)).collect();
    assert_eq!(counts, expected);
    assert_eq!(collected.len(), 10);
    for (header, _) in collected.iter() {
        assert_eq!(header.timestamp, EventTime::GLOBAL_WINDOW_MAX);
        assert_eq!(header.windows, [BoundedWindow::Global]);
    }
    assert!(ended.control.progress().iter().all(|stage| stage.done && stage.elements_pending == 0));
}

#[tokio::test]
async fn a_flatten_is_a_stage_with_several_upstreams() {
    let mut job = NativeJob::new();
    let left = source(&mut job, vec![(0, 100)], 1_000);
    let right = job.stage::<Text>("Copy", &[left], WindowCoder::Global, identity());
    let (sink, collected) = collect::<Text>(WindowCoder::Global);
    job.sink("Collect", &[left, right], sink);
    assert_eq!(job.run(schedule(), threads()).await.outcome, Outcome::Done);
    assert_eq!(collected.lock().unwrap().len(), 200);
}

#[derive(Debug)]
struct AddSideInput {
    side: purlin_engine::core::stage::SideId,
}

impl NativeStage for AddSideInput {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        let mut sum = 0;
        let side = bundle.side_input(self.side, &BoundedWindow::Global)?;
        let mut rest = &side[..];
        while !rest.is_empty() {
            Text::decode(&mut rest)?;
            sum += 1;
        }
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let mut value = Vec::new();
                Int::encode(&sum, &mut value);
                bundle.emit(0, element.header, EventTime::MIN, &value)?;
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn elements_wait_until_their_side_input_is_complete() {
    let mut job = NativeJob::new();
    let side = source(&mut job, vec![(0, 5_000)], 100);
    let side = job.graph.side_input("Keep", &[side], SideAccess::Iterable, WindowFn::Global);
    let main = source(&mut job, vec![(0, 3)], 100);
    let with = job.stage::<Int>("With", &[main], WindowCoder::Global, AddSideInput { side });
    let stage = job.graph.producer(with);
    job.graph.reads(stage, side, SideMapping::Default);
    let (sink, collected) = collect::<Int>(WindowCoder::Global);
    job.sink("Collect", &[with], sink);
    assert_eq!(job.run(schedule(), threads()).await.outcome, Outcome::Done);
    let seen: Vec<_> = collected.lock().unwrap().iter().map(|(_, sum)| *sum).collect();
    assert_eq!(seen, [5_000; 3]);
}

#[tokio::test]
async fn an_error_in_user_code_ends_the_job_with_its_text() {
    let mut job = NativeJob::new();
    let read = source(&mut job, vec![(0, 10)], 100);
    let failing = typed::<Text, Text, _>(|_: Chunk<'_, Vec<u8>>, _: &mut Vec<Vec<u8>>| {
        Err(NativeError::User("no such luck".to_owned()))
    });
    job.stage::<Text>("Fail", &[read], WindowCoder::Global, failing);
    let ended = job.run(schedule(), threads()).await;
    assert_eq!(ended.outcome, Outcome::Failed("stage `Fail` failed: no such luck".to_owned()));
}

#[tokio::test]
async fn a_panic_in_user_code_ends_the_job_with_its_text() {
    let mut job = NativeJob::new();
    let read = source(&mut job, vec![(0, 10)], 100);
    let failing = typed::<Text, Text, _>(|_: Chunk<'_, Vec<u8>>, _: &mut Vec<Vec<u8>>| panic!("the sky is falling"));
    job.stage::<Text>("Fail", &[read], WindowCoder::Global, failing);
    let ended = job.run(schedule(), threads()).await;
    let expected = "stage `Fail` failed: the stage's code panicked: the sky is falling";
    assert_eq!(ended.outcome, Outcome::Failed(expected.to_owned()));
}

#[tokio::test]
async fn an_endless_source_moves_its_watermark_and_can_be_cancelled() {
    let mut job = NativeJob::new();
    let read = source(&mut job, vec![(0, i64::MAX)], i64::MAX);
    let stage = job.graph.producer(read);
    job.graph.stage_mut(stage).unbounded = true;
    let (control, mut events) = {
        let (sink, _) = collect::<Text>(WindowCoder::Global);
        job.sink("Collect", &[read], sink);
        job.start(schedule(), threads())
    };
    // Progress is shown at least ten times a second; wait for the first one that shows the watermark moving twice.
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 3 {
        seen.insert(control.progress().into_iter().find(|stage| &*stage.name == "Read").map(|stage| stage.watermark));
        tokio::task::yield_now().await;
    }
    control.cancel();
    loop {
        match events.recv().await {
            Some(purlin_backend::driver::JobEvent::Ended(outcome)) => break assert_eq!(outcome, Outcome::Cancelled),
            Some(purlin_backend::driver::JobEvent::Message(_)) => {}
            None => panic!("the job ended without an outcome"),
        }
    }
}
