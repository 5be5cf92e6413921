//! Dead letters, with Beam's Java SDK (`tests/java/DeadLetters.java`), which takes the option as an experiment: the element that fails is
//! written to a file and the rest comes out; where there are keys the job stops; and the mended program takes what was put aside.

mod harness;

use std::path::Path;

use harness::{Finished, finish, java, purlin};
use serde_json::Value;

/// Starts the program with these words of Purlin.
fn run(purlin_words: &[&str], runner: &str, class_path: &str, folder: &Path, how: &str) -> Finished {
    let dead = folder.join(runner).to_string_lossy().into_owned();
    let mut command = purlin();
    command.args(purlin_words).args(["--runner", runner]);
    finish(java::behind(command, class_path, folder, &["DeadLetters", how, &dead]))
}

/// What it prints of its own, sorted.
fn lines(finished: &Finished) -> Vec<&str> {
    let of_ours = |line: &&str| line.starts_with("sum: ") || line.starts_with("end: ");
    let mut lines: Vec<_> = finished.stdout.lines().filter(of_ours).collect();
    lines.sort_unstable();
    lines
}

fn list(folder: &Path, options: &[&str]) -> Finished {
    let mut command = purlin();
    command.args(["dead-letters", "list"]).arg(folder).args(options);
    finish(command).well()
}

/// The only letter in a folder.
fn letter(folder: &Path) -> Value {
    let letters: Vec<Value> = serde_json::from_str(&list(folder, &["--json"]).stdout).expect("a list in JSON");
    let [letter] = &letters[..] else { panic!("in {}: {letters:#?}", folder.display()) };
    letter.clone()
}

/// What stands at these names.
fn told(letter: &Value, name: &str) -> String {
    letter[name].as_str().unwrap_or_default().to_owned()
}

fn puts_aside_and_takes(runner: &str, class_path: &str, folder: &Path) {
    let broken = run(&["run"], runner, class_path, folder, "broken");
    assert_eq!(lines(&broken), ["end: DONE", "end: FAILED", "sum: 19999 is 24", "sum: 9999 is 7"], "on {runner}");
    assert!(!broken.status.success(), "on {runner} the job with keys has not failed");
    broken.says(&["It failed at key \"length 6\" in window [0,10000)", "no element is passed over"]);

    let elements = folder.join(runner).join("elements");
    let put_aside = letter(&elements);
    assert!(put_aside["key"].is_null(), "on {runner}: {put_aside:#}");
    assert_eq!(put_aside["windows"], serde_json::json!(["[0,10000)"]), "on {runner}: {put_aside:#}");
    assert_eq!(told(&put_aside, "timestamp"), "3000", "on {runner}");
    assert!(told(&put_aside, "stage").contains("Parse"), "on {runner}: {put_aside:#}");
    // As it comes out of the reshuffle, with its key.
    assert_eq!(told(&put_aside, "text"), "(\"one\", \"warped\")", "on {runner}");
    assert_eq!(told(&put_aside, "element"), "A29uZQZ3YXJwZWQ=", "on {runner}");
    assert!(told(&put_aside, "error").contains("at DeadLetters$Parse.process(DeadLetters.java:"), "on {runner}");
    list(&elements, &[]).says(&["\"warped\")  java.lang.NumberFormatException: For input string: \"warped\""]);

    let stateful = folder.join(runner).join("stateful");
    let stopped_at = letter(&stateful);
    assert_eq!(told(&stopped_at, "key"), "\"length 6\"", "on {runner}");
    assert_eq!(told(&stopped_at, "text"), "(\"length 6\", \"warped\")", "on {runner}");

    let [of_elements, of_keys] = [&elements, &stateful].map(|folder| folder.to_string_lossy().into_owned());
    let mended = run(&["dead-letters", "replay", &of_elements], runner, class_path, folder, "mended").well();
    assert_eq!(lines(&mended), ["end: DONE", "sum: 9999 is 32"], "on {runner}");
    mended.says(&["1 dead letter was replayed"]);
    list(&elements, &[]).says(&["There are no dead letters", "--all"]);
    let refused = run(&["dead-letters", "replay", &of_keys], runner, class_path, folder, "mended");
    assert_eq!(refused.status.code(), Some(1), "on {runner}");
    refused.says(&["stateful stage `Count/ParMultiDo(Count)`, at key \"length 6\"", "Run the pipeline again"]);
}

#[test]
fn on_each_runner() {
    java::on_each_runner("DeadLetters.java", puts_aside_and_takes);
}
