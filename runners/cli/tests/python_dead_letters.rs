//! Dead letters, with Beam's Python SDK: elements that user code fails on are written to a file, and everything else comes out.

mod harness;

use std::path::Path;
use std::process::Command;

use harness::{Finished, Server, finish, pipeline, pipeline_file, purlin, with_python};

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
