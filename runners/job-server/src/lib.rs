//! Beam's Job API: prepare, stage artifacts, run, watch, cancel.
//!
//! ```text
//!   client ──Prepare──► check ──► Preparation ◄── artifact staging
//!          ──Run──────► Job ──► driver, workers (purlin-backend, purlin-fn-api)
//!          ◄─states, messages, metrics── log of the job, from its beginning, for everyone who asks
//! ```
//! One RPC a file. Any number of jobs at once; one that fails, and one whose client goes away, harms no other.
//! Does not know how a pipeline is planned or run.
#![warn(missing_docs)]

mod check;
mod config;
mod server;

mod service;
mod shared;

mod prepare;
mod run;

mod cancel;
mod drain;

mod get_jobs;
mod get_pipeline;
mod get_state;
mod get_state_stream;

mod get_message_stream;

mod describe_pipeline_options;
mod get_job_metrics;
mod inspect;

mod artifact_staging;
mod artifacts;

mod job;
mod job_store;
mod log;
mod preparation;
mod state;

mod listener;
mod options;
mod status;

pub use artifacts::FolderError;
pub use check::{Checked, Refusal, check};
pub use config::{ArtifactPlace, Limits, LogLimits, MESSAGE_SIZE_MAX, MemoryBudget, Mode, ServerConfig};
pub use get_job_metrics::monitoring_infos;
pub use get_message_stream::HISTORY_ONLY;
pub use inspect::profile_to_wire;
pub use job::Job;
pub use listener::ListenError;
pub use log::{JobLog, LogEntry, LogItem, LogReader};
pub use options::{RUNNER_OPTION, RUNNER_SPEC, RunnerChoiceError, add_options, struct_to_json};
pub use server::{Server, ServerError};
pub use state::JobState;
