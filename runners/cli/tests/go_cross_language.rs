//! Pipelines whose transforms are expanded by another SDK's service: one job, workers of two languages.
//!
//! ```text
//!   Go or Python program ─Expand─► Python's expansion service ─┐
//!        └─ pipeline of two environments ─► purlin ─► workers of the program, and of the service
//! ```

mod harness;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use harness::{finish, go, pipeline_file, purlin, python, with_python};

/// Beam's expansion service for Python, which runs the transforms' workers too; ends with the value.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    /// Starts it, and waits until it says where it listens.
    fn start() -> Self {
        let mut command = Command::new(python());
        command.arg(pipeline_file("expansion_service.py")).env("PYTHONDONTWRITEBYTECODE", "1");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter was there a moment ago");
        let mut port = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut port).expect("it writes a line or ends");
        let port: u16 = port.trim().parse().unwrap_or_else(|_| panic!("not a port: {port:?}"));
        Self { child, address: format!("localhost:{port}") }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The service reads its input to the end, and then leaves.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn a_python_pipeline_with_a_transform_of_the_service() {
    let service = Service::start();
    let mut command = purlin();
    command.args(["run", "--"]);
    let mut command = with_python(command);
    command.arg(pipeline_file("cross_language.py")).arg(&service.address);
    finish(command).well().says(&["is DONE"]);
}

#[test]
fn a_go_pipeline_with_a_python_transform() {
    let service = Service::start();
    let built = tempfile::tempdir().expect("a temporary folder");
    let program = go::example("crosslanguage", built.path());
    let mut command = purlin();
    command.args(["run", "--"]).arg(&program).arg(format!("--service={}", service.address));
    finish(command).well().says(&["beam: 2\n", "purlin: 1\n", "rafter: 1\n", "is DONE"]);
}
