//! The Go example, built here and run by `purlin run`: the counts equal those of a count that knows nothing of Beam.

mod harness;

use std::process::{Command, Stdio};

use harness::counts::{self, texts};
use harness::{finish, purlin, root};

#[test]
fn the_example_by_purlin_run() {
    let (input, output) = (texts(), tempfile::tempdir().expect("a temporary folder"));
    let built = tempfile::tempdir().expect("a temporary folder");
    let program = built.path().join("wordcount");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg("./wordcount").current_dir(root().join("examples/go"));
    build.stdin(Stdio::null());
    finish(build).well();
    let mut command = purlin();
    command.args(["run", "--"]).arg(&program);
    command.arg(format!("--input={}", input.path().join("*.txt").display()));
    command.arg(format!("--output={}", output.path().join("counts.txt").display()));
    finish(command).well().says(&["wordcount:lines = "]);
    assert_eq!(counts::read(output.path()), counts::expected(input.path(), counts::runs_of_letters));
}
