//! One pipeline, several runners, one server: the same results, and every job says where it ran.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod harness;

use std::path::Path;

use harness::counts::{self, texts};
use harness::{Server, Started, finish, pipeline_file, purlin, python, root, with_python};

/// WordCount on the runner of this name, under way.
fn count(server: &Server, input: &Path, output: &Path, choice: &str) -> Started {
    let mut command = std::process::Command::new(python());
    command.current_dir(root()).env("PYTHONDONTWRITEBYTECODE", "1").args(["-m", "apache_beam.examples.wordcount"]);
    command.arg("--input").arg(input.join("*.txt")).arg("--output").arg(output.join("counts"));
    command.args(server.loopback()).arg(choice);
    Started::new(command)
}

#[test]
fn one_pipeline_gives_the_same_on_every_runner_at_once() {
    let server = Server::start();
    let input = texts();
    let choices = [
        "--purlin_runner=direct",
        "--experiments=purlin_runner=micro-batch",
        "--purlin_runner=continuous",
        "--purlin_runner=auto",
    ];
    let outputs: Vec<_> = choices.iter().map(|_| tempfile::tempdir().unwrap()).collect();
    let under_way =
        choices.iter().zip(&outputs).map(|(choice, output)| count(&server, input.path(), output.path(), choice));
    let under_way: Vec<_> = under_way.collect();
    for program in under_way {
        program.finish().well();
    }
    let counted: Vec<_> = outputs.iter().map(|output| counts::read(output.path())).collect();
    assert!(counted[0].len() > 100, "{}", counted[0].len());
    assert!(counted.iter().all(|counts| *counts == counted[0]));
    let mut jobs = purlin();
    jobs.args(["jobs", "--json", "--endpoint", &server.endpoint()]);
    let listed: serde_json::Value = serde_json::from_str(&finish(jobs).well().stdout).unwrap();
    assert_eq!(listed.as_array().map(Vec::len), Some(choices.len()), "{listed}");
}

#[test]
fn check_says_which_runner_would_do_and_why() {
    let mut command = purlin();
    command.args(["check", "--runner", "auto", "--"]);
    let mut command = with_python(command);
    command.arg(pipeline_file("ten_elements.py"));
    finish(command).well().says(&["auto chose runner `direct`", "runner `direct` runs this pipeline"]);
}

/// Runs the small pipeline with these options, and expects a refusal.
fn refused(options: &[&str], text: &str) {
    let mut command = purlin();
    command.args(["run", "--"]);
    let mut command = with_python(command);
    command.arg(pipeline_file("ten_elements.py")).args(options);
    let finished = finish(command);
    assert!(!finished.status.success());
    finished.says(&[text]);
}

#[test]
fn wrong_choices_are_refused_on_the_terminal() {
    refused(
        &["--purlin_runner=slow"],
        "there is no runner `slow`; this server offers: continuous, direct, micro-batch, auto",
    );
    refused(
        &["--continuous_bundle_age_ms=7"],
        "--continuous_bundle_age_ms is an option of runner `continuous`, and this job is for `direct`",
    );
    refused(
        &["--direct_bundle_elements_max=0"],
        "--direct_bundle_elements_max must be a whole number of at least 1, but is 0",
    );
}
