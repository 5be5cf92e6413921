//! Beam's own integration tests of the Go SDK, built from its module and run on each of our runners.
//!
//! ```text
//!   benchmarks/go pins the SDK ─► go test -c ─► test programs ─► purlin serve, workers in the program (LOOPBACK)
//! ```
//! Which tests fail is asserted, name by name, with the reason: a test that begins to pass is taken off the list. The universal
//! runner of the SDK filters nothing out, so that everything runs which Beam has.

mod harness;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use harness::{Server, finish, go};

/// Where Beam keeps the tests, within its module.
const PACKAGES: [&str; 3] = ["go/test/integration/primitives", "go/test/integration/synthetic", "go/test/regression"];

/// Tests that are not run at all, and why.
const LEFT_OUT: [(&str, &str); 2] = [
    ("TestDrain", "somebody must drain the job from outside, as `go_drain.rs` does"),
    ("TestOomParDo", "fills the memory until its own program dies, to see a heap dump of another runner's container"),
];

/// Tests that fail, by what their names begin with, and why.
const FAIL: [(&str, &str); 1] = [(
    "TestTriggerAfterProcessingTime",
    "it wants an element that came when its trigger had finished, which Beam drops and we count; TestTriggerElementCount \
     wants that it is dropped",
)];

/// How many pass today, so that none goes missing unnoticed.
const PASSED: usize = 76;

/// The programs, built once: the compiler's cache makes every later build quick.
static PROGRAMS: LazyLock<(tempfile::TempDir, Vec<PathBuf>)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let programs = PACKAGES.iter().map(|package| go::tests_of(package, folder.path())).collect();
    (folder, programs)
});

fn suite(runner: &str) {
    let server = Server::start();
    let skipped: Vec<_> = LEFT_OUT.iter().map(|(name, _)| format!("^{name}$")).collect();
    let (mut passed, mut unexpected) = (0, BTreeSet::new());
    for program in &PROGRAMS.1 {
        let mut command = Command::new(program);
        command
            .args(["--runner=universal", "--environment_type=LOOPBACK", &format!("--endpoint={}", server.endpoint())])
            .arg(format!("--experiments=purlin_runner={runner}"))
            .args(["-test.v", "-test.timeout=170s", &format!("-test.skip={}", skipped.join("|"))])
            .stdin(Stdio::null());
        let finished = finish(command);
        let mut ended = BTreeSet::new();
        for line in finished.stdout.lines() {
            // Tests within tests are indented, and count with the one that they are in.
            let Some((verdict, name)) = line.strip_prefix("--- ").and_then(|line| line.split_once(": ")) else {
                continue;
            };
            let name = name.split(' ').next().unwrap_or(name);
            let known = FAIL.iter().any(|(begins, _)| name.starts_with(begins));
            ended.insert(name.to_owned());
            match (verdict, known) {
                ("PASS", false) => passed += 1,
                ("FAIL", true) => {}
                _ => drop(unexpected.insert(format!("{verdict}: {name}"))),
            }
        }
        let begun = finished.stdout.lines().filter_map(|line| line.strip_prefix("=== RUN   "));
        for name in begun.filter(|name| !name.contains('/') && !ended.contains(*name)) {
            unexpected.insert(format!("no end: {name}"));
        }
        if !unexpected.is_empty() {
            eprintln!("{}\n{}", finished.stdout, finished.stderr);
        }
    }
    assert!(unexpected.is_empty(), "on {runner}: {unexpected:#?}");
    assert_eq!(passed, PASSED, "so many of Beam's tests passed on {runner}");
    eprintln!("{runner}: {passed} of Beam's Go tests passed");
    for (name, reason) in LEFT_OUT.iter().chain(&FAIL) {
        eprintln!("{runner}: not {name}: {reason}");
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
