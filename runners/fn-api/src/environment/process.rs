//! PROCESS: a command on this machine, in a process group of its own, which ends with the job.
//!
//! ```text
//!   command --id=… --provision_endpoint=…     stdout, stderr ─► messages of the job; the last lines are kept
//!   end: control stream closed ─► leaves by itself? ─► SIGTERM to the group ─► SIGKILL to the group
//! ```
//! Both outputs are read to their ends: a pipe that nobody reads would stop the worker when it is full.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use purlin_backend::{Importance, JobMessage, Reporter};
use purlin_model::ids::WorkerId;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use super::last_lines::LastLines;
use super::{EnvironmentLauncher, LaunchError, LaunchedWorker, WorkerPlace};
use crate::lock::lock;
use crate::patience::Patience;

/// How long the output of a process that has ended may take to arrive: a child of it may hold the pipe.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(1);

/// So much goes into a pipe at once, or not yet: nobody else can write into the middle (`PIPE_BUF` of Linux).
const ATOMIC_BYTES: usize = 4096;

/// How much of a line is held back until its end has come.
const ECHO_LINE_MAX: usize = 64 << 10;

#[derive(Clone, Debug)]
pub(super) struct Process {
    command: String,
    /// Stand before those that name the worker and its runner.
    arguments: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    /// Whether its standard output is passed on to ours, too.
    echo: bool,
}

impl Process {
    pub(super) fn new(command: String, env: BTreeMap<String, String>) -> Self {
        let env = env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self::with_arguments(command, Vec::new(), env)
    }

    pub(super) const fn with_arguments(
        command: String,
        arguments: Vec<OsString>,
        env: BTreeMap<OsString, OsString>,
    ) -> Self {
        Self { command, arguments, env, echo: false }
    }

    /// The same, for a command of the runner's own.
    pub(super) fn own(command: String, env: BTreeMap<OsString, OsString>, echo: bool) -> Self {
        Self { command, arguments: Vec::new(), env, echo }
    }

    fn spawn(&self, place: &WorkerPlace) -> Result<Box<dyn LaunchedWorker>, LaunchError> {
        let mut command = Command::new(&self.command);
        command
            .args(&self.arguments)
            .arg(format!("--id={}", place.worker))
            .arg(format!("--provision_endpoint={}", place.endpoint))
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            // A backstop only: the group is ended by stop().
            .kill_on_drop(true);
        let failed = |source: io::Error| LaunchError::Command { command: self.command.clone(), source };
        let mut child = command.spawn().map_err(failed)?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let stderr = Arc::new(Mutex::new(LastLines::default()));
        let drained = watch::Sender::new(0);
        let drains = drained.subscribe();
        let drain = |lines, echo| Drain {
            lines,
            worker: place.worker.clone(),
            reporter: place.reporter.clone(),
            drained: drained.clone(),
            echo,
        };
        if let Some(pipe) = child.stdout.take() {
            tokio::spawn(drain(Arc::default(), self.echo).run(pipe));
        }
        if let Some(pipe) = child.stderr.take() {
            tokio::spawn(drain(stderr.clone(), false).run(pipe));
        }
        let (exit, exited) = watch::channel(None);
        tokio::spawn(reap(child, group, exit));
        Ok(Box::new(ProcessWorker { group, stderr, drains, exited }))
    }
}

impl EnvironmentLauncher for Process {
    fn description(&self) -> String {
        format!("command `{}`", self.command)
    }

    fn launch(&self, place: WorkerPlace) -> BoxFuture<'static, Result<Box<dyn LaunchedWorker>, LaunchError>> {
        std::future::ready(self.spawn(&place)).boxed()
    }
}

/// Reads one of a process's outputs to its end.
struct Drain {
    lines: Arc<Mutex<LastLines>>,
    worker: WorkerId,
    reporter: Reporter,
    drained: watch::Sender<u32>,
    echo: bool,
}

impl Drain {
    async fn run(self, mut pipe: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 16 << 10];
        let mut begun = Vec::new();
        loop {
            match pipe.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(length) => {
                    lock(&self.lines).take(&buffer[..length], |line| self.tell(line));
                    if self.echo {
                        begun.extend_from_slice(&buffer[..length]);
                        pass_on_lines(&mut begun).await;
                    }
                }
            }
        }
        lock(&self.lines).finish(|line| self.tell(line));
        pass_on(&begun).await;
        self.drained.send_modify(|count| *count += 1);
    }

    fn tell(&self, line: &str) {
        tracing::debug!(worker = %self.worker, "{line}");
        // Prints of the user's code among them, so that they can be seen, but not by default.
        self.reporter.message(JobMessage::now(Importance::Detailed, format!("{}: {line}", self.worker)));
    }
}

