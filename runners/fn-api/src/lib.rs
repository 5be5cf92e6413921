//! Beam's Fn API, runner side: the executor of bundles in SDK harnesses.
//!
//! ```text
//!   driver ─start─► Pool ─► Worker ─► ProcessBundleRequest, data ──gRPC──► SDK harness
//!          ◄Event── BundleRun ◄─ response, outputs, state requests ◄───────┘   ▲
//!                     supervise ─► EnvironmentLauncher: external pool, process ┘
//! ```
//! One file per gRPC service decodes and passes on: `control`, `data`, `state`, `logging`, `provision`,
//! `artifact::retrieval`. What they pass on to: `worker` joins the streams of one worker by its id, `process_bundle`
//! is the life of one bundle, `pool` hands bundles to workers, `supervise` keeps workers alive, `more_workers` adds
//! processes beside the worker of a program that brought only one.
//!
//! Knows no watermarks, no lanes and no schedule: a bundle comes with its input and goes with its result.
#![warn(missing_docs)]

mod artifact;
mod config;
mod control;
mod data;
mod descriptor;
mod environment;
mod executor;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod habits;
mod hub;
mod ids;
mod input;
mod job;
mod lane_owners;
mod lock;
mod logging;
mod metadata;
mod monitoring;
mod more_workers;
mod open_bundle;
mod patience;
mod pool;
mod process_bundle;
mod progress;
mod provision;
mod residual;
mod split;
mod state;
mod supervise;
mod test_stream;
mod timers;
mod worker;

pub use artifact::{parse_staged_artifact, staged_artifact};
pub use config::{DOCKER, FnApiConfig, MESSAGE_SIZE_MAX, MorePython, WORKER_FOLDER, WORKER_PYTHON, WorkerLimits};
pub use environment::EnvironmentProblem;
pub use hub::{FnApi, FnApiError};
pub use job::FnApiJob;
pub use test_stream::scripted_input;
