//! Adds processes beside the one worker that a Python program with LOOPBACK brings, when its work takes longer.
//!
//! ```text
//!   the environment is busy ─ a while ─► still busy? ─► which program is it? ─► more of it, up to the cores
//! ```
//! One interpreter runs one thread at a time, so that only processes use all cores. What fails in them is tried again
//! in the program itself (`Pool::extra_failed`).

use std::sync::Arc;

use purlin_backend::{Importance, JobMessage, Reporter};
use tokio::time::sleep;

use crate::config::MorePython;
use crate::environment::{EnvironmentLauncher, more_of};
use crate::hub::Tending;
use crate::pool::Pool;
use crate::supervise::supervise_extra;

/// What to add, and when.
#[derive(Clone, Debug)]
pub(crate) struct MoreWorkers {
    pub(crate) python: MorePython,
    /// Where the program listens for requests for workers.
    pub(crate) port: u16,
    pub(crate) count: usize,
}

impl MoreWorkers {
    /// Ends when they are started, or are not needed.
    pub(crate) async fn add(self, pool: Arc<Pool>, reporter: Reporter, _tending: Tending) {
        let needed = async {
            pool.busy().await;
            sleep(self.python.after).await;
            pool.busy().await;
        };
        tokio::select! {
            () = pool.stop.cancelled() => return,
            () = needed => {}
        }
        match self.launcher().await {
            Ok(launcher) => {
                let text = format!("starting {}, {} of it, beside the program", launcher.description(), self.count);
                reporter.message(JobMessage::now(Importance::Detailed, text));
                for _ in 0..self.count {
                    let tending = pool.hub.tend();
                    tokio::spawn(supervise_extra(pool.clone(), launcher.clone(), reporter.clone(), tending));
                }
            }
            Err(why) => {
                let text = format!("the program's own worker does all the work of this job: {why}");
                tracing::info!(job = %pool.job.job.job_id, "{text}");
                reporter.message(JobMessage::now(Importance::Detailed, text));
            }
        }
    }

    async fn launcher(&self) -> Result<Arc<dyn EnvironmentLauncher>, String> {
        let (port, python) = (self.port, self.python.clone());
        // Looking at the processes of a machine reads many files.
        let looking = tokio::task::spawn_blocking(move || more_of(port, &python));
        looking.await.unwrap_or_else(|_| Err("looking for its process panicked".to_owned()))
    }
}
