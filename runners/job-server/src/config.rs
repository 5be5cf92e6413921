//! What a server is told when it starts, and its bounds, each with a name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use purlin_backend::Registry;
use purlin_fn_api::{DOCKER, MorePython};
use purlin_proto::job_management::v1 as jobpb;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};
use tokio::sync::mpsc;

use crate::job::Job;

/// What gRPC clients can send in one message: 2 GiB − 1.
pub const MESSAGE_SIZE_MAX: usize = (1 << 31) - 1;

/// Everything that a server is told when it starts.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// On which port of the loopback addresses it listens; 0 for any that is free.
    pub port: u16,
    /// The runners on offer.
    pub registry: Registry,
    /// The runner of jobs that name none.
    pub runner: String,
    /// How many workers each environment of a job gets at most, and how many data threads all jobs share.
    pub workers_max: usize,
    /// How much memory this process may take for all jobs together. Data beyond that goes to disk.
    pub memory_budget: MemoryBudget,
    /// How large a message may be, on every service.
    pub message_size_max: usize,
    /// Where the files that pipelines bring along are kept.
    pub artifacts: ArtifactPlace,
    /// Whether jobs may have commands of theirs started as workers on this machine.
    pub process_environments: bool,
    /// The command that runs containers, for jobs whose environment is one.
    pub docker: String,
    /// Whether, and how, programs that submit with LOOPBACK get more processes.
    pub more_python: Option<MorePython>,
    /// What becomes of submitted pipelines.
    pub mode: Mode,
    /// Pipeline options, as texts, that every job has, whatever its client says of them.
    pub job_options: BTreeMap<String, String>,
    /// The bounds on what it keeps.
    pub limits: Limits,
    /// Hears of each job when it starts.
    pub observer: Option<mpsc::UnboundedSender<Arc<Job>>>,
}

impl ServerConfig {
    /// The usual configuration with these runners, of which this one is the default.
    pub fn new(registry: Registry, runner: impl Into<String>) -> Self {
        Self {
            port: 0,
            registry,
            runner: runner.into(),
            workers_max: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_budget: MemoryBudget::default(),
            message_size_max: MESSAGE_SIZE_MAX,
            artifacts: ArtifactPlace::Temporary,
            process_environments: true,
            docker: DOCKER.to_owned(),
            more_python: None,
            mode: Mode::Run,
            job_options: BTreeMap::new(),
            limits: Limits::default(),
            observer: None,
        }
    }
}

/// How much memory all jobs may take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryBudget {
    /// So many bytes.
    Bytes(u64),
    /// This share of the machine's memory, from 1 to 100.
    Percent(u8),
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self::Percent(50)
    }
}

impl MemoryBudget {
    /// The budget on this machine.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => memory_of_machine() / 100 * u64::from(percent),
        }
    }
}

/// Of the machine, or of the container if it may have less.
fn memory_of_machine() -> u64 {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory);
    let container = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    system.total_memory().min(container)
}

/// Where the files that pipelines bring along are kept, and data that does not fit into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArtifactPlace {
    /// In this process.
    Memory,
    /// In a folder that is made when the server starts and removed when it ends.
    Temporary,
    /// In this folder, which belongs to one server at a time.
    Folder(PathBuf),
}

/// What becomes of submitted pipelines.
#[derive(Clone, Debug)]
pub enum Mode {
    /// They run.
    Run,
    /// They are passed on, and the client hears at Prepare that nothing will run: to look at a pipeline without running it.
    Capture(mpsc::UnboundedSender<jobpb::PrepareJobRequest>),
}

/// The bounds on what a server keeps. What goes beyond is forgotten, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Preparations that nobody has run.
    pub preparations_max: usize,
    /// The size of the pipelines of preparations that nobody has run.
    pub preparations_bytes_max: usize,
    /// Jobs that have ended.
    pub finished_jobs_max: usize,
    /// The size of the pipelines of jobs that have ended.
    pub finished_bytes_max: usize,
    /// The messages of each job.
    pub log: LogLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            preparations_max: 100,
            preparations_bytes_max: 1 << 30,
            finished_jobs_max: 200,
            finished_bytes_max: 256 << 20,
            log: LogLimits::default(),
        }
    }
}

/// The bounds on the messages of one job.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// How many are kept, at least the last.
    pub messages_max: usize,
    /// How long all of them may be together.
    pub message_bytes_max: usize,
    /// How long one may be; the rest is cut off.
    pub message_length_max: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { messages_max: 10_000, message_bytes_max: 16 << 20, message_length_max: 1 << 20 }
    }
}
