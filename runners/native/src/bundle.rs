//! What a native stage sees of a bundle.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use purlin_backend::{Admission, BatchReader, GroupStore, WindowLifetime};
use purlin_engine::core::action::BundleDraft;
use purlin_engine::core::event::Residual;
use purlin_engine::core::stage::{OutputId, SideId};
use purlin_engine::data::{BatchSlice, ElementBatch, GroupError, GroupPage, GroupReader, LaneWriter, WriteError};
use purlin_engine::store::{SideView, StateError, StateView, StoreError, Timer};
use purlin_model::element::HeaderError;
use purlin_model::time::{EventTime, ProcessingTime};
use purlin_model::window::BoundedWindow;
use thiserror::Error;

use crate::codec::Codec;

/// Typed stages see at most this many elements at once: they fit into the second-level cache.
pub const CHUNK_ELEMENTS_MAX: usize = 4_096;

/// A stage written in Rust. One value serves all bundles, on any thread.
pub trait NativeStage: Send + Sync + fmt::Debug {
    /// Processes a bundle whole.
    ///
    /// # Errors
    /// Ends the job, as an exception in an SDK would.
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError>;
}

/// Why a native stage gives up.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NativeError {
    /// The bundle was told to stop.
    #[error("the bundle was aborted")]
    Aborted,
    /// An element is not what the stage expects.
    #[error("an element cannot be read as {expected}: {why}")]
    Decode {
        /// What it should be.
        expected: &'static str,
        /// What is wrong.
        why: String,
    },
    /// User code gave up.
    #[error("{0}")]
    User(String),
    /// An output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The input cannot be read back.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The values of a group cannot be read.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// State cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// An element's windows cannot be read.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// One bundle, as its stage sees it.
#[derive(Debug)]
pub struct NativeBundle<'a> {
    pub(crate) draft: &'a BundleDraft,
    /// What lets elements into their windows, once one has been asked for.
    pub(crate) admission: Option<Admission>,
    pub(crate) input: BatchReader,
    pub(crate) outputs: &'a [OutputId],
    pub(crate) groups: &'a GroupStore,
    pub(crate) sides: Option<&'a dyn SideView>,
    pub(crate) state: &'a mut Box<dyn StateView>,
    pub(crate) out: &'a mut LaneWriter,
    pub(crate) residuals: Vec<Residual>,
    pub(crate) control: Arc<BundleControl>,
}

/// What others may ask of a bundle while it runs.
#[derive(Debug, Default)]
pub(crate) struct BundleControl {
    pub(crate) aborted: AtomicBool,
    /// How often a split at 0 was asked for.
    pub(crate) checkpoints: AtomicU64,
}

