//! Beam's own tests of portable runners, from the installed package, on each of our runners.
//!
//! A failing test of Beam's is run again alone with `tests/beam_suite/portable_runner.py`, which says how.

mod harness;

use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Server, finish, python};

/// Beam's tests that run; with those that are skipped they are all 76.
const PASSED: &str = "67 passed, 9 skipped";

fn suite(runner: &str) {
    let server = Server::start();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/beam_suite/portable_runner.py");
    let mut command = Command::new(python());
    command
        .args(["-m", "pytest", "-q", "-rs", "--tb=short", "--timeout=60", "-p", "no:cacheprovider"])
        .arg(file)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PURLIN_ENDPOINT", server.endpoint())
        .env("PURLIN_RUNNER", runner)
        .stdin(Stdio::null());
    let finished = finish(command).well().says(&[PASSED]);
    for line in finished.stdout.lines().filter(|line| line.starts_with("SKIPPED")) {
        eprintln!("{runner}: {line}");
    }
}

#[test]
fn on_direct() {
    suite("direct");
}

#[test]
fn on_micro_batch() {
    suite("micro-batch");
}

#[test]
fn on_continuous() {
    suite("continuous");
}
