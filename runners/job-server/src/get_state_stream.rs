//! GetStateStream: all states of a job, from the first, until the last.
//!
//! A preparation's id is refused at once: Python tries it first, with a deadline on the whole stream, and a job would be
//! over for it when that has passed. Refused, Python asks again behind Run, without a deadline; the job may have ended by
//! then, so that the stream always begins at the beginning.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use purlin_proto::job_management::v1 as jobpb;
use tonic::Status;

use crate::log::{JobLog, LogEntry, LogItem};
use crate::shared::Shared;
use crate::state::JobState;

pub(crate) fn get_state_stream(
    shared: &Arc<Shared>,
    request: &jobpb::GetJobStateRequest,
) -> Result<BoxStream<'static, Result<jobpb::JobStateEvent, Status>>, Status> {
    Ok(states(shared.store.job(&request.job_id)?.log()))
}

/// All states of a job until the last. The log counts the stream until it is dropped.
pub(crate) fn states(log: &Arc<JobLog>) -> BoxStream<'static, Result<jobpb::JobStateEvent, Status>> {
    let states = stream::unfold(log.reader(), |mut reader| async {
        loop {
            match reader.next().await? {
                LogItem::Entry(_, entry) => match *entry {
                    LogEntry::State { state, time } => return Some((Ok(state_event(state, time)), reader)),
                    LogEntry::Message(_) => {}
                },
                LogItem::Dropped(_) => {}
            }
        }
    });
    // Owned by the stream itself, so that it is dropped when the end has been sent, and not when it is known.
    let open = log.state_stream();
    let counted = states.inspect(move |_| {
        let _ = &open;
    });
    counted.boxed()
}

pub(crate) fn state_event(state: JobState, time: SystemTime) -> jobpb::JobStateEvent {
    jobpb::JobStateEvent { state: state.to_wire().into(), timestamp: Some(time.into()) }
}
