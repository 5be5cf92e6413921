//! Starts tests that are written in Python.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Finished, Server, finish, python};

/// Runs tests in a folder of `tests`, all of them or those of one file, against a server of their own whose jobs are for this runner. They go
/// well; what they skip is told.
pub(crate) fn pytest(folder: &str, what: &str, runner: &str) -> Finished {
    let server = Server::start();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut command = Command::new(python());
    command
        .args(["-m", "pytest", "-q", "-rs", "--tb=short", "--timeout=60", "-p", "no:cacheprovider", what])
        .current_dir(tests.join(folder))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONPATH", tests.join("shared"))
        .env("PURLIN_ENDPOINT", server.endpoint())
        .env("PURLIN_RUNNER", runner)
        .stdin(Stdio::null());
    let finished = finish(command).well();
    for line in finished.stdout.lines().filter(|line| line.starts_with("SKIPPED")) {
        eprintln!("{runner}: {line}");
    }
    finished
}
