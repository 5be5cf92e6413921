//! Draining, with Beam's Go SDK: its own test, whose source never ends by itself, so that somebody must drain its job from
//! outside; and timers, for which nobody waits then (`tests/go/draining.go`).

mod harness;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::jobs::{Jobs, State};
use harness::printing::Printing;
use harness::{Server, Started, finish, go, on_each_runner, purlin};

/// The program as a client of this server.
fn client(program: &Path, server: &Server, runner: &str) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--runner=universal", "--environment_type=LOOPBACK", &format!("--endpoint={}", server.endpoint())])
        .arg(format!("--experiments=purlin_runner={runner}"))
        .stdin(Stdio::null());
    command
}

/// What the job was told, once it is drained.
fn told(jobs: &Jobs, job: &str, server: &Server) -> String {
    jobs.await_state(job, State::Drained);
    let mut logs = purlin();
    logs.args(["logs", job, "--endpoint", &server.endpoint()]);
    finish(logs).well().stdout
}

#[test]
fn its_own_test_on_each_runner() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = go::tests_of("go/test/integration/primitives", folder.path());
    on_each_runner(|runner| {
        let server = Server::start();
        let jobs = Jobs::of(&server);
        let mut command = client(&program, &server, runner);
        command.args(["-test.run=^TestDrain$", "-test.v", "-test.timeout=170s"]);
        let test = Started::new(command);
        let job = jobs.await_any();
        jobs.await_running(&job);
        server.drain(&job);
        test.finish().well().says(&["--- PASS: TestDrain"]);
        let told = told(&jobs, &job, &server);
        for part in ["restrictions that were truncated, 0 ended there and", "were processed to their new end"] {
            assert!(told.contains(part), "on {runner} it does not say {part:?}: {told}");
        }
        // Its worker has the log of its client, which logs every message.
        assert!(!told.contains("(id="), "messages came back as messages: {told}");
    });
}

#[test]
fn timers_are_not_waited_for_on_each_runner() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = go::program("draining", folder.path());
    on_each_runner(|runner| {
        for (sets, looping) in [("none", 0), ("itself", 1), ("other", 1)] {
            let server = Server::start();
            let jobs = Jobs::of(&server);
            let mut command = client(&program, &server, runner);
            command.args(["-sets", sets]);
            let mut printing = Printing::new(command);
            printing.until(|lines| lines.len() > 2);
            let job = jobs.await_any();
            server.drain(&job);
            let printed = printing.finish();
            let mut said = BTreeMap::<&str, usize>::new();
            printed.iter().for_each(|line| *said.entry(line).or_default() += 1);
            let kept = said.remove("kept").expect("it has kept some");
            // Each of them once, with what is kept, and before the end of their window.
            let fired = ["later", "last", "again", "end"].map(|timer| format!("{timer} with {kept}"));
            assert_eq!(printed[printed.len() - 4..], fired, "on {runner}, with {sets}");
            assert_eq!(said.len(), 4, "on {runner}, with {sets}: {said:?}");
            let told = told(&jobs, &job, &server);
            assert_eq!(told.matches("will not fire again").count(), looping, "on {runner}, with {sets}: {told}");
        }
    });
}
