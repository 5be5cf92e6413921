//! Keeps one worker of an environment alive, from its start to its end, and starts another when it is lost.
//!
//! ```text
//!   launch ─► connects in time? ─► up ─► lost ─► post-mortem ─► bundles fail with what is known ─► launch
//!      └─no──────┴─► broken: the job ends                └─ too many in a row ─► broken
//!   stop, at any time ─► finalized? ─► told to leave ─► gone
//! ```
//! A worker that was added to those of the environment is not started again, and the job goes on without it.

use std::sync::Arc;

use purlin_backend::{Importance, JobMessage, Reporter};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::environment::{EnvironmentLauncher, LaunchError, LaunchedWorker, WorkerPlace};
use crate::hub::Tending;
use crate::patience::Patience;
use crate::pool::Pool;
use crate::worker::{Phase, Worker};

/// How the life of one worker ended.
enum End {
    /// The job let it go.
    Stopped,
    /// It was lost, for this reason.
    Lost(String),
    /// It never was one, for this reason.
    Broken(String),
}

/// Ends when the job lets its workers go, or cannot have any.
pub(crate) async fn supervise(
    pool: Arc<Pool>,
    launcher: Arc<dyn EnvironmentLauncher>,
    reporter: Reporter,
    _tending: Tending,
) {
    loop {
        let worker = Worker::expect(&pool.hub, &pool, &reporter, false);
        let end = live(&pool, &*launcher, &worker, &pool.stop).await;
        worker.dismiss();
        match end {
            End::Stopped => return,
            End::Lost(why) => {
                let losses = pool.count_loss();
                if losses >= pool.hub.limits.losses_max {
                    return pool.broken(format!(
                        "{losses} workers in a row were lost before one of them finished a bundle; the last: {why}"
                    ));
                }
                tracing::warn!(worker = %worker.id, job = %pool.job.job.job_id, why, "starting another worker");
            }
            End::Broken(why) => return pool.broken(why),
        }
    }
}

/// Ends when a worker that was added is gone. The job does without it.
pub(crate) async fn supervise_extra(
    pool: Arc<Pool>,
    launcher: Arc<dyn EnvironmentLauncher>,
    reporter: Reporter,
    _tending: Tending,
) {
    let worker = Worker::expect(&pool.hub, &pool, &reporter, true);
    let end = live(&pool, &*launcher, &worker, &pool.stop_extra).await;
    worker.dismiss();
    if let End::Lost(why) | End::Broken(why) = end {
        let text = format!("the job goes on with one worker less: {why}");
        tracing::warn!(worker = %worker.id, job = %pool.job.job.job_id, "{text}");
        reporter.message(JobMessage::now(Importance::Basic, text));
    }
}

async fn live(
    pool: &Pool,
    launcher: &dyn EnvironmentLauncher,
    worker: &Arc<Worker>,
    stopped: &CancellationToken,
) -> End {
    let limits = pool.hub.limits;
    let place = || format!("environment `{}` ({})", pool.environment, launcher.description());
    let mut launched = match launch(pool, launcher, worker, stopped).await {
        None => return End::Stopped,
        Some(Err(error)) => return End::Broken(format!("cannot start a worker of {}: {error}", place())),
        Some(Ok(launched)) => launched,
    };
    let mut phase = worker.phase();
    tokio::select! {
        () = stopped.cancelled() => return stop(worker, launched, pool.patience()).await,
        connected = timeout(limits.connect_timeout, connected(&mut phase)) => {
            if connected.is_err() {
                let words = launched.last_words().await;
                let why = format!(
                    "a worker of {} did not connect to {} within {} seconds{words}",
                    place(), pool.job.endpoint, limits.connect_timeout.as_secs_f32(),
                );
                stop(worker, launched, pool.patience()).await;
                return End::Broken(why);
            }
        }
        how = launched.ended() => {
            let words = launched.last_words().await;
            let why = format!("a worker of {} ended before it connected: {how}{words}", place());
            stop(worker, launched, pool.patience()).await;
            return End::Broken(why);
        }
    }
    let why = tokio::select! {
        () = stopped.cancelled() => {
            if !pool.stop.is_cancelled() {
                // The job goes on, and somebody else must take over what it works on.
                worker.fail_bundles(&format!("worker `{}` was let go", worker.id));
            }
            return stop(worker, launched, pool.patience()).await;
        }
        why = lost(&mut phase) => why,
        _ = launched.ended() => "its process ended".to_owned(),
    };
    worker.lose_now(&why);
    let words = launched.post_mortem(pool.patience()).await;
    let why = format!("a worker of {} was lost: {why}{words}", place());
    worker.fail_bundles(&why);
    stop(worker, launched, pool.patience()).await;
    End::Lost(why)
}

/// `None` if the job let its workers go meanwhile. A launch that has begun is ended by stopping what it launched.
async fn launch(
    pool: &Pool,
    launcher: &dyn EnvironmentLauncher,
    worker: &Arc<Worker>,
    stopped: &CancellationToken,
) -> Option<Result<Box<dyn LaunchedWorker>, LaunchError>> {
    let limits = pool.hub.limits;
    let place = WorkerPlace {
        worker: worker.id.clone(),
        endpoint: pool.job.endpoint.clone(),
        connect_timeout: limits.connect_timeout,
        message_size_max: pool.hub.config.message_size_max,
        reporter: worker.reporter.clone(),
    };
    let mut launching = launcher.launch(place);
    tokio::select! {
        launched = &mut launching => return Some(launched),
        () = stopped.cancelled() => {}
    }
    if let Some(Ok(launched)) = pool.patience().with(launching).await {
        stop(worker, launched, pool.patience()).await;
    }
    None
}

/// Ends when the worker has connected, though it may be lost already.
async fn connected(phase: &mut watch::Receiver<Phase>) {
    // An error would mean that the worker is gone, which the caller owns.
    let _ = phase.wait_for(|phase| *phase != Phase::Expected).await;
}

/// Ends when the worker is lost, and says why.
async fn lost(phase: &mut watch::Receiver<Phase>) -> String {
    match phase.wait_for(|phase| matches!(phase, Phase::Lost(_))).await.as_deref() {
        Ok(Phase::Lost(why)) => why.clone(),
        Ok(Phase::Expected | Phase::Up) | Err(_) => "it was given up".to_owned(),
    }
}

async fn stop(worker: &Arc<Worker>, launched: Box<dyn LaunchedWorker>, patience: Patience) -> End {
    if patience.with(worker.finalized()).await.is_none() {
        tracing::warn!(worker = %worker.id, "a worker did not finalize its bundles in time");
    }
    let leaving = worker.clone();
    launched.stop(patience.clone(), Box::new(move || leaving.close_control())).await;
    if patience.with(worker.left()).await.is_none() {
        tracing::debug!(worker = %worker.id, "a worker does not leave");
    }
    End::Stopped
}
