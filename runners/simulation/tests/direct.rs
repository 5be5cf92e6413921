//! The direct runner's schedule against the oracle.

use purlin_direct::{EagerOptions, EagerSchedule};

#[test]
fn direct() {
    let replay = "cargo test --profile ci -p purlin-simulation --test direct";
    purlin_simulation::run(replay, |seed| {
        let options = EagerOptions {
            bundle_elements_max: 1 + seed % 7,
            shuffle_seed: (seed % 2 == 0).then_some(seed),
            ..EagerOptions::default()
        };
        Box::new(EagerSchedule::new(options))
    });
}
