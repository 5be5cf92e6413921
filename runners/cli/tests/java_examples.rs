//! The Java examples, built here and run by `purlin run`: the counts equal those of a count that knows nothing of Beam, the
//! panes those of the guide.

mod harness;

use harness::counts::{self, texts};
use harness::dashboard::{Column, prints_what_the_guide_says};
use harness::{finish, java, worker_command};

#[test]
fn the_words_are_counted() {
    counts_words(&[]);
}

#[test]
fn the_words_are_counted_by_a_process() {
    let config = format!("--defaultEnvironmentConfig={}", worker_command("java"));
    counts_words(&["--defaultEnvironmentType=PROCESS", &config]);
}

/// With what else the program is told about its workers.
fn counts_words(workers: &[&str]) {
    let (input, output) = (texts(), tempfile::tempdir().expect("a temporary folder"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = java::run(&[], java::examples(), folder.path(), &["example.WordCount"]);
    command.args(workers);
    command.arg(format!("--input={}", input.path().join("*.txt").display()));
    command.arg(format!("--output={}", output.path().join("counts").display()));
    finish(command).well();
    assert_eq!(counts::read(output.path()), counts::expected(input.path(), counts::runs_of_letters));
}

#[test]
fn the_dashboard() {
    for runner in ["direct", "continuous"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let command = java::run(&["--runner", runner], java::examples(), folder.path(), &["example.Dashboard"]);
        prints_what_the_guide_says(command, Column::Java);
    }
}
