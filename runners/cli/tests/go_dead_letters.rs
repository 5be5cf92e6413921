//! Dead letters, with Beam's Go SDK, which takes the option as an experiment: the element that fails is written to a file, and the rest
//! comes out; the mended program takes what was put aside.

mod harness;

use harness::{RUNNERS, finish, go, purlin};

#[test]
fn what_fails_is_put_aside_on_each_runner() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = go::program("failing", folder.path());
    for runner in RUNNERS {
        let dead = folder.path().join(runner);
        let mut command = purlin();
        command.args(["run", "--runner", runner, "--"]).arg(&program);
        command.arg(format!("--experiments=dead_letter_dir={}", dead.display()));
        finish(command).well().says(&["the sum is 17"]);
        let mut list = purlin();
        list.args(["dead-letters", "list", "--json"]).arg(&dead);
        let listed = finish(list).well();
        let letters: Vec<serde_json::Value> = serde_json::from_str(&listed.stdout).expect("a list in JSON");
        let [letter] = &letters[..] else { panic!("on {runner}: {letters:?}") };
        let told = letter.to_string();
        for part in ["lengthOf", "warped", "warped timber cannot be measured", "global"] {
            assert!(told.contains(part), "on {runner} it does not tell {part}: {told}");
        }
        let mut replay = purlin();
        replay.args(["dead-letters", "replay"]).arg(&dead).args(["--runner", runner, "--"]);
        replay.arg(&program).arg("--mended");
        finish(replay).well().says(&["the sum is 6\n", "1 dead letter was replayed"]);
    }
}
