//! `purlin serve`: the long-lived job service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::Args;
use purlin_fn_api::DOCKER;
use purlin_job_server::{ArtifactPlace, MESSAGE_SIZE_MAX, MemoryBudget, Server, ServerConfig};

use crate::Execute;
use crate::commands::explain::registry;
use crate::exit::{Exit, Failure};
use crate::interrupts::{Interrupt, Interrupts};
use crate::logging::{self, LogFormat};
use crate::size::memory_budget;
use crate::terminal;

/// Serve jobs until SIGTERM or Ctrl-C.
///
/// Once the server answers, one line on standard output says where: `listening on 127.0.0.1:8073`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The address to listen on. Only 127.0.0.1, ::1 and localhost, which all mean both of them, until there is TLS.
    #[arg(long, env = "PURLIN_HOST", default_value = "127.0.0.1")]
    host: String,
    /// The port to listen on, on 127.0.0.1 and ::1; 0 for any that is free.
    #[arg(long, env = "PURLIN_PORT", default_value_t = 8073)]
    port: u16,
    /// The runner of jobs that name none: direct, micro-batch, continuous, or auto.
    #[arg(long, env = "PURLIN_RUNNER", default_value = "direct")]
    runner: String,
    /// How many workers each environment of a job gets at most; the cores, if it is not given.
    #[arg(long, env = "PURLIN_WORKERS", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
    /// How much memory this server may use for all jobs together, as 512MiB or 50% of the machine. What does not fit goes
    /// to disk: into --data-dir, or a temporary folder.
    #[arg(long, env = "PURLIN_MEMORY_BUDGET", default_value = "50%", value_parser = memory_budget, value_name = "SIZE")]
    memory_budget: MemoryBudget,
    /// Where the files that pipelines bring along are kept, and data that does not fit into memory; a temporary folder, if it
    /// is not given.
    #[arg(long, env = "PURLIN_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// How large a message may be, in bytes.
    #[arg(
        long, env = "PURLIN_MAX_MESSAGE_SIZE", default_value_t = MESSAGE_SIZE_MAX as u64,
        value_parser = clap::value_parser!(u64).range(1024..=MESSAGE_SIZE_MAX as u64), value_name = "BYTES"
    )]
    max_message_size: u64,
    /// The command that runs containers, for pipelines whose environment is DOCKER: docker, or one that takes its arguments.
    #[arg(long, env = "PURLIN_DOCKER", default_value = DOCKER, value_name = "COMMAND")]
    docker: String,
    /// What to log: error, warn, info, debug, trace, or a filter.
    #[arg(long, env = "PURLIN_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    log_level: String,
    /// How a log line looks.
    #[arg(long, env = "PURLIN_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

impl Execute for Serve {
    fn execute(self) -> Result<Exit, Failure> {
        check_host(&self.host)?;
        let registry = registry();
        registry.offers(&self.runner).map_err(|unknown| Failure::Usage(unknown.to_string()))?;
        logging::start(&self.log_level, self.log_format)?;
        let mut config = ServerConfig {
            port: self.port,
            memory_budget: self.memory_budget,
            message_size_max: self.max_message_size as usize,
            docker: self.docker.clone(),
            ..ServerConfig::new(registry, self.runner.clone())
        };
        if let Some(workers) = self.workers {
            config.workers_max = workers.into();
        }
        if let Some(folder) = &self.data_dir {
            config.artifacts = ArtifactPlace::Folder(folder.clone());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
        runtime.block_on(self.serve(config))
    }
}

impl Serve {
    async fn serve(&self, config: ServerConfig) -> Result<Exit, Failure> {
        // Signals are listened for before the readiness line, so that whoever reads it may send one.
        let mut interrupts = Interrupts::listen()?;
        let server = Server::bind(config).await.map_err(Failure::failed)?;
        let port = server.port();
        tracing::info!(port, runner = self.runner, "serving");
        terminal::print(&format!("listening on 127.0.0.1:{port}\n"))?;
        let why = match interrupts.next().await {
            Interrupt::Terminate => "the server was told to end (SIGTERM)",
            Interrupt::CtrlC => "the server was told to end (Ctrl-C)",
        };
        tracing::info!("{why}; cancelling all jobs");
        interrupts.shut_down(server, why).await;
        Ok(Exit::Ok)
    }
}

fn check_host(host: &str) -> Result<(), Failure> {
    // Both of these are served, whichever is named; another address of this machine is not.
    let served = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    if host == "localhost" || address.is_ok_and(|address| served.contains(&address)) {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "--host {host} is refused: whoever reaches this server can run code on this machine, and it has neither TLS nor \
         tokens yet. Serve on 127.0.0.1 and reach it from elsewhere through a tunnel, for example \
         `ssh -L 8073:localhost:8073 thishost`."
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_served() {
        for host in ["127.0.0.1", "localhost", "::1", "[::1]"] {
            assert!(check_host(host).is_ok(), "{host}");
        }
        for host in ["0.0.0.0", "::", "10.0.0.1", "127.0.0.2", "example.com", ""] {
            assert!(check_host(host).is_err(), "{host}");
        }
    }
}
