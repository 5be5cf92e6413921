//! Beam's example pipelines, from the installed package, unmodified, on each of our runners, against FnApiRunner; and our example
//! with late data, against the guide.

mod harness;

use std::path::Path;
use std::process::{Command, Stdio};

use harness::dashboard::{Column, prints_what_the_guide_says};
use harness::{Server, finish, purlin, python, with_python};

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

#[test]
fn the_dashboard_on_every_runner() {
    for runner in RUNNERS {
        let mut command = purlin();
        command.args(["run", "--workers", "1", "--runner", runner, "--"]);
        let mut command = with_python(command);
        command.arg("examples/python/dashboard.py");
        prints_what_the_guide_says(command, Column::Python);
    }
}
