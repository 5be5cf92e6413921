//! Streams as Python users write them (`tests/streaming`), and Beam's own tests of TestStream and of triggers, from the
//! installed package, on each of our runners.

mod harness;

use harness::pytest::pytest;

fn suite(runner: &str) {
    pytest("streaming", ".", runner);
    pytest("beam_suite", "streaming.py", runner);
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
