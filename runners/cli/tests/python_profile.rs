//! Where the time of a real Python job goes: `purlin metrics --profile` of a server's job, and `purlin run --profile`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod harness;

use harness::{Server, finish, pipeline, pipeline_file, purlin, with_python};
use serde_json::Value;

const PAIRS: u64 = 10_000;

/// The stage whose name contains this.
fn stage<'a>(profile: &'a Value, name: &str) -> &'a Value {
    let stages = profile["stages"].as_array().unwrap();
    let found: Vec<_> = stages.iter().filter(|stage| stage["name"].as_str().unwrap().contains(name)).collect();
    let [stage] = found[..] else { panic!("{} stages are called {name}: {profile:#}", found.len()) };
    stage
}

#[test]
fn a_servers_job_is_profiled_and_its_hot_key_named() {
    let server = Server::start();
    let mut program = pipeline("hot_key.py");
    program.args(server.loopback());
    finish(program).well().says(&["by grouping", "by state"]);
    let metrics = |options: &[&str]| {
        let mut command = purlin();
        command.args(["metrics", "--profile", "--endpoint", &server.endpoint()]).args(options);
        finish(command).well().stdout
    };
    let profile: Value = serde_json::from_str(&metrics(&["--json"])).unwrap();
    for (name, by_runner) in [("GroupByKey", true), ("Count", false)] {
        let stage = stage(&profile, name);
        assert_eq!(stage["by_runner"], by_runner, "{stage:#}");
        assert_eq!(stage["elements_in"], PAIRS, "{stage:#}");
        let lane = &stage["hot_lanes"][0];
        assert_eq!(lane["key"], r#""hot\n""#, "{stage:#}");
        assert!(lane["share"].as_f64().unwrap() > 0.4, "{stage:#}");
    }
    let count = stage(&profile, "Count");
    for time in ["/sdk_us", "/runner/state_us", "/runner/encode_us"] {
        assert!(count.pointer(time).unwrap().as_u64().unwrap() > 0, "{time}: {count:#}");
    }
    let text = metrics(&[]);
    assert!(text.contains(r#"have the key "hot\n""#), "{text}");
    assert!(text.contains("by the clock; over all bundles, runner "), "{text}");
}

#[test]
fn purlin_run_shows_it_at_the_end_of_a_job() {
    let mut command = purlin();
    command.args(["run", "--profile", "--"]);
    let mut command = with_python(command);
    command.arg(pipeline_file("hot_key.py"));
    finish(command).well().says(&["is DONE after", "hot: key group ", r#"have the key "hot\n""#, "ELEMENTS IN"]);
}

#[test]
fn without_jobs_there_is_nothing_to_profile() {
    let server = Server::start();
    let mut command = purlin();
    command.args(["metrics", "--profile", "--endpoint", &server.endpoint()]);
    let finished = finish(command);
    assert!(!finished.status.success());
    finished.says(&["the server knows no job"]);
}
