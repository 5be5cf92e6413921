//! The bounded half of Beam's model as Python users write it (`tests/bounded_model`), on each of our runners.

mod harness;

use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Server, finish, python};

fn suite(runner: &str) {
    let server = Server::start();
    let mut command = Command::new(python());
    command
        .args(["-m", "pytest", "-q", "-rs", "--tb=short", "--timeout=60", "-p", "no:cacheprovider", "."])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bounded_model"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PURLIN_ENDPOINT", server.endpoint())
        .env("PURLIN_RUNNER", runner)
        .stdin(Stdio::null());
    let finished = finish(command).well();
    assert!(!finished.stdout.contains("skipped"), "a test was skipped:\n{}", finished.stdout);
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
