//! Sends a bundle's input to its worker, from a thread that may wait: for the disk, and for the worker to read.
//!
//! ```text
//!   BatchReader ─batch by batch─► messages of whole elements ─► bounded queue ─► data stream
//!                                 the last: terminators of timers, then that of the source
//! ```

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use purlin_backend::profile::Work;
use purlin_engine::core::event::Failure;
use purlin_engine::data::ElementView;
use purlin_model::coder::Context;
use purlin_model::element::Header;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::elements::{Data, Timers};
use tokio::sync::mpsc;

use crate::process_bundle::BundleRun;
use crate::timers::StageTimers;

/// A message is sent when it holds about this much.
const MESSAGE_BYTES: usize = 2 << 20;

/// Room in a message for what stands around the elements.
const ENVELOPE_BYTES: usize = 1 << 10;

/// How many timers fire with one message.
const TIMERS_PER_MESSAGE: usize = 10_000;

/// A message on its way to a worker, and the bundle for which it is.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) elements: fnpb::Elements,
    pub(crate) run: Arc<BundleRun>,
}

/// Why the feeding of a bundle ended early.
enum Stop {
    /// The bundle has ended or its worker is gone: somebody else tells.
    Pointless,
    Failed(Failure),
}

/// Sends everything. Blocks.
pub(crate) fn feed(run: &Arc<BundleRun>, to: &mpsc::Sender<Outbound>, message_size_max: usize) {
    match (Feeder { run, to, buffer: Vec::new(), mark: Instant::now(), read: Duration::ZERO })
        .feed(message_size_max.saturating_sub(ENVELOPE_BYTES))
    {
        Ok(()) | Err(Stop::Pointless) => {}
        Err(Stop::Failed(why)) => run.fail(why),
    }
}

struct Feeder<'a> {
    run: &'a Arc<BundleRun>,
    to: &'a mpsc::Sender<Outbound>,
    buffer: Vec<u8>,
    /// When the encoding of the message at hand began.
    mark: Instant,
    /// How much of the time since then went into reading.
    read: Duration,
}

impl Feeder<'_> {
    fn feed(mut self, element_bytes_max: usize) -> Result<(), Stop> {
        let Some(mut input) = self.run.take_input() else { return Ok(()) };
        let mut position = 0;
        let mut expirations =
            self.run.stage.timers.as_ref().filter(|timers| timers.hears_of_expiration()).map(Expirations::new);
        'input: loop {
            let began = Instant::now();
            let Some(batch) = input.next() else { break };
            self.read += began.elapsed();
            let (batch, slice) = batch.map_err(|error| Stop::Failed(Failure::Garbage(error.to_string())))?;
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                if position >= self.run.input_end() {
                    break 'input;
                }
                position += 1;
                let bytes = element.header.len() + element.value.len();
                if bytes > element_bytes_max {
                    return Err(Stop::Failed(self.too_large(bytes, element_bytes_max)));
                }
                if !self.buffer.is_empty() && self.buffer.len() + bytes > MESSAGE_BYTES {
                    let data = self.take_data();
                    self.send(fnpb::Elements { data: vec![data], timers: Vec::new() })?;
                }
                if let Some(expirations) = &mut expirations {
                    expirations.hear_of(&element, self.run).map_err(Stop::Failed)?;
                }
                self.buffer.extend_from_slice(element.header);
                self.buffer.extend_from_slice(element.value);
            }
        }
        self.fire()?;
        self.finish()
    }

    /// Sends the timers that are due, behind all elements.
    fn fire(&mut self) -> Result<(), Stop> {
        let run = self.run.clone();
        let Some(timers) = &run.stage.timers else { return Ok(()) };
        if !self.buffer.is_empty() {
            let data = self.take_data();
            self.send(fnpb::Elements { data: vec![data], timers: Vec::new() })?;
        }
        loop {
            let due = run.take_due(TIMERS_PER_MESSAGE).map_err(Stop::Failed)?;
            if due.is_empty() {
                return Ok(());
            }
            let timers = timers.write(run.instruction.as_str(), &due);
            self.send(fnpb::Elements { data: Vec::new(), timers })?;
        }
    }

    /// The last message. Elements may stand in it only where there are no timers: the Go SDK counts terminators, and
    /// would not read on.
    fn finish(mut self) -> Result<(), Stop> {
        let mut data = Vec::new();
        if !self.buffer.is_empty() {
            data.push(self.take_data());
            if self.run.stage.timers.is_some() {
                let data = std::mem::take(&mut data);
                self.send(fnpb::Elements { data, timers: Vec::new() })?;
            }
        }
        // The terminator stands alone, for Python drops what comes with it.
        data.push(Data { is_last: true, ..self.data(Vec::new()) });
        let timers = self.run.stage.timer_families().map(|(transform, family)| Timers {
            instruction_id: self.run.instruction.as_str().to_owned(),
            transform_id: transform.to_owned(),
            timer_family_id: family.to_owned(),
            timers: Default::default(),
            is_last: true,
        });
        let timers = timers.collect();
        self.send(fnpb::Elements { data, timers })
    }

    fn take_data(&mut self) -> Data {
        let bytes = std::mem::take(&mut self.buffer);
        self.data(bytes)
    }

    fn data(&self, bytes: Vec<u8>) -> Data {
        Data {
            instruction_id: self.run.instruction.as_str().to_owned(),
            transform_id: self.run.stage.source.clone(),
            data: bytes.into(),
            is_last: false,
        }
    }

    fn send(&mut self, elements: fnpb::Elements) -> Result<(), Stop> {
        if !self.run.is_live() {
            return Err(Stop::Pointless);
        }
        let ready = Instant::now();
        let encoding = (ready - self.mark).saturating_sub(std::mem::take(&mut self.read));
        self.run.meter.worked(Work::Encode, encoding);
        let outbound = Outbound { elements, run: self.run.clone() };
        let sent = self.to.blocking_send(outbound).map_err(|_| Stop::Pointless);
        self.mark = Instant::now();
        self.run.meter.blocked(self.mark - ready);
        sent
    }

    fn too_large(&self, bytes: usize, bytes_max: usize) -> Failure {
        Failure::Garbage(format!(
            "an element of {bytes} bytes in the input of `{}` does not fit into a message of {bytes_max} bytes; make \
             elements or groups smaller, or raise --max-message-size",
            self.run.stage.name
        ))
    }
}

/// Keys and windows that a bundle has seen, each of which hears of its end.
struct Expirations<'a> {
    timers: &'a StageTimers,
    seen: HashSet<(Bytes, Bytes)>,
}

impl<'a> Expirations<'a> {
    fn new(timers: &'a StageTimers) -> Self {
        Self { timers, seen: HashSet::new() }
    }

    fn hear_of(&mut self, element: &ElementView<'_>, run: &BundleRun) -> Result<(), Failure> {
        let mut rest = element.value;
        let unreadable = |what: &str| {
            Failure::Garbage(format!("the {what} of an element in the input of `{}` cannot be read", run.stage.name))
        };
        self.timers.key_coder().skip(&mut rest, Context::Nested).map_err(|_| unreadable("key"))?;
        let key = Bytes::copy_from_slice(&element.value[..element.value.len() - rest.len()]);
        let header = Header::decode(&mut &element.header[..], self.timers.window_coder());
        let windows = header.map_err(|_| unreadable("windows"))?.windows;
        for timer in self.timers.expirations(&key, &windows) {
            if self.seen.insert((timer.key.clone(), timer.window.clone())) {
                run.set_own_timer(timer)?;
            }
        }
        Ok(())
    }
}
