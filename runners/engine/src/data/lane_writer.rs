//! The lane writer: partitions what a bundle emits into the lanes of its consumers, copying each element once.
//!
//! ```text
//!   frame or element ─► per output, per way of partitioning: a builder per lane ─► batch store ─► Routed
//! ```
//! Consumers that partition alike share batches' memory, though each gets a reference of its own. What waits here is
//! bounded, however many outputs, lanes and windows there are, and reserved.

mod groups;

pub use groups::Pin;

use std::collections::BTreeMap;
use std::sync::Arc;

use purlin_model::coder::{Coder, CoderError};
use purlin_model::element::{Header, HeaderError};
use purlin_model::key_group::KeyGroup;
use purlin_model::time::EventTime;
use purlin_model::window::WindowCoder;
use thiserror::Error;

use crate::core::bundle::Routed;
use crate::core::lane::Lane;
use crate::core::stage::{JobGraph, OutputId, Partitioning, StageId};
use crate::data::batch::for_each_element;
use crate::data::key_group_stage::KeyGroupStage;
use crate::data::sliced::Sliced;
use crate::data::writer_limits::WriterLimits;
use crate::data::{BatchId, BatchRef, ElementBatch, ElementBatchBuilder, FrameError};
use crate::store::{BatchPlace, BatchStore, Memory, MemoryClass, Reservation, StoreError};

/// What a builder of a batch takes beside its elements, about.
const BUILDER_BYTES: usize = 256;

/// Why something that a bundle emitted cannot be taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WriteError {
    /// The bytes are not elements of this output.
    #[error("output `{output}` holds bytes that its coder cannot read: {source}")]
    Frame {
        /// The PCollection.
        output: Arc<str>,
        /// Which element, and why.
        source: FrameError,
    },
    /// An element's key cannot be found.
    #[error("output `{output}` holds an element whose key its coder cannot read: {source}")]
    Key {
        /// The PCollection.
        output: Arc<str>,
        /// Why.
        source: CoderError,
    },
    /// An element's windows cannot be read.
    #[error("output `{output}` holds an element whose windows cannot be read: {source}")]
    Window {
        /// The PCollection.
        output: Arc<str>,
        /// Why.
        source: HeaderError,
    },
    /// An element that was combined in slices of its windows stands in something else.
    #[error(
        "output `{output}` holds an element in {window}, which is no slice of its windows; the SDK assigned windows that nobody asked for"
    )]
    Slice {
        /// The PCollection.
        output: Arc<str>,
        /// What it stands in.
        window: String,
    },
    /// The bundle's stage has no such output.
    #[error("{0} is not an output of this stage")]
    UnknownOutput(OutputId),
    /// The batches cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How much a bundle emitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterTotals {
    /// Elements, each counted once however many consumers it has.
    pub elements: u64,
    /// Bytes of their values and headers.
    pub bytes: u64,
}

/// Takes what one bundle emits.
#[derive(Debug)]
pub struct LaneWriter {
    stage: StageId,
    outputs: Vec<OutputWriter>,
    /// How the stage's own input stands on the wire, for residuals.
    input: Option<(Arc<Coder>, WindowCoder)>,
    shelf: Shelf,
    residuals: Vec<BatchId>,
    /// Pages of the values of large groups.
    extents: Vec<BatchId>,
    /// Which batches refer to which extents.
    pins: Vec<Pin>,
}

/// Where batches of all outputs go, and what is known of them together.
#[derive(Debug)]
struct Shelf {
    store: Arc<dyn BatchStore>,
    routed: Vec<Routed>,
    totals: WriterTotals,
    limits: WriterLimits,
    /// What all outputs hold back, as it was when it was last looked at.
    reservation: Reservation,
    /// How many bytes came since then.
    unaccounted: usize,
}

#[derive(Debug)]
struct OutputWriter {
    id: OutputId,
    name: Arc<str>,
    coder: Arc<Coder>,
    windows: WindowCoder,
    routes: Vec<Route>,
    /// How much of the reservation is for this output.
    held: u64,
}

