//! The Java example, built here and run by `purlin run`: the counts equal those of a count that knows nothing of Beam.

mod harness;

use std::process::{Command, Stdio};

use harness::counts::{self, texts};
use harness::{finish, purlin, root};

#[test]
fn the_example_by_purlin_run() {
    let (input, output) = (texts(), tempfile::tempdir().expect("a temporary folder"));
    let project = root().join("examples/java");
    let mut build = Command::new("mvn");
    build.args(["--quiet", "--batch-mode", "package"]).current_dir(&project).stdin(Stdio::null());
    finish(build).well();
    let target = project.join("target");
    let mut command = purlin();
    command.args(["run", "--", "java", "-cp"]);
    command.arg(format!("{0}/wordcount-1.jar:{0}/lib/*", target.display()));
    command.arg("example.WordCount");
    command.arg(format!("--input={}", input.path().join("*.txt").display()));
    command.arg(format!("--output={}", output.path().join("counts").display()));
    finish(command).well();
    assert_eq!(counts::read(output.path()), counts::expected(input.path(), counts::runs_of_letters));
}
