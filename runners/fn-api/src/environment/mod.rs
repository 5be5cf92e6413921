//! Where workers come from (`Environment` of `beam_runner_api.proto`).
//!
//! ```text
//!   Environment { urn, payload } ─choose─► external: a pool that starts workers when asked
//!                                      ├─► process: a command on this machine
//!                                      ├─► docker: a container on this machine
//!                                      └─► EnvironmentProblem: why not, and what to use instead
//! ```

mod docker;
mod external;
mod last_lines;
mod process;
mod python_program;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use prost::Message;
use purlin_backend::Reporter;
use purlin_model::ids::WorkerId;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::sdk::Sdk;
use purlin_proto::urns::standard_environments::environments as urns;
use purlin_proto::urns::standard_protocols::MULTI_CORE_BUNDLE_PROCESSING;
use thiserror::Error;

use crate::config::{FnApiConfig, MorePython, WORKER_FOLDER, WORKER_PYTHON};
use crate::patience::Patience;
use docker::Docker;
use external::External;
use process::Process;
use python_program::PythonProgram;

/// Starts workers of one environment. Each gets an id under which it must connect.
pub(crate) trait EnvironmentLauncher: Send + Sync + fmt::Debug {
    /// Where they come from, for messages: an address, a command.
    fn description(&self) -> String;

    /// Starts a worker. It is up when it connects, not when this ends. Once begun, the launch takes place even if
    /// nobody waits for it any more.
    fn launch(&self, place: WorkerPlace) -> BoxFuture<'static, Result<Box<dyn LaunchedWorker>, LaunchError>>;
}

/// What a worker is told.
#[derive(Clone, Debug)]
pub(crate) struct WorkerPlace {
    pub(crate) worker: WorkerId,
    /// `host:port` of all services.
    pub(crate) endpoint: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) message_size_max: usize,
    /// Where it goes what the worker writes to its standard output and error.
    pub(crate) reporter: Reporter,
}

/// A worker that was started, seen from where it was started.
pub(crate) trait LaunchedWorker: Send + Sync + fmt::Debug {
    /// Ends when the worker does, and says how. Never, where that cannot be seen.
    fn ended(&mut self) -> BoxFuture<'_, String>;

    /// What it said last, to be put behind a message; empty where that is not known.
    fn last_words(&mut self) -> BoxFuture<'_, String>;

    /// How it ended and what it said last, of a worker that must be ending.
    fn post_mortem(&mut self, patience: Patience) -> BoxFuture<'_, String>;

    /// Makes it end. `close_control` ends its control stream, which tells it to leave by itself; false if
    /// there is none.
    fn stop(
        self: Box<Self>,
        patience: Patience,
        close_control: Box<dyn FnOnce() -> bool + Send>,
    ) -> BoxFuture<'static, ()>;
}

/// Why a worker cannot be started.
#[derive(Debug, Error)]
pub(crate) enum LaunchError {
    /// Its pool cannot be reached.
    #[error(
        "the worker pool at {address} cannot be reached: {why}; with LOOPBACK the program that submitted the pipeline \
         is the pool, and must stay until the job has ended"
    )]
    Unreachable { address: String, why: String },
    /// Its pool refuses.
    #[error("the worker pool at {address} says: {why}")]
    Refused { address: String, why: String },
    /// There is no such image, or it cannot be had.
    #[error("the image `{image}` is not there and cannot be pulled: {why}")]
    Image { image: String, why: String },
    /// Its command cannot be run.
    #[error("`{command}` cannot be run: {source}; is the path right, as seen from the server, and executable?")]
    Command { command: String, source: std::io::Error },
}

/// Why no workers can be had for an environment, and what to do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("environment `{environment}`: {what}; {fix}")]
pub struct EnvironmentProblem {
    /// Its id in the pipeline.
    pub environment: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

/// A way to get workers.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) launcher: Arc<dyn EnvironmentLauncher>,
    /// Of the environment that was chosen.
    pub(crate) capabilities: Vec<String>,
    /// Whether several workers run in parallel. Those of a LOOPBACK pool are threads of one interpreter.
    pub(crate) workers_may_multiply: bool,
    /// A Python program on this machine of which more may be started: the port that it listens on.
    pub(crate) program_port: Option<u16>,
}

/// The port of a pool on this machine whose workers could be Beam's Python SDK: one core is all that they use.
fn python_on_this_machine(address: &str, capabilities: &[String]) -> Option<u16> {
    let (host, port) = address.rsplit_once(':')?;
    let is_near = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|host| host.is_loopback());
    let is_python = Sdk::of(capabilities) == Some(Sdk::Python);
    let uses_all_cores = capabilities.iter().any(|urn| urn == MULTI_CORE_BUNDLE_PROCESSING);
    (is_near && is_python && !uses_all_cores).then(|| port.parse().ok())?
}

/// A launcher of more processes of the program that listens on a port, or why there is none. May block.
pub(crate) fn more_of(port: u16, more: &MorePython) -> Result<Arc<dyn EnvironmentLauncher>, String> {
    let program = PythonProgram::listening_on(port)?;
    let boot = more.boot.to_str().ok_or_else(|| format!("the path of {} is no text", more.boot.display()))?;
    let mut env = program.env;
    env.insert(WORKER_PYTHON.into(), program.interpreter.into());
    env.insert(WORKER_FOLDER.into(), program.folder.into());
    Ok(Arc::new(Process::own(boot.to_owned(), env, more.echo)))
}

