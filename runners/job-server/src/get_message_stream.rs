//! GetMessageStream: everything that happened to a job, states among the messages, from the beginning until the end.
//!
//! Go learns a job's state from this stream only; Java opens it when the job has failed, and shows the first error; Python
//! shows the last. They all find the one error right before the state FAILED.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use purlin_backend::{Importance, JobMessage};
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::job_message::MessageImportance;
use purlin_proto::job_management::v1::job_messages_response::Response;
use tonic::Status;

use crate::get_state_stream::state_event;
use crate::log::{LogEntry, LogItem};
use crate::shared::Shared;

/// A request with this metadata gets what happened so far, and does not wait for more. Purlin's own; not part of Beam.
pub const HISTORY_ONLY: &str = "purlin-history-only";

pub(crate) fn get_message_stream(
    shared: &Arc<Shared>,
    request: &jobpb::JobMessagesRequest,
    follow: bool,
) -> Result<BoxStream<'static, Result<jobpb::JobMessagesResponse, Status>>, Status> {
    let reader = shared.store.job(&request.job_id)?.log().reader();
    let items = stream::unfold(reader, move |mut reader| async move {
        let item = if follow { reader.next().await? } else { reader.try_next()? };
        Some((Ok(jobpb::JobMessagesResponse { response: Some(response(item)) }), reader))
    });
    Ok(items.boxed())
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
