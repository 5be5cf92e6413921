//! The subcommands, one a file.

pub(crate) mod cancel;
pub(crate) mod check;
pub(crate) mod dead_letters;
pub(crate) mod doctor;
pub(crate) mod drain;
pub(crate) mod explain;
pub(crate) mod jobs;
pub(crate) mod logs;
pub(crate) mod matrix;
pub(crate) mod metrics;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod worker_command;
