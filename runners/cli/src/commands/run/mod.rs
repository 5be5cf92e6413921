//! `purlin run`: runs a program against an embedded server, shows how its jobs go on, ends with the program's code.
//!
//! ```text
//!   server on a free port ◄── COMMAND (flags, PURLIN_JOB_ENDPOINT)
//!      └─ jobs ─► display on standard error
//! ```
//! Standard output belongs to the program.

mod display;
mod program;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use purlin_fn_api::{DOCKER, MorePython};
use purlin_job_server::{MemoryBudget, Server, ServerConfig};
use tokio::sync::mpsc;

use crate::Execute;
use crate::commands::explain::registry;
use crate::exit::{Exit, Failure};
use crate::interrupts::Interrupts;
use crate::logging::{self, LogFormat};
use crate::sdk::{self, Sdk};
use crate::size::memory_budget;

use display::Display;
use program::{Ended, Program};

/// A worker takes most of a second to import Beam: for work that would be done by then, more of them are a waste.
const MORE_PYTHON_AFTER: Duration = Duration::from_secs(1);

/// Run a program that submits pipelines, against a server of its own.
///
/// The server listens on a free port. The program hears of it by PURLIN_JOB_ENDPOINT, and by the flags of its SDK,
/// which are appended to COMMAND or put where `{purlin}` stands in it; flags that you gave yourself are left alone.
/// Tools that would not pass flags on (pytest, mvn, gradle) get none unless `{purlin}` says where.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The runner of jobs that name none: direct, micro-batch, continuous, or auto.
    #[arg(long, default_value = "direct", env = "PURLIN_RUNNER")]
    runner: String,
    /// Whose flags COMMAND takes; told from COMMAND if it is not given.
    #[arg(long, value_enum)]
    sdk: Option<Sdk>,
    /// How many workers each environment of a job gets at most; the cores, if it is not given. A Python program whose job
    /// takes longer than a second gets more processes beside its own, up to this number: with 1 it gets none.
    #[arg(long, env = "PURLIN_WORKERS", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
    /// How much memory the server may use, as 512MiB or 50% of the machine. What does not fit goes to a temporary folder.
    #[arg(long, env = "PURLIN_MEMORY_BUDGET", default_value = "50%", value_parser = memory_budget, value_name = "SIZE")]
    memory_budget: MemoryBudget,
    /// The command that runs containers, for pipelines whose environment is DOCKER: docker, or one that takes its arguments.
    #[arg(long, env = "PURLIN_DOCKER", default_value = DOCKER, value_name = "COMMAND")]
    docker: String,
    /// Show, when a job has ended, where its time went, as `purlin metrics --profile` does for jobs of a server.
    #[arg(long)]
    profile: bool,
    /// What of the server's own log to show: error, warn, info, debug, trace, or a filter.
    #[arg(long, default_value = "error", env = "PURLIN_LOG_LEVEL", value_name = "LEVEL")]
    log_level: String,
    /// The program and its arguments. `--` in front of it keeps its own options apart.
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What came of running a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    /// What it ended with.
    pub(crate) exit: Exit,
    /// How many jobs it started.
    pub(crate) jobs: usize,
}

impl Execute for Run {
    fn execute(self) -> Result<Exit, Failure> {
        self.execute_with(BTreeMap::new()).map(|ran| ran.exit)
    }
}

impl Run {
    /// Runs the program with these options for each of its jobs.
    pub(crate) fn execute_with(self, job_options: BTreeMap<String, String>) -> Result<Ran, Failure> {
        let registry = registry();
        registry.offers(&self.runner).map_err(|unknown| Failure::Usage(unknown.to_string()))?;
        let sdk = sdk::choose(self.sdk, &self.command)?;
        logging::start(&self.log_level, LogFormat::Text)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
        let (ended, jobs) = runtime.block_on(async {
            let (observer, jobs) = mpsc::unbounded_channel();
            let mut config = ServerConfig {
                observer: Some(observer),
                more_python: self.more_python(sdk),
                docker: self.docker.clone(),
                memory_budget: self.memory_budget,
                job_options,
                ..ServerConfig::new(registry, self.runner.clone())
            };
            if let Some(workers) = self.workers {
                config.workers_max = workers.into();
            }
            let mut interrupts = Interrupts::listen()?;
            let server = Server::bind(config).await.map_err(Failure::failed)?;
            let endpoint = format!("localhost:{}", server.port());
            let command = sdk::with_flags(&self.command, sdk, &endpoint);
            let display = Display::start(jobs, self.profile);
            let program = Program::start(&command, &endpoint, &display);
            let ended = match program {
                Ok(program) => program.watch(&server, &display, &mut interrupts).await,
                Err(failure) => Err(failure),
            };
            let jobs = server.jobs().len();
            interrupts.shut_down(server, "the program has ended").await;
            display.finish().await;
            ended.map(|ended| (ended, jobs))
        })?;
        let exit = match ended {
            Ended::Program(code) => Exit::Child(code),
            Ended::JobFailed => Exit::Failed,
        };
        Ok(Ran { exit, jobs })
    }

    /// The program, and whose flags it takes.
    pub(crate) fn program(&self) -> (&[String], Option<Sdk>) {
        (&self.command, self.sdk)
    }

    /// The runner of jobs that name none.
    pub(crate) fn runner(&self) -> &str {
        &self.runner
    }

    /// More processes for programs whose worker runs inside them because nobody said otherwise.
    fn more_python(&self, sdk: Sdk) -> Option<MorePython> {
        // Without a path to this program there is nothing that could become a worker, and the program has its own.
        let boot = std::env::current_exe().ok()?;
        let implied = sdk == Sdk::Python && !sdk::names_environment(&self.command);
        implied.then_some(MorePython { boot, after: MORE_PYTHON_AFTER, echo: true })
    }
}
