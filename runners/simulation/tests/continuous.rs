//! The continuous runner's schedule against the oracle.

use purlin_continuous::{FlowOptions, FlowSchedule};

#[test]
fn continuous() {
    let replay = "cargo test --profile ci -p purlin-simulation --test continuous";
    purlin_simulation::run(replay, |seed| Box::new(FlowSchedule::new(FlowOptions { bundle_age_ms: 1 + seed % 50 })));
}
