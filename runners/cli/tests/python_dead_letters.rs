//! Dead letters, with Beam's Python SDK: elements that user code fails on are written to a file, and everything else comes out.

mod harness;

use std::path::Path;
use std::process::Command;

use harness::{Finished, RUNNERS, Server, finish, pipeline, pipeline_file, purlin, with_python};

/// A thousand numbers, three of which are none.
fn numbers(folder: &Path) -> String {
    let words = (0..1_000).map(|number| match number {
        7 | 500 | 999 => format!("word{number}\n"),
        number => format!("{number}\n"),
    });
    let path = folder.join("numbers.txt");
    std::fs::write(&path, words.collect::<String>()).expect("a file can be written");
    path.to_string_lossy().into_owned()
}

/// What is left of them.
const SUM: &str = "the sum is 497994";

fn run(what: &str, options: &[&str], folder: &Path) -> Command {
    let mut command = purlin();
    command.args(["run", "--workers", "1", "--"]);
    let mut command = with_python(command);
    command.arg(pipeline_file("failing_elements.py")).args([what, &numbers(folder)]).args(options);
    command
}

fn letters(folder: &Path, options: &[&str]) -> Finished {
    let mut command = purlin();
    command.args(["dead-letters", "list"]).arg(folder).args(options);
    finish(command).well()
}

#[test]
fn what_cannot_be_parsed_is_put_aside_and_the_rest_is_summed_up() {
    for what in ["elements", "lines"] {
        let folder = tempfile::tempdir().expect("a folder");
        let dead = folder.path().join("not/there/yet");
        let dead_letters = format!("--dead_letter_dir={}", dead.display());
        finish(run(what, &[&dead_letters], folder.path())).well().says(&[SUM, "dead letter 3, in `", "word500"]);
        letters(&dead, &[]).says(&["\"word7\" ", "word500", "word999", "ValueError: invalid literal for int()"]);
        letters(&dead, &["--full"]).says(&["in whole", "failing_elements.py", "Parse", "global", "PCollection"]);
        let json = letters(&dead, &["--json"]);
        let found: Vec<serde_json::Value> = serde_json::from_str(&json.stdout).expect("a list in JSON");
        let texts: Vec<_> = found.iter().map(|letter| letter["text"].as_str().unwrap_or_default()).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(found.iter().all(|letter| letter["key"].is_null()), "no stage here has keys");
    }
}

#[test]
fn without_a_folder_the_first_failure_is_the_end_and_with_one_only_so_many_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let finished = finish(run("elements", &[], folder.path())).says(&["ValueError: invalid literal for int()"]);
    assert!(!finished.status.success());
    let dead_letters = format!("--dead_letter_dir={}", folder.path().join("dead").display());
    let finished = finish(run("elements", &[&dead_letters, "--dead_letter_max=2"], folder.path()));
    assert!(!finished.status.success());
    finished.says(&["more than 2 elements failed", "--dead_letter_max"]);
}

#[test]
fn a_stateful_stage_names_the_key_and_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let dead = folder.path().join("dead");
    let mut server = Server::start();
    let mut command = pipeline("failing_elements.py");
    command.args(["stateful", &numbers(folder.path())]).args(server.loopback());
    command.arg(format!("--dead_letter_dir={}", dead.display()));
    let finished = finish(command).says(&["It failed at key \"key 1\" in window global", "ValueError: no 13"]);
    assert!(!finished.status.success());
    assert!(server.is_up(), "the server has ended");
    letters(&dead, &[]).says(&["\"key 1\"", "no 13"]);
}

/// What is left of the numbers of `mended_elements.py`, which multiplies by ten and cannot check 42.
const FEWER: &str = "the sum is 4979520";

/// And what is not: 7, 500, 999 and 42.
const THE_OTHERS: &str = "the sum is 15480";

/// A program that is run by `purlin run`, or by `purlin dead-letters replay`.
fn program(purlin_words: &[&str], how: &str, folder: &Path, options: &[&str]) -> Command {
    let mut command = purlin();
    command.args(purlin_words).args(["--workers", "1", "--"]);
    let mut command = with_python(command);
    let out = folder.join("out");
    command.arg(pipeline_file("mended_elements.py")).args([how, &numbers(folder)]).arg(out).args(options);
    command
}

/// A folder of dead letters, and the option that names it.
fn failed(folder: &Path) -> (std::path::PathBuf, String) {
    let dead = folder.join("dead");
    let dead_letters = format!("--dead_letter_dir={}", dead.display());
    finish(program(&["run"], "broken", folder, &[&dead_letters])).well().says(&[FEWER]);
    (dead, dead_letters)
}

