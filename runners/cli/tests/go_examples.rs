//! The Go examples, built here and run by `purlin run`: the counts equal those of a count that knows nothing of Beam, the
//! panes those of the guide.

mod harness;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::counts::{self, texts};
use harness::dashboard::{Column, prints_what_the_guide_says};
use harness::{finish, purlin, root};

/// Builds one of the examples into a folder.
fn built(name: &str, folder: &Path) -> PathBuf {
    let program = folder.join(name);
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(format!("./{name}")).current_dir(root().join("examples/go"));
    build.stdin(Stdio::null());
    finish(build).well();
    program
}

#[test]
fn the_words_are_counted() {
    let (input, output) = (texts(), tempfile::tempdir().expect("a temporary folder"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = purlin();
    command.args(["run", "--"]).arg(built("wordcount", folder.path()));
    command.arg(format!("--input={}", input.path().join("*.txt").display()));
    command.arg(format!("--output={}", output.path().join("counts.txt").display()));
    finish(command).well().says(&["wordcount:lines = "]);
    assert_eq!(counts::read(output.path()), counts::expected(input.path(), counts::runs_of_letters));
}

#[test]
fn the_dashboard_on_every_runner() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = built("dashboard", folder.path());
    for runner in ["direct", "micro-batch", "continuous"] {
        let mut command = purlin();
        command.args(["run", "--runner", runner, "--"]).arg(&program);
        prints_what_the_guide_says(command, Column::Go);
    }
}
