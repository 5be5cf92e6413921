//! State that is larger than memory, with Beam's Python SDK: each key and window has all that it was given, and the job's profile
//! tells that state went to disk.

mod harness;

use std::collections::BTreeSet;

use harness::{Server, finish, pipeline, purlin};
use serde_json::Value;

/// The least that a server takes, of which 6 MiB are for data.
const BUDGET: &str = "81MiB";

/// What the pipeline has: `KEYS` keys in `WINDOWS`, each with six elements of 16 kB, 38 MB in all.
const KEYS: u32 = 200;
const WINDOWS: [u32; 2] = [0, 6];

/// Three times what there is for all data, the batches under way included.
const WRITTEN_MIN: u64 = 18 << 20;

fn survives(runner: &str) {
    let mut serve = purlin();
    serve.args(["serve", "--port", "0", "--runner", runner, "--workers", "1", "--memory-budget", BUDGET]);
    let server = Server::by(serve);
    let mut program = pipeline("large_state.py");
    // Python would keep what it has read, and ask no more.
    program.args(server.loopback()).arg("--max_cache_memory_usage_mb=0");
    let told = finish(program).well().stdout;
    let told: BTreeSet<_> = told.lines().map(str::to_owned).collect();
    let right = |at: u32| (0..KEYS).map(move |key| format!("key {key} at Timestamp({at}): right"));
    assert_eq!(told, WINDOWS.into_iter().flat_map(right).collect(), "on {runner}");

    let metrics = |options: &[&str]| {
        let mut command = purlin();
        command.args(["metrics", "--profile", "--endpoint", &server.endpoint()]).args(options);
        finish(command).well().stdout
    };
    let profile: Value = serde_json::from_str(&metrics(&["--json"])).expect("a profile in JSON");
    let stages = profile["stages"].as_array().expect("a list of stages");
    let spilled = |stage: &Value| stage["state_bytes_spilled"].as_u64().expect("a number");
    let (with_state, others): (Vec<_>, Vec<_>) =
        stages.iter().partition(|stage| stage["name"].as_str().is_some_and(|name| name.contains("Remember")));
    let [remember] = with_state[..] else { panic!("on {runner}: {profile:#}") };
    assert!(spilled(remember) >= WRITTEN_MIN, "on {runner}: {remember:#}");
    assert!(remember["bytes_spilled"].as_u64() >= Some(spilled(remember)), "on {runner}: {remember:#}");
    assert!(others.iter().all(|stage| spilled(stage) == 0), "on {runner}: {profile:#}");
    let text = metrics(&[]);
    assert!(text.contains("  state: ") && text.contains(" MB written to disk"), "on {runner}: {text}");
}

#[test]
fn on_direct() {
    survives("direct");
}

#[test]
fn on_micro_batch() {
    survives("micro-batch");
}

#[test]
fn on_continuous() {
    survives("continuous");
}
