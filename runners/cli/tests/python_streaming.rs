//! Streams as Python users write them (`tests/streaming`), and Beam's own tests of TestStream and of triggers, from the
//! installed package, on each of our runners.

mod harness;

use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Server, finish, python};

fn suite(runner: &str) {
    let server = Server::start();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (folder, what) in [("streaming", "."), ("beam_suite", "streaming.py")] {
        let mut command = Command::new(python());
        command
            .args(["-m", "pytest", "-q", "-rs", "--tb=short", "--timeout=60", "-p", "no:cacheprovider", what])
            .current_dir(tests.join(folder))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PURLIN_ENDPOINT", server.endpoint())
            .env("PURLIN_RUNNER", runner)
            .stdin(Stdio::null());
        let finished = finish(command).well();
        for line in finished.stdout.lines().filter(|line| line.starts_with("SKIPPED")) {
            eprintln!("{runner}: {line}");
        }
    }
}

#[test]
fn on_direct() {
    suite("direct");
}

#[test]
fn on_micro_batch() {
    suite("micro-batch");
}

#[test]
fn on_continuous() {
    suite("continuous");
}