/// What the fix of most problems is.
const ALTERNATIVES: &str =
    "use --environment_type=LOOPBACK, or PROCESS with the worker's command in --environment_config";

/// How deep environments that name alternatives may be nested in one another; SDKs nest once.
const ANYOF_DEPTH_MAX: usize = 8;

/// The first way to get workers that this server has. Blocks for as long as a container engine takes to say that it is there.
pub(crate) fn choose(
    id: &str,
    environment: &pb::Environment,
    config: &FnApiConfig,
) -> Result<Chosen, EnvironmentProblem> {
    choose_within(id, environment, config, ANYOF_DEPTH_MAX)
}

fn choose_within(
    id: &str,
    environment: &pb::Environment,
    config: &FnApiConfig,
    depth_left: usize,
) -> Result<Chosen, EnvironmentProblem> {
    let problem =
        |what: String, fix: &str| EnvironmentProblem { environment: id.to_owned(), what, fix: fix.to_owned() };
    let payload = environment.payload.clone();
    let unreadable = |error: prost::DecodeError| {
        problem(format!("its payload is no {}: {error}", environment.urn), "the SDK that made the pipeline is at fault")
    };
    let capabilities = environment.capabilities.clone();
    match environment.urn.as_str() {
        urns::EXTERNAL => {
            let payload = pb::ExternalPayload::decode(payload).map_err(unreadable)?;
            match payload.endpoint.map(|endpoint| endpoint.url).filter(|url| !url.is_empty()) {
                Some(address) => {
                    let program_port =
                        config.more_python.as_ref().and_then(|_| python_on_this_machine(&address, &capabilities));
                    let launcher = Arc::new(External::new(address, payload.params));
                    Ok(Chosen { launcher, capabilities, workers_may_multiply: false, program_port })
                }
                None => Err(problem(
                    "it is EXTERNAL without the address of a worker pool".to_owned(),
                    "give the pool's host:port in --environment_config, or use --environment_type=LOOPBACK",
                )),
            }
        }
        urns::PROCESS if !config.process_environments => Err(problem(
            "it is PROCESS, and this server starts no commands of its jobs".to_owned(),
            "use --environment_type=LOOPBACK, or a server that allows PROCESS environments",
        )),
        urns::PROCESS => {
            let payload = pb::ProcessPayload::decode(payload).map_err(unreadable)?;
            if payload.command.is_empty() {
                return Err(problem(
                    "it is PROCESS without a command".to_owned(),
                    "give it in --environment_config, as in '{\"command\": \"/path/to/boot\"}'",
                ));
            }
            let launcher = Arc::new(Process::new(payload.command, payload.env));
            Ok(Chosen { launcher, capabilities, workers_may_multiply: true, program_port: None })
        }
        urns::ANYOF if depth_left == 0 => Err(problem(
            format!("its alternatives are nested deeper than {ANYOF_DEPTH_MAX} levels"),
            "name the alternatives side by side",
        )),
        urns::ANYOF => {
            let payload = pb::AnyOfEnvironmentPayload::decode(payload).map_err(unreadable)?;
            let mut problems = Vec::new();
            for alternative in &payload.environments {
                match choose_within(id, alternative, config, depth_left - 1) {
                    Ok(chosen) => return Ok(chosen),
                    Err(problem) => problems.push(problem.what),
                }
            }
            Err(problem(
                format!("none of its {} alternatives can be had: {}", problems.len(), problems.join("; ")),
                ALTERNATIVES,
            ))
        }
        urns::DOCKER => {
            let payload = pb::DockerPayload::decode(payload).map_err(unreadable)?;
            let image = payload.container_image;
            if image.is_empty() {
                return Err(problem("it is DOCKER without an image".to_owned(), ALTERNATIVES));
            }
            if !config.process_environments {
                let what = format!("it is the container `{image}`, and this server starts none");
                return Err(problem(what, ALTERNATIVES));
            }
            docker::engine(&config.docker)
                .map_err(|why| problem(format!("it is the container `{image}`, and {why}"), ALTERNATIVES))?;
            let launcher = Arc::new(Docker::new(config.docker.clone(), image));
            Ok(Chosen { launcher, capabilities, workers_may_multiply: true, program_port: None })
        }
        urns::DEFAULT => {
            Err(problem("it leaves the choice to the runner, and Purlin has no default".to_owned(), ALTERNATIVES))
        }
        "EMBEDDED" => Err(problem("Java's EMBEDDED runs only inside Java's own runners".to_owned(), ALTERNATIVES)),
        urn if urn.contains("python") => {
            Err(problem(format!("{urn} runs only inside Python's own runners"), ALTERNATIVES))
        }
        "" => Err(problem("it says nothing of where workers come from".to_owned(), ALTERNATIVES)),
        urn => Err(problem(format!("{urn} is not a kind of environment that Purlin knows"), ALTERNATIVES)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_within_alternatives_end() {
        let mut nested = pb::Environment::default();
        for _ in 0..2_000 {
            let all = pb::AnyOfEnvironmentPayload { environments: vec![nested] };
            let payload = all.encode_to_vec().into();
            nested = pb::Environment { urn: urns::ANYOF.to_owned(), payload, ..pb::Environment::default() };
        }
        let refused = choose("env", &nested, &FnApiConfig::default()).unwrap_err().to_string();
        assert!(refused.contains("environment `env`") && refused.contains("deeper than 8 levels"), "{refused}");
    }
}
