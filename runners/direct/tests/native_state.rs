//! State of windows in native jobs: it is there until the timers of its window have fired, and gone behind it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use bytes::Bytes;
use purlin_backend::WindowLifetime;
use purlin_engine::store::{Cell, Page, Timer, TimerDomain};
use purlin_model::element::{Header, decode_window, encode_window};
use purlin_model::pane::PaneInfo;
use purlin_model::time::Millis;
use purlin_model::window::WindowCoder;
use purlin_native::{Codec, Int, NativeBundle, NativeError, NativeJob, NativeStage, Pair, collect};

use support::{LATE, WINDOW, cancelled, drops_late, schedule, threads, windowed_stream};

/// Keeps a byte for each element of a key and window, and says at the window's end how many there are. Clears nothing.
#[derive(Debug)]
struct Keep;

impl Keep {
    fn cell(key: Bytes, window: Bytes) -> Cell {
        Cell { transform: "Keep".into(), state: "kept".into(), window, key, map_key: None }
    }
}

impl NativeStage for Keep {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        let lifetime = WindowLifetime { windows: WindowCoder::Interval, allowed_lateness: Millis(0), bounded: false };
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let windows = bundle.admit(lifetime, element.header)?.to_vec();
                let mut rest = element.value;
                Int::decode(&mut rest)?;
                let key = Bytes::copy_from_slice(&element.value[..element.value.len() - rest.len()]);
                for window in windows {
                    let mut encoded = Vec::new();
                    encode_window(&window, &mut encoded);
                    let cell = Self::cell(key.clone(), encoded.into());
                    bundle.state().append(&cell, Bytes::from_static(b"."))?;
                    bundle.state().set_timer(Timer {
                        key: key.clone(),
                        fire_at: Some(window.max_timestamp().millis()),
                        transform: cell.transform,
                        family: "end".into(),
                        tag: Bytes::new(),
                        window: cell.window,
                        domain: TimerDomain::EventTime,
                        expires: None,
                        hold: window.max_timestamp(),
                        output_timestamp: None,
                        pane: Bytes::new(),
                    })?;
                }
            }
        }
        for timer in bundle.take_due(usize::MAX)? {
            let window = decode_window(&mut &timer.window[..], WindowCoder::Interval)?;
            let (kept, _) = bundle.state().read(&Self::cell(timer.key.clone(), timer.window), Page::default())?;
            let (mut header, mut value) = (Vec::new(), timer.key.to_vec());
            let at = window.max_timestamp();
            Header::new(at, window, PaneInfo::NO_FIRING).encode(&mut header);
            Int::encode(&(kept.len() as i64), &mut value);
            bundle.emit(0, &header, at, &value)?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn state_of_windows_is_gone_behind_them_and_what_comes_then_is_dropped_and_counted() {
    let mut job = NativeJob::new();
    let windowed = windowed_stream(&mut job);
    let counts = job.stage::<Pair<Int, Int>>("Keep", &[windowed], WindowCoder::Interval, Keep);
    let stage = job.graph.producer(counts);
    job.graph.stage_mut(stage).keyed = true;
    let (sink, collected) = collect::<Pair<Int, Int>>(WindowCoder::Interval);
    job.sink("Collect", &[counts], sink);
    let (control, mut events) = job.start(schedule(), threads());
    // Every element leaves a byte behind, so that without collection there would be as many as elements. How many windows
    // are open at a moment is up to the machine.
    loop {
        let progress = control.progress();
        if let Some(keep) = progress.iter().find(|stage| &*stage.name == "Keep") {
            assert!(keep.elements_done < 10_000_000, "{} bytes of state are left", keep.state_bytes);
            if keep.elements_done > 50_000 && keep.state_bytes < 5_000 {
                break;
            }
        }
        tokio::task::yield_now().await;
    }
    cancelled(&control, &mut events).await;
    assert!(drops_late(&control), "nothing was dropped");
    // Nothing is gone before the timers of its window have fired.
    let collected = collected.lock().unwrap();
    let counted: Vec<i64> =
        collected.iter().filter(|(_, (key, _))| *key != LATE).map(|(_, (_, count))| *count).collect();
    assert!(counted.len() > 1_000 && counted.iter().all(|count| *count == WINDOW), "{counted:?}");
}
