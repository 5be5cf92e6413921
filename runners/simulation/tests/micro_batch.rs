//! The micro-batch runner's schedule against the oracle.

use purlin_micro_batch::{RoundOptions, RoundSchedule};

#[test]
fn micro_batch() {
    let replay = "cargo test --profile ci -p purlin-simulation --test micro_batch";
    purlin_simulation::run(replay, |seed| {
        let bundle_bytes_max = if seed % 3 == 0 { 1 + seed % 100 } else { 1 << 20 };
        Box::new(RoundSchedule::new(RoundOptions { bundle_bytes_max }))
    });
}
