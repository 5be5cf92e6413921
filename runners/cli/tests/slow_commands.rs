//! The commands that need no SDK, as a user and a script see them: output, JSON, exit codes, what is said of misuse.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod harness;

use std::path::Path;
use std::process::{Command, Stdio};

use harness::jobs::{Jobs, impulse, with_process};
use harness::{Finished, Server, finish, pipeline_file, purlin};
use prost::Message;
use purlin_proto::job_management::v1::job_state::Enum as State;
use serde_json::{Value, json};

/// Runs `purlin` with these words.
fn run(words: &[&str]) -> Finished {
    let mut command = purlin();
    command.args(words);
    finish(command)
}

/// Runs it, and expects this exit code and these words.
fn check(words: &[&str], code: i32, texts: &[&str]) -> Finished {
    let finished = run(words);
    assert_eq!(finished.status.code(), Some(code), "{words:?}: {finished:?}");
    finished.says(texts)
}

fn to_json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

#[test]
fn the_version_and_the_help_are_told() {
    check(&["--version"], 0, &[&format!("purlin {}", env!("CARGO_PKG_VERSION"))]);
    let commands = [
        "run",
        "serve",
        "check",
        "explain",
        "jobs",
        "logs",
        "metrics",
        "drain",
        "cancel",
        "doctor",
        "matrix",
        "worker-command",
    ];
    check(&["help"], 0, &commands);
    for command in commands {
        check(&[command, "--help"], 0, &["Usage: purlin"]);
    }
}

#[test]
fn wrong_usage_is_2_and_says_what_is_wrong() {
    check(&[], 2, &["Usage: purlin"]);
    check(&["rnu"], 2, &["unrecognized subcommand 'rnu'"]);
    check(&["jobs", "--jsno"], 2, &["unexpected argument '--jsno'"]);
    check(&["cancel"], 2, &["<JOB>"]);
    check(&["jobs", "--endpoint", "not an address"], 2, &["--endpoint `not an address` is no HOST:PORT"]);
    check(&["check"], 2, &["name a file that holds a pipeline, or a program that submits one"]);
    check(&["explain", "x", "--", "python", "p.py"], 2, &["not both"]);
    check(&["check", "--runner", "slink", "x"], 2, &["there is no runner `slink`"]);
    check(&["explain", "/no/such/file"], 2, &["cannot read /no/such/file", "No such file"]);
    check(&["explain", "/"], 2, &["cannot read /: "]);
}

#[test]
fn without_a_server_it_is_3_and_says_how_to_get_one() {
    // A port that was free a moment ago, and that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let commands: [&[&str]; 5] = [&["jobs"], &["logs", "j"], &["metrics", "j"], &["drain", "j"], &["cancel", "j"]];
    for command in commands {
        for json in [&[][..], &["--json"]] {
            let words = [command, json, &["--endpoint", &free]].concat();
            let finished = check(&words, 3, &[&format!("no Purlin server answers at {free}"), "purlin serve"]);
            assert_eq!(finished.stdout, "");
        }
    }
}

#[test]
fn somebody_who_is_no_purlin_is_not_taken_for_one() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in other.incoming() {
            use std::io::Write;
            let _ = client.unwrap().write_all(b"220 this is a mail server\r\n");
        }
    });
    check(&["jobs", "--endpoint", &address], 3, &[&format!("no Purlin server answers at {address}")]);
}

#[test]
fn jobs_are_listed_watched_and_cancelled() {
    let server = Server::start();
    let (endpoint, jobs) = (server.endpoint(), Jobs::of(&server));
    let ask = |words: &[&str]| check(&[words, &["--endpoint", &endpoint]].concat(), 0, &[]);
    assert_eq!(ask(&["jobs"]).stdout, "");
    assert_eq!(to_json(&ask(&["jobs", "--json"])), json!([]));
    for command in ["logs", "metrics"] {
        check(&[command, "--endpoint", &endpoint], 1, &["the server knows no job"]);
    }

    let done = jobs.submit(impulse());
    jobs.await_state(&done, State::Done);
    ask(&["logs"]).says(&["the job is STOPPED", "the job is DONE"]);
    let waiting = jobs.submit_to_process("/bin/sleep");
    let listed = ask(&["jobs"]).says(&[&done, "DONE", "beams"]).stdout;
    assert!(listed.starts_with("JOB"), "{listed}");
    let first = &to_json(&ask(&["jobs", "--json"]))[0];
    assert_eq!(*first, json!({"id": done, "name": "beams", "state": "DONE"}));

    ask(&["logs", &done]).says(&["the job is STOPPED", "the job is DONE"]);
    let states: Vec<Value> =
        ask(&["logs", &done, "--json"]).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(states.last(), Some(&json!({"state": "DONE"})));
    ask(&["logs", "--follow", &done]).says(&["the job is DONE"]);
    ask(&["metrics", &done]).says(&["no user metrics", "--all"]);
    assert_eq!(to_json(&ask(&["metrics", "--json", &done])), json!([]));

    // Its worker never comes: it may have begun by now, or have failed.
    let drained = to_json(&ask(&["drain", "--json", &waiting]));
    assert!(["STARTING", "DRAINING", "FAILED"].map(|state| json!({"id": waiting, "state": state})).contains(&drained));
    ask(&["drain", &done]).says(&[&format!("{done} is DONE")]);
    let cancelled = to_json(&ask(&["cancel", "--json", &waiting]));
    assert!(cancelled["state"].as_str().unwrap().starts_with("CANCELL") || cancelled["state"] == "FAILED");
    ask(&["cancel", &done]).says(&[&format!("{done} is DONE")]);
    for command in ["logs", "metrics", "drain", "cancel"] {
        check(&[command, "job-x", "--endpoint", &endpoint], 1, &["there is no job `job-x`", "purlin jobs"]);
    }
}

