//! Cargo, as the tasks call it: in the root of the repository, by the same binary that runs the task.
//!
//! Knows how to ask Cargo for things; does not know what the things are for.

use std::ffi::OsString;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use cargo_metadata::{Message, Metadata, MetadataCommand};

/// Why Cargo did not do what a task asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CargoError {
    #[error("cannot start `{command}`")]
    Start { command: String, source: io::Error },
    #[error("`{command}` ended with {status}; what it said stands above")]
    Failed { command: String, status: ExitStatus },
    #[error("`{command}` built no program called `{name}`")]
    NoProgram { command: String, name: &'static str },
    #[error("cannot read what Cargo says about the workspace")]
    Metadata(#[from] cargo_metadata::Error),
}

/// The root of the repository that this task belongs to.
pub(crate) fn repository() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// A call of Cargo in the root of the repository.
pub(crate) fn command<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).current_dir(repository());
    command
}

/// What Cargo knows of the workspace's own packages.
///
/// # Errors
/// If Cargo cannot be run or rejects a manifest.
pub(crate) fn metadata() -> Result<Metadata, CargoError> {
    Ok(MetadataCommand::new().cargo_path(program()).current_dir(repository()).no_deps().exec()?)
}

/// Builds the released `purlin` and tells where it stands. Costs nothing but a look when it is up to date.
///
/// # Errors
/// If it does not build.
pub(crate) fn build_purlin() -> Result<PathBuf, CargoError> {
    let mut build =
        command(["build", "--release", "--package", "purlin-cli", "--message-format", "json-render-diagnostics"]);
    let words = "cargo build --release --package purlin-cli";
    let start_failed = |source| CargoError::Start { command: words.to_owned(), source };
    let mut child = build.stdout(Stdio::piped()).spawn().map_err(start_failed)?;
    let mut found = None;
    if let Some(stdout) = child.stdout.take() {
        for message in Message::parse_stream(BufReader::new(stdout)) {
            if let Message::CompilerArtifact(artifact) = message.map_err(start_failed)?
                && artifact.target.is_bin()
                && artifact.target.name == "purlin"
            {
                found = artifact.executable;
            }
        }
    }
    let status = child.wait().map_err(start_failed)?;
    if !status.success() {
        return Err(CargoError::Failed { command: words.to_owned(), status });
    }
    let found = found.ok_or_else(|| CargoError::NoProgram { command: words.to_owned(), name: "purlin" })?;
    Ok(found.into_std_path_buf())
}

fn program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
