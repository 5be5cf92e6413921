//! Beam's own test of draining in Go, whose source never ends by itself: somebody must drain its job from outside.

mod harness;

use std::path::Path;
use std::process::{Command, Stdio};

use harness::jobs::{Jobs, State};
use harness::{Server, Started, finish, purlin, root};

fn drained(program: &Path, runner: &str) {
    let server = Server::start();
    let jobs = Jobs::of(&server);
    let mut command = Command::new(program);
    command
        .args(["--runner=universal", "--environment_type=LOOPBACK", &format!("--endpoint={}", server.endpoint())])
        .arg(format!("--experiments=purlin_runner={runner}"))
        .args(["-test.run=^TestDrain$", "-test.v", "-test.timeout=170s"])
        .stdin(Stdio::null());
    let test = Started::new(command);
    let job = jobs.await_any();
    jobs.await_running(&job);
    let mut drain = purlin();
    drain.args(["drain", &job, "--endpoint", &server.endpoint()]);
    finish(drain).well().says(&[&format!("{job} is DRAINING")]);
    test.finish().well().says(&["--- PASS: TestDrain"]);
    jobs.await_state(&job, State::Drained);
    let mut logs = purlin();
    logs.args(["logs", &job, "--endpoint", &server.endpoint()]);
    let told = finish(logs)
        .well()
        .says(&["restrictions that were truncated, 0 ended there and", "were processed to their new end"]);
    // Its worker has the log of its client, which logs every message.
    assert!(!told.stdout.contains("(id="), "messages came back as messages: {}", told.stdout);
}

#[test]
fn on_each_runner() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = folder.path().join("primitives");
    let mut build = Command::new("go");
    build.args(["test", "-c", "-o"]).arg(&program);
    build.arg("github.com/apache/beam/sdks/v2/go/test/integration/primitives");
    build.current_dir(root().join("benchmarks/go")).stdin(Stdio::null());
    finish(build).well();
    std::thread::scope(|scope| {
        for runner in ["direct", "micro-batch", "continuous"] {
            let program = &program;
            scope.spawn(move || drained(program, runner));
        }
    });
}
