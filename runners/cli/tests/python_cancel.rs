//! Cancelling a job whose user code never returns, in Python: its client hears of it, and its workers are freed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod harness;

use std::path::Path;

use harness::jobs::{Jobs, State};
use harness::{RUNNERS, Server, Started, finish, pipeline, pipeline_file, purlin, python};

/// The configuration of environments of processes.
fn processes() -> String {
    let mut command = purlin();
    command.args(["worker-command", "python", "--python"]).arg(python()).arg("--folder").arg(pipeline_file(""));
    finish(command).well().stdout.trim().to_owned()
}

/// Who has come to the user code that blocks. Nothing tells of files, so that it looks again and again.
fn blocked(folder: &Path) -> String {
    loop {
        if let Some(entry) = std::fs::read_dir(folder).unwrap().next() {
            return entry.unwrap().file_name().into_string().unwrap();
        }
        std::thread::yield_now();
    }
}

/// Whether a process lives. One that has ended may wait as a zombie for whoever adopted it.
fn lives(process: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

fn cancelled(runner: &str, environment: &[&str], workers_end: bool) {
    let server = Server::start();
    let jobs = Jobs::of(&server);
    let folder = tempfile::tempdir().unwrap();
    let mut command = pipeline("blocked.py");
    command.arg(folder.path()).args(server.options()).args(environment);
    command.arg(format!("--experiments=purlin_runner={runner}"));
    let program = Started::new(command);
    let job = jobs.await_any();
    let process = blocked(folder.path());
    let mut cancel = purlin();
    cancel.args(["cancel", &job, "--endpoint", &server.endpoint()]);
    finish(cancel).well();
    jobs.await_state(&job, State::Cancelled);
    if workers_end {
        while lives(&process) {
            std::thread::yield_now();
        }
    }
    program.finish().well().says(&["ended: ", "CANCELLED"]);
}

fn on_each_runner(environment: &[&str], workers_end: bool) {
    for runner in RUNNERS {
        cancelled(runner, environment, workers_end);
    }
}

#[test]
fn processes_are_ended() {
    let config = format!("--environment_config={}", processes());
    on_each_runner(&["--environment_type=PROCESS", &config], true);
}

#[test]
fn a_program_that_is_its_own_worker_goes_on() {
    on_each_runner(&["--environment_type=LOOPBACK"], false);
}
