//! The program that `purlin run` runs, and how it ends.

use std::io::IsTerminal;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use purlin_backend::Importance;
use purlin_job_server::{Job, JobState, LogEntry, LogItem, Server};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::display::Display;
use crate::exit::Failure;
use crate::interrupts::{Interrupt, Interrupts};
use crate::sdk;

/// How long the last lines of a program may take when another process still holds its standard error.
const RELAY_MAX: Duration = Duration::from_secs(1);

/// What `purlin run` ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The program's own code.
    Program(u8),
    /// The program went well, and left a job behind that failed.
    JobFailed,
}

/// The program.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    /// Passes its standard error on between the lines of the display.
    relay: Option<JoinHandle<()>>,
}

impl Program {
    pub(super) fn start(command: &[String], endpoint: &str, display: &Display) -> Result<Self, Failure> {
        let Some((name, arguments)) = command.split_first() else {
            return Err(Failure::Usage("name a program to run".to_owned()));
        };
        let mut command = Command::new(name);
        command.args(arguments).env("PURLIN_JOB_ENDPOINT", endpoint).kill_on_drop(true);
        // Where bars are drawn, foreign lines must go between them.
        if display.draws() {
            command.stderr(Stdio::piped());
        }
        let mut child = command.spawn().map_err(|error| {
            Failure::Usage(match error.kind() {
                std::io::ErrorKind::NotFound => sdk::no_such_program(name),
                _ => format!("cannot run `{name}`: {error}"),
            })
        })?;
        let relay = child.stderr.take().map(|stderr| {
            let printer = display.printer();
            tokio::spawn(async move {
                let mut lines = BufReader::new(stderr).split(b'\n');
                while let Ok(Some(line)) = lines.next_segment().await {
                    printer.line(&String::from_utf8_lossy(&line));
                }
            })
        });
        Ok(Self { child, relay })
    }

    /// Waits for the program and its jobs. The first Ctrl-C cancels the jobs, so that the program can end by itself;
    /// the second ends everything.
    pub(super) async fn watch(
        mut self,
        server: &Server,
        display: &Display,
        interrupts: &mut Interrupts,
    ) -> Result<Ended, Failure> {
        let mut interrupted = false;
        let status = loop {
            let interrupt = tokio::select! {
                status = self.child.wait() => {
                    break status.map_err(|error| Failure::Failed(format!("lost the program: {error}")))?;
                }
                interrupt = interrupts.next() => interrupt,
            };
            if interrupted {
                display.printer().line("purlin: ending at once");
                server.hurry().cancel();
                // An error means that it has ended by itself.
                let _ = self.child.start_kill();
                continue;
            }
            interrupted = true;
            match interrupt {
                Interrupt::CtrlC => {
                    display.printer().line("purlin: cancelling; press Ctrl-C again to end at once");
                    server.cancel_jobs("Ctrl-C was pressed");
                    // A terminal has told the program too; whoever sent us the signal has not.
                    if !std::io::stdin().is_terminal() {
                        self.forward(Signal::INT);
                    }
                }
                Interrupt::Terminate => {
                    server.cancel_jobs("purlin run was told to end (SIGTERM)");
                    self.forward(Signal::TERM);
                }
            }
        };
        if let Some(relay) = self.relay.take() {
            // The program's end of the pipe is closed, unless a process that it left behind holds it.
            let _ = tokio::time::timeout(RELAY_MAX, relay).await;
        }
        let code = exit_code(status);
        if code == 0 && !interrupted {
            server.idle().await;
            let failed: Vec<_> = server.jobs().into_iter().filter(|job| job.state() == JobState::Failed).collect();
            if !failed.is_empty() {
                // The program is gone, and cannot tell any more.
                failed.iter().filter_map(|job| reason(job)).for_each(|reason| display.printer().line(&reason));
                return Ok(Ended::JobFailed);
            }
        }
        Ok(Ended::Program(code))
    }
}

impl Program {
    fn forward(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // An error means that it has ended by itself.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Why a job failed, in its own words.
fn reason(job: &Job) -> Option<String> {
    let mut log = job.log().reader();
    let items = std::iter::from_fn(|| log.try_next());
    let errors = items.filter_map(|item| match item {
        LogItem::Entry(_, entry) => match &*entry {
            LogEntry::Message(message) if message.importance == Importance::Error => Some(message.text.clone()),
            LogEntry::Message(_) | LogEntry::State { .. } => None,
        },
        LogItem::Dropped(_) => None,
    });
    errors.last().map(|text| format!("purlin: {} failed after the program had ended: {text}", job.id()))
}

/// As shells do: the code, or 128 and the number of the signal.
fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(1),
        (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(1),
        (None, None) => 1,
    }
}