/// Whole lines, between which the program itself may write; a very long one goes as it comes.
async fn pass_on_lines(begun: &mut Vec<u8>) {
    let is_end = |byte: &u8| *byte == b'\n';
    while let Some(end) =
        begun[..begun.len().min(ATOMIC_BYTES)].iter().rposition(is_end).or_else(|| begun.iter().position(is_end))
    {
        pass_on(&begun[..=end]).await;
        begun.drain(..=end);
    }
    if begun.len() > ECHO_LINE_MAX {
        pass_on(begun).await;
        begun.clear();
    }
}

/// Whoever reads our output makes the process wait, as if it wrote there itself.
async fn pass_on(bytes: &[u8]) {
    let mut output = tokio::io::stdout();
    // An error means that nobody reads it.
    if !bytes.is_empty() && output.write_all(bytes).await.is_ok() {
        let _ = output.flush().await;
    }
}

/// Waits for the end of the process, and ends what it may have left in its group.
async fn reap(mut child: Child, group: Option<Pid>, exit: watch::Sender<Option<Result<ExitStatus, String>>>) {
    let status = child.wait().await.map_err(|error| error.to_string());
    signal(group, Signal::KILL);
    exit.send_replace(Some(status));
}

fn signal(group: Option<Pid>, signal: Signal) {
    // An error means that there is nobody left to hear it.
    let _ = group.map(|group| kill_process_group(group, signal));
}

#[derive(Debug)]
struct ProcessWorker {
    /// The group has the id of its first process.
    group: Option<Pid>,
    stderr: Arc<Mutex<LastLines>>,
    /// How many of its two outputs have ended.
    drains: watch::Receiver<u32>,
    exited: watch::Receiver<Option<Result<ExitStatus, String>>>,
}

impl ProcessWorker {
    async fn exit(&mut self) -> String {
        match self.exited.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(status))) => status.to_string(),
            Ok(Some(Err(error))) => error.clone(),
            Ok(None) | Err(_) => "nobody knows how".to_owned(),
        }
    }

    /// What it wrote last may still be on its way when it has exited. If time runs out, what has come must do.
    async fn heard_out(&mut self) {
        let _ = timeout(OUTPUT_PATIENCE, self.drains.wait_for(|drains| *drains == 2)).await;
    }

    fn has_exited(&self) -> bool {
        self.exited.borrow().is_some()
    }

    /// To the whole group, while its first process lives: its number means nobody else as long.
    fn signal(&self, next: Signal) {
        if !self.has_exited() {
            signal(self.group, next);
        }
    }

    async fn words(&mut self) -> String {
        if self.has_exited() {
            self.heard_out().await;
        }
        let stderr = lock(&self.stderr);
        let lines: Vec<_> = stderr.lines().collect();
        if lines.is_empty() {
            return "; it wrote nothing to stderr".to_owned();
        }
        format!("; its last lines on stderr:\n{}", lines.join("\n"))
    }
}

impl LaunchedWorker for ProcessWorker {
    fn ended(&mut self) -> BoxFuture<'_, String> {
        self.exit().boxed()
    }

    fn last_words(&mut self) -> BoxFuture<'_, String> {
        self.words().boxed()
    }

    fn post_mortem(&mut self, patience: Patience) -> BoxFuture<'_, String> {
        async move {
            let how = patience.with(self.exit()).await.map_or_else(String::new, |how| format!(" ({how})"));
            how + &self.words().await
        }
        .boxed()
    }

    fn stop(
        mut self: Box<Self>,
        patience: Patience,
        close_control: Box<dyn FnOnce() -> bool + Send>,
    ) -> BoxFuture<'static, ()> {
        async move {
            // Who was connected leaves when the control stream ends; who was not does not know that he should.
            let mut left = close_control() && patience.with(self.exit()).await.is_some();
            if !left {
                self.signal(Signal::TERM);
                left = patience.with(self.exit()).await.is_some();
            }
            if !left {
                self.signal(Signal::KILL);
                left = timeout(patience.limit(), self.exit()).await.is_ok();
            }
            if left {
                self.heard_out().await;
            } else {
                tracing::warn!(group = ?self.group, "a worker's process does not end, although it was killed");
            }
        }
        .boxed()
    }
}
