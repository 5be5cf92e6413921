//! `purlin dead-letters`: the elements that jobs put aside because user code failed on them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use purlin_backend::{DEAD_LETTER_FILE, DeadLetter, read_dead_letters};

use crate::Execute;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// How much of an element and of an error stands in the table.
const CELL_CHARS_MAX: usize = 60;

/// Look at the elements that jobs with --dead_letter_dir put aside.
#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(List),
}

/// List dead letters: what failed, on which element, and why.
#[derive(Debug, Args)]
struct List {
    /// The folder that was given by --dead_letter_dir, or one file of it.
    path: PathBuf,
    /// Print each letter whole, with the trace of its error.
    #[arg(long, conflicts_with = "json")]
    full: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Execute for DeadLetters {
    fn execute(self) -> Result<Exit, Failure> {
        match self.what {
            What::List(list) => list.execute(),
        }
    }
}

impl Execute for List {
    fn execute(self) -> Result<Exit, Failure> {
        if !self.path.exists() {
            let path = self.path.display();
            return Err(Failure::Usage(format!(
                "there is no `{path}`; name the folder that was given by --dead_letter_dir"
            )));
        }
        let letters = read_dead_letters(&self.path).map_err(Failure::failed)?;
        if self.json {
            terminal::print_json(&letters)?;
        } else if letters.is_empty() {
            terminal::note(&format!(
                "There are no dead letters in `{}` (files *.{DEAD_LETTER_FILE}).",
                self.path.display()
            ));
        } else if self.full {
            let texts: Vec<_> = letters.iter().map(whole).collect();
            terminal::print(&texts.join("\n"))?;
        } else {
            let header = ["JOB", "TIME", "KEY", "ELEMENT", "ERROR"];
            terminal::print(&terminal::table(&header, &letters.iter().map(row).collect::<Vec<_>>()))?;
        }
        Ok(Exit::Ok)
    }
}

fn row(letter: &DeadLetter) -> Vec<String> {
    let key = letter.key.clone().unwrap_or_default();
    let cell = |text: &str| text.chars().take(CELL_CHARS_MAX).collect::<String>();
    vec![letter.job.clone(), letter.time.clone(), key, cell(&letter.text), cell(letter.cause())]
}

fn whole(letter: &DeadLetter) -> String {
    let DeadLetter { job, job_name, time, stage, pcollection, key, timestamp, windows, text, coder, error, .. } =
        letter;
    let key = key.as_ref().map(|key| format!("key          {key}\n")).unwrap_or_default();
    let windows = windows.join(", ");
    format!(
        "job          {job} ({job_name})\ntime         {time}\nstage        {stage}\nPCollection  {pcollection}\n{key}timestamp    \
         {timestamp}\nwindows      {windows}\nelement      {text}\ncoder        {coder}\n{error}\n"
    )
}
