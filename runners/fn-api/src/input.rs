//! Sends a bundle's input to its worker, from a thread that may wait: for the disk, and for the worker to read.
//!
//! ```text
//!   BatchReader ─batch by batch─► messages of whole elements ─► bounded queue ─► data stream
//!                 │               the last: terminators of timers, then that of the source
//!                 └─ all of it is small, and the SDK takes it so ─► in the request that begins the bundle
//! ```

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use purlin_backend::Admission;
use purlin_backend::profile::Work;
use purlin_engine::core::event::Failure;
use purlin_engine::data::ElementView;
use purlin_model::coder::Context;
use purlin_model::element::{Header, HeaderError};
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::elements::{Data, Timers};

use crate::habits::Habits;
use crate::process_bundle::BundleRun;
use crate::timers::StageTimers;
use crate::worker::ToWorker;

/// A message is sent when it holds about this much.
const MESSAGE_BYTES: usize = 2 << 20;

/// Room in a message for what stands around the elements.
const ENVELOPE_BYTES: usize = 1 << 10;

/// How many timers fire with one message.
const TIMERS_PER_MESSAGE: usize = 10_000;

/// A bundle is told with its request, in one round trip, if it has no more bytes than this.
const EMBEDDED_BYTES_MAX: usize = 16 << 10;

/// How a bundle may be told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FeedLimits {
    pub(crate) message_size_max: usize,
    pub(crate) habits: Habits,
}

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
pub(crate) fn feed(run: &Arc<BundleRun>, to: &ToWorker, limits: FeedLimits) {
    let habits = limits.habits;
    let embedded = habits.embeds.then(fnpb::Elements::default);
    let (mark, read) = (Instant::now(), Duration::ZERO);
    let feeder = Feeder { run, to, buffer: Vec::new(), embedded, habits, mark, read };
    match feeder.feed(limits.message_size_max.saturating_sub(ENVELOPE_BYTES)) {
        Ok(()) | Err(Stop::Pointless) => {}
        Err(Stop::Failed(why)) => run.fail(why),
    }
}

struct Feeder<'a> {
    run: &'a Arc<BundleRun>,
    to: &'a ToWorker,
    buffer: Vec<u8>,
    /// What may go with the request, while it is small enough. `None` once the request has been sent.
    embedded: Option<fnpb::Elements>,
    habits: Habits,
    /// When the encoding of the message at hand began.
    mark: Instant,
    /// How much of the time since then went into reading.
    read: Duration,
}

