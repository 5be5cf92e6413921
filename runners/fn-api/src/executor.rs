//! The executor of one environment of a job: bundles go to a pool of workers that launchers keep alive.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use purlin_backend::{BundleExecutor, BundleIo, Parting, Reporter, RunningBundle};
use purlin_engine::core::action::{BundleDraft, BundleId};
use purlin_engine::core::event::{Event, Failure};
use purlin_engine::core::stage::EnvIndex;
use purlin_proto::urns::standard_protocols::MULTI_CORE_BUNDLE_PROCESSING;

use crate::environment::{Chosen, EnvironmentLauncher};
use crate::habits::Habits;
use crate::hub::FnApi;
use crate::job::JobContext;
use crate::more_workers::MoreWorkers;
use crate::pool::Pool;
use crate::process_bundle::{BundleRun, NeverBegan, RunningInWorker};
use crate::supervise::supervise;

#[derive(Debug)]
pub(crate) struct FnApiExecutor {
    pool: Arc<Pool>,
    launcher: Arc<dyn EnvironmentLauncher>,
    /// How many workers are kept alive.
    workers: usize,
    /// What is added beside them when they are busy for long.
    more: Option<MoreWorkers>,
}

impl FnApiExecutor {
    pub(crate) fn new(hub: &Arc<FnApi>, job: &Arc<JobContext>, env: EnvIndex, chosen: Chosen) -> Self {
        // A harness that can use all cores gets all bundles; of one that cannot, as many as there are cores.
        let bundles = job.job.workers_max.max(1);
        let multi_core = chosen.capabilities.iter().any(|urn| urn == MULTI_CORE_BUNDLE_PROCESSING);
        let (workers, slots_each) = match (multi_core, chosen.workers_may_multiply) {
            (true, _) => (1, bundles),
            (false, true) => (bundles, 1),
            (false, false) => (1, 1),
        };
        let more = hub.config.more_python.clone().zip(chosen.program_port);
        let more = more.map(|(python, port)| MoreWorkers { python, port, count: bundles.saturating_sub(workers) });
        // Other SDKs do not end their streams as they leave.
        let ends_with_client = !chosen.workers_may_multiply && !multi_core;
        let pool = Pool::new(hub, job, env, slots_each, ends_with_client, Habits::of(&chosen.capabilities));
        Self { pool, launcher: chosen.launcher, workers, more }
    }
}

impl BundleExecutor for FnApiExecutor {
    fn launch(&self, reporter: &Reporter) {
        if !self.pool.launch(reporter) {
            return;
        }
        for _ in 0..self.workers {
            let (own, tending) = (self.pool.own(), self.pool.hub.tend());
            let life = supervise(self.pool.clone(), self.launcher.clone(), reporter.clone(), tending);
            tokio::spawn(async move {
                life.await;
                drop(own);
            });
        }
        if let Some(more) = self.more.clone().filter(|more| more.count > 0) {
            tokio::spawn(more.add(self.pool.clone(), reporter.clone(), self.pool.hub.tend()));
        }
    }

    fn start(&self, draft: BundleDraft, io: BundleIo, reporter: &Reporter) -> Box<dyn RunningBundle> {
        match self.pool.job.stage(draft.stage) {
            Ok(stage) => {
                let instruction = self.pool.hub.ids.instruction();
                let run = BundleRun::new(instruction, stage, draft, io, reporter, &self.pool);
                self.pool.submit(run.clone());
                Box::new(RunningInWorker(run))
            }
            Err(error) => {
                reporter.event(Event::BundleFailed { bundle: draft.id, why: Failure::Garbage(error.to_string()) });
                Box::new(NeverBegan)
            }
        }
    }

    fn finalize(&self, bundle: BundleId) {
        self.pool.finalize(bundle);
    }

    fn shutdown(&self, parting: Parting) {
        self.pool.shutdown(parting);
    }

    fn gone(&self) -> BoxFuture<'static, ()> {
        let pool = self.pool.clone();
        async move {
            if pool.ends_with_client {
                pool.gone().await;
            }
        }
        .boxed()
    }
}

/// However a job comes to its end, nobody is left behind.
impl Drop for FnApiExecutor {
    fn drop(&mut self) {
        self.pool.shutdown(Parting::InPeace);
    }
}
