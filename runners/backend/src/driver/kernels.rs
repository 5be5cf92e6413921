//! Runs the runner's own bundles on the data threads.

use std::sync::Arc;
use std::time::Instant;

use purlin_engine::core::action::BundleDraft;
use purlin_engine::core::bundle::{BundleResult, BundleStats, DropCounts};
use purlin_engine::core::event::{Event, Failure};
use purlin_engine::core::stage::JobGraph;
use purlin_engine::data::{BatchRef, LaneWriter};
use purlin_engine::kernel::{KernelDone, KernelError, KernelIo, KernelState, run_kernel};
use purlin_engine::store::{BatchStore, SideStore, StateStore};

use crate::executor::{BatchReader, Reporter};
use crate::metrics;
use crate::profile::{BundleMeter, Work};

/// What kernels of a job share.
#[derive(Clone, Debug)]
pub(super) struct Kernels {
    pub(super) graph: Arc<JobGraph>,
    pub(super) batches: Arc<dyn BatchStore>,
    pub(super) sides: Arc<dyn SideStore>,
    pub(super) state: Arc<dyn StateStore>,
    pub(super) threads: Arc<rayon::ThreadPool>,
}

impl Kernels {
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
        let kept = view.as_mut().map(|view| KernelState {
            view: &mut **view,
            watermark: draft.watermark,
            now: draft.now,
            dropped: DropCounts::default(),
        });
        let input = BatchReader::of_stage(&self.graph, &draft, self.batches.clone(), meter.clone());
        let input = input.collect::<Result<Vec<_>, _>>()?;
        let merged = BatchReader::new(draft.merged, self.batches.clone(), meter.clone());
        let merged = merged.collect::<Result<Vec<_>, _>>()?;
        let io = &mut KernelIo { input, merged, sides: &*self.sides, kept, out: &mut out };
        let done = meter.work(Work::Group, || run_kernel(&self.graph, stage.id, io))?;
        if let KernelDone::NeedMerge(question) = done {
            return Ok(Ran::NeedMerge(question));
        }
        let dropped = io.kept.as_ref().map(|kept| kept.dropped).unwrap_or_default();
        if dropped != DropCounts::default() {
            reporter.metrics(bundle, metrics::of_drops(&stage.transform, dropped));
        }
        let (delta, summaries) = match view.map(|view| view.finish()) {
            Some((delta, summaries)) => (Some(delta), summaries),
            None => (None, Vec::new()),
        };
        let (outputs, totals) = meter.work(Work::Partition, || out.finish())?;
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
