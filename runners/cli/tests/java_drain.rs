//! Draining, with Beam's Java SDK (`tests/java/Draining.java`): nobody waits for timers, each fires once, and the program ends too,
//! whose client knows of no drained jobs.

mod harness;

use std::path::Path;
use std::process::{Command, Stdio};

use harness::jobs::{Jobs, State};
use harness::printing::Printing;
use harness::{Server, java, purlin};

fn drained(runner: &str, class_path: &str, folder: &Path) {
    let mut serve = purlin();
    serve.args(["serve", "--port", "0", "--runner", runner]);
    let server = Server::by(serve);
    let jobs = Jobs::of(&server);
    let mut command = Command::new("java");
    command.arg(format!("-Djava.io.tmpdir={}", folder.display())).args(["-cp", class_path, "Draining"]);
    command.args(["--runner=PortableRunner", "--defaultEnvironmentType=LOOPBACK"]);
    command.arg(format!("--jobEndpoint={}", server.endpoint())).stdin(Stdio::null());
    let mut printing = Printing::new(command);
    printing.until(|lines| lines.iter().filter(|line| *line == "kept").count() > 2);
    let job = jobs.await_any();
    server.drain(&job);
    let printed = printing.finish();
    let kept = printed.iter().filter(|line| *line == "kept").count();
    // Each of them once, with what is kept.
    let told: Vec<_> = printed.iter().filter(|line| line.contains(" with ") || line.starts_with("the job")).collect();
    let fired = ["later", "last", "again", "end", "expired"].map(|timer| format!("{timer} with {kept}"));
    let expected: Vec<_> = fired.into_iter().chain(["the job is DONE".to_owned()]).collect();
    assert_eq!(told, expected.iter().collect::<Vec<_>>(), "on {runner}");
    jobs.await_state(&job, State::Drained);
}

#[test]
fn on_each_runner() {
    java::on_each_runner("Draining.java", drained);
}
