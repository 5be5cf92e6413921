//! Metrics of a bundle while it runs.
//!
//! What is told is cumulative and replaces what was told before. An error or an empty answer means that the bundle has
//! just begun or just ended, and is no failure.

use std::sync::Arc;

use purlin_proto::fn_execution::v1 as fnpb;

use crate::process_bundle::BundleRun;

impl BundleRun {
    /// Asks the worker for metrics, unless it was asked already: SDKs answer these one at a time.
    pub(crate) fn ask_progress(self: &Arc<Self>) {
        let Some(worker) = self.worker() else { return };
        let idle = self.while_open(|open| !std::mem::replace(&mut open.progress_awaited, true));
        if idle == Some(true) && !worker.ask_progress(self) {
            self.while_open(|open| open.progress_awaited = false);
        }
    }

    pub(crate) fn on_progress(&self, progress: Option<fnpb::ProcessBundleProgressResponse>) {
        let worker = self.worker();
        let unknown = self.while_open(|open| {
            open.progress_awaited = false;
            let (Some(progress), Some(worker)) = (progress, &worker) else { return Vec::new() };
            let plan = &worker.job.job.plan;
            match worker.short_ids.delta(plan, &progress.monitoring_infos, &progress.monitoring_data) {
                Ok(delta) if delta.is_empty() => Vec::new(),
                Ok(delta) => {
                    // Under the lock, so that it does not overtake the final metrics.
                    self.reporter.metrics(self.bundle, delta);
                    Vec::new()
                }
                Err(unknown) => unknown,
            }
        });
        if let (Some(worker), Some(unknown)) = (worker, unknown.filter(|unknown| !unknown.is_empty())) {
            worker.ask_metrics(unknown);
        }
    }
}
