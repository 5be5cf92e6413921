//! How the program ends: the exit codes that scripts rely on.

use std::process::ExitCode;

use thiserror::Error;

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: it went well.
    Ok,
    /// 1: a job or a check failed.
    Failed,
    /// 2: wrong usage.
    Usage,
    /// 3: there is no server.
    NoServer,
    /// What the program that was run ended with.
    Child(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Ok => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Usage => Self::from(2),
            Exit::NoServer => Self::from(3),
            Exit::Child(code) => Self::from(code),
        }
    }
}

/// Why a command gives up: a text for the terminal, and the code that goes with it.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The job or the check failed.
    #[error("{0}")]
    Failed(String),
    /// The command was used wrongly.
    #[error("{0}")]
    Usage(String),
    /// No server answers.
    #[error(
        "no Purlin server answers at {endpoint}: {why}\n\
         Start one with `purlin serve`, or name another with --endpoint or PURLIN_JOB_ENDPOINT."
    )]
    NoServer {
        /// Where it was looked for.
        endpoint: String,
        /// What happened.
        why: String,
    },
}

impl Failure {
    #[expect(clippy::needless_pass_by_value, reason = "it stands in map_err, which passes by value")]
    pub(crate) fn failed(why: impl ToString) -> Self {
        Self::Failed(why.to_string())
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Failed(_) => Exit::Failed,
            Self::Usage(_) => Exit::Usage,
            Self::NoServer { .. } => Exit::NoServer,
        }
    }
}
