//! A job server that offers the careful runner beside none, on any free port: `listening on localhost:PORT`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user on these")]

use std::process::ExitCode;
use std::sync::Arc;

use careful_runner::CarefulBackend;
use purlin_backend::Registry;
use purlin_job_server::{Server, ServerConfig};

#[tokio::main]
async fn main() -> ExitCode {
    let registry = Registry::new().with(Arc::new(CarefulBackend));
    match Server::bind(ServerConfig::new(registry, "careful")).await {
        Ok(server) => {
            println!("listening on localhost:{}", server.port());
            // An error means that Ctrl-C cannot be heard, and then nothing but a stronger signal ends this.
            let _ = tokio::signal::ctrl_c().await;
            server.shutdown("Ctrl-C was pressed").await;
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
