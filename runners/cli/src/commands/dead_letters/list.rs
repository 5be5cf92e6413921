//! `purlin dead-letters list`.

use std::path::PathBuf;

use clap::Args;
use purlin_backend::{DEAD_LETTER_FILE, DeadLetter, LetterFiles, read_dead_letters};
use purlin_plan::EntryPoint;

use super::cell;
use crate::Execute;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// List dead letters: what failed, on which element, and why.
#[derive(Debug, Args)]
pub(super) struct List {
    /// The folder that was given by --dead_letter_dir, or one file of it.
    path: PathBuf,
    /// List those that were replayed as well.
    #[arg(long)]
    all: bool,
    /// Print each letter whole, with the trace of its error.
    #[arg(long, conflicts_with = "json")]
    full: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Execute for List {
    fn execute(self) -> Result<Exit, Failure> {
        if !self.path.exists() {
            let path = self.path.display();
            return Err(Failure::Usage(format!(
                "there is no `{path}`; name the folder that was given by --dead_letter_dir"
            )));
        }
        let which = if self.all { LetterFiles::All } else { LetterFiles::Left };
        let files = read_dead_letters(&self.path, which).map_err(Failure::failed)?;
        let letters: Vec<DeadLetter> = files.into_iter().flat_map(|file| file.letters).collect();
        if self.json {
            terminal::print_json(&letters)?;
        } else if letters.is_empty() {
            terminal::note(&format!(
                "There are no dead letters in `{}` (files *.{DEAD_LETTER_FILE}){}.",
                self.path.display(),
                if self.all { "" } else { ", but for those that were replayed (--all)" }
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
    vec![letter.job.clone(), letter.time.clone(), key, cell(&letter.text), cell(letter.cause())]
}

fn whole(letter: &DeadLetter) -> String {
    let DeadLetter { job, job_name, time, stage, pcollection, key, timestamp, windows, text, entry, error, .. } =
        letter;
    let EntryPoint { transforms: _, coder, window_fn: _ } = entry;
    let transforms = entry.to_string();
    let key = key.as_ref().map(|key| format!("key          {key}\n")).unwrap_or_default();
    let windows = windows.join(", ");
    format!(
        "job          {job} ({job_name})\ntime         {time}\nstage        {stage}\ngiven to     {transforms}\nPCollection  {pcollection}\n{key}timestamp    \
         {timestamp}\nwindows      {windows}\nelement      {text}\ncoder        {coder}\n{error}\n"
    )
}
