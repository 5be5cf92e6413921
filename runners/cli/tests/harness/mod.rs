//! What end-to-end tests share: the interpreter, the program under test, servers, programs that must end.
//!
//! ```text
//!   test ─► purlin serve (a free port)     test ─► python …, in time, or killed with all that it started
//! ```
//! Nothing here sleeps: it waits for a line, or for an end. Does not know what is run.
#![allow(dead_code, reason = "each test target uses its own part")]

pub(crate) mod counts;
pub(crate) mod dashboard;
pub(crate) mod go;
pub(crate) mod java;
pub(crate) mod jobs;
pub(crate) mod printing;
pub(crate) mod pytest;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A program that takes longer hangs. Generous, because tests run beside each other on small machines.
const PROGRAM_MAX: Duration = Duration::from_secs(180);

/// The runners of the program under test.
pub(crate) const RUNNERS: [&str; 3] = ["direct", "micro-batch", "continuous"];

/// Tries something on each of them at once.
pub(crate) fn on_each_runner(tried: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        for runner in RUNNERS {
            let tried = &tried;
            scope.spawn(move || tried(runner));
        }
    });
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the crate stands two folders deep")
}

/// The interpreter with apache-beam.
pub(crate) fn python() -> PathBuf {
    let given = std::env::var_os("PURLIN_TEST_PYTHON").filter(|path| !path.is_empty()).map(PathBuf::from);
    let python = given.unwrap_or_else(|| root().join(".env/bin/python"));
    assert!(
        python.exists(),
        "there is no {}: run `cargo xtask test`, which makes the project's Python environment",
        python.display()
    );
    python
}

/// The program under test.
pub(crate) fn purlin() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_purlin"));
    command.current_dir(root()).stdin(Stdio::null());
    // What the developer's own shell says to Purlin is not part of a test.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PURLIN_")) {
        command.env_remove(name);
    }
    command
}

/// What `--environment_config` takes so that the server starts workers of an SDK.
pub(crate) fn worker_command(sdk: &str) -> String {
    let mut command = purlin();
    command.args(["worker-command", sdk]);
    finish(command).well().stdout.trim_end().to_owned()
}

/// A Python program, behind the words of `command` if it has any.
pub(crate) fn with_python(mut command: Command) -> Command {
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(python());
    command
}

/// One of the programs in `tests/pipelines`, run directly.
pub(crate) fn pipeline(name: &str) -> Command {
    let mut command = Command::new(python());
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(root()).stdin(Stdio::null()).arg(pipeline_file(name));
    command
}

/// Where such a program stands.
pub(crate) fn pipeline_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pipelines").join(name)
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Fails unless the program ended well, and none of its threads badly: Python ends all the same when one of them dies.
    pub(crate) fn well(self) -> Self {
        assert!(self.status.success(), "it ended with {}: {}", self.status, self.words());
        assert!(!self.stderr.contains("Exception in thread"), "a thread of it died: {}", self.words());
        self
    }

    /// Fails unless one of its streams holds each of these.
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.stdout.contains(text) || self.stderr.contains(text),
                "it does not say {text:?}: {}",
                self.words()
            );
        }
        self
    }

    fn words(&self) -> String {
        format!("\n--- stdout\n{}\n--- stderr\n{}\n---", self.stdout, self.stderr)
    }
}

/// A program under way, in a process group of its own, which is killed if nobody waits for its end.
#[derive(Debug)]
pub(crate) struct Started {
    words: String,
    group: u32,
    end: mpsc::Receiver<std::io::Result<std::process::Output>>,
    ended: bool,
}

impl Started {
    /// Starts it.
    pub(crate) fn new(mut command: Command) -> Self {
        let words = format!("{command:?}");
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {words}: {error}"));
        let group = child.id();
        let (sender, end) = mpsc::channel();
        // Ends with the program. If the test is over by then, nobody is interested any more.
        std::thread::spawn(move || sender.send(child.wait_with_output()));
        Self { words, group, end, ended: false }
    }

    /// Sends a signal to the program alone, as `kill` does.
    pub(crate) fn signal(&self, name: &str) {
        signal(name, &self.group.to_string());
    }

    /// Waits for its end, but not for ever.
    pub(crate) fn finish(mut self) -> Finished {
        let output = self.end.recv_timeout(PROGRAM_MAX);
        self.ended = output.is_ok();
        let Ok(output) = output else { panic!("{} did not end within {PROGRAM_MAX:?}", self.words) };
        let output = output.unwrap_or_else(|error| panic!("cannot wait for {}: {error}", self.words));
        Finished {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.ended {
            signal("KILL", &format!("-{}", self.group));
        }
    }
}

/// Runs a program to its end.
pub(crate) fn finish(command: Command) -> Finished {
    Started::new(command).finish()
}

/// Sends a signal to a process or, behind a minus sign, to a group. One that has ended is no error.
fn signal(name: &str, process: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), "--", process]).stderr(Stdio::null()).status();
    sent.expect("every Unix has `kill`");
}

/// `purlin serve`, up and listening. Ends with the value.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    /// What it logs, to be told if the test fails.
    log: tempfile::NamedTempFile,
}

impl Server {
    /// Starts a server and waits for its readiness line.
    pub(crate) fn start() -> Self {
        let mut command = purlin();
        command.args(["serve", "--port", "0"]);
        Self::by(command)
    }

    /// The same with a command of the test's own.
    pub(crate) fn by(mut command: Command) -> Self {
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let stderr = log.reopen().expect("the file was just made");
        command.stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().expect("the program under test was built");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it writes a line or ends");
        let port = line.trim().strip_prefix("listening on 127.0.0.1:").and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("not a readiness line: {line:?}; it logs: {}", read(&log)));
        Self { child, port, log }
    }

    /// What goes behind a program's own words so that it uses this server, with workers in itself.
    pub(crate) fn loopback(&self) -> Vec<String> {
        let mut options = self.options();
        options.push("--environment_type=LOOPBACK".to_owned());
        options
    }

    /// The same without a choice of workers.
    pub(crate) fn options(&self) -> Vec<String> {
        vec!["--runner=PortableRunner".to_owned(), format!("--job_endpoint=localhost:{}", self.port)]
    }

    /// Where it listens, as an argument of a program.
    pub(crate) fn endpoint(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Asks it to drain a job.
    pub(crate) fn drain(&self, job: &str) {
        let mut drain = purlin();
        drain.args(["drain", job, "--endpoint", &self.endpoint()]);
        finish(drain).well().says(&[&format!("{job} is DRAINING")]);
    }

    /// Sends it a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        signal(name, &self.child.id().to_string());
    }

    /// Waits for its end; how it ended, and what it logged.
    pub(crate) fn ended(&mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("it is our child");
        (status, read(&self.log))
    }

    /// Whether it still runs.
    pub(crate) fn is_up(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the server\n{}---", read(&self.log));
        }
        // As a user would end it, so that its workers end too.
        signal("TERM", &self.child.id().to_string());
        let _ = self.child.wait();
    }
}

fn read(log: &tempfile::NamedTempFile) -> String {
    let mut text = String::new();
    let read = File::open(log.path()).and_then(|mut file| file.read_to_string(&mut text));
    read.map_or_else(|error| error.to_string(), |_| text)
}
