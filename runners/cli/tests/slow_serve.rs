//! `purlin serve` as a user starts and ends it: flags and variables, the readiness line, refusals, signals.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod harness;

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use harness::jobs::Jobs;
use harness::{Server, finish, purlin};

/// Runs `purlin serve` with these flags, or variables, and expects that it ends with this code and these words.
fn refused(how: impl FnOnce(&mut Command) -> &mut Command, code: i32, words: &[&str]) {
    let mut command = purlin();
    command.arg("serve");
    how(&mut command);
    let finished = finish(command);
    assert_eq!(finished.status.code(), Some(code), "{finished:?}");
    assert_eq!(finished.stdout, "", "there is no readiness line");
    finished.says(words);
}

#[test]
fn every_flag_is_a_variable_too_and_both_are_checked() {
    let wrong: [(&str, &str, i32, &[&str]); 9] = [
        ("host", "0.0.0.0", 2, &["--host 0.0.0.0 is refused", "neither TLS nor tokens", "ssh -L"]),
        ("port", "65536", 2, &["--port", "65536"]),
        ("runner", "slink", 2, &["there is no runner `slink`", "continuous, direct, micro-batch, auto"]),
        ("workers", "0", 2, &["--workers", "0"]),
        ("memory-budget", "much", 2, &["`much` is no amount of memory", "512MiB"]),
        ("data-dir", "/proc/purlin", 1, &["cannot make the folder /proc/purlin", "--data-dir"]),
        ("max-message-size", "5", 2, &["--max-message-size", "1024"]),
        ("log-level", "loud", 2, &["--log-level `loud`", "error, warn, info, debug, trace"]),
        ("log-format", "xml", 2, &["--log-format", "text, json"]),
    ];
    for (name, value, code, words) in wrong {
        // Whatever goes wrong, it must not be the usual port that is taken.
        let usual = if name == "port" { [("PURLIN_HOST", "localhost")] } else { [("PURLIN_PORT", "0")] };
        refused(|command| command.envs(usual).arg(format!("--{name}={value}")), code, words);
        let variable = format!("PURLIN_{}", name.replace('-', "_").to_uppercase());
        refused(|command| command.envs(usual).env(variable, value), code, words);
    }
}

#[test]
fn a_server_takes_all_of_its_flags_from_variables() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = purlin();
    command.arg("serve").envs([
        ("PURLIN_HOST", "localhost"),
        ("PURLIN_PORT", "0"),
        ("PURLIN_RUNNER", "micro-batch"),
        ("PURLIN_WORKERS", "1"),
        ("PURLIN_MEMORY_BUDGET", "25%"),
        ("PURLIN_MAX_MESSAGE_SIZE", "1000000"),
        ("PURLIN_LOG_LEVEL", "debug"),
        ("PURLIN_LOG_FORMAT", "json"),
    ]);
    command.env("PURLIN_DATA_DIR", folder.path().join("deep/inside"));
    let mut server = Server::by(command);
    assert!(folder.path().join("deep/inside/artifacts").is_dir());
    server.signal("TERM");
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string(), "{line}");
    }
    assert!(log.contains("micro-batch"), "{log}");
}

#[test]
fn both_loopback_addresses_answer_when_the_line_is_there() {
    let server = Server::start();
    TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    if TcpListener::bind("[::1]:0").is_ok() {
        TcpStream::connect(("::1", server.port)).unwrap();
    }
}

#[test]
fn a_port_or_a_folder_that_another_server_has_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = purlin();
    command.args(["serve", "--port", "0", "--data-dir"]).arg(folder.path());
    let first = Server::by(command);
    let port = first.port.to_string();
    refused(|command| command.args(["--port", &port]), 1, &[&format!("port {port} is in use"), "--port 0"]);
    let words = ["is in use by another purlin", "--data-dir"];
    refused(|command| command.args(["--port", "0", "--data-dir"]).arg(folder.path()), 1, &words);
}

#[test]
fn a_data_dir_that_is_no_folder_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let words = [file.path().to_str().unwrap(), "choose with --data-dir a folder"];
    refused(|command| command.args(["--port", "0", "--data-dir"]).arg(file.path()), 1, &words);
}

/// A worker that does not end when it is told to, and leaves a sign that it was there.
fn stubborn(folder: &std::path::Path) -> String {
    let script = folder.join("stubborn");
    let text = format!("#!/bin/sh\ntrap '' TERM\necho $$ >> {0}/pids\nwhile :; do sleep 600; done\n", folder.display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    script.to_str().unwrap().to_owned()
}

/// The processes of a script, once it has said them.
fn pids(folder: &std::path::Path) -> Vec<String> {
    loop {
        let text = std::fs::read_to_string(folder.join("pids")).unwrap_or_default();
        if text.ends_with('\n') {
            return text.lines().map(str::to_owned).collect();
        }
        std::thread::yield_now();
    }
}

#[test]
fn sigterm_cancels_jobs_and_a_second_one_does_not_wait_for_workers() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start();
    let jobs = Jobs::of(&server);
    let job = jobs.submit_to_process(&stubborn(folder.path()));
    let pids = pids(folder.path());
    let mut command = purlin();
    command.args(["logs", "--follow", &job, "--endpoint", &server.endpoint()]);
    let following = harness::Started::new(command);
    jobs.await_running(&job);
    server.signal("TERM");
    following.finish().well().says(&["the server was told to end (SIGTERM)", "the job is CANCELLED"]);
    // It still waits for a worker that ignores what it is told.
    server.signal("TERM");
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("ending at once"), "{log}");
    for pid in pids {
        let alive = Command::new("kill").args(["-0", &pid]).stderr(std::process::Stdio::null()).status().unwrap();
        assert!(!alive.success(), "worker {pid} outlives its server");
    }
}

#[test]
fn ctrl_c_ends_a_server_well() {
    let mut server = Server::start();
    server.signal("INT");
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(0), "{log}");
}
