//! `purlin check`: can this pipeline run there? Every reason why not, before anything runs.

use std::path::PathBuf;

use clap::Args;
use purlin_backend::{BackendError, JobOptions};
use purlin_plan::validate;
use serde::Serialize;

use crate::Execute;
use crate::commands::explain::{Source, registry};
use crate::exit::{Exit, Failure};
use crate::terminal;

/// Tell whether a pipeline can run, with every reason why not. Runs nothing.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A serialized Pipeline, binary or JSON; `-` for standard input.
    file: Option<PathBuf>,
    /// The runner that it should run on.
    #[arg(long, default_value = "direct", env = "PURLIN_RUNNER")]
    runner: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// A program that submits the pipeline, instead of a file: `-- python pipeline.py …`
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Serialize)]
struct Verdict<'a> {
    runner: &'a str,
    can_run: bool,
    problems: Vec<Reason>,
}

#[derive(Serialize)]
struct Reason {
    place: String,
    what: String,
    fix: String,
}

impl Execute for Check {
    fn execute(self) -> Result<Exit, Failure> {
        let registry = registry();
        let backend = registry.get(&self.runner).map_err(|unknown| Failure::Usage(unknown.to_string()))?.clone();
        let pipeline = Source::new(self.file, self.command)?.pipeline()?;
        let checked = validate(pipeline)
            .map_err(BackendError::Pipeline)
            .and_then(|pipeline| backend.translate(&pipeline, &JobOptions::default()).map(drop));
        let problems = match &checked {
            Ok(()) => Vec::new(),
            Err(BackendError::Pipeline(problems)) => problems
                .iter()
                .map(|it| Reason { place: it.place.clone(), what: it.what.clone(), fix: it.fix.clone() })
                .collect(),
            Err(BackendError::Option(option)) => {
                vec![Reason { place: format!("--{}", option.name), what: option.to_string(), fix: String::new() }]
            }
        };
        let can_run = checked.is_ok();
        if self.json {
            terminal::print_json(&Verdict { runner: &self.runner, can_run, problems })?;
        } else {
            match &checked {
                Ok(()) => terminal::print(&format!("This pipeline can run on `{}`.\n", self.runner))?,
                Err(why) => terminal::print(&format!("{why}\n"))?,
            }
        }
        Ok(if can_run { Exit::Ok } else { Exit::Failed })
    }
}
