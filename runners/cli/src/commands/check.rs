//! `purlin check`: can this pipeline run there? Every reason why not, before anything runs.

use std::path::PathBuf;

use clap::Args;
use purlin_capability_matrix::verdict::Verdict;
use purlin_job_server::{Checked, Refusal, ServerConfig};
use serde::Serialize;

use crate::Execute;
use crate::commands::explain::{Source, registry};
use crate::exit::{Exit, Failure};
use crate::sdk::Sdk;
use crate::terminal;

/// Tell whether a pipeline can run, with every reason why not. Runs nothing.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A serialized Pipeline, binary or JSON; `-` for standard input.
    file: Option<PathBuf>,
    /// The runner that it should run on, unless it names one; `auto` looks for one.
    #[arg(long, default_value = "direct", env = "PURLIN_RUNNER")]
    runner: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Whose flags COMMAND takes; told from COMMAND if it is not given.
    #[arg(long, value_enum)]
    sdk: Option<Sdk>,
    /// A program that submits the pipeline, instead of a file: `-- python pipeline.py …`
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Serialize)]
struct Report<'a> {
    /// Which runner would run it; absent if none was chosen.
    runner: Option<&'a str>,
    can_run: bool,
    /// Why this one, if the choice was left to Purlin.
    chosen_because: Option<&'a str>,
    /// What is wrong whichever runner is asked.
    problems: Vec<Reason>,
    /// What the runner lacks, and where it is limited; of several if none of them would do.
    verdicts: Vec<&'a Verdict>,
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
        registry.offers(&self.runner).map_err(|unknown| Failure::Usage(unknown.to_string()))?;
        let (pipeline, options) = Source::new(self.file, self.command, self.sdk)?.read()?;
        let config = ServerConfig::new(registry, self.runner);
        let checked = purlin_job_server::check(&config, pipeline, &options);
        if self.json {
            terminal::print_json(&match &checked {
                Ok(checked) => accepted(checked),
                Err(refusal) => refused(refusal),
            })?;
        } else {
            terminal::print(&match &checked {
                Ok(checked) => {
                    let choice = checked.chosen_because.iter().map(|because| format!("{because}\n"));
                    choice.chain([format!("{}\n", checked.verdict)]).collect()
                }
                Err(refusal) => format!("{refusal}\n"),
            })?;
        }
        Ok(if checked.is_ok() { Exit::Ok } else { Exit::Failed })
    }
}

fn accepted(checked: &Checked) -> Report<'_> {
    Report {
        runner: Some(checked.runner),
        can_run: true,
        chosen_because: checked.chosen_because.as_deref(),
        problems: Vec::new(),
        verdicts: vec![&checked.verdict],
    }
}

fn refused(refusal: &Refusal) -> Report<'_> {
    let options = refusal.options.iter().map(|what| Reason {
        place: "pipeline options".to_owned(),
        what: what.clone(),
        fix: String::new(),
    });
    let lists = refusal.invalid.iter().chain(&refusal.unsupported);
    let problems = lists.flat_map(|list| list.iter()).map(|it| Reason {
        place: it.place.clone(),
        what: it.what.clone(),
        fix: it.fix.clone(),
    });
    let verdicts: Vec<_> = refusal.verdicts.iter().collect();
    let runner = if let [only] = verdicts[..] { Some(only.runner.as_str()) } else { None };
    Report { runner, can_run: false, chosen_because: None, problems: options.chain(problems).collect(), verdicts }
}
