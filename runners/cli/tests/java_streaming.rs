//! Streams in Java (`tests/java/Streams.java`) on each of our runners: expiry of windows, state and timers, input in the
//! order of time, stable input, bundle finalization, refreshed side inputs, bundles that are shared while they run;
//! and elements by their schema.

mod harness;

use std::path::Path;

use harness::{finish, java};

/// What the pipelines print on every runner, sorted.
const LINES: [&str; 22] = [
    "expiration: a 19999 7",
    // 1 and, late, 2. What came too late is not there, nor is there a second call for it.
    "expiration: a 9999 3",
    "expiration: b 9999 5",
    // Rows for objects, and objects by field.
    "fields: a 2",
    "fields: b 4",
    "finalization: 1",
    "finalization: 1 is kept",
    "finalization: 2",
    "finalization: 2 is kept",
    "refreshed: 1 at rate 10",
    "refreshed: 2 at rate 10",
    "refreshed: 3 at rate 20",
    "sharing: 1 in time",
    "sharing: 2 in time",
    "sorted: 1",
    "sorted: 1 2",
    "sorted: 1 2 3",
    "sorted: 1 2 3 9",
    "stable: 1",
    "stable: 2",
    "timers: clock [1, 2]",
    "timers: event 8000 [1, 2]",
];

fn prints(runner: &str, class_path: &str, folder: &Path) {
    let finished = finish(java::run(&["--runner", runner], class_path, folder, &["Streams"])).well();
    // One in the windows that expire, one in the order of time.
    assert_eq!(finished.stderr.matches("purlin:droppedDueToLateness = 1").count(), 2, "{}", finished.stderr);
    let kinds =
        ["expiration: ", "fields: ", "finalization: ", "refreshed: ", "sharing: ", "sorted: ", "stable: ", "timers: "];
    let of_ours = |line: &&str| kinds.iter().any(|kind| line.starts_with(kind));
    let mut lines: Vec<_> = finished.stdout.lines().filter(of_ours).collect();
    lines.sort_unstable();
    assert_eq!(lines, LINES, "on {runner}: {}", finished.stdout);
}

#[test]
fn on_each_runner() {
    java::on_each_runner("Streams.java", prints);
}