/// All consumers that partition alike and take the same windows.
#[derive(Debug)]
struct Route {
    partitioning: Partitioning,
    consumers: Vec<StageId>,
    any: ElementBatchBuilder,
    groups: KeyGroupStage,
    windowed: BTreeMap<(Lane, EventTime), ElementBatchBuilder>,
    /// How much is in `windowed`.
    windowed_bytes: usize,
    /// The header seen last, exploded into one header per window: most elements repeat it.
    exploded: Option<Exploded>,
    /// If elements come in slices of windows.
    sliced: Option<Sliced>,
}

#[derive(Debug, Default)]
struct Exploded {
    header: Vec<u8>,
    /// Per window: its last instant, and the header with this window alone.
    windows: Vec<(EventTime, Vec<u8>)>,
}

impl LaneWriter {
    /// A writer for a bundle of this stage.
    pub fn new(graph: &JobGraph, stage: StageId, store: Arc<dyn BatchStore>) -> Self {
        let spec = graph.stage(stage);
        let outputs: Vec<OutputWriter> = spec.outputs.iter().map(|output| OutputWriter::new(graph, *output)).collect();
        let input = spec.upstream.first().map(|output| {
            let output = graph.output(*output);
            (output.coder.clone(), output.windows)
        });
        let limits = WriterLimits::new(outputs.iter().map(|output| output.routes.len()).sum(), store.memory().budget());
        let shelf = Shelf {
            limits,
            reservation: store.memory().reserve(MemoryClass::Writers, 0),
            store,
            routed: Vec::new(),
            totals: WriterTotals::default(),
            unaccounted: 0,
        };
        Self { stage, outputs, input, shelf, residuals: Vec::new(), extents: Vec::new(), pins: Vec::new() }
    }

    /// The account that the bundle's memory comes from.
    pub fn memory(&self) -> &Memory {
        self.shelf.store.memory()
    }

    /// Takes a frame of whole elements as they stand on the wire.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn write_frame(&mut self, output: OutputId, frame: &[u8]) -> Result<(), WriteError> {
        let (writer, shelf) = self.parts(output)?;
        let (coder, windows, name) = (writer.coder.clone(), writer.windows, writer.name.clone());
        let mut failed = None;
        for_each_element(frame, &coder, windows, |header, timestamp, value| {
            if failed.is_none() {
                failed = writer.push(header, timestamp, value, shelf).err();
            }
        })
        .map_err(|source| WriteError::Frame { output: name, source })?;
        failed.map_or(Ok(()), Err)
    }

    /// Takes the whole elements at the front of `bytes`, and tells how long they are together. What is left, if
    /// anything, is an element that is cut short.
    ///
    /// # Errors
    /// See [`WriteError`]; bytes that more bytes could make whole are no error here.
    pub fn write_prefix(&mut self, output: OutputId, bytes: &[u8]) -> Result<usize, WriteError> {
        let (writer, shelf) = self.parts(output)?;
        let (coder, windows, name) = (writer.coder.clone(), writer.windows, writer.name.clone());
        let mut taken = 0;
        let mut failed = None;
        let read = for_each_element(bytes, &coder, windows, |header, timestamp, value| {
            if failed.is_none() {
                failed = writer.push(header, timestamp, value, shelf).err();
                taken += header.len() + value.len();
            }
        });
        match (failed, read) {
            (Some(error), _) => Err(error),
            (None, Err(source)) if !source.is_cut_short() => Err(WriteError::Frame { output: name, source }),
            (None, Ok(()) | Err(_)) => Ok(taken),
        }
    }

    /// Takes one element.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn push(
        &mut self,
        output: OutputId,
        header: &[u8],
        timestamp: EventTime,
        value: &[u8],
    ) -> Result<(), WriteError> {
        let (writer, shelf) = self.parts(output)?;
        writer.push(header, timestamp, value, shelf)
    }

    /// Keeps a residual: one element of the stage's own input, as it stands on the wire.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn put_residual(&mut self, element: &[u8]) -> Result<BatchRef, WriteError> {
        let name = || Arc::<str>::from("residual input");
        let (coder, windows) = self.input.as_ref().ok_or(WriteError::UnknownOutput(OutputId(u32::MAX)))?;
        let batch = ElementBatch::from_wire(element, coder, *windows)
            .map_err(|source| WriteError::Frame { output: name(), source })?;
        let batch = self.put_aside(batch)?;
        self.residuals.push(batch.id);
        Ok(batch)
    }

    /// Keeps a batch that is no output: whoever is told of it frees it, also if this bundle fails.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn put_aside(&mut self, batch: ElementBatch) -> Result<BatchRef, StoreError> {
        let place = BatchPlace { stage: self.stage, lane: Lane::Any, window_max: None, soon: true };
        let batches = self.shelf.store.put(&[place], batch)?;
        Ok(*batches.first().expect("a store gives a reference for each place"))
    }

    /// Lets go of a batch that [`put_residual`](Self::put_residual) kept: the engine has been told of it, so that it
    /// stays even if this bundle fails.
    pub fn hand_over(&mut self, batch: BatchId) {
        self.residuals.retain(|kept| *kept != batch);
    }

    /// Closes all batches and tells where they go, in order of output, lane and arrival.
    ///
    /// # Errors
    /// If they cannot be kept.
    pub fn finish(mut self) -> Result<(Vec<Routed>, WriterTotals), StoreError> {
        for writer in &mut self.outputs {
            let id = writer.id;
            for route in &mut writer.routes {
                route.flush_all(id, &mut self.shelf)?;
            }
        }
        self.residuals.clear();
        self.extents.clear();
        Ok((std::mem::take(&mut self.shelf.routed), self.shelf.totals))
    }

    fn parts(&mut self, output: OutputId) -> Result<(&mut OutputWriter, &mut Shelf), WriteError> {
        let writer =
            self.outputs.iter_mut().find(|writer| writer.id == output).ok_or(WriteError::UnknownOutput(output))?;
        Ok((writer, &mut self.shelf))
    }
}

