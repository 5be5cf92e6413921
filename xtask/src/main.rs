//! The project's own tasks, one file each: `cargo xtask <task>`.

mod cargo;
mod environment;
mod fuzz;
mod protos;
mod test;
mod wordcount;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's own tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Wordcount(wordcount::Args),
    Test(test::Args),
    Fuzz(fuzz::Args),
    Protos(protos::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Wordcount(args) => wordcount::run(&args).map_err(Box::from),
        Task::Test(args) => return test::run(&args),
        Task::Fuzz(args) => fuzz::run(&args).map_err(Box::from),
        Task::Protos(args) => protos::run(&args).map_err(Box::from),
    };
    report(done)
}

/// Ends the process with what went wrong, in words, or with success.
fn report(done: Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    explain(error.as_ref());
    ExitCode::FAILURE
}

/// Tells what went wrong, and what it came from.
fn explain(error: &dyn std::error::Error) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because {error}");
        cause = error.source();
    }
}
