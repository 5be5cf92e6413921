//! The Go examples, built here and run by `purlin run`: the counts equal those of a count that knows nothing of Beam, the
//! panes those of the guide.

mod harness;

use std::path::Path;

use harness::counts::{self, texts};
use harness::dashboard::{Column, prints_what_the_guide_says};
use harness::{RUNNERS, finish, go, purlin, worker_command};

#[test]
fn the_words_are_counted() {
    counts_words(|_| Vec::new());
}

#[test]
fn the_words_are_counted_by_processes() {
    counts_words(|program| {
        let config = format!("--environment_config={}", worker_command("go"));
        vec!["--environment_type=PROCESS".to_owned(), config, format!("--worker_binary={}", program.display())]
    });
}

/// With what else the program is told about its workers.
fn counts_words(workers: impl Fn(&Path) -> Vec<String>) {
    let (input, output) = (texts(), tempfile::tempdir().expect("a temporary folder"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = go::example("wordcount", folder.path());
    let mut command = purlin();
    command.args(["run", "--"]).arg(&program).args(workers(&program));
    command.arg(format!("--input={}", input.path().join("*.txt").display()));
    command.arg(format!("--output={}", output.path().join("counts.txt").display()));
    finish(command).well().says(&["wordcount:lines = "]);
    assert_eq!(counts::read(output.path()), counts::expected(input.path(), counts::runs_of_letters));
}

#[test]
fn the_dashboard_on_every_runner() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = go::example("dashboard", folder.path());
    for runner in RUNNERS {
        let mut command = purlin();
        command.args(["run", "--runner", runner, "--"]).arg(&program);
        prints_what_the_guide_says(command, Column::Go);
    }
}
