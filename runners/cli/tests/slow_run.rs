//! `purlin run` without an SDK: what the program is told, what it ends with, and what becomes of it by Ctrl-C.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod harness;

use std::path::Path;

use harness::{Finished, Started, finish, purlin};

/// Runs a shell script by `purlin run` with these options and these words behind the script.
fn shell(options: &[&str], script: &str, words: &[&str]) -> Finished {
    let mut command = purlin();
    command.arg("run").args(options).args(["--", "sh", "-c", script, "sh"]).args(words);
    finish(command)
}

#[test]
fn the_program_hears_of_the_server_and_ends_as_it_does() {
    // The program that is run asks the server that was started for it.
    let script = format!("{} jobs --json; exit 7", env!("CARGO_BIN_EXE_purlin"));
    let finished = shell(&["--sdk", "none"], &script, &[]);
    assert_eq!((finished.status.code(), finished.stdout.trim(), &*finished.stderr), (Some(7), "[]", ""));
    assert_eq!(shell(&["--sdk", "none"], "kill -9 $$", &[]).status.code(), Some(137), "as shells have it");
}

#[test]
fn flags_go_to_the_end_or_to_their_place_and_given_ones_stay() {
    let echo = "printf '%s\\n' \"$@\"";
    let flags = |sdk: &str, words: &[&str]| {
        let said = shell(&["--sdk", sdk], echo, words).well().stdout;
        let port = |word: &str| word.rsplit_once(':').map_or(word.to_owned(), |(before, _)| format!("{before}:PORT"));
        said.lines().map(port).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        flags("python", &["--input", "x"]),
        "--input x --runner=PortableRunner --job_endpoint=localhost:PORT --environment_type=LOOPBACK \
         --experiments=disable_logging_submission_environment"
    );
    assert_eq!(
        flags("go", &["{purlin}", "--", "x"]),
        "--runner=universal --endpoint=localhost:PORT --environment_type=LOOPBACK -- x"
    );
    assert_eq!(
        flags("java", &["--runner=DirectRunner"]),
        "--runner=DirectRunner --jobEndpoint=localhost:PORT --defaultEnvironmentType=LOOPBACK"
    );
    assert_eq!(flags("none", &["--input", "x"]), "--input x");
}

#[test]
fn the_two_dashes_may_be_left_out() {
    let mut command = purlin();
    command.args(["run", "--sdk", "none", "sh", "-c", "exit 4"]);
    assert_eq!(finish(command).status.code(), Some(4));
}

#[test]
fn what_cannot_be_run_is_2_and_says_why() {
    let check = |words: &[&str], text: &str| {
        let mut command = purlin();
        command.arg("run").args(words);
        let finished = finish(command);
        assert_eq!(finished.status.code(), Some(2), "{finished:?}");
        finished.says(&[text]);
    };
    check(&[], "<COMMAND>");
    check(&["--", "/bin/sh", "-c", "true"], "cannot tell which SDK `/bin/sh` uses; say so with --sdk");
    check(&["--", "no-such-program"], "there is no program `no-such-program` on the PATH");
    check(&["--sdk", "python", "--", "no-such-program"], "there is no program `no-such-program` on the PATH");
    check(&["--runner", "slink", "--", "python", "p.py"], "there is no runner `slink`");
    check(&["--workers", "0", "--", "python", "p.py"], "--workers");
    check(&["--no-such-flag", "--", "python", "p.py"], "--no-such-flag");
}

/// A script under way, which has said that it is: by a file, for its output is read only in the end.
fn under_way(folder: &Path, script: &str) -> Started {
    let ready = folder.join("ready");
    let mut command = purlin();
    command.args(["run", "--sdk", "none", "--", "sh", "-c"]).arg(script).env("READY", &ready);
    let started = Started::new(command);
    while !ready.exists() {
        std::thread::yield_now();
    }
    started
}

#[test]
fn ctrl_c_reaches_the_program_which_may_end_as_it_likes() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap 'echo tidying up; exit 9' INT; touch $READY; while :; do sleep 0.05; done";
    let started = under_way(folder.path(), script);
    started.signal("INT");
    let finished = started.finish().says(&["press Ctrl-C again", "tidying up"]);
    assert_eq!(finished.status.code(), Some(9));
}

#[test]
fn a_second_ctrl_c_ends_a_program_that_does_not_listen() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap 'touch $READY.heard' INT; touch $READY; while :; do sleep 0.05; done";
    let started = under_way(folder.path(), script);
    started.signal("INT");
    while !folder.path().join("ready.heard").exists() {
        std::thread::yield_now();
    }
    started.signal("INT");
    let finished = started.finish().says(&["ending at once"]);
    assert_eq!(finished.status.code(), Some(137));
}
