//! The bounds of the Fn API, each with a name.

use std::path::PathBuf;
use std::time::Duration;

/// What gRPC clients can send in one message: 2 GiB − 1.
pub const MESSAGE_SIZE_MAX: usize = (1 << 31) - 1;

/// The usual command that runs containers.
pub const DOCKER: &str = "docker";

/// What a server may do for its jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FnApiConfig {
    /// How large a message may be, on every service and client.
    pub message_size_max: usize,
    /// Whether jobs may have commands of theirs started as workers on this machine.
    pub process_environments: bool,
    /// The command that runs containers: `docker`, or one that takes its arguments.
    pub docker: String,
    /// Whether, and how, programs that submit with LOOPBACK get more processes.
    pub more_python: Option<MorePython>,
}

impl Default for FnApiConfig {
    fn default() -> Self {
        Self {
            message_size_max: MESSAGE_SIZE_MAX,
            process_environments: true,
            docker: DOCKER.to_owned(),
            more_python: None,
        }
    }
}

/// More processes of a Python program that submits with LOOPBACK: its own worker is ready at once, but all threads of
/// one interpreter share one lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MorePython {
    /// What becomes a worker when it is called as the boot programs of SDK containers are, with [`WORKER_PYTHON`] and
    /// [`WORKER_FOLDER`] in its environment.
    pub boot: PathBuf,
    /// How long an environment must have been busy until it gets more. A short job is over before they are up.
    pub after: Duration,
    /// Whether what they print goes to the standard output of this process, as that of the program's own worker does.
    pub echo: bool,
}

/// Names the interpreter to a boot program.
pub const WORKER_PYTHON: &str = "PURLIN_WORKER_PYTHON";

/// Names the working directory to a boot program.
pub const WORKER_FOLDER: &str = "PURLIN_WORKER_FOLDER";

/// How patient a server is with workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerLimits {
    /// How long a worker may take from its start until its control stream opens. A container's boot program installs
    /// packages in that time.
    pub connect_timeout: Duration,
    /// How long a worker may take for each step of its end: to be told, to leave by itself, to obey a signal.
    pub stop_timeout: Duration,
    /// The same for a worker whose job was cancelled: user code in it may never return, and others wait for its place.
    pub cancel_timeout: Duration,
    /// How long a bundle whose worker has answered waits for the rest of its elements and timers, and for the answers to
    /// questions about it, from one message to the next.
    pub rest_timeout: Duration,
    /// How many workers of an environment may be lost in a row, without a bundle finished between, until the job is
    /// given up.
    pub losses_max: u32,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(5),
            cancel_timeout: Duration::from_millis(250),
            rest_timeout: Duration::from_secs(120),
            losses_max: 3,
        }
    }
}
