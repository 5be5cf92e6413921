//! TestStream: reads a script's events, and hands them to the job one by one.
//!
//! ```text
//!   TestStreamPayload { events }    ─┐
//!   TestStreamService.Events (gRPC) ─┴─next─► elements recoded into lanes │ watermark │ clock ─► Event::Scripted
//! ```
//! When the next one is wanted is the engine's to say. Elements come in the outer encoding of the payload's coder, and go
//! on in the nested encoding of the output.

mod recode;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use purlin_backend::{Reporter, ScriptedInput};
use purlin_engine::core::event::{Event, ScriptEvent};
use purlin_engine::core::stage::OutputId;
use purlin_engine::data::LaneWriter;
use purlin_model::coder::Coder;
use purlin_model::element::Header;
use purlin_model::pane::PaneInfo;
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::BoundedWindow;
use purlin_plan::StageGraph;
use purlin_proto::convert::coder::from_components;
use purlin_proto::convert::problem::{Path, Problems};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::pipeline::v1::test_stream_payload::event::Event as Wire;
use tokio::sync::Mutex;

use source::Source;

/// The script of a job, if its pipeline has a TestStream.
#[must_use]
pub fn scripted_input(plan: &Arc<StageGraph>) -> Option<Arc<dyn ScriptedInput>> {
    let stage = plan.graph.scripted()?;
    let of_plan = plan.stages.get(stage.id.index())?;
    let transform = plan.components.transforms.get(of_plan.transforms.first()?.as_str())?;
    let payload = transform.spec.as_ref().map(|spec| pb::TestStreamPayload::decode(&spec.payload[..]));
    // The plan has read it.
    let payload = payload?.ok()?;
    let coders = from_components(&plan.components.coders, &Path::root("coders"), &mut Problems::new());
    let coder = coders.get(payload.coder_id.as_str()).cloned();
    let ids: BTreeMap<&str, OutputId> = of_plan.outputs.iter().map(|(output, id)| (id.as_str(), *output)).collect();
    let outputs: BTreeMap<String, Option<Output>> = transform
        .outputs
        .iter()
        .map(|(tag, pcollection)| {
            let output =
                ids.get(pcollection.as_str()).map(|id| Output { id: *id, coder: plan.graph.output(*id).coder.clone() });
            (tag.clone(), output)
        })
        .collect();
    let tags = outputs.keys().cloned().collect();
    let script = TestStreamScript {
        name: transform.unique_name.clone(),
        coder,
        of_go: plan.is_of_go(),
        outputs,
        source: Mutex::new(Source::new(payload, tags)),
    };
    Some(Arc::new(Player(Arc::new(script))))
}

#[derive(Debug)]
struct Player(Arc<TestStreamScript>);

#[derive(Debug)]
struct TestStreamScript {
    /// The transform's unique name, for messages.
    name: String,
    /// How elements stand in events.
    coder: Option<Arc<Coder>>,
    /// Whether the Go SDK wrote it: then elements stand as the PCollection's coder has them within others, and the coder
    /// that is named means nothing.
    of_go: bool,
    /// By tag; `None` if nobody consumes it.
    outputs: BTreeMap<String, Option<Output>>,
    source: Mutex<Source>,
}

#[derive(Debug)]
struct Output {
    id: OutputId,
    coder: Arc<Coder>,
}

impl ScriptedInput for Player {
    fn next(&self, out: LaneWriter, reporter: &Reporter) {
        let (script, reporter) = (self.0.clone(), reporter.clone());
        tokio::spawn(async move {
            reporter.event(match script.next(out).await {
                Ok(event) => Event::Scripted(event),
                Err(why) => Event::Broken { why: format!("TestStream `{}` {why}", script.name) },
            });
        });
    }
}

impl TestStreamScript {
    async fn next(&self, mut out: LaneWriter) -> Result<ScriptEvent, String> {
        let mut source = self.source.lock().await;
        loop {
            let Some(event) = source.next().await? else { return Ok(ScriptEvent::End) };
            match event.event {
                Some(Wire::ElementEvent(add)) => {
                    if let Some(output) = self.output(&add.tag)? {
                        for element in &add.elements {
                            self.push(output, element, &mut out)?;
                        }
                    }
                    let (routed, _) = out.finish().map_err(|error| format!("has elements that get lost: {error}"))?;
                    return Ok(ScriptEvent::Elements(routed));
                }
                Some(Wire::WatermarkEvent(advance)) => {
                    if let Some(output) = self.output(&advance.tag)? {
                        let to = EventTime::from_millis(advance.new_watermark);
                        return Ok(ScriptEvent::Watermark { output: output.id, to });
                    }
                }
                Some(Wire::ProcessingTimeEvent(advance)) => {
                    return Ok(ScriptEvent::Clock { by: Millis(advance.advance_duration) });
                }
                None => return Err("has an event of no known kind; use Beam 2.77 or older".to_owned()),
            }
        }
    }

    /// The output of a tag. SDKs that know of one output only do not name it as the transform does.
    fn output(&self, tag: &str) -> Result<Option<&Output>, String> {
        let only = || self.outputs.values().next().filter(|_| self.outputs.len() == 1);
        let output = self.outputs.get(tag).or_else(only);
        output.map(Option::as_ref).ok_or_else(|| {
            let known: Vec<_> = self.outputs.keys().map(String::as_str).collect();
            format!("has an event for output `{tag}`, and its outputs are {}; name one of them", known.join(", "))
        })
    }

    fn push(
        &self,
        output: &Output,
        element: &pb::test_stream_payload::TimestampedElement,
        out: &mut LaneWriter,
    ) -> Result<(), String> {
        let timestamp = EventTime::from_millis(element.timestamp);
        if timestamp.millis() != element.timestamp {
            return Err(format!(
                "has an element at {} ms, which is outside of Beam's range of time",
                element.timestamp
            ));
        }
        let value = match &self.coder {
            _ if self.of_go => recode::nested(&output.coder, &element.encoded_element),
            Some(coder) => recode::to_nested(coder, &output.coder, &element.encoded_element),
            None => return Err("names a coder for its elements that does not exist".to_owned()),
        }
        .map_err(|problem| format!("has an element that {problem}"))?;
        let mut header = Vec::new();
        Header::new(timestamp, BoundedWindow::Global, PaneInfo::NO_FIRING).encode(&mut header);
        out.push(output.id, &header, timestamp, &value)
            .map_err(|error| format!("has an element that gets lost: {error}"))
    }
}
