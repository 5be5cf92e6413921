//! `purlin check`: can this pipeline run there? Every reason why not, before anything runs.

use std::path::PathBuf;

use clap::Args;
use purlin_job_server::{CheckError, ServerConfig};
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
    /// The runner that it should run on, unless it names one.
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
        registry.get(&self.runner).map_err(|unknown| Failure::Usage(unknown.to_string()))?;
        let (pipeline, options) = Source::new(self.file, self.command)?.read()?;
        let config = ServerConfig::new(registry, self.runner);
        let checked = purlin_job_server::check(&config, pipeline, &options);
        let problems = match &checked {
            Ok(_) => Vec::new(),
            Err(CheckError::Invalid(problems) | CheckError::Unsupported(problems)) => problems
                .iter()
                .map(|it| Reason { place: it.place.clone(), what: it.what.clone(), fix: it.fix.clone() })
                .collect(),
            Err(why @ (CheckError::Option(_) | CheckError::Choice(_) | CheckError::Runner(_))) => {
                vec![Reason { place: "pipeline options".to_owned(), what: why.to_string(), fix: String::new() }]
            }
        };
        let runner = checked.as_ref().map_or(config.runner.as_str(), |checked| checked.runner);
        let can_run = checked.is_ok();
        if self.json {
            terminal::print_json(&Verdict { runner, can_run, problems })?;
        } else {
            match &checked {
                Ok(_) => terminal::print(&format!("This pipeline can run on `{runner}`.\n"))?,
                Err(why) => terminal::print(&format!("{why}\n"))?,
            }
        }
        Ok(if can_run { Exit::Ok } else { Exit::Failed })
    }
}
