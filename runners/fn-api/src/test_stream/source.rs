//! Where a script's events come from: the payload itself, or a service of the program that submitted the pipeline.
//!
//! ```text
//!   TestStreamPayload { events, in milliseconds } ──────────────────────────┬─► Event, in milliseconds
//!   TestStreamService.Events: the same messages, in microseconds ─in_millis─┘
//! ```
//! Python's SDK alone has such services, and its own runner takes what they say for microseconds, as what records streams for them
//! (`ReverseTestStream`) writes it. Beam's interface definition names no unit.

use std::collections::VecDeque;

use purlin_proto::interactive::v1::EventsRequest;
use purlin_proto::interactive::v1::test_stream_service_client::TestStreamServiceClient;
use purlin_proto::pipeline::v1::TestStreamPayload;
use purlin_proto::pipeline::v1::test_stream_payload::Event;
use purlin_proto::pipeline::v1::test_stream_payload::event::Event as Wire;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::config::MESSAGE_SIZE_MAX;

#[derive(Debug)]
pub(super) enum Source {
    Events(VecDeque<Event>),
    /// Not asked yet.
    Service {
        url: String,
        tags: Vec<String>,
    },
    Stream {
        url: String,
        events: Box<Streaming<Event>>,
    },
}

impl Source {
    pub(super) fn new(payload: TestStreamPayload, tags: Vec<String>) -> Self {
        match payload.endpoint.filter(|endpoint| !endpoint.url.is_empty()) {
            Some(endpoint) => Self::Service { url: endpoint.url, tags },
            None => Self::Events(payload.events.into()),
        }
    }

    /// The next event; `None` at the end. One is taken from a service at a time.
    ///
    /// # Errors
    /// If the service cannot be reached or goes away.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, String> {
        if let Self::Service { url, tags } = self {
            let (url, tags) = (std::mem::take(url), std::mem::take(tags));
            let events = Box::new(connect(&url, tags).await.map_err(|why| gone(&url, &why))?);
            *self = Self::Stream { url, events };
        }
        match self {
            Self::Events(events) => Ok(events.pop_front()),
            Self::Stream { url, events } => {
                let event = events.message().await.map_err(|status| gone(url, status.message()))?;
                Ok(event.map(in_millis))
            }
            Self::Service { .. } => Ok(None),
        }
    }
}

/// An event of a service, with its times in milliseconds: those before which it is not yet.
fn in_millis(mut event: Event) -> Event {
    let millis = |time: &mut i64| *time = time.div_euclid(1_000);
    match &mut event.event {
        Some(Wire::ElementEvent(add)) => add.elements.iter_mut().for_each(|element| millis(&mut element.timestamp)),
        Some(Wire::WatermarkEvent(advance)) => millis(&mut advance.new_watermark),
        Some(Wire::ProcessingTimeEvent(advance)) => millis(&mut advance.advance_duration),
        None => {}
    }
    event
}

async fn connect(url: &str, output_ids: Vec<String>) -> Result<Streaming<Event>, String> {
    let uri = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let endpoint = Endpoint::from_shared(uri).map_err(|error| error.to_string())?;
    let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
    let mut service = TestStreamServiceClient::new(channel).max_decoding_message_size(MESSAGE_SIZE_MAX);
    let answer = service.events(EventsRequest { output_ids }).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
}

fn gone(url: &str, why: &str) -> String {
    format!(
        "takes its events from the TestStreamService at {url}, which does not answer: {why}; keep it running until the job ends"
    )
}
