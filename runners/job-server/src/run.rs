//! Run: makes a job of a preparation, and follows it to its end.
//!
//! ```text
//!   Preparation ─begin─► Job ─► fn-api: executors ─► driver::start ──events──► follow ─► log: messages, states
//!                                                                               └─► at the end: metrics, leases
//! ```
//! Nothing here waits for the client: once Run is received the job goes its way, whether or not anybody looks.

use std::collections::BTreeMap;
use std::sync::Arc;

use purlin_backend::driver::{self, JobEvent, JobRuntime};
use purlin_backend::{
    BundleExecutor, DeadLetterFile, DeadLetterOptions, Importance, JobMessage, ReplayClaim, ReplayInput, Translated,
};
use purlin_engine::core::action::Outcome;
use purlin_fn_api::{FnApiError, FnApiJob, scripted_input, staged_artifact};
use purlin_proto::job_management::v1 as jobpb;
use tokio::sync::mpsc;
use tonic::Status;

use crate::job::Job;
use crate::job_store::Begun;
use crate::options::from_wire;
use crate::preparation::StagedArtifacts;
use crate::shared::Shared;
use crate::state::JobState;

pub(crate) fn run(shared: &Arc<Shared>, request: &jobpb::RunJobRequest) -> Result<jobpb::RunJobResponse, Status> {
    let Begun { job, translated, staged, notes } = shared.store.begin(&request.preparation_id)?;
    tracing::info!(job = %job.id(), name = job.name(), runner = job.runner(), "job begins");
    job.log().enter(JobState::Starting);
    for (importance, text) in notes {
        job.log().message(JobMessage::now(importance, text));
    }
    if let Some(observer) = &shared.config.observer {
        // Whoever watched may have seen enough.
        let _ = observer.send(job.clone());
    }
    let id = job.id().as_str().to_owned();
    tokio::spawn(launch(shared.clone(), job, translated, staged));
    Ok(jobpb::RunJobResponse { job_id: id })
}

/// A task of its own: whoever asked for the job may go away meanwhile.
async fn launch(shared: Arc<Shared>, job: Arc<Job>, translated: Translated, staged: StagedArtifacts) {
    let asked = (shared.clone(), job.clone());
    // Some environments are asked for by commands.
    let found = tokio::task::spawn_blocking(move || {
        let (shared, job) = asked;
        let found = outside(&shared, &job, &translated, &staged);
        (found, translated, staged)
    });
    let error = match found.await {
        Ok((Ok(found), translated, staged)) => return start(shared, job, translated, found, staged),
        Ok((Err(error), ..)) => error,
        Err(error) => format!("a bug in Purlin: {error}; please report it"),
    };
    job.settle();
    job.log().fail(error);
    shared.store.end(&job);
}

/// What a job needs of the world around it.
struct Outside {
    executors: Vec<Arc<dyn BundleExecutor>>,
    dead_letters: Option<DeadLetterFile>,
    replayed: Option<ReplayClaim>,
}

fn outside(
    shared: &Arc<Shared>,
    job: &Job,
    translated: &Translated,
    staged: &StagedArtifacts,
) -> Result<Outside, String> {
    let replayed = translated.replay.as_ref().map(|(replay, _)| replay.claim()).transpose();
    let replayed = replayed.map_err(|error| error.to_string())?;
    let dead_letters = dead_letters(job, translated)?;
    let executors = executors(shared, job, translated, staged).map_err(|error| error.to_string())?;
    Ok(Outside { executors, dead_letters, replayed })
}

/// Where the job's dead letters go, if it keeps any.
fn dead_letters(job: &Job, translated: &Translated) -> Result<Option<DeadLetterFile>, String> {
    let wanted = DeadLetterOptions::of(&from_wire(job.options())).map_err(|error| error.to_string())?;
    let Some(DeadLetterOptions { folder, .. }) = wanted else { return Ok(None) };
    let file = DeadLetterFile::create(&folder, job.id().as_str(), job.name(), &translated.job.plan);
    file.map(Some).map_err(|error| error.to_string())
}