impl Feeder<'_> {
    fn feed(mut self, element_bytes_max: usize) -> Result<(), Stop> {
        let Some(mut input) = self.run.take_input() else { return Ok(()) };
        if self.run.collect_expired().map_err(Stop::Failed)? {
            return Ok(());
        }
        if self.embedded.is_none() {
            self.begin(None)?;
        }
        let mut position = 0;
        let mut expirations =
            self.run.stage.timers.as_ref().filter(|timers| timers.hears_of_expiration()).map(Expirations::new);
        let (stage, watermark) = (self.run.stage.clone(), self.run.watermark);
        let expires = stage.stateful && stage.lifetime.expire();
        let mut admission = expires.then(|| Admission::new(stage.lifetime, watermark));
        'input: loop {
            let began = Instant::now();
            let Some(batch) = input.next() else { break };
            self.read += began.elapsed();
            let (batch, slice) = batch.map_err(|error| Stop::Failed(Failure::Garbage(error.to_string())))?;
            for mut element in batch.iter(slice.first as usize, slice.last as usize) {
                if position >= self.run.input_end() {
                    break 'input;
                }
                position += 1;
                if let Some(admission) = &mut admission {
                    let expire = |window, behind| self.run.expire_window(&window, behind);
                    let admitted = admission.admit(element.header, expire);
                    let Some(header) = admitted.map_err(|error| self.unreadable(&error))? else { continue };
                    element.header = header;
                }
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
        self.run.dropped_late(admission.map_or(0, |admission| admission.dropped()));
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
            let timers = timers.write(run.instruction.as_str(), &due, run.began());
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
        let ends = ends(self.run.stage.timer_families(), self.habits.ends_by_transform);
        let timers = ends.map(|(transform, family, is_last)| Timers {
            instruction_id: self.run.instruction.as_str().to_owned(),
            transform_id: transform.to_owned(),
            timer_family_id: family.to_owned(),
            timers: Default::default(),
            is_last,
        });
        let timers = timers.collect();
        self.send(fnpb::Elements { data, timers })?;
        match self.embedded.take() {
            Some(all) => self.begin(Some(all)),
            None => Ok(()),
        }
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

    /// Tells the worker that the bundle begins, and with `embedded` all of it.
    fn begin(&self, embedded: Option<fnpb::Elements>) -> Result<(), Stop> {
        let lost = || {
            let worker = self.run.worker().map_or_else(String::new, |worker| format!(" `{}`", worker.id));
            Stop::Failed(Failure::WorkerLost(format!("worker{worker} was lost before the bundle began")))
        };
        self.to.requests.send(self.run.request(embedded)).map_err(|_| lost())
    }

    fn send(&mut self, elements: fnpb::Elements) -> Result<(), Stop> {
        if !self.run.is_live() {
            return Err(Stop::Pointless);
        }
        if let Some(mut all) = self.embedded.take() {
            if bytes_of(&all) + bytes_of(&elements) <= EMBEDDED_BYTES_MAX {
                all.data.extend(elements.data);
                all.timers.extend(elements.timers);
                self.embedded = Some(all);
                return Ok(());
            }
            self.begin(None)?;
            if !all.data.is_empty() || !all.timers.is_empty() {
                self.stream(all)?;
            }
        }
        self.stream(elements)
    }

    fn stream(&mut self, elements: fnpb::Elements) -> Result<(), Stop> {
        let ready = Instant::now();
        let encoding = (ready - self.mark).saturating_sub(std::mem::take(&mut self.read));
        self.run.meter.worked(Work::Encode, encoding);
        let outbound = Outbound { elements, run: self.run.clone() };
        let sent = self.to.elements.blocking_send(outbound).map_err(|_| Stop::Pointless);
        self.mark = Instant::now();
        self.run.meter.blocked(self.mark - ready);
        sent
    }

    fn unreadable(&self, error: &HeaderError) -> Stop {
        let stage = &self.run.stage.name;
        Stop::Failed(Failure::Garbage(format!(
            "the windows of an element in the input of `{stage}` cannot be read: {error}"
        )))
    }

    fn too_large(&self, bytes: usize, bytes_max: usize) -> Failure {
        Failure::Garbage(format!(
            "an element of {bytes} bytes in the input of `{}` does not fit into a message of {bytes_max} bytes; make \
             elements or groups smaller, or raise --max-message-size",
            self.run.stage.name
        ))
    }
}

/// Every family with its transform, in their order, and whether it is a terminator. A family that has none is told all the
/// same, because Go ends on its side those of which it has heard.
fn ends<'a>(
    families: impl Iterator<Item = (&'a str, &'a str)>,
    by_transform: bool,
) -> impl Iterator<Item = (&'a str, &'a str, bool)> {
    let mut families = families.peekable();
    std::iter::from_fn(move || {
        let (transform, family) = families.next()?;
        let more = families.peek().is_some_and(|(next, _)| *next == transform);
        Some((transform, family, !(by_transform && more)))
    })
}

fn bytes_of(elements: &fnpb::Elements) -> usize {
    let data = elements.data.iter().map(|data| data.data.len());
    data.chain(elements.timers.iter().map(|timers| timers.timers.len())).sum()
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

#[cfg(test)]
mod tests {
    use super::ends;

    #[test]
    fn each_family_or_each_transform_ends_once() {
        let families = [("a", "early"), ("a", "late"), ("b", "late"), ("c", "early"), ("c", "late")];
        let last = |by_transform| ends(families.into_iter(), by_transform).map(|(.., last)| last).collect::<Vec<_>>();
        assert_eq!(last(false), [true; 5]);
        assert_eq!(last(true), [false, true, true, false, true]);
        assert!(ends(families.into_iter(), true).map(|(transform, family, _)| (transform, family)).eq(families));
    }
}
