//! `cargo xtask fuzz`: a million damaged pipelines, and ten million inputs of the data plane.
//!
//! ```text
//!   cargo build, profile ci ─► purlin-fuzz run ─► shares of seeds on all cores ─► counts, or a seed and how to replay it
//! ```
//! In the profile of the tests, because it checks what a release does not: arithmetic that overflows, and assertions.

use std::process::ExitStatus;

use crate::cargo;

/// Tries damaged input on everything that reads bytes from outside.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many mutated pipelines.
    #[arg(long, default_value_t = 1_000_000)]
    pipelines: u64,
    /// How many inputs of the data plane.
    #[arg(long, default_value_t = 10_000_000)]
    data: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A folder of serialized pipelines, which are mutated beside those that the fuzzer brings.
    #[arg(long)]
    corpus: Option<String>,
}

/// Why the fuzzer did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FuzzError {
    #[error("cannot start cargo")]
    Start(#[from] std::io::Error),
    #[error("the fuzzer ended with {status}; what it found, and how to replay it, stands above")]
    Found { status: ExitStatus },
}

/// Runs the task.
///
/// # Errors
/// If the fuzzer cannot be built, or breaks something.
pub(crate) fn run(args: &Args) -> Result<(), FuzzError> {
    let (pipelines, data, seed) = (args.pipelines.to_string(), args.data.to_string(), args.seed.to_string());
    let build = ["run", "--profile", "ci", "--package", "purlin-fuzzing", "--bin", "purlin-fuzz", "--", "run"];
    let amounts = ["--pipelines", &pipelines, "--data", &data, "--seed", &seed];
    let corpus = args.corpus.iter().flat_map(|folder| ["--corpus", folder.as_str()]);
    let status = cargo::command(build.into_iter().chain(amounts).chain(corpus)).status()?;
    if status.success() { Ok(()) } else { Err(FuzzError::Found { status }) }
}
