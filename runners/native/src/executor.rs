//! Runs bundles of native stages on the data threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use purlin_backend::metrics::of_drops;
use purlin_backend::profile::Work;
use purlin_backend::{Admission, BundleExecutor, BundleIo, Gone, Parting, Reporter, RunningBundle};
use purlin_engine::core::action::{BundleDraft, BundleId};
use purlin_engine::core::bundle::{BundleResult, BundleStats, DropCounts};
use purlin_engine::core::event::{Event, Failure};
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::{EnvIndex, JobGraph, StageId};

use crate::bundle::{BundleControl, NativeBundle, NativeError, NativeStage};

/// The executor of one environment whose stages are Rust values.
#[derive(Debug)]
pub struct NativeExecutor {
    env: EnvIndex,
    graph: Arc<JobGraph>,
    stages: BTreeMap<StageId, Arc<dyn NativeStage>>,
    threads: Arc<rayon::ThreadPool>,
}

impl NativeExecutor {
    /// An executor for these stages; a stage of the environment that is missing fails when a bundle of it starts.
    pub fn new(
        env: EnvIndex,
        graph: Arc<JobGraph>,
        stages: BTreeMap<StageId, Arc<dyn NativeStage>>,
        threads: Arc<rayon::ThreadPool>,
    ) -> Self {
        Self { env, graph, stages, threads }
    }
}

impl BundleExecutor for NativeExecutor {
    fn launch(&self, reporter: &Reporter) {
        reporter.event(Event::Workers { env: self.env, slots: self.threads.current_num_threads() as u32 });
    }

    fn start(&self, draft: BundleDraft, io: BundleIo, reporter: &Reporter) -> Box<dyn RunningBundle> {
        let control = Arc::new(BundleControl::default());
        let running = NativeRunning { control: control.clone() };
        let reporter = reporter.clone();
        let bundle = draft.id;
        let Some(stage) = self.stages.get(&draft.stage).cloned() else {
            let text = format!("stage `{}` has no native code", self.graph.stage(draft.stage).name);
            reporter.event(Event::BundleFailed { bundle, why: Failure::Garbage(text) });
            return Box::new(running);
        };
        let graph = self.graph.clone();
        let submitted = Instant::now();
        self.threads.spawn(move || {
            io.meter.queued(submitted.elapsed());
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                run(&graph, &*stage, &draft, io, &control, &reporter)
            }));
            reporter.event(match caught {
                Ok(Ok(result)) => Event::BundleFinished { bundle, result },
                Ok(Err(NativeError::Aborted)) => Event::BundleFailed { bundle, why: Failure::Aborted },
                Ok(Err(why)) => Event::BundleFailed { bundle, why: Failure::User(why.to_string()) },
                Err(panic) => Event::BundleFailed { bundle, why: Failure::User(panic_text(&*panic)) },
            });
        });
        Box::new(running)
    }

    fn finalize(&self, _bundle: BundleId) {}

    fn shutdown(&self, _parting: Parting) {}

    fn gone(&self) -> Gone {
        Box::pin(std::future::ready(()))
    }
}

fn run(
    graph: &JobGraph,
    stage: &dyn NativeStage,
    draft: &BundleDraft,
    io: BundleIo,
    control: &Arc<BundleControl>,
    reporter: &Reporter,
) -> Result<BundleResult, NativeError> {
    let started = Instant::now();
    let BundleIo { input, groups, mut state, sides, mut out, meter } = io;
    // Timers are due, or what windows left behind is to be collected.
    let only_due = draft.input.is_empty() && draft.lanes.iter().any(|lane| *lane != Lane::Any);
    let has_work = !only_due || state.collect_expired(&draft.due(usize::MAX))?;
    let mut bundle = NativeBundle {
        draft,
        admission: None,
        input,
        outputs: &graph.stage(draft.stage).outputs,
        groups: &groups,
        sides: sides.as_deref(),
        state: &mut state,
        out: &mut out,
        residuals: Vec::new(),
        control: control.clone(),
    };
    if has_work {
        stage.run(&mut bundle)?;
    }
    let residuals = std::mem::take(&mut bundle.residuals);
    let late = bundle.admission.as_ref().map_or(0, Admission::dropped);
    // What goes into lanes element by element is told from the stage's own code by no clock.
    let (outputs, totals) = meter.work(Work::Partition, || out.finish())?;
    let (delta, summaries) = state.finish();
    let stats = BundleStats {
        elements_in: draft.elements(),
        elements_out: totals.elements,
        bytes_out: totals.bytes,
        duration_us: started.elapsed().as_micros() as u64,
    };
    if late > 0 {
        let dropped = DropCounts { late, closed: 0 };
        reporter.metrics(draft.id, of_drops(&graph.stage(draft.stage).transform, dropped));
    }
    Ok(BundleResult { outputs, delta: Some(delta), summaries, residuals, wants_finalize: false, stats })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned());
    format!("the stage's code panicked: {text}")
}

#[derive(Debug)]
struct NativeRunning {
    control: Arc<BundleControl>,
}

impl RunningBundle for NativeRunning {
    fn split(&self, fraction: f64) {
        // A native bundle gives all of its rest back, or nothing: it check-points itself between elements.
        if fraction == 0.0 {
            self.control.checkpoints.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn progress(&self) {}

    fn abort(&self) {
        self.control.aborted.store(true, Ordering::Relaxed);
    }
}
