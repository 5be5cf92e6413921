//! `purlin dead-letters replay`: a program's pipeline processes the elements that it failed on before, in the place of its sources.
//!
//! ```text
//!   PATH ─► read, refused if it cannot be ─► purlin run, with --dead_letter_replay=PATH ─► *.replayed.jsonl
//!                                        └─► --dry-run: capture, check ─► what would go where
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use purlin_backend::{DEAD_LETTER_REPLAY, DeadLetter, JobOptions, Replay as Letters, ReplayError};
use purlin_job_server::{ServerConfig, add_options};

use super::cell;
use crate::Execute;
use crate::commands::explain::registry;
use crate::commands::run::Run;
use crate::exit::{Exit, Failure};
use crate::{capture, terminal};

/// Process dead letters with a pipeline whose DoFns were mended, without reading its sources again.
///
/// Runs COMMAND as `purlin run` does. The elements go to the transforms that failed on them, which are found by name, and from there on through
/// the pipeline. When the job is done, their files are renamed to *.replayed.jsonl. Elements that fail again are kept if COMMAND says
/// --dead_letter_dir, and end the job if it does not.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The folder that was given by --dead_letter_dir, or one file of it.
    path: PathBuf,
    /// Print which elements would go where. Runs nothing but what makes the pipeline.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    run: Run,
}

impl Execute for Replay {
    fn execute(self) -> Result<Exit, Failure> {
        // The server may look from another folder.
        let path = std::path::absolute(&self.path).map_err(Failure::failed)?.to_string_lossy().into_owned();
        let options = BTreeMap::from([(DEAD_LETTER_REPLAY.name.to_owned(), path)]);
        let letters = read(&options)?;
        if self.dry_run { show(&self.run, &options, &letters) } else { replay(self.run, options, &letters) }
    }
}

/// What is to be replayed: what is wrong with it is told before any program is started.
fn read(options: &BTreeMap<String, String>) -> Result<Letters, Failure> {
    let given = options.iter().map(|(name, text)| (name.clone(), text.as_str().into()));
    let letters = Letters::of(&JobOptions::from_wire(given)).map_err(|error| match error {
        ReplayError::Missing(_) | ReplayError::Nothing(_) | ReplayError::Replayed(_) => {
            Failure::Usage(error.to_string())
        }
        ReplayError::Option(_)
        | ReplayError::Read(_)
        | ReplayError::Letters(_)
        | ReplayError::Busy(_)
        | ReplayError::Changed(_) => Failure::failed(error),
    })?;
    letters.ok_or_else(|| Failure::Usage("name the folder that was given by --dead_letter_dir".to_owned()))
}

fn replay(run: Run, options: BTreeMap<String, String>, letters: &Letters) -> Result<Exit, Failure> {
    let ran = run.execute_with(options)?;
    let left: Vec<_> =
        letters.files().filter(|file| file.exists()).map(|file| format!("`{}`", file.display())).collect();
    if left.is_empty() {
        let count = letters.letters().count();
        let were = if count == 1 { "was" } else { "were" };
        terminal::note(&format!("purlin: {} {were} replayed", counted(count)));
        return Ok(ran.exit);
    }
    let why = if ran.jobs == 0 { "the program started no job" } else { "no job of the program has done all of them" };
    terminal::complain(&format!(
        "nothing counts as replayed, because {why}; the dead letters are still in {}",
        left.join(", ")
    ));
    Ok(match ran.exit {
        Exit::Ok | Exit::Child(0) => Exit::Failed,
        exit @ (Exit::Failed | Exit::Usage | Exit::NoServer | Exit::Child(_)) => exit,
    })
}

/// Plans the job, and shows what would become of each letter.
fn show(run: &Run, options: &BTreeMap<String, String>, letters: &Letters) -> Result<Exit, Failure> {
    let (command, sdk) = run.program();
    let registry = registry();
    registry.offers(run.runner()).map_err(|unknown| Failure::Usage(unknown.to_string()))?;
    let submitted = capture::submission_of(command, sdk)?;
    let mut given = submitted.pipeline_options.unwrap_or_default();
    add_options(&mut given, options);
    let config = ServerConfig::new(registry, run.runner());
    let checked = purlin_job_server::check(&config, submitted.pipeline.unwrap_or_default(), &given);
    let checked = checked.map_err(Failure::failed)?;
    let rows: Vec<_> = letters.letters().map(row).collect();
    terminal::print(&terminal::table(&["JOB", "ELEMENT", "GOES TO", "FAILED WITH"], &rows))?;
    terminal::note(&format!(
        "{} would be replayed on runner `{}`; nothing has run",
        counted(rows.len()),
        checked.runner
    ));
    Ok(Exit::Ok)
}

fn counted(letters: usize) -> String {
    format!("{letters} dead letter{}", if letters == 1 { "" } else { "s" })
}

fn row(letter: &DeadLetter) -> Vec<String> {
    vec![letter.job.clone(), cell(&letter.text), letter.entry.to_string(), cell(letter.cause())]
}