/// A writer that was not finished leaves nothing: its bundle has failed.
impl Drop for LaneWriter {
    fn drop(&mut self) {
        let mut batches: Vec<_> = self.shelf.routed.iter().map(|routed| routed.batch.id).collect();
        batches.append(&mut self.residuals);
        batches.append(&mut self.extents);
        if !batches.is_empty() {
            self.shelf.store.free(&batches);
        }
    }
}

impl OutputWriter {
    fn new(graph: &JobGraph, output: OutputId) -> Self {
        let spec = graph.output(output);
        let mut routes = BTreeMap::<_, Vec<StageId>>::new();
        for consumer in &spec.consumers {
            let slices = graph.stage(consumer.stage).kind.slices();
            routes.entry((consumer.partitioning, slices)).or_default().push(consumer.stage);
        }
        let routes = routes
            .into_iter()
            .map(|((partitioning, slices), consumers)| Route {
                partitioning,
                consumers,
                any: ElementBatchBuilder::new(),
                groups: KeyGroupStage::default(),
                windowed: BTreeMap::new(),
                windowed_bytes: 0,
                exploded: None,
                sliced: slices.map(Sliced::new),
            })
            .collect();
        let (name, coder, windows) = (spec.name.clone(), spec.coder.clone(), spec.windows);
        Self { id: output, name, coder, windows, routes, held: 0 }
    }

    #[inline]
    fn push(&mut self, header: &[u8], timestamp: EventTime, value: &[u8], shelf: &mut Shelf) -> Result<(), WriteError> {
        let bytes = header.len() + value.len();
        shelf.totals.elements += 1;
        shelf.totals.bytes += bytes as u64;
        for route in &mut self.routes {
            let lane = lane_of(route.partitioning, &self.coder, value, &self.name)?;
            if route.partitioning.by_window() {
                route
                    .push_by_window(lane, header, timestamp, value, self.windows)
                    .map_err(|source| WriteError::Window { output: self.name.clone(), source })?;
                if route.windowed_bytes >= shelf.limits.route_bytes {
                    route.flush_windows(self.id, shelf)?;
                }
                continue;
            }
            let header = match &mut route.sliced {
                Some(sliced) => sliced.header(header, self.windows, &self.name)?,
                None => header,
            };
            match lane {
                Lane::Any => {
                    route.any.push(header, timestamp, value);
                    if route.any.bytes() >= shelf.limits.batch_bytes {
                        shelf.put(self.id, &route.consumers, lane, None, route.any.finish())?;
                    }
                }
                Lane::Group(group) => {
                    route.groups.push(group, header, timestamp, value, shelf.limits.route_bytes);
                    if route.groups.bytes() >= shelf.limits.route_bytes {
                        route.flush_groups(self.id, shelf)?;
                    }
                }
            }
        }
        shelf.unaccounted += bytes;
        if shelf.unaccounted >= shelf.limits.account_bytes {
            self.account(shelf);
        }
        Ok(())
    }

