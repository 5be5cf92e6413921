//! `purlin`: run Beam pipelines here and now.
//!
//! ```text
//!   arguments ─► commands::* ─► job server (embedded or running) ─► terminal
//! ```
//! One subcommand a file. Results go to standard output, everything else to standard error; exit codes are in
//! [`exit`].

mod capture;
mod client;
mod commands;
mod exit;
mod interrupts;
mod logging;
mod pipeline_file;
mod profile;
mod sdk;
mod size;
mod terminal;
mod worker_boot;

use clap::{Parser, Subcommand};

use crate::exit::Exit;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs Apache Beam pipelines on this machine, on all cores, without JVM, Docker or cluster.
#[derive(Debug, Parser)]
#[command(name = "purlin", version, propagate_version = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(commands::run::Run),
    Serve(commands::serve::Serve),
    Check(commands::check::Check),
    Explain(commands::explain::Explain),
    Matrix(commands::matrix::Matrix),
    Jobs(commands::jobs::Jobs),
    Logs(commands::logs::Logs),
    Metrics(commands::metrics::Metrics),
    Drain(commands::drain::Drain),
    Cancel(commands::cancel::Cancel),
    DeadLetters(commands::dead_letters::DeadLetters),
    Doctor(commands::doctor::Doctor),
    WorkerCommand(commands::worker_command::WorkerCommand),
}

fn main() -> std::process::ExitCode {
    // Servers call this program to become a worker, as they call the boot programs of containers.
    if let Some(boot) = worker_boot::Boot::asked_for() {
        return boot.run();
    }
    // clap itself ends with 2 on wrong usage and 0 on --help and --version.
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Run(run) => run.execute(),
        Command::Serve(serve) => serve.execute(),
        Command::Check(check) => check.execute(),
        Command::Explain(explain) => explain.execute(),
        Command::Matrix(matrix) => matrix.execute(),
        Command::Jobs(jobs) => jobs.execute(),
        Command::Logs(logs) => logs.execute(),
        Command::Metrics(metrics) => metrics.execute(),
        Command::Drain(drain) => drain.execute(),
        Command::Cancel(cancel) => cancel.execute(),
        Command::DeadLetters(dead_letters) => dead_letters.execute(),
        Command::Doctor(doctor) => doctor.execute(),
        Command::WorkerCommand(worker_command) => worker_command.execute(),
    };
    match result {
        Ok(code) => code.into(),
        Err(failure) => {
            terminal::complain(&failure.to_string());
            failure.exit().into()
        }
    }
}

/// A subcommand.
trait Execute {
    /// Does it.
    fn execute(self) -> Result<Exit, exit::Failure>;
}
