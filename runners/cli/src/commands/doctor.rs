//! `purlin doctor`: what this machine has for running pipelines, what is missing, and how to get it.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

use clap::Args;
use serde::Serialize;

use crate::Execute;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// Look for what pipelines need: SDKs, a free port, Docker.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The Python interpreter to look at.
    #[arg(long, default_value = "python3", value_name = "PROGRAM")]
    python: String,
    /// The port that `purlin serve` would use.
    #[arg(long, env = "PURLIN_PORT", default_value_t = 8073)]
    port: u16,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was found of one thing.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    #[serde(flatten)]
    state: State,
}

#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum State {
    /// It is there.
    Found { what: String },
    /// It is not there, and what that means.
    Missing { why: String, fix: &'static str },
}

impl Execute for Doctor {
    fn execute(self) -> Result<Exit, Failure> {
        let findings = [
            self.python(),
            self.beam(),
            version(
                "Go",
                "go",
                &["version"],
                "needed only for pipelines in Go; install it from your system's packages",
            ),
            version("Java", "java", &["-version"], "needed only for pipelines in Java; install a JDK 11 or later"),
            version(
                "Docker",
                "docker",
                &["version", "--format", "{{.Server.Version}}"],
                "needed only for pipelines that insist on DOCKER environments; LOOPBACK and PROCESS need none",
            ),
            self.port(),
        ];
        // Whoever writes in one language needs neither of the others, and Docker is never needed.
        let usable = findings.iter().any(|finding| {
            ["Beam for Python", "Go", "Java"].contains(&finding.name) && matches!(finding.state, State::Found { .. })
        });
        if self.json {
            terminal::print_json(&findings)?;
        } else {
            for finding in &findings {
                match &finding.state {
                    State::Found { what } => terminal::print(&format!("ok       {}: {what}\n", finding.name))?,
                    State::Missing { why, fix } => {
                        terminal::print(&format!("missing  {}: {why}\n         {fix}\n", finding.name))?;
                    }
                }
            }
        }
        Ok(if usable { Exit::Ok } else { Exit::Failed })
    }
}

impl Doctor {
    fn python(&self) -> Finding {
        let fix = "install Python 3.10 to 3.13, or name another interpreter with --python";
        let code = "import sys; print('.'.join(map(str, sys.version_info[:3])), sys.executable)";
        match output(&self.python, &["-c", code]) {
            Err(why) => Finding { name: "Python", state: State::Missing { why, fix } },
            Ok(what) => {
                let minor =
                    what.strip_prefix("3.").and_then(|rest| rest.split('.').next()).and_then(|it| it.parse().ok());
                let state = match minor {
                    Some(10..=13) => State::Found { what },
                    Some(_) | None => {
                        State::Missing { why: format!("Beam 2.77 does not support this version: {what}"), fix }
                    }
                };
                Finding { name: "Python", state }
            }
        }
    }

    fn beam(&self) -> Finding {
        // The version of the package, without the seconds that importing it would take.
        let code = "import importlib.metadata as m; print(m.version('apache-beam'))";
        let state = match output(&self.python, &["-c", code]) {
            Ok(version) => State::Found { what: format!("apache-beam {version}") },
            Err(_) => State::Missing {
                why: format!("`{}` does not find the package apache-beam", self.python),
                fix: "pip install apache-beam==2.77.0",
            },
        };
        Finding { name: "Beam for Python", state }
    }

    fn port(&self) -> Finding {
        let state = match TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)) {
            Ok(_) => State::Found { what: format!("{} is free for `purlin serve`", self.port) },
            Err(error) => State::Missing {
                why: format!("{} cannot be used: {error}", self.port),
                fix: "choose another with `purlin serve --port`, or 0 for any that is free; `purlin run` finds its own",
            },
        };
        Finding { name: "Port", state }
    }
}

fn version(name: &'static str, program: &str, arguments: &[&str], fix: &'static str) -> Finding {
    let state = match output(program, arguments) {
        Ok(what) => State::Found { what },
        Err(why) => State::Missing { why, fix },
    };
    Finding { name, state }
}

/// The first line that a program prints, or why there is none.
fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run `{program}`: {error}"))?;
    // Java tells its version on standard error.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned();
    if output.status.success() { Ok(line) } else { Err(format!("`{program}` says: {line}")) }
}
