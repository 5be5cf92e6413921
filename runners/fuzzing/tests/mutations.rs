//! A thousandth of what `cargo xtask fuzz` tries.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::process::Command;

#[test]
fn a_thousandth_of_the_campaign_breaks_nothing() {
    let run = Command::new(env!("CARGO_BIN_EXE_purlin-fuzz"))
        .args(["run", "--pipelines", "1000", "--data", "10000", "--seed", "0"])
        .output()
        .unwrap();
    let (said, complaints) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}\n{complaints}");
    for target in ["pipeline: 1000", "bundle: 2000", "value: 3500", "frame: 3500", "metric: 1000"] {
        assert!(said.contains(&format!("{target} inputs")), "{said}");
    }
}
