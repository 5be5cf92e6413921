//! Python on all cores: processes that Purlin starts beside the worker of the program itself.
//!
//! ```text
//!   purlin run ─► program: its own worker ─ busy for a while ─► + processes of the same interpreter
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod harness;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use harness::{Finished, Server, finish, pipeline, pipeline_file, purlin, python, with_python};

/// Runs `spreading.py` by `purlin run` with these options of its own.
fn spread(options: &[&str], how: &str) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let mut command = purlin();
    command.arg("run").args(options).arg("--");
    let mut command = with_python(command);
    command.arg(pipeline_file("spreading.py")).arg(folder.path()).arg(how);
    finish(command).well()
}

/// How many lines were printed by each process. Every line is whole, and every element is there once.
fn printed(finished: &Finished) -> BTreeMap<String, usize> {
    let mut elements = Vec::new();
    let mut processes = BTreeMap::new();
    for line in finished.stdout.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let ["element", element, "line", number, "in", process, filling] = words[..] else {
            panic!("a strange line: {line:.100}")
        };
        assert_eq!(filling.len(), 3_001, "a line of process {process} is cut");
        elements.push((element.parse::<usize>().unwrap(), number.parse::<usize>().unwrap()));
        *processes.entry(process.to_owned()).or_default() += 1;
    }
    elements.sort_unstable();
    assert_eq!(elements, (0..40).flat_map(|element| (0..12).map(move |line| (element, line))).collect::<Vec<_>>());
    processes
}

#[test]
fn a_long_job_gets_more_processes_which_may_print_as_much_as_they_like() {
    let processes = printed(&spread(&["--workers", "2"], "2"));
    assert_eq!(processes.len(), 2, "{processes:?}");
}

#[test]
fn one_worker_is_the_program_itself() {
    let processes = printed(&spread(&["--workers", "1"], "1"));
    assert_eq!(processes.len(), 1, "{processes:?}");
}

#[test]
fn what_works_only_in_the_program_itself_is_done_there() {
    let finished = spread(&["--workers", "2"], "home");
    finished.says(&["failed in a process that Purlin started beside your program (LookupError: this is not home"]);
}

/// Both kinds of processes are the same program, so that what holds of these holds of those.
#[test]
fn worker_command_makes_processes_for_a_server() {
    let server = Server::start();
    let mut command = purlin();
    command.args(["worker-command", "python", "--python"]).arg(python());
    command.args(["--folder"]).arg(pipeline_file(""));
    let config = finish(command).well().stdout;
    let folder = tempfile::tempdir().unwrap();
    let mut command = pipeline("leaving.py");
    command.arg("spreading").arg(folder.path()).arg("2").args(server.options());
    command.args(["--environment_type=PROCESS", &format!("--environment_config={}", config.trim())]);
    finish(command).well();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// Where these tests run no engine is, so that a script stands in place of `docker`, and the same boot program in place of the image's.
#[test]
fn docker_environments_get_their_workers_from_the_docker_command() {
    let folder = tempfile::tempdir().unwrap();
    let docker = folder.path().join("docker");
    let text = format!(
        "#!/bin/sh\n[ $1 = run ] || exit 0\nwhile [ $1 != beam:1 ]; do shift; done\nshift; exec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_purlin")
    );
    std::fs::write(&docker, text).unwrap();
    std::fs::set_permissions(&docker, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = purlin();
    command.env("PURLIN_WORKER_PYTHON", python()).env("PURLIN_WORKER_FOLDER", pipeline_file(""));
    command.arg("run").arg("--docker").arg(&docker).args(["--workers", "1", "--"]);
    let mut command = with_python(command);
    command.arg(pipeline_file("leaving.py")).arg("ten_elements");
    command.args(["--environment_type=DOCKER", "--environment_config=beam:1"]);
    finish(command).well();
}
