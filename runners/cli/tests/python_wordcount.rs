//! WordCount end to end, by Beam's Python SDK: the counts equal those of a count that knows nothing of Beam.
//!
//! ```text
//!   texts ─► python wordcount.py ─► purlin ─► workers ─► counts-00000-of-…
//!     └────► counted here ───────────────────────────────► the same
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod harness;

use std::process::Command;

use harness::counts::{self, texts};
use harness::{Server, finish, pipeline_file, purlin, python, root, with_python};

/// Runs what `program` says, with input and output behind it, and compares what it wrote.
fn check(mut command: Command, program: &[&str], options: Vec<String>, words: fn(&str) -> Vec<String>) {
    let (input, output) = (texts(), tempfile::tempdir().expect("a temporary folder"));
    let pattern = input.path().join("*.txt");
    let prefix = output.path().join("counts");
    command.args(program).arg("--input").arg(&pattern).arg("--output").arg(&prefix).args(options);
    finish(command).well();
    assert_eq!(counts::read(output.path()), counts::expected(input.path(), words));
}

/// As `examples/python/wordcount.py` has it: letters, with apostrophes between them, in lower case.
fn letters(line: &str) -> Vec<String> {
    let line: Vec<char> = line.to_lowercase().chars().collect();
    let is_letter = |at: usize| line.get(at).is_some_and(|c| c.is_alphabetic());
    let in_word = |at: usize| is_letter(at) || line[at] == '\'' && at > 0 && is_letter(at - 1) && is_letter(at + 1);
    let words: String = (0..line.len()).map(|at| if in_word(at) { line[at] } else { ' ' }).collect();
    words.split_whitespace().map(str::to_owned).collect()
}

/// As Beam's own example has it: letters, digits, underscores and apostrophes.
fn word_characters(line: &str) -> Vec<String> {
    let words = line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '\'');
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn by_purlin_run() -> Command {
    let mut command = purlin();
    command.args(["run", "--"]);
    with_python(command)
}

fn directly() -> Command {
    let mut command = Command::new(python());
    command.current_dir(root()).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

const BEAMS_OWN: [&str; 2] = ["-m", "apache_beam.examples.wordcount"];

#[test]
fn the_example_by_purlin_run() {
    check(by_purlin_run(), &["examples/python/wordcount.py"], Vec::new(), letters);
}

#[test]
fn beams_own_by_purlin_run() {
    check(by_purlin_run(), &BEAMS_OWN, Vec::new(), word_characters);
}

#[test]
fn beams_own_against_a_server_with_loopback() {
    let server = Server::start();
    check(directly(), &BEAMS_OWN, server.loopback(), word_characters);
}

#[test]
fn beams_own_against_a_server_with_processes() {
    let server = Server::start();
    let mut command = purlin();
    command.args(["worker-command", "python", "--python"]).arg(python());
    let config = finish(command).well().stdout;
    let mut options = server.options();
    options.push("--environment_type=PROCESS".to_owned());
    options.push(format!("--environment_config={}", config.trim()));
    let leaving = pipeline_file("leaving.py");
    let program = [leaving.to_str().expect("a path that is text"), BEAMS_OWN[1]];
    check(directly(), &program, options, word_characters);
}

#[test]
fn the_independent_counts_know_what_a_word_is() {
    assert_eq!(
        letters("It's the miller's -- 'tis o'clock', 12 Füße_x"),
        ["it's", "the", "miller's", "tis", "o'clock", "füße", "x"]
    );
    assert_eq!(word_characters("It's 'tis -- 12 a_b"), ["It's", "'tis", "12", "a_b"]);
}
