//! Side inputs of streams in native jobs: their windows are there for as long as anybody can read them, and gone behind that.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use purlin_engine::core::stage::{SideAccess, SideId, SideMapping};
use purlin_model::element::Header;
use purlin_model::time::Millis;
use purlin_model::window::{WindowCoder, WindowFn};
use purlin_native::{Codec, Int, NativeBundle, NativeError, NativeJob, NativeStage, Pair, collect};
use purlin_store::Storage;

use support::{LATE, WINDOW, cancelled, drops_late, schedule, threads, windowed_stream};

/// Emits for each element how many of its window stand in the side input.
#[derive(Debug)]
struct Count(SideId);

impl NativeStage for Count {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let header = Header::decode(&mut &*element.header, WindowCoder::Interval)?;
                let side = bundle.side_input(self.0, &header.windows[0])?;
                let (mut rest, mut count) = (&side[..], 0);
                while !rest.is_empty() {
                    let (key, _) = Pair::<Int, Int>::decode(&mut rest)?;
                    count += i64::from(key != LATE);
                }
                let mut value = Vec::new();
                Int::encode(&count, &mut value);
                bundle.emit(0, element.header, header.timestamp, &value)?;
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn windows_of_a_side_input_go_when_nobody_can_read_them_any_more() {
    let storage = Storage::unbounded();
    let mut job = NativeJob::new().storage(&storage);
    let windowed = windowed_stream(&mut job);
    let window_fn = WindowFn::Fixed { size: Millis(WINDOW), offset: Millis(0) };
    let side = job.graph.side_input("side", &[windowed], SideAccess::Iterable, window_fn);
    job.graph.in_time(side);
    let counts = job.stage::<Int>("Count", &[windowed], WindowCoder::Interval, Count(side));
    let stage = job.graph.producer(counts);
    job.graph.reads(stage, side, SideMapping::Default);
    job.graph.lets_in(stage, Millis(0));
    let (sink, collected) = collect::<Int>(WindowCoder::Interval);
    job.sink("Collect", &[counts], sink);
    let (control, mut events) = job.start(schedule(), threads());
    // Every element is kept once more for the side input, so that without forgetting there would be as many as elements. How far the
    // stages are apart at a moment is up to the machine.
    loop {
        let progress = control.progress();
        if let Some(collect) = progress.iter().find(|stage| &*stage.name == "Collect") {
            let used = storage.broker().used();
            assert!(collect.elements_done < 10_000_000, "{used} bytes are left");
            if collect.elements_done > 200_000 && used < 500_000 {
                break;
            }
        }
        tokio::task::yield_now().await;
    }
    cancelled(&control, &mut events).await;
    assert!(drops_late(&control), "nothing was dropped");
    // Nothing is gone before everybody has read it.
    let collected = collected.lock().unwrap();
    let wrong: Vec<_> = collected.iter().filter(|(_, count)| *count != WINDOW).take(5).collect();
    assert!(collected.len() > 200_000 && wrong.is_empty(), "{} counts, with {wrong:?}", collected.len());
}
