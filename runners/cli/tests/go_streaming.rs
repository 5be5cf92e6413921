//! Streams in Go (`tests/go`) that Beam's own tests do not have, on each of our runners: refreshed side inputs.

mod harness;

use harness::{RUNNERS, finish, go, purlin};

#[test]
fn a_side_input_is_refreshed_on_each_runner() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = go::program("refreshed", folder.path());
    for runner in RUNNERS {
        let mut command = purlin();
        command.args(["run", "--runner", runner, "--"]).arg(&program);
        let finished = finish(command).well();
        let read: Vec<_> = finished.stdout.lines().filter(|line| line.starts_with("refreshed: ")).collect();
        let expected = ["1 at rate 10", "2 at rate 10", "3 at rate 20"].map(|read| format!("refreshed: {read}"));
        assert_eq!(read, expected, "on {runner}");
    }
}
