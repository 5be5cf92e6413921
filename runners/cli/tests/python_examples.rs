//! Beam's example pipelines, from the installed package, unmodified, on each of our runners, against FnApiRunner.

mod harness;

use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Server, finish, python};

/// The runners that must give the same results.
const RUNNERS: [&str; 3] = ["direct", "micro-batch", "continuous"];

#[test]
fn beams_examples_give_equal_results_on_every_runner() {
    let server = Server::start();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/beam_suite/examples.py");
    let mut command = Command::new(python());
    command.arg(file).args(["--endpoint", &server.endpoint()]).args(RUNNERS).stdin(Stdio::null());
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    finish(command).well().says(&[&format!("{} equal, 0 failed", 14 * RUNNERS.len())]);
}
