//! The `worker_id` that every Fn API call carries, and which joins the streams of one worker.

use thiserror::Error;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

/// Why a call cannot be joined to a worker.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum UnknownWorker {
    /// The call does not say.
    #[error("the call carries no `worker_id` metadata; every call of the Fn API must")]
    Nameless,
    /// Nobody expects it.
    #[error(
        "no job of this server expects a worker `{0}`; its job has ended, or it was started for another server: end \
         the worker"
    )]
    Unexpected(String),
    /// Its control stream must come first.
    #[error("worker `{0}` has no control stream; open that first")]
    NotConnected(String),
    /// It has such a stream already.
    #[error("worker `{0}` has a data stream already; use the one")]
    SecondDataStream(String),
}

impl From<UnknownWorker> for Status {
    fn from(why: UnknownWorker) -> Self {
        let text = why.to_string();
        match why {
            UnknownWorker::Nameless => Self::invalid_argument(text),
            UnknownWorker::Unexpected(_) => Self::not_found(text),
            UnknownWorker::NotConnected(_) => Self::failed_precondition(text),
            UnknownWorker::SecondDataStream(_) => Self::already_exists(text),
        }
    }
}

/// Why a stream of a worker broke, and what can be done about it.
pub(crate) fn broken(status: &Status) -> String {
    match status.code() {
        // tonic's word for a message that is too large.
        Code::OutOfRange => format!("{}; start the server with a larger --max-message-size", status.message()),
        _ => status.message().to_owned(),
    }
}

/// The id that the call carries.
pub(crate) fn worker_id(metadata: &MetadataMap) -> Result<&str, UnknownWorker> {
    metadata.get("worker_id").and_then(|id| id.to_str().ok()).ok_or(UnknownWorker::Nameless)
}
