//! What happened to a job, in order: its states and its messages, for everyone who asks, also after the end.
//!
//! ```text
//!   driver ──message, state──►┌────────┐──reader──► GetStateStream     (states only)
//!   Cancel ──state───────────►│ JobLog │──reader──► GetMessageStream   (everything, interleaved)
//!                             └────────┘──reader──► command line
//! ```
//! SDKs open their streams when the job may already be over, so that a reader always begins at the beginning, and ends
//! when the job has ended. Messages are bounded: the oldest go first, readers hear how many they missed, and the
//! reason of a failure, being the last, always stays.
//!
//! Does not know gRPC.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use purlin_backend::{Importance, JobMessage};
use tokio::sync::watch;

use crate::config::LogLimits;
use crate::state::JobState;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEntry {
    /// The job came into a state.
    State {
        /// Which.
        state: JobState,
        /// When.
        time: SystemTime,
    },
    /// The job told its user something.
    Message(JobMessage),
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogItem {
    /// An entry and its place in the order of all, counted from 0.
    Entry(u64, Arc<LogEntry>),
    /// Here stood this many messages that are no longer kept.
    Dropped(u64),
}

/// The log of one job.
#[derive(Debug)]
pub struct JobLog {
    limits: LogLimits,
    inner: Mutex<Inner>,
    grown: watch::Sender<()>,
    /// How many clients follow the states.
    state_streams: watch::Sender<usize>,
}

#[derive(Debug)]
struct Inner {
    /// States stay for ever, for a job has few; messages come and go, so there may be gaps, and only messages are missing.
    entries: BTreeMap<u64, Arc<LogEntry>>,
    /// Where the messages are in `entries`, oldest first, with the size of their texts.
    messages: VecDeque<(u64, usize)>,
    message_bytes: usize,
    next: u64,
    state: JobState,
    since: SystemTime,
}

impl Inner {
    fn push(&mut self, entry: LogEntry) {
        self.entries.insert(self.next, Arc::new(entry));
        self.next += 1;
    }

    fn push_message(&mut self, message: JobMessage, limits: LogLimits) {
        let size = message.text.len();
        self.messages.push_back((self.next, size));
        self.message_bytes += size;
        self.push(LogEntry::Message(message));
        while self.messages.len() > 1
            && (self.messages.len() > limits.messages_max || self.message_bytes > limits.message_bytes_max)
        {
            if let Some((oldest, size)) = self.messages.pop_front() {
                self.entries.remove(&oldest);
                self.message_bytes -= size;
            }
        }
    }

    fn push_state(&mut self, state: JobState) {
        self.state = state;
        self.since = SystemTime::now();
        self.push(LogEntry::State { state, time: self.since });
    }
}

impl JobLog {
    /// The log of a job that was prepared then.
    pub(crate) fn new(limits: LogLimits, prepared: SystemTime) -> Self {
        let first = LogEntry::State { state: JobState::Stopped, time: prepared };
        let inner = Inner {
            entries: BTreeMap::from([(0, Arc::new(first))]),
            messages: VecDeque::new(),
            message_bytes: 0,
            next: 1,
            state: JobState::Stopped,
            since: prepared,
        };
        Self { limits, inner: Mutex::new(inner), grown: watch::Sender::new(()), state_streams: watch::Sender::new(0) }
    }

    /// The state now, and since when.
    pub fn state(&self) -> (JobState, SystemTime) {
        let inner = self.lock();
        (inner.state, inner.since)
    }

    /// Adds a message, unless the job has ended. An error becomes a warning: SDKs take any error for the reason why the
    /// job failed, and that is told once, by [`fail`](Self::fail).
    pub(crate) fn message(&self, mut message: JobMessage) {
        message.importance = message.importance.min(Importance::Warning);
        shorten(&mut message.text, self.limits.message_length_max);
        self.change(|inner| {
            if !inner.state.is_terminal() {
                inner.push_message(message, self.limits);
            }
        });
    }

    /// Comes into a state, if that may follow the present one; tells whether it did.
    pub(crate) fn enter(&self, state: JobState) -> bool {
        self.change(|inner| {
            let may = inner.state.may_become(state);
            if may {
                inner.push_state(state);
            }
            may
        })
    }

    /// Fails with this reason: the one error message of the job, right before its last state.
    pub(crate) fn fail(&self, reason: String) {
        self.end(JobState::Failed, reason);
    }

    /// Ends as cancelled for this reason, which SDKs tell as they tell that of a failure: they raise in both cases.
    pub(crate) fn cancel(&self, reason: String) {
        self.end(JobState::Cancelled, reason);
    }

    fn end(&self, state: JobState, mut reason: String) {
        shorten(&mut reason, self.limits.message_length_max);
        self.change(|inner| {
            if inner.state.may_become(state) {
                inner.push_message(JobMessage::now(Importance::Error, reason), self.limits);
                inner.push_state(state);
            }
        });
    }

    /// Enters a state stream, which [`state_streams_over`](Self::state_streams_over) counts until the value is dropped.
    pub(crate) fn state_stream(self: &Arc<Self>) -> StateStream {
        self.state_streams.send_modify(|count| *count += 1);
        StateStream(self.clone())
    }

    /// Waits until no state stream is open.
    pub(crate) async fn state_streams_over(&self) {
        let mut counts = self.state_streams.subscribe();
        // The sender lives as long as this borrow.
        let _ = counts.wait_for(|count| *count == 0).await;
    }

    /// A reader that stands at the beginning.
    pub fn reader(self: &Arc<Self>) -> LogReader {
        LogReader { grown: self.grown.subscribe(), log: self.clone(), next: 0 }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut self.lock());
        self.grown.send_replace(());
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing between lock and unlock can leave the log half written.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts a text that is too long, between two characters, and says so.
fn shorten(text: &mut String, length_max: usize) {
    if text.len() <= length_max {
        return;
    }
    let cut = (0..=length_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let rest = text.len() - cut;
    text.truncate(cut);
    text.push_str(&format!("\n… and {rest} bytes more"));
}

/// A client follows the states of a job for as long as this lives.
#[derive(Debug)]
pub(crate) struct StateStream(Arc<JobLog>);

impl Drop for StateStream {
    fn drop(&mut self) {
        self.0.state_streams.send_modify(|count| *count -= 1);
    }
}

/// Reads a log from the beginning to its end. Keeps the log alive, so that a job that is forgotten meanwhile does no harm.
#[derive(Debug)]
pub struct LogReader {
    log: Arc<JobLog>,
    next: u64,
    grown: watch::Receiver<()>,
}

impl LogReader {
    /// The next item; waits for it. `None` when the job has ended and everything has been read.
    pub async fn next(&mut self) -> Option<LogItem> {
        loop {
            self.grown.mark_unchanged();
            if let Some(item) = self.try_next() {
                return Some(item);
            }
            if self.log.state().0.is_terminal() && self.at_end() {
                return None;
            }
            // The sender lives in the log that this reader holds.
            self.grown.changed().await.ok()?;
        }
    }

    /// The next item, if there is one already.
    pub fn try_next(&mut self) -> Option<LogItem> {
        let inner = self.log.lock();
        let (seq, entry) = inner.entries.range(self.next..).next()?;
        if *seq > self.next {
            let dropped = seq - self.next;
            self.next = *seq;
            return Some(LogItem::Dropped(dropped));
        }
        self.next = seq + 1;
        Some(LogItem::Entry(*seq, entry.clone()))
    }

    fn at_end(&self) -> bool {
        self.next == self.log.lock().next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LogLimits = LogLimits { messages_max: 3, message_bytes_max: 1_000, message_length_max: 100 };

    fn log() -> Arc<JobLog> {
        Arc::new(JobLog::new(LIMITS, SystemTime::now()))
    }

    fn read(log: &Arc<JobLog>) -> Vec<String> {
        let mut reader = log.reader();
        let mut lines = Vec::new();
        while let Some(item) = reader.try_next() {
            lines.push(match item {
                LogItem::Dropped(count) => format!("{count} dropped"),
                LogItem::Entry(_, entry) => match &*entry {
                    LogEntry::State { state, .. } => format!("{state:?}"),
                    LogEntry::Message(message) => format!("{:?} {}", message.importance, message.text),
                },
            });
        }
        lines
    }

    fn tell(log: &JobLog, text: &str) {
        log.message(JobMessage::now(Importance::Basic, text));
    }

    #[test]
    fn the_reason_of_a_failure_is_the_one_error_and_stands_right_before_the_end() {
        let log = log();
        log.enter(JobState::Starting);
        log.message(JobMessage::now(Importance::Error, "from a worker"));
        log.enter(JobState::Running);
        log.fail("the reason".to_owned());
        log.fail("another".to_owned());
        tell(&log, "too late");
        assert!(!log.enter(JobState::Done));
        assert_eq!(
            read(&log),
            ["Stopped", "Starting", "Warning from a worker", "Running", "Error the reason", "Failed"]
        );
    }

    #[test]
    fn who_cancels_a_job_is_told_right_before_its_end() {
        let log = log();
        log.enter(JobState::Starting);
        log.enter(JobState::Cancelling);
        log.cancel("somebody wanted it".to_owned());
        log.cancel("another".to_owned());
        assert_eq!(read(&log), ["Stopped", "Starting", "Cancelling", "Error somebody wanted it", "Cancelled"]);
    }

    #[test]
    fn the_oldest_messages_go_first_and_readers_hear_of_it() {
        let log = log();
        log.enter(JobState::Starting);
        for text in ["a", "b", "c", "d", "e"] {
            tell(&log, text);
        }
        log.fail("reason".to_owned());
        assert_eq!(read(&log), ["Stopped", "Starting", "3 dropped", "Basic d", "Basic e", "Error reason", "Failed"]);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let mut text = "ä".repeat(10);
        shorten(&mut text, 5);
        assert_eq!(text, "ää\n… and 16 bytes more");
        let mut whole = "ä".repeat(10);
        shorten(&mut whole, 20);
        assert_eq!(whole.len(), 20);
    }

    #[tokio::test]
    async fn a_reader_waits_for_what_comes_and_ends_with_the_job() {
        let log = log();
        let mut reader = log.reader();
        let reading = tokio::spawn(async move {
            let mut count = 0;
            while reader.next().await.is_some() {
                count += 1;
            }
            count
        });
        tokio::task::yield_now().await;
        for state in [JobState::Starting, JobState::Running, JobState::Done] {
            assert!(log.enter(state));
            tokio::task::yield_now().await;
        }
        assert_eq!(reading.await.unwrap(), 4);
    }
}