impl NativeBundle<'_> {
    /// The next batch of the input, and which of its elements are meant.
    ///
    /// # Errors
    /// If it cannot be read, or the bundle was aborted.
    pub fn next_batch(&mut self) -> Result<Option<(Arc<ElementBatch>, BatchSlice)>, NativeError> {
        self.check_aborted()?;
        Ok(self.input.next().transpose()?)
    }

    /// Calls `each` with every value of a group, page by page: however many there are, two pages are in memory. `iterable` is
    /// what stands behind the key in a group's element.
    ///
    /// # Errors
    /// If they cannot be read, or what `each` says.
    pub fn values_of<V: Codec>(
        &self,
        iterable: &[u8],
        mut each: impl FnMut(V::Value) -> Result<(), NativeError>,
    ) -> Result<(), NativeError> {
        let mut reader = GroupReader::new(iterable)?;
        while let Some(page) = reader.next_page(self.groups.batches())? {
            self.check_aborted()?;
            match page {
                GroupPage::Inline { count, mut bytes } => {
                    for _ in 0..count {
                        each(V::decode(&mut bytes)?)?;
                    }
                    reader.go_on(bytes);
                }
                GroupPage::Extent(page) => {
                    let mut bytes = &page[..];
                    while !bytes.is_empty() {
                        each(V::decode(&mut bytes)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Emits an element. `output` counts the stage's outputs from 0.
    ///
    /// # Errors
    /// If there is no such output, or the element is not what the output's coder says.
    #[inline]
    pub fn emit(
        &mut self,
        output: usize,
        header: &[u8],
        timestamp: EventTime,
        value: &[u8],
    ) -> Result<(), NativeError> {
        let output = self.output(output)?;
        Ok(self.out.push(output, header, timestamp, value)?)
    }

    /// The id of an output, counted from 0.
    ///
    /// # Errors
    /// If there is none.
    pub fn output(&self, output: usize) -> Result<OutputId, NativeError> {
        self.outputs.get(output).copied().ok_or_else(|| {
            NativeError::User(format!("the stage has {} outputs, not {}", self.outputs.len(), output + 1))
        })
    }

    /// Leaves work for later: an element of the stage's own input, as it stands on the wire.
    ///
    /// # Errors
    /// If the element is not what the input's coder says.
    pub fn leave(
        &mut self,
        element: &[u8],
        not_before: Option<ProcessingTime>,
        watermark: EventTime,
        bounded: bool,
    ) -> Result<(), NativeError> {
        let batch = self.out.put_residual(element)?;
        let watermarks = self.outputs.iter().map(|output| (*output, watermark)).collect();
        self.residuals.push(Residual { batch, to: self.draft.stage, not_before, watermarks, bounded });
        Ok(())
    }

    /// All elements of a side input in a window, behind one another.
    ///
    /// # Errors
    /// If they cannot be read, or the stage was not built to read the side input.
    pub fn side_input(&self, side: SideId, window: &BoundedWindow) -> Result<Vec<u8>, NativeError> {
        let sides = self.sides.ok_or_else(|| NativeError::User(format!("the stage does not read {side}")))?;
        let mut all = Vec::new();
        let mut from = Some(0);
        while let Some(at) = from {
            let page = sides.read_iterable(side, window, at)?;
            all.extend_from_slice(&page.data);
            from = page.next;
        }
        Ok(all)
    }

    /// State and timers of the bundle's keys.
    pub fn state(&mut self) -> &mut dyn StateView {
        &mut **self.state
    }

    /// Takes timers of the bundle's keys that are due, at most so many at once.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn take_due(&mut self, count_max: usize) -> Result<Vec<Timer>, NativeError> {
        Ok(self.state.take_due(&self.draft.due(count_max))?)
    }

    /// The windows of an element's header that have not expired, none if it is too late and to be passed over: it is counted.
    /// What is written from now on in such a window is collected when it has expired and its timers have fired. Every stage that
    /// keeps state of windows asks for each of its elements; `lifetime` is that of its input.
    ///
    /// # Errors
    /// If it is no header.
    pub fn admit(&mut self, lifetime: WindowLifetime, header: &[u8]) -> Result<&[BoundedWindow], NativeError> {
        let (state, watermark) = (&mut *self.state, self.draft.watermark);
        let admission = self.admission.get_or_insert_with(|| Admission::new(lifetime, watermark));
        admission.admit(header, |window, behind| state.expire_window(&window, behind))?;
        Ok(admission.windows())
    }

    /// How far the event time of the stage's input had come when the bundle began.
    pub fn watermark(&self) -> EventTime {
        self.draft.watermark
    }

    /// The clock when the bundle began.
    pub fn now(&self) -> ProcessingTime {
        self.draft.now
    }

    /// Whether the bundle was asked to check-point itself.
    pub fn checkpoint_wanted(&self) -> bool {
        self.control.checkpoints.load(Ordering::Relaxed) > 0
    }

    /// # Errors
    /// If the bundle was aborted.
    pub fn check_aborted(&self) -> Result<(), NativeError> {
        if self.control.aborted.load(Ordering::Relaxed) { Err(NativeError::Aborted) } else { Ok(()) }
    }
}
