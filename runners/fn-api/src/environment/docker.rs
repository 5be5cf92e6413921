//! DOCKER: a container of the environment's image, by the `docker` command of this machine (or one that takes the same arguments).
//!
//! ```text
//!   docker version ─► refused at once where no engine answers
//!   docker image inspect IMAGE ─no─► docker pull IMAGE
//!   docker run --rm --name=… --network=host IMAGE --id=… --provision_endpoint=…     supervised as a process is
//!   end: as a process ─► docker rm --force
//! ```
//! On Linux a container shares the network of this machine, since all services listen on its loopback interface alone. Elsewhere the engine
//! lives in a machine of its own, and forwards `host.docker.internal` there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::process::{Command as BlockingCommand, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use purlin_backend::{Importance, JobMessage};
use tokio::process::Command;
use tokio::time::timeout;

use super::process::Process;
use super::{EnvironmentLauncher, LaunchError, LaunchedWorker, WorkerPlace};
use crate::patience::Patience;

/// How long an engine may take to say that it is there.
const ENGINE_PATIENCE: Duration = Duration::from_secs(10);

/// How many of the last lines of a failed command are told.
const LINES: usize = 5;

/// Whether the command finds an engine that answers, or what it says instead. Blocks.
pub(super) fn engine(docker: &str) -> Result<(), String> {
    let mut command = BlockingCommand::new(docker);
    command.args(["version", "--format", "{{.Server.Version}}"]).stdin(Stdio::null());
    let (answer, answered) = mpsc::channel();
    // A thread of its own, because an engine that hangs makes the command hang.
    std::thread::spawn(move || answer.send(command.output()));
    match answered.recv_timeout(ENGINE_PATIENCE) {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => Err(format!("`{docker} version` says: {}", last_lines(&output.stderr))),
        Ok(Err(error)) => Err(format!("the command `{docker}` cannot be run: {error}")),
        Err(_) => Err(format!("`{docker} version` says nothing for {} seconds", ENGINE_PATIENCE.as_secs())),
    }
}

fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { "nothing".to_owned() } else { lines[lines.len().saturating_sub(LINES)..].join("; ") }
}

/// Starts containers of one image.
#[derive(Clone)]
pub(super) struct Docker {
    command: String,
    image: String,
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} run {}", self.command, self.image)
    }
}

impl Docker {
    pub(super) const fn new(command: String, image: String) -> Self {
        Self { command, image }
    }

    /// Runs a command of the engine to its end.
    async fn ask(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = Command::new(&self.command);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        match command.output().await {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(last_lines(&output.stderr)),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn start(self, place: WorkerPlace) -> Result<Box<dyn LaunchedWorker>, LaunchError> {
        if self.ask(&["image", "inspect", &self.image]).await.is_err() {
            let text = format!("pulling the image {}", self.image);
            place.reporter.message(JobMessage::now(Importance::Basic, text));
            let pulled = self.ask(&["pull", "--quiet", &self.image]).await;
            pulled.map_err(|why| LaunchError::Image { image: self.image.clone(), why })?;
        }
        let name = name(&place);
        let mut arguments = vec!["run".to_owned(), "--rm".to_owned(), format!("--name={name}")];
        let near = place.endpoint.clone();
        let endpoint = if cfg!(target_os = "linux") {
            arguments.push("--network=host".to_owned());
            near
        } else {
            near.rsplit_once(':').map_or(near.clone(), |(_, port)| format!("host.docker.internal:{port}"))
        };
        arguments.push(self.image.clone());
        // Containers of older SDKs ask for each.
        arguments.extend(["control", "logging", "artifact"].map(|service| format!("--{service}_endpoint={endpoint}")));
        let arguments = arguments.into_iter().map(OsString::from).collect();
        let process = Process::with_arguments(self.command.clone(), arguments, BTreeMap::new());
        let process = process.launch(WorkerPlace { endpoint, ..place }).await?;
        Ok(Box::new(Container { process, docker: self, name }))
    }
}

/// What a container is called: by its worker, whose id is unique within the server, and the server's port.
fn name(place: &WorkerPlace) -> String {
    let port = place.endpoint.rsplit(':').next().unwrap_or_default();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    let name = format!("purlin-{port}-{}", place.worker);
    name.chars().map(|letter| if allowed(letter) { letter } else { '-' }).collect()
}

impl EnvironmentLauncher for Docker {
    fn description(&self) -> String {
        format!("image `{}`", self.image)
    }

    fn launch(&self, place: WorkerPlace) -> BoxFuture<'static, Result<Box<dyn LaunchedWorker>, LaunchError>> {
        self.clone().start(place).boxed()
    }
}

/// A container, seen through the command that runs it.
#[derive(Debug)]
struct Container {
    process: Box<dyn LaunchedWorker>,
    docker: Docker,
    name: String,
}

impl LaunchedWorker for Container {
    fn ended(&mut self) -> BoxFuture<'_, String> {
        self.process.ended()
    }

    fn last_words(&mut self) -> BoxFuture<'_, String> {
        self.process.last_words()
    }

    fn post_mortem(&mut self, patience: Patience) -> BoxFuture<'_, String> {
        self.process.post_mortem(patience)
    }

    fn stop(
        self: Box<Self>,
        patience: Patience,
        close_control: Box<dyn FnOnce() -> bool + Send>,
    ) -> BoxFuture<'static, ()> {
        async move {
            self.process.stop(patience.clone(), close_control).await;
            // The command passes a SIGTERM on to its container, but a killed one leaves it behind. Most are gone by now, which is no error.
            let _ = timeout(patience.limit(), self.docker.ask(&["rm", "--force", &self.name])).await;
        }
        .boxed()
    }
}
