//! Beam's own tests of portable runners, from the installed package, on each of our runners.
//!
//! A failing test of Beam's is run again alone with `tests/beam_suite/portable_runner.py`, which says how.

mod harness;

use harness::pytest::pytest;

/// Beam's tests that run; with those that are skipped they are all 76.
const PASSED: &str = "67 passed, 9 skipped";

fn suite(runner: &str) {
    pytest("beam_suite", "portable_runner.py", runner).says(&[PASSED]);
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