fn executors(
    shared: &Arc<Shared>,
    job: &Job,
    translated: &Translated,
    staged: &StagedArtifacts,
) -> Result<Vec<Arc<dyn BundleExecutor>>, FnApiError> {
    let dependencies: BTreeMap<_, _> = staged
        .iter()
        .map(|(environment, artifacts)| {
            let artifacts = artifacts.iter().map(|artifact| {
                staged_artifact(artifact.lease.hash(), artifact.role_urn.clone(), artifact.role_payload.clone())
            });
            (environment.clone(), artifacts.collect())
        })
        .collect();
    shared.fn_api.open_job(FnApiJob {
        job_id: job.id().clone(),
        job_name: job.name().to_owned(),
        plan: translated.job.plan.clone(),
        pipeline_options: job.options().clone(),
        artifacts: shared.artifacts.store(),
        retrieval_token: job.id().as_str().to_owned(),
        dependencies,
        workers_max: shared.config.workers_max,
    })
}

fn start(
    shared: Arc<Shared>,
    job: Arc<Job>,
    translated: Translated,
    Outside { executors, dead_letters, replayed }: Outside,
    staged: StagedArtifacts,
) {
    let Translated { job: translated, replay } = translated;
    let graph = translated.plan.graph.clone();
    let (control, events) = driver::start(JobRuntime {
        schedule: translated.schedule,
        config: translated.config,
        executors,
        stores: shared.storage.job(&graph),
        script: scripted_input(&translated.plan),
        threads: shared.threads.clone(),
        dead_letters,
        replay: replay.map_or_else(ReplayInput::default, |(_, input)| input),
        graph,
    });
    job.driven(&control);
    tokio::spawn(follow(shared, job, events, staged, replayed));
}

/// Writes down what happens to a job, until it ends.
async fn follow(
    shared: Arc<Shared>,
    job: Arc<Job>,
    mut events: mpsc::UnboundedReceiver<JobEvent>,
    staged: StagedArtifacts,
    replayed: Option<ReplayClaim>,
) {
    let outcome = loop {
        match events.recv().await {
            Some(JobEvent::Message(message)) => job.log().message(message),
            Some(JobEvent::Ended(outcome)) => break outcome,
            // The driver ends only by a panic without saying how the job ended.
            None => {
                break Outcome::Failed(
                    "the driver of this job ended without a word, which is a bug in Purlin; the server's log has more"
                        .to_owned(),
                );
            }
        }
    };
    job.settle();
    match outcome {
        Outcome::Done => {
            // Before anybody hears that it is done.
            if let Some(message) = replayed.map(note_replayed) {
                job.log().message(message);
            }
            job.log().enter(JobState::Done);
        }
        Outcome::Drained(flushed) => job.drained(&flushed),
        Outcome::Cancelled => job.cancelled(),
        Outcome::Failed(reason) => job.log().fail(reason),
        Outcome::Stuck(explanation) => job.log().fail(format!(
            "job {} cannot go on and nothing is expected to change that, which is a bug in Purlin; please report \
             it:\n{explanation}",
            job.id()
        )),
    }
    tracing::info!(job = %job.id(), state = ?job.state(), "job ended");
    // Its workers are gone, so that nobody asks for its files any more.
    drop(staged);
    shared.store.end(&job);
}

/// A job has done all that it was to replay.
fn note_replayed(claim: ReplayClaim) -> JobMessage {
    let letters = claim.letters();
    match claim.done() {
        Ok(files) => {
            let files: Vec<_> = files.iter().map(|file| format!("`{}`", file.display())).collect();
            let text = format!("replayed {letters} dead letters, which are now in {}", files.join(", "));
            JobMessage::now(Importance::Basic, text)
        }
        Err(error) => {
            let text = format!(
                "replayed {letters} dead letters, and {error}; move the file away, so that it is not replayed again"
            );
            JobMessage::now(Importance::Warning, text)
        }
    }
}
