//! The Java examples, built here and run by `purlin run`: the counts equal those of a count that knows nothing of Beam, the
//! panes those of the guide.

mod harness;

use std::process::{Command, Stdio};
use std::sync::LazyLock;

use harness::counts::{self, texts};
use harness::dashboard::{Column, prints_what_the_guide_says};
use harness::{finish, purlin, root};

/// What `java` is told to find all examples.
static CLASS_PATH: LazyLock<String> = LazyLock::new(|| {
    let project = root().join("examples/java");
    let mut build = Command::new("mvn");
    build.args(["--quiet", "--batch-mode", "package"]).current_dir(&project).stdin(Stdio::null());
    finish(build).well();
    format!("{0}/wordcount-1.jar:{0}/lib/*", project.join("target").display())
});

#[test]
fn the_words_are_counted() {
    let (input, output) = (texts(), tempfile::tempdir().expect("a temporary folder"));
    let mut command = purlin();
    command.args(["run", "--", "java", "-cp", &CLASS_PATH, "example.WordCount"]);
    command.arg(format!("--input={}", input.path().join("*.txt").display()));
    command.arg(format!("--output={}", output.path().join("counts").display()));
    finish(command).well();
    assert_eq!(counts::read(output.path()), counts::expected(input.path(), counts::runs_of_letters));
}

#[test]
fn the_dashboard() {
    for runner in ["direct", "continuous"] {
        let mut command = purlin();
        command.args(["run", "--runner", runner, "--", "java", "-cp", &CLASS_PATH, "example.Dashboard"]);
        prints_what_the_guide_says(command, Column::Java);
    }
}
