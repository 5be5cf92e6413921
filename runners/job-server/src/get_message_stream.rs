//! GetMessageStream: everything that happened to a job, states among the messages, from the beginning until the end.
//!
//! Go learns a job's state from this stream only; Java opens it when the job has failed, and shows the first error; Python
//! shows the last. They all find the one error right before the state FAILED.
//!
//! The last state, and the end of the stream, come behind the ends of the job's state streams. Python waits for the last state
//! and then for the end of this stream, and exits; were the end of the state stream still on its way then, a thread of its gRPC
//! library could be stopped while it holds a lock for which the main thread waits, and the program would never end. It does not
//! suffice to hold back the end alone: HTTP/2 sends streams in turns, one frame of each, so that an end without a message
//! before it can overtake the end of a stream whose last message still waits.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use purlin_backend::{Importance, JobMessage};
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::job_message::MessageImportance;
use purlin_proto::job_management::v1::job_messages_response::Response;
use tonic::Status;

use crate::get_state_stream::state_event;
use crate::log::{JobLog, LogEntry, LogItem};
use crate::shared::Shared;

/// How long the last state in a message stream waits for the ends of state streams, which follow the last state by themselves.
const STATE_STREAMS_MAX: Duration = Duration::from_secs(1);

/// A request with this metadata gets what happened so far, and does not wait for more. Purlin's own; not part of Beam.
pub const HISTORY_ONLY: &str = "purlin-history-only";

pub(crate) fn get_message_stream(
    shared: &Arc<Shared>,
    request: &jobpb::JobMessagesRequest,
    follow: bool,
) -> Result<BoxStream<'static, Result<jobpb::JobMessagesResponse, Status>>, Status> {
    Ok(messages(shared.store.job(&request.job_id)?.log(), follow))
}

fn messages(log: &Arc<JobLog>, follow: bool) -> BoxStream<'static, Result<jobpb::JobMessagesResponse, Status>> {
    let log = log.clone();
    let items = stream::unfold(log.reader(), move |mut reader| {
        let log = log.clone();
        async move {
            let item = if follow { reader.next().await } else { reader.try_next() }?;
            if follow && is_last(&item) {
                // A client that does not read its states hears the end all the same.
                let _ = tokio::time::timeout(STATE_STREAMS_MAX, log.state_streams_over()).await;
            }
            Some((Ok(jobpb::JobMessagesResponse { response: Some(response(item)) }), reader))
        }
    });
    items.boxed()
}

/// Whether nothing follows this item.
fn is_last(item: &LogItem) -> bool {
    matches!(item, LogItem::Entry(_, entry) if matches!(**entry, LogEntry::State { state, .. } if state.is_terminal()))
}

fn response(item: LogItem) -> Response {
    match item {
        LogItem::Entry(seq, entry) => match &*entry {
            LogEntry::State { state, time } => Response::StateResponse(state_event(*state, *time)),
            LogEntry::Message(message) => Response::MessageResponse(to_wire(&seq.to_string(), message)),
        },
        LogItem::Dropped(count) => {
            let text = format!("{count} earlier messages are no longer kept");
            Response::MessageResponse(to_wire("", &JobMessage::now(Importance::Warning, text)))
        }
    }
}

fn to_wire(id: &str, message: &JobMessage) -> jobpb::JobMessage {
    let importance = match message.importance {
        Importance::Debug => MessageImportance::JobMessageDebug,
        Importance::Detailed => MessageImportance::JobMessageDetailed,
        Importance::Basic => MessageImportance::JobMessageBasic,
        Importance::Warning => MessageImportance::JobMessageWarning,
        Importance::Error => MessageImportance::JobMessageError,
    };
    jobpb::JobMessage {
        message_id: id.to_owned(),
        time: prost_types::Timestamp::from(message.time).to_string(),
        importance: importance.into(),
        message_text: message.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::config::LogLimits;
    use crate::get_state_stream::states;
    use crate::state::JobState;

    const LIMITS: LogLimits = LogLimits { messages_max: 3, message_bytes_max: 1_000, message_length_max: 100 };

    fn failed() -> Arc<JobLog> {
        let log = Arc::new(JobLog::new(LIMITS, std::time::SystemTime::now()));
        assert!(log.enter(JobState::Starting));
        log.fail("of the test".to_owned());
        log
    }

    #[tokio::test]
    async fn the_last_state_comes_behind_the_ends_of_the_state_streams() {
        let log = failed();
        let (mut messages, mut states) = (messages(&log, true), states(&log));
        for _ in 0..3 {
            assert!(messages.next().await.is_some());
        }
        while states.next().await.is_some() {}
        assert!(messages.next().now_or_never().is_none(), "the end of the states is known, and not sent yet");
        drop(states);
        assert!(messages.next().await.is_some());
        assert!(messages.next().await.is_none());
    }

    #[tokio::test]
    async fn a_state_stream_that_nobody_reads_does_not_keep_the_end_back_for_ever() {
        let log = failed();
        let _states = states(&log);
        assert_eq!(messages(&log, true).count().await, 4);
    }
}