#[test]
fn the_endpoint_may_be_a_variable() {
    let server = Server::start();
    let mut command = purlin();
    command.args(["jobs", "--json"]).env("PURLIN_JOB_ENDPOINT", server.endpoint());
    assert_eq!(to_json(&finish(command).well()), json!([]));
}

/// A file that holds these bytes.
fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn pipelines_are_checked_and_explained_from_files_of_both_kinds() {
    let binary = file(&impulse().encode_to_vec());
    let as_json = pipeline_file("impulse.json");
    for path in [binary.path(), &as_json] {
        check(&["check", text(path)], 0, &["runner `direct` runs this pipeline"]);
        check(&["explain", text(path)], 0, &["s0 impulse", "Start"]);
        check(&["explain", "--format", "dot", text(path)], 0, &["digraph plan {", "s0 [label="]);
        let report = to_json(&check(&["check", "--json", text(path)], 0, &[]));
        assert_eq!((&report["can_run"], &report["runner"]), (&json!(true), &json!("direct")));
        let explained = to_json(&check(&["explain", "--json", text(path)], 0, &[]));
        assert!(explained["text"].as_str().unwrap().contains("s0 impulse"));
        assert!(explained["dot"].as_str().unwrap().starts_with("digraph"));
    }
    let mut command = purlin();
    command.args(["check", "-"]).stdin(std::fs::File::open(&as_json).unwrap());
    finish(command).well().says(&["runs this pipeline"]);
}

#[test]
fn files_that_hold_no_pipeline_are_told_apart_from_pipelines_that_cannot_run() {
    let rubbish: [(&[u8], &str); 6] = [
        (b"", "it is empty"),
        (b"import apache_beam as beam\n", "binary or JSON"),
        (b"{\"components\": 3}", "binary or JSON"),
        (b"{\"rootTransformIds\": [\"a\"]", "binary or JSON"),
        (&[0xff; 100], "binary or JSON"),
        (b"{}{}", "binary or JSON"),
    ];
    for (bytes, words) in rubbish {
        let file = file(bytes);
        for command in ["check", "explain"] {
            let finished = check(&[command, text(file.path())], 1, &["holds no pipeline", words]);
            assert_eq!(finished.stdout, "");
        }
    }
}

#[test]
fn everything_that_is_wrong_with_a_pipeline_is_told_at_once() {
    let mut broken = impulse();
    let components = broken.components.as_mut().unwrap();
    let mut stray = components.transforms["start"].clone();
    stray.unique_name = "Stray".to_owned();
    stray.spec.as_mut().unwrap().urn = "test:stray:v1".to_owned();
    stray.inputs.insert("in".to_owned(), "nowhere".to_owned());
    stray.outputs.insert("out".to_owned(), "nothing".to_owned());
    components.transforms.insert("stray".to_owned(), stray);
    components.pcollections.get_mut("started").unwrap().coder_id = "gone".to_owned();
    broken.root_transform_ids.push("stray".to_owned());
    broken.root_transform_ids.push("lost".to_owned());
    broken.requirements.push("beam:requirement:telepathy:v1".to_owned());
    let file = file(&broken.encode_to_vec());
    let expected = [
        "this pipeline cannot run, for 4 reasons",
        "PCollection `started`: names coder `gone`, which does not exist",
        "Stray: is a transform of kind `test:stray:v1`",
        "root_transform_ids: names transform `lost`, which does not exist",
        "requires `beam:requirement:telepathy:v1`",
    ];
    check(&["check", text(file.path())], 1, &expected);
    check(&["explain", text(file.path())], 1, &expected);
    let report = to_json(&check(&["check", "--json", text(file.path())], 1, &[]));
    assert_eq!(report["can_run"], json!(false));
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 4, "{report}");
    for problem in problems {
        assert!(problem["place"].is_string() && problem["what"].is_string() && problem["fix"].is_string(), "{problem}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let path = pipeline_file("impulse.json");
    let mut explain = purlin();
    explain.args(["matrix"]).stdout(Stdio::piped());
    let mut child = explain.spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", path.display());
}

#[test]
fn doctor_says_what_is_missing_and_how_to_get_it() {
    let server = Server::start();
    let port = server.port.to_string();
    let words = ["doctor", "--python", "no-such-python", "--port", &port];
    let finished = run(&words).says(&["missing  Python: cannot run `no-such-python`", "--python", "cannot be used"]);
    let with_json = run(&[&words[..], &["--json"]].concat());
    assert_eq!(with_json.status.code(), finished.status.code());
    let findings = to_json(&with_json);
    assert_eq!(findings[0]["name"], json!("Python"));
    assert_eq!(findings[0]["state"], json!("missing"));
}

#[test]
fn a_job_fails_with_the_command_that_was_tried_and_its_last_words() {
    let server = Server::start();
    let jobs = Jobs::of(&server);
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("boot");
    std::fs::write(&script, "#!/bin/sh\necho there is no interpreter here >&2\nexit 7\n").unwrap();
    Command::new("chmod").arg("+x").arg(&script).status().unwrap();
    let failing = jobs.submit(with_process(text(&script)));
    let missing = jobs.submit(with_process("/no/such/boot"));
    let ask =
        |job: &str| check(&["logs", "--follow", job, "--endpoint", &server.endpoint()], 0, &["the job is FAILED"]);
    ask(&failing).says(&[text(&script), "exit status: 7", "there is no interpreter here"]);
    ask(&missing).says(&["`/no/such/boot` cannot be run", "is the path right"]);
    // And neither harms another job.
    let fine = jobs.submit(impulse());
    jobs.await_state(&fine, State::Done);
}
