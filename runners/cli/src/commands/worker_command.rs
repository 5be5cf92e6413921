//! `purlin worker-command`: what to put into `--environment_config` so that a server starts workers of this environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use purlin_fn_api::{WORKER_FOLDER, WORKER_PYTHON};
use serde::Serialize;

use crate::Execute;
use crate::exit::{Exit, Failure};
use crate::terminal;
use crate::worker_boot::{WORKER_GO, WORKER_JAVA};

/// Print the environment of worker processes, for pipelines that go to `purlin serve`.
///
/// Python's workers run the interpreter that is named, in the current directory, with the current PYTHONPATH. Nothing is
/// installed for them. Those of Java and Go run what the pipeline stages: its class path, with beam-sdks-java-harness in it,
/// and its program. Give what is printed to your pipeline:
///
///   python pipeline.py --runner=PortableRunner --job_endpoint=localhost:8073 --environment_type=PROCESS
///     --environment_config="$(purlin worker-command python)"
///   java -cp ... Pipeline --runner=PortableRunner --jobEndpoint=localhost:8073 --defaultEnvironmentType=PROCESS
///     --defaultEnvironmentConfig="$(purlin worker-command java)"
///   ./pipeline --runner=universal --endpoint=localhost:8073 --environment_type=PROCESS
///     --environment_config="$(purlin worker-command go)" --worker_binary=./pipeline
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct WorkerCommand {
    /// Whose workers.
    #[arg(value_enum)]
    sdk: WorkerSdk,
    /// The interpreter of Python's workers: a path, or a name on the PATH.
    #[arg(long, default_value = "python3", value_name = "PROGRAM")]
    python: PathBuf,
    /// What runs Java's workers: a path, or a name on the PATH.
    #[arg(long, default_value = "java", value_name = "PROGRAM")]
    java: PathBuf,
    /// The working directory of the workers; the current one, if it is not given.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// An SDK whose workers need no container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WorkerSdk {
    /// Beam's Python SDK.
    Python,
    /// Beam's Java SDK.
    Java,
    /// Beam's Go SDK.
    Go,
}

/// What `--environment_config` takes for PROCESS.
#[derive(Debug, Serialize)]
struct EnvironmentConfig {
    command: String,
    env: BTreeMap<&'static str, String>,
}

impl Execute for WorkerCommand {
    fn execute(self) -> Result<Exit, Failure> {
        let here = std::env::current_dir().map_err(|error| Failure::Failed(format!("where is this? {error}")))?;
        let program = |named: &Path, option: &str| {
            let fault = || format!("there is no program `{}`; name one with {option}", named.display());
            find(named, &here).ok_or_else(|| Failure::Usage(fault())).and_then(|program| text(&program))
        };
        let worker = match self.sdk {
            WorkerSdk::Python => (WORKER_PYTHON, program(&self.python, "--python")?),
            WorkerSdk::Java => (WORKER_JAVA, program(&self.java, "--java")?),
            WorkerSdk::Go => (WORKER_GO, "staged".to_owned()),
        };
        let folder = here.join(self.folder.unwrap_or_default());
        if !folder.is_dir() {
            return Err(Failure::Usage(format!("there is no folder {}; give another --folder", folder.display())));
        }
        let own = std::env::current_exe().map_err(|error| Failure::Failed(format!("where am I? {error}")))?;
        let mut env = BTreeMap::from([worker, (WORKER_FOLDER, text(&folder)?)]);
        if let Some(path) = std::env::var_os("PYTHONPATH").filter(|_| self.sdk == WorkerSdk::Python) {
            env.insert("PYTHONPATH", text(Path::new(&path))?);
        }
        let config = EnvironmentConfig { command: text(&own)?, env };
        // One line: it stands on command lines.
        terminal::print(&format!("{}\n", serde_json::to_string(&config).map_err(Failure::failed)?))?;
        Ok(Exit::Ok)
    }
}

/// The file that a shell would run. Not its target: a virtual environment is known by the name of its interpreter.
fn find(program: &Path, here: &Path) -> Option<PathBuf> {
    let file = |candidate: PathBuf| candidate.is_file().then_some(candidate);
    if program.components().count() > 1 {
        return file(here.join(program));
    }
    std::env::split_paths(&std::env::var_os("PATH")?).find_map(|folder| file(here.join(folder).join(program)))
}

fn text(path: &Path) -> Result<String, Failure> {
    let fault = || Failure::Usage(format!("{} is no text, which JSON needs", path.display()));
    path.to_str().map(str::to_owned).ok_or_else(fault)
}
