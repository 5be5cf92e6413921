//! Runs the runner's own bundles on the data threads.

use std::sync::Arc;
use std::time::Instant;

use purlin_engine::core::action::BundleDraft;
use purlin_engine::core::bundle::{BundleResult, BundleStats, DropCounts};
use purlin_engine::core::event::{Event, Failure};
use purlin_engine::core::stage::{JobGraph, StageKind};
use purlin_engine::data::{BatchId, BatchInput, BatchRef, LaneWriter};
use purlin_engine::kernel::{KernelDone, KernelError, KernelIo, KernelState, run_kernel};
use purlin_engine::store::{BatchStore, SideStore, StateStore};

use super::metered::MeteredBatches;
use crate::executor::Reporter;
use crate::metrics;
use crate::pins::Pins;
use crate::profile::{BundleMeter, Work};
use crate::replay::ReplayInput;

/// What kernels of a job share.
#[derive(Clone, Debug)]
pub(super) struct Kernels {
    pub(super) graph: Arc<JobGraph>,
    pub(super) batches: Arc<dyn BatchStore>,
    pub(super) sides: Arc<dyn SideStore>,
    /// Which batches keep the values of large groups.
    pub(super) pins: Arc<Pins>,
    pub(super) state: Arc<dyn StateStore>,
    pub(super) threads: Arc<rayon::ThreadPool>,
    /// How many bytes of elements a kernel may hold at once.
    pub(super) share_bytes: u64,
    /// What a stage of kind `Replay` emits.
    pub(super) replay: Arc<ReplayInput>,
}

impl Kernels {
    /// Lets go of batches, and of the values of large groups that nobody refers to any more.
    pub(super) fn free(&self, batches: &[BatchId]) {
        let extents = self.pins.release(batches);
        self.batches.free(batches);
        if !extents.is_empty() {
            self.batches.free(&extents);
        }
    }

    /// Makes a batch part of another, with all that it keeps.
    pub(super) fn join(&self, into: BatchId, batch: BatchId) {
        self.pins.join(into, batch);
        self.batches.join(into, batch);
    }

    /// Starts a bundle; its end is reported like that of any other.
    pub(super) fn start(&self, draft: BundleDraft, meter: Arc<BundleMeter>, reporter: &Reporter) {
        let this = self.clone();
        let reporter = reporter.clone();
        let submitted = Instant::now();
        self.threads.spawn(move || {
            meter.queued(submitted.elapsed());
            let bundle = draft.id;
            // A panic in a kernel is a bug; it must end the job with a text, not hang it.
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| this.run(draft, &meter, &reporter)));
            reporter.event(match caught {
                Ok(Ok(Ran::Whole(result))) => Event::BundleFinished { bundle, result },
                Ok(Ok(Ran::NeedMerge(question))) => Event::BundleFailed { bundle, why: Failure::NeedMerge(question) },
                Ok(Err(why)) => Event::BundleFailed { bundle, why: Failure::Garbage(why.to_string()) },
                Err(_) => Event::BundleFailed {
                    bundle,
                    why: Failure::Garbage("a kernel panicked; this is a bug in Purlin, please report it".to_owned()),
                },
            });
        });
    }

    fn run(&self, draft: BundleDraft, meter: &Arc<BundleMeter>, reporter: &Reporter) -> Result<Ran, KernelError> {
        let started = Instant::now();
        let (bundle, stage) = (draft.id, self.graph.stage(draft.stage));
        let mut view = stage.kind.keeps_state().then(|| self.state.view(&draft));
        let elements_in = draft.elements();
        let mut out = LaneWriter::new(&self.graph, draft.stage, self.batches.clone());
        let kept = view.as_mut().map(|view| KernelState { view: &mut **view, now: draft.now });
        let reads = Arc::new(MeteredBatches::new(&self.graph, &draft, self.batches.clone(), meter.clone()));
        let io = &mut KernelIo {
            bundle,
            watermark: draft.watermark,
            input: BatchInput::new(draft.input, reads.clone()),
            merged: BatchInput::new(draft.merged, reads.clone()),
            sides: &*self.sides,
            kept,
            dropped: DropCounts::default(),
            out: &mut out,
            share_bytes: self.share_bytes,
        };
        let done = if stage.kind == StageKind::Replay {
            self.replay.emit(io.out)?;
            KernelDone::Whole
        } else {
            run_kernel(&self.graph, stage.id, io)?
        };
        meter.worked(Work::Read, reads.read());
        meter.worked(Work::Group, started.elapsed().saturating_sub(reads.read()));
        if let KernelDone::NeedMerge(question) = done {
            return Ok(Ran::NeedMerge(question));
        }
        let dropped = io.dropped;
        if dropped != DropCounts::default() {
            reporter.metrics(bundle, metrics::of_drops(&stage.transform, dropped));
        }
        let (delta, summaries) = match view.map(|view| view.finish()) {
            Some((delta, summaries)) => (Some(delta), summaries),
            None => (None, Vec::new()),
        };
        let pins = out.take_pins();
        let (outputs, totals) = meter.work(Work::Partition, || out.finish())?;
        // Before the core hears of the batches, and may free them.
        self.pins.add(pins);
        let stats = BundleStats {
            elements_in,
            elements_out: totals.elements,
            bytes_out: totals.bytes,
            duration_us: started.elapsed().as_micros() as u64,
        };
        Ok(Ran::Whole(BundleResult { outputs, delta, summaries, stats, ..BundleResult::default() }))
    }
}

/// What came of a bundle.
enum Ran {
    Whole(BundleResult),
    NeedMerge(BatchRef),
}