    /// Reserves what this output really takes.
    #[cold]
    fn account(&mut self, shelf: &mut Shelf) {
        shelf.unaccounted = 0;
        let held = self.routes.iter().map(Route::capacity).sum::<usize>() as u64;
        let others = shelf.reservation.bytes() - self.held;
        self.held = held;
        shelf.reservation.resize(others + held);
    }
}

/// The lane of an element.
#[inline]
fn lane_of(partitioning: Partitioning, coder: &Coder, value: &[u8], name: &Arc<str>) -> Result<Lane, WriteError> {
    match partitioning {
        Partitioning::Any | Partitioning::AnyByWindow => Ok(Lane::Any),
        Partitioning::ByKey | Partitioning::ByKeyAndWindow => {
            let key = coder.key_of(value).map_err(|source| WriteError::Key { output: name.clone(), source })?;
            Ok(Lane::Group(KeyGroup::of_key(key)))
        }
        Partitioning::OneLaneByWindow => Ok(Lane::Group(KeyGroup::of_key(&[]))),
    }
}

impl Route {
    fn push_by_window(
        &mut self,
        lane: Lane,
        header: &[u8],
        timestamp: EventTime,
        value: &[u8],
        coder: WindowCoder,
    ) -> Result<(), HeaderError> {
        if self.exploded.as_ref().is_none_or(|exploded| exploded.header != header) {
            self.exploded = Some(Exploded::new(header, coder)?);
        }
        let exploded = self.exploded.as_ref().expect("it was set above");
        for (window_max, header) in &exploded.windows {
            let builder = self.windowed.entry((lane, *window_max)).or_insert_with(|| {
                self.windowed_bytes += BUILDER_BYTES;
                ElementBatchBuilder::new()
            });
            builder.push(header, timestamp, value);
            self.windowed_bytes += header.len() + value.len();
        }
        Ok(())
    }

    /// How much memory it takes.
    fn capacity(&self) -> usize {
        // Builders that grow have up to as much room again.
        self.any.capacity() + self.groups.capacity() + 2 * self.windowed_bytes
    }

    fn flush_groups(&mut self, output: OutputId, shelf: &mut Shelf) -> Result<(), StoreError> {
        for (group, batch) in self.groups.take(shelf.limits.route_bytes) {
            shelf.put(output, &self.consumers, Lane::Group(group), None, batch)?;
        }
        Ok(())
    }

    fn flush_windows(&mut self, output: OutputId, shelf: &mut Shelf) -> Result<(), StoreError> {
        self.windowed_bytes = 0;
        while let Some(((lane, window_max), mut builder)) = self.windowed.pop_first() {
            shelf.put(output, &self.consumers, lane, Some(window_max), builder.finish())?;
        }
        Ok(())
    }

    fn flush_all(&mut self, output: OutputId, shelf: &mut Shelf) -> Result<(), StoreError> {
        if !self.any.is_empty() {
            shelf.put(output, &self.consumers, Lane::Any, None, self.any.finish())?;
        }
        self.flush_groups(output, shelf)?;
        self.flush_windows(output, shelf)
    }
}

impl Shelf {
    fn put(
        &mut self,
        from: OutputId,
        consumers: &[StageId],
        lane: Lane,
        window_max: Option<EventTime>,
        batch: ElementBatch,
    ) -> Result<(), StoreError> {
        let places: Vec<_> =
            consumers.iter().map(|stage| BatchPlace { stage: *stage, lane, window_max, soon: false }).collect();
        let batches = self.store.put(&places, batch)?;
        self.routed.extend(consumers.iter().zip(batches).map(|(to, batch)| Routed { from, to: *to, lane, batch }));
        Ok(())
    }
}

impl Exploded {
    fn new(header: &[u8], coder: WindowCoder) -> Result<Self, HeaderError> {
        let read = Header::decode(&mut &header[..], coder)?;
        let windows = read
            .windows
            .into_iter()
            .map(|window| {
                let mut bytes = Vec::with_capacity(header.len());
                let window_max = window.max_timestamp();
                Header::new(read.timestamp, window, read.pane).encode(&mut bytes);
                (window_max, bytes)
            })
            .collect();
        Ok(Self { header: header.to_vec(), windows })
    }
}
