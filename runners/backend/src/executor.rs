//! What runs bundles: SDK harnesses behind the Fn API, or Rust in this process.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use purlin_engine::core::action::{BundleDraft, BundleId};
use purlin_engine::core::event::Event;
use purlin_engine::core::stage::JobGraph;
use purlin_engine::data::{BatchSlice, ElementBatch, GroupError, GroupToken, LaneWriter};
use purlin_engine::metrics::MetricDelta;
use purlin_engine::store::{BatchStore, SideView, StateView, StoreError};
use purlin_model::coder::Coder;
use tokio::sync::mpsc;

use crate::message::JobMessage;
use crate::pins::Pins;
use crate::profile::{BundleMeter, Work};

/// All that a bundle may read and write.
#[derive(Debug)]
pub struct BundleIo {
    /// Its elements.
    pub input: BatchReader,
    /// The values of large groups, to which its elements may refer.
    pub groups: GroupStore,
    /// The state of its lanes.
    pub state: Box<dyn StateView>,
    /// The side inputs of the job, as they are when the bundle begins; `None` if its stage reads none.
    pub sides: Option<Arc<dyn SideView>>,
    /// Where its outputs go.
    pub out: LaneWriter,
    /// Where the times of the runner's own work for it are noted.
    pub meter: Arc<BundleMeter>,
}

/// Reads a bundle's input batch by batch, so that only one need be resident.
#[derive(Clone, Debug)]
pub struct BatchReader {
    slices: std::vec::IntoIter<BatchSlice>,
    store: Arc<dyn BatchStore>,
    meter: Arc<BundleMeter>,
    /// The coder of elements whose keys are sampled.
    keyed: Option<Arc<Coder>>,
}

impl BatchReader {
    /// A reader of these slices, in order, whose time the meter takes.
    pub fn new(slices: Vec<BatchSlice>, store: Arc<dyn BatchStore>, meter: Arc<BundleMeter>) -> Self {
        Self { slices: slices.into_iter(), store, meter, keyed: None }
    }

    /// The same, of a stage's input: where elements reach it by their keys, some of these are looked at.
    pub fn of_stage(
        graph: &JobGraph,
        draft: &BundleDraft,
        store: Arc<dyn BatchStore>,
        meter: Arc<BundleMeter>,
    ) -> Self {
        let keyed = graph.keyed_input(draft.stage).cloned();
        Self { keyed, ..Self::new(draft.input.clone(), store, meter) }
    }
}

impl Iterator for BatchReader {
    type Item = Result<(Arc<ElementBatch>, BatchSlice), StoreError>;

    /// The next batch, and which of its elements are meant.
    fn next(&mut self) -> Option<Self::Item> {
        let slice = self.slices.next()?;
        let batch = self.meter.work(Work::Read, || self.store.get(slice.batch.id));
        if let (Ok(batch), Some(coder)) = (&batch, &self.keyed) {
            self.meter.sample_keys(coder, batch, &slice);
        }
        Some(batch.map(|batch| (batch, slice)))
    }
}

/// Reads the values of large groups: those that some batch still refers to, and nothing else.
#[derive(Clone, Debug)]
pub struct GroupStore {
    batches: Arc<dyn BatchStore>,
    pins: Arc<Pins>,
}

impl GroupStore {
    /// The groups of one job.
    pub fn new(batches: Arc<dyn BatchStore>, pins: Arc<Pins>) -> Self {
        Self { batches, pins }
    }

    /// A page of the values that a token stands for, counted from 0, and the position of the next page if there is one. May read from
    /// disk.
    ///
    /// # Errors
    /// If it is no token of this job, or the page cannot be read back.
    pub fn page(&self, token: &[u8], position: u64) -> Result<(Bytes, Option<u64>), GroupError> {
        let read = GroupToken::read(token)?;
        // The token has been in a worker's hands: it opens extents, and no other batch.
        if read.extents().iter().any(|extent| !self.pins.is_kept(*extent)) {
            return Err(GroupError::Token(token.len()));
        }
        read.page(&*self.batches, position)
    }

    /// Where the extents are, for readers in this process.
    pub fn batches(&self) -> &dyn BatchStore {
        &*self.batches
    }
}

/// What an executor tells the driver of its job.
#[derive(Debug)]
pub enum Report {
    /// For the engine.
    Event(Event),
    /// What a bundle measured so far; replaces what the same bundle reported before. Sent before the event that
    /// ends the bundle, if at all.
    Metrics {
        /// Which bundle.
        bundle: BundleId,
        /// Cumulative since the bundle began.
        delta: MetricDelta,
    },
    /// For the user.
    Message(JobMessage),
}

/// Where an executor sends its reports. Cheap to clone; sending never waits. After the job has ended, reports go nowhere.
#[derive(Clone, Debug)]
pub struct Reporter(mpsc::UnboundedSender<Report>);

impl Reporter {
    /// A reporter and the end at which its reports arrive.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Report>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Something happened.
    pub fn event(&self, event: Event) {
        self.send(Report::Event(event));
    }

    /// A bundle measured something.
    pub fn metrics(&self, bundle: BundleId, delta: MetricDelta) {
        self.send(Report::Metrics { bundle, delta });
    }

    /// The user should hear something.
    pub fn message(&self, message: JobMessage) {
        self.send(Report::Message(message));
    }

    fn send(&self, report: Report) {
        // An error means that the job has ended and nobody listens, which is what the type promises.
        let _ = self.0.send(report);
    }
}

/// How the workers of a job that has ended are let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// They have time to finalize bundles and to tear down what they have set up.
    InPeace,
    /// Nobody wants what they do any more, and user code in them may never return: they have a moment.
    InHaste,
}

/// Runs the bundles of one environment of one job.
pub trait BundleExecutor: Send + Sync + fmt::Debug {
    /// Makes workers available, and reports `Event::Workers` whenever their number changes, or `Event::Broken` if
    /// there can be none. Called once, before any bundle.
    fn launch(&self, reporter: &Reporter);

    /// Starts a bundle. Sends exactly one `BundleFinished` or `BundleFailed` for it, in the end. Never blocks.
    fn start(&self, draft: BundleDraft, io: BundleIo, reporter: &Reporter) -> Box<dyn RunningBundle>;

    /// Tells the worker of a bundle that asked for it that the bundle is committed. Best effort.
    fn finalize(&self, bundle: BundleId);

    /// Lets all workers go. Called once, when the job has ended; returns at once and cleans up behind.
    fn shutdown(&self, parting: Parting);

    /// Ends when those workers are gone that cannot clean up behind themselves once the job is known to be over: they
    /// live in a process that waits for nothing else. At once, if there are none.
    fn gone(&self) -> Gone;
}

/// The end of workers that were let go.
pub type Gone = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the events of a job's script come from (`TestStream`).
pub trait ScriptedInput: Send + Sync + fmt::Debug {
    /// Reports the next event as `Event::Scripted`, or `Event::Broken` if there can be none. Its elements go to `out`.
    /// Never blocks.
    fn next(&self, out: LaneWriter, reporter: &Reporter);
}

/// A bundle under way.
pub trait RunningBundle: Send + Sync + fmt::Debug {
    /// Asks for part of the input back; the answer, if any, comes as `Event::BundleSplit`.
    fn split(&self, fraction: f64);

    /// Asks for metrics; the answer, if any, comes as `Report::Metrics`.
    fn progress(&self);

    /// Ends the bundle; `BundleFailed` follows, whatever happens.
    fn abort(&self);
}