/// What `WriteToText` has written, shard by shard.
fn written(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
    let shards = files.filter(|path| path.to_string_lossy().contains("/out-"));
    let mut lines: Vec<_> = shards
        .flat_map(|path| std::fs::read_to_string(path).expect("a text").lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    lines.sort();
    lines
}

fn file_names(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

#[test]
fn a_mended_pipeline_takes_the_elements_that_failed_and_nothing_else() {
    for runner in RUNNERS {
        let folder = tempfile::tempdir().expect("a folder");
        let (dead, _) = failed(folder.path());
        assert_eq!(written(folder.path()).len(), 996);
        let path = dead.to_string_lossy().into_owned();
        let replay = ["dead-letters", "replay", path.as_str(), "--runner", runner];
        let dry: Vec<_> = replay.iter().copied().chain(["--dry-run"]).collect();
        finish(program(&dry, "mended", folder.path(), &[]))
            .well()
            .says(&["word500", "Parse", "420", "Check", "4 dead"]);
        letters(&dead, &[]).says(&["\"word7\" ", "no 420"]);
        // Side inputs are made again, and so is what `WriteToText` and a global sum need to run once.
        let done = finish(program(&replay, "mended", folder.path(), &[])).well();
        done.says(&[THE_OTHERS, "420 at Timestamp(420) in [420.0, 430.0)", "4 dead letters were replayed"]);
        assert_eq!(written(folder.path()), ["420", "5000", "70", "9990"]);
        assert!(file_names(&dead).iter().all(|name| name.ends_with(".replayed.jsonl")), "{:?}", file_names(&dead));
        letters(&dead, &[]).says(&["There are no dead letters", "--all"]);
        letters(&dead, &["--all"]).says(&["word7", "word500", "word999", "no 420"]);
        let again =
            finish(program(&replay, "mended", folder.path(), &[])).says(&["there are no dead letters to replay"]);
        assert_eq!(again.status.code(), Some(2));
    }
}

#[test]
fn what_fails_again_is_not_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dead, dead_letters) = failed(folder.path());
    let path = dead.to_string_lossy().into_owned();
    let replay = ["dead-letters", "replay", path.as_str()];
    let before = file_names(&dead);
    let failed = finish(program(&replay, "broken", folder.path(), &[]));
    assert!(!failed.status.success());
    failed.says(&["ValueError: ", "nothing counts as replayed", "are still in"]);
    assert_eq!(file_names(&dead), before);
    finish(program(&replay, "broken", folder.path(), &[&dead_letters])).well().says(&["4 dead letters were replayed"]);
    assert_eq!(file_names(&dead).len(), 2);
    finish(program(&replay, "mended", folder.path(), &[])).well().says(&[THE_OTHERS]);
    assert!(file_names(&dead).iter().all(|name| name.ends_with(".replayed.jsonl")), "{:?}", file_names(&dead));
}

#[test]
fn letters_that_fit_nothing_are_all_told_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dead, _) = failed(folder.path());
    let path = dead.to_string_lossy().into_owned();
    let replay = ["dead-letters", "replay", path.as_str()];
    let dry = ["dead-letters", "replay", path.as_str(), "--dry-run"];
    let check = |words: &[&str], how: &str, told: &[&str]| {
        let refused = finish(program(words, how, folder.path(), &[]));
        assert!(!refused.status.success());
        refused.says(told);
        letters(&dead, &[]).says(&["\"word7\" ", "no 420"]);
    };
    check(&replay, "renamed", &["Parse: has dead letters, and the pipeline has no such transform"]);
    check(&dry, "renamed", &["Parse: has dead letters, and the pipeline has no such transform"]);
    check(&dry, "encoded otherwise", &["Parse: has dead letters encoded as `string_utf8`, and reads `bytes` now"]);
    let windows = "Check: has dead letters in windows that are fixed, 10000 ms from 0 ms, and reads windows that are fixed, 60000 ms";
    check(&dry, "windowed otherwise", &[windows]);
}

#[test]
fn what_cannot_be_replayed_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |path: &Path, command: &[&str], code: i32, told: &[&str]| {
        let mut replay = purlin();
        replay.args(["dead-letters", "replay"]).arg(path).args(command);
        let refused = finish(replay).says(told);
        assert_eq!(refused.status.code(), Some(code));
    };
    let python = ["--", "python", "no_program.py"];
    check(&folder.path().join("none"), &python, 2, &["there is no `", "--dead_letter_dir"]);
    check(folder.path(), &python, 2, &["there are no dead letters to replay"]);
    check(folder.path(), &[], 2, &["<COMMAND>"]);
    let broken = folder.path().join("broken.jsonl");
    std::fs::write(&broken, "{}\n").expect("a file can be written");
    check(&broken, &python, 1, &["line 1 of `", "is no dead letter: missing field"]);
    let replayed = folder.path().join("job.replayed.jsonl");
    std::fs::write(&replayed, "").expect("a file can be written");
    check(&replayed, &python, 2, &["was replayed already"]);
    let dead = folder.path().join("dead");
    let dead_letters = format!("--dead_letter_dir={}", dead.display());
    assert!(!finish(run("stateful", &[&dead_letters], folder.path())).status.success());
    check(&dead, &python, 1, &["line 4 of `", "stateful stage `Count`, at key \"key 1\"", "Run the pipeline again"]);
    let (dead, _) = failed(&folder.path().join("dead"));
    let path = dead.to_string_lossy().into_owned();
    let mut idle = with_python({
        let mut command = purlin();
        command.args(["dead-letters", "replay", &path, "--"]);
        command
    });
    idle.args(["-c", "pass"]);
    let idle = finish(idle).says(&["the program started no job"]);
    assert_eq!(idle.status.code(), Some(1));
}

#[test]
fn what_is_wrong_with_the_options_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!("--dead_letter_dir={}/numbers.txt/dead", folder.path().display());
    let finished =
        finish(run("elements", &[&file], folder.path())).says(&["cannot make the folder", "--dead_letter_dir"]);
    assert!(!finished.status.success());
    let finished = finish(run("elements", &["--dead_letter_max=0"], folder.path()));
    assert!(!finished.status.success());
    finished.says(&["--dead_letter_max must be a whole number of at least 1"]);
    let mut command = purlin();
    command.args(["dead-letters", "list", "/no/such/folder"]);
    let finished = finish(command).says(&["there is no `/no/such/folder`", "--dead_letter_dir"]);
    assert_eq!(finished.status.code(), Some(2));
}
