//! The bounded half of Beam's model as Python users write it (`tests/bounded_model`), on each of our runners.

mod harness;

use harness::pytest::pytest;

fn suite(runner: &str) {
    let finished = pytest("bounded_model", ".", runner);
    assert!(!finished.stdout.contains("skipped"), "a test was skipped:\n{}", finished.stdout);
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
