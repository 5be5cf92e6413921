//! What a job tells its user while it runs (`JobMessage` of `beam_job_api.proto`).

use std::time::SystemTime;

/// How important a message is (`MessageImportance`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Importance {
    /// For debugging.
    Debug,
    /// In detail.
    Detailed,
    /// Of use.
    Basic,
    /// Something is not as it should be.
    Warning,
    /// Why the job failed. SDKs show the first or the last of these as the reason, so there is exactly one.
    Error,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobMessage {
    /// How important.
    pub importance: Importance,
    /// When it was written.
    pub time: SystemTime,
    /// The text.
    pub text: String,
}

impl JobMessage {
    /// A message of now.
    pub fn now(importance: Importance, text: impl Into<String>) -> Self {
        Self { importance, time: SystemTime::now(), text: text.into() }
    }
}
