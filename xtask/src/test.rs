//! `cargo xtask test`: everything that must pass, in one run and one profile.
//!
//! ```text
//!   .env ─► cargo fmt ─► cargo clippy ─► cargo test (units, tests, then doc examples) ─► N passed, N failed, N skipped
//!                                          └─ without the targets whose toolchain is missing
//! ```
//! Each check of the source counts as one test. What Cargo says is passed on as it comes; it is read only for the lines
//! that sum up. Does not know any test by name.

mod tally;
mod toolchain;

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::cargo;
use crate::environment;
use tally::Tally;
use toolchain::Toolchain;

/// The profile in which the tests and what they run are built, so that everything is built once.
const PROFILE: &str = "ci";

/// Passes all tests: format, lints, units, integration with Beam's SDKs, examples in the docs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the task. The last line on stdout is the sum, whatever happens before it.
pub(crate) fn run(_: &Args) -> ExitCode {
    let mut tally = Tally::default();
    if let Err(error) = run_all(&mut tally) {
        crate::explain(error.as_ref());
        tally.failed += 1;
    }
    for line in &tally.remarks {
        say(line);
    }
    say(&tally.to_string());
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_all(tally: &mut Tally) -> Result<(), Box<dyn std::error::Error>> {
    let python = environment::ensure()?;
    let targets = select(tally)?;

    check(tally, &["fmt", "--all", "--check"])?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--profile", PROFILE, "--", "--deny", "warnings"];
    check(tally, &clippy)?;

    let mut tests = vec!["test", "--workspace", "--profile", PROFILE, "--no-fail-fast", "--lib", "--bins"];
    tests.extend(targets.iter().flat_map(|target| ["--test", target]));
    test(tally, &python, &tests)?;
    test(tally, &python, &["test", "--workspace", "--profile", PROFILE, "--no-fail-fast", "--doc"])?;
    Ok(())
}

/// The integration tests whose toolchain is here. A target that needs one says so by the first word of its name.
fn select(tally: &mut Tally) -> Result<BTreeSet<String>, Box<dyn std::error::Error>> {
    let mut targets = BTreeSet::new();
    for package in cargo::metadata()?.packages {
        targets.extend(package.targets.into_iter().filter(|target| target.is_test()).map(|target| target.name));
    }
    let required = std::env::var("CI").is_ok_and(|value| value == "true");
    for toolchain in Toolchain::ALL {
        let needing: BTreeSet<_> = targets.iter().filter(|target| toolchain.is_needed_by(target)).cloned().collect();
        if needing.is_empty() {
            continue;
        }
        if let Err(reason) = toolchain.find() {
            targets.retain(|target| !needing.contains(target));
            tally.leave_out(&needing, &reason, required);
        }
    }
    if tally.remarks.is_empty() {
        tally.remarks.push("No test target was left out for want of a toolchain.".to_owned());
    }
    Ok(targets)
}

/// Runs a check of the source, which passes or fails as a whole.
fn check(tally: &mut Tally, arguments: &[&str]) -> io::Result<()> {
    announce(arguments);
    match cargo::command(arguments.iter().copied()).status()?.success() {
        true => tally.passed += 1,
        false => tally.failed += 1,
    }
    Ok(())
}

/// Runs tests, and adds what they say to the tally.
fn test(tally: &mut Tally, python: &Path, arguments: &[&str]) -> io::Result<()> {
    announce(arguments);
    let mut command = cargo::command(arguments.iter().copied());
    let mut child = with_environment(&mut command, python).stdout(Stdio::piped()).spawn()?;
    let failed_before = tally.failed;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            // Programs under test may print anything, so that a line need not be UTF-8.
            let line = String::from_utf8_lossy(&line?).into_owned();
            say(&line);
            tally.read(&line);
        }
    }
    if !child.wait()?.success() && tally.failed == failed_before {
        // It did not build, or a test ended its whole process.
        tally.failed += 1;
    }
    Ok(())
}

fn with_environment<'a>(command: &'a mut Command, python: &Path) -> &'a mut Command {
    // Snapshots that differ are failures; they are not to be written beside the old ones and forgotten.
    command.env(environment::PYTHON_VARIABLE, python).env("INSTA_UPDATE", "no").stdin(Stdio::null())
}

fn announce(arguments: &[&str]) {
    say(&format!("\n$ cargo {}", arguments.join(" ")));
}

/// Prints a line at once. A reader that has gone away is no reason to stop testing.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
