//! BeamFnLogging: what workers log becomes messages of their job.
//!
//! A worker's errors are warnings here: SDKs take any message of importance ERROR for the reason of a failure, and that
//! reason comes with the failed bundle. The stream outlives bundles and the control stream.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use purlin_backend::{Importance, JobMessage};
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::beam_fn_logging_server::BeamFnLogging;
use purlin_proto::fn_execution::v1::log_entry::severity::Enum as Severity;
use tonic::{Request, Response, Status, Streaming};

use crate::hub::FnApi;
use crate::worker::Worker;

#[derive(Debug)]
pub(crate) struct LoggingApi(pub(crate) Arc<FnApi>);

#[tonic::async_trait]
impl BeamFnLogging for LoggingApi {
    type LoggingStream = BoxStream<'static, Result<fnpb::LogControl, Status>>;

    async fn logging(
        &self,
        request: Request<Streaming<fnpb::log_entry::List>>,
    ) -> Result<Response<Self::LoggingStream>, Status> {
        let worker = self.0.caller(request.metadata())?;
        let mut lists = request.into_inner();
        // Nothing is ever sent: the stream of answers is the loop that reads, and ends with what it reads. A stream that
        // broke says so again as often as it is asked, and must not be asked.
        let control = stream::once(async move {
            loop {
                match lists.message().await {
                    Ok(Some(list)) => {
                        let entries = list.log_entries.into_iter().filter(|entry| !repeats_messages(entry));
                        entries.for_each(|entry| worker.reporter.message(message(entry, &worker)));
                    }
                    Ok(None) => return None,
                    Err(status) => return Some(Err(status)),
                }
            }
        });
        Ok(Response::new(Box::pin(control.filter_map(std::future::ready))))
    }
}

/// Whether an entry is a message of the job itself. With LOOPBACK, Go's client and worker are one process with one log, so
/// that each message which the client receives, and logs behind its time and id, comes back as an entry. That would be the next
/// message, and so on without an end.
fn repeats_messages(entry: &fnpb::LogEntry) -> bool {
    let id = entry.message.strip_prefix("(time=").and_then(|rest| rest.split_once(")(id="));
    let id = id.and_then(|(_, rest)| rest.split_once(')')).map(|(id, _)| id);
    entry.instruction_id.is_empty() && id.is_some_and(|id| id.parse::<u64>().is_ok())
}

fn message(entry: fnpb::LogEntry, worker: &Worker) -> JobMessage {
    let importance = importance(entry.severity());
    let time = entry.timestamp.and_then(|time| SystemTime::try_from(time).ok()).unwrap_or_else(SystemTime::now);
    let mut text = entry.message;
    if !entry.trace.is_empty() && !text.contains(entry.trace.trim_end()) {
        text.push('\n');
        text.push_str(&entry.trace);
    }
    if let Some(name) = worker.unique_name(&entry.transform_id) {
        text = format!("{name}: {text}");
    }
    JobMessage { importance, time, text }
}

fn importance(severity: Severity) -> Importance {
    match severity {
        Severity::Trace | Severity::Debug => Importance::Debug,
        Severity::Unspecified | Severity::Info | Severity::Notice => Importance::Basic,
        Severity::Warn | Severity::Error | Severity::Critical => Importance::Warning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_in_a_worker_logs_of_its_job_is_no_message() {
        let entry = |message: &str, instruction_id: &str| fnpb::LogEntry {
            message: message.to_owned(),
            instruction_id: instruction_id.to_owned(),
            ..fnpb::LogEntry::default()
        };
        let message = "(time=2026-01-01T00:00:00Z)(id=7)the worker has started";
        assert!(repeats_messages(&entry(message, "")));
        assert!(!repeats_messages(&entry(message, "bundle-1")));
        for said in ["", "the worker has started", "(time=now) all is well", "(time=now)(id=mine)", "(time=now)(id=7"] {
            assert!(!repeats_messages(&entry(said, "")), "{said}");
        }
    }

    #[test]
    fn no_entry_of_a_worker_is_taken_for_the_reason_of_a_failure() {
        for number in 0..=7 {
            let severity = Severity::try_from(number).unwrap();
            assert!(importance(severity) < Importance::Error, "{severity:?}");
        }
    }
}
