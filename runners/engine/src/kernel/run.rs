//! Runs a kernel: the one entry for all stages that the runner executes itself.

use purlin_model::element::{Header, HeaderError};
use purlin_model::pane::PaneInfo;
use purlin_model::time::{EventTime, ProcessingTime};
use purlin_model::window::BoundedWindow;
use thiserror::Error;

use super::grouping::{append_once, key_major};
use super::{sort_as_it_comes, sort_by_time};
use crate::core::action::BundleId;
use crate::core::bundle::DropCounts;
use crate::core::stage::{Grouping, JobGraph, SideContents, StageId, StageKind};
use crate::data::{BatchInput, BatchRef, LaneWriter, WriteError};
use crate::store::{SideStore, StateError, StateView, StoreError};

/// What a kernel may read and write.
#[derive(Debug)]
pub struct KernelIo<'a> {
    /// The bundle.
    pub bundle: BundleId,
    /// How far the event time of its input has come.
    pub watermark: EventTime,
    /// Its elements, in the order of the draft's lanes.
    pub input: BatchInput,
    /// What an SDK said of windows that must merge; empty the first time.
    pub merged: BatchInput,
    /// Where side inputs are kept.
    pub sides: &'a dyn SideStore,
    /// For kernels that keep state ([`StageKind::keeps_state`]).
    pub kept: Option<KernelState<'a>>,
    /// What it has dropped so far.
    pub dropped: DropCounts,
    /// Where its outputs go.
    pub out: &'a mut LaneWriter,
    /// How many bytes of elements it may hold in memory at once. Kernels that need all of a larger input divide it.
    pub share_bytes: u64,
}

/// What a kernel that keeps state has beside its elements.
#[derive(Debug)]
pub struct KernelState<'a> {
    /// The state and the timers of its lanes.
    pub view: &'a mut dyn StateView,
    /// The clock.
    pub now: ProcessingTime,
}

/// How a kernel ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelDone {
    /// All of its bundle is done.
    Whole,
    /// An SDK must say first how windows merge; nothing that was written counts. These are the questions.
    NeedMerge(BatchRef),
}

/// Why a kernel cannot do its work.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KernelError {
    /// An element of its input is not what its coder says.
    #[error("an element cannot be grouped: {0}")]
    Key(purlin_model::coder::CoderError),
    /// An element's windows cannot be read.
    #[error("an element's windows cannot be read: {0}")]
    Window(#[from] HeaderError),
    /// A group is too large for one element of Beam's wire format.
    #[error(
        "key {key} has {values} values of {bytes} bytes in window {window}, which is more than the {max} bytes that \
         fit into one element, and not all that read these groups take larger ones by reference; combine before \
         grouping, make the key finer, or read the groups only as the main input of transforms whose environment \
         lists beam:coder:state_backed_iterable:v1"
    )]
    GroupTooLarge {
        /// The key's encoding, escaped.
        key: String,
        /// The window.
        window: String,
        /// How many values the group has.
        values: u64,
        /// How many bytes they have.
        bytes: u64,
        /// How many there may be.
        max: u64,
    },
    /// A pane of a side input is too large to be made in one piece.
    #[error(
        "a pane of a side input, in window {window}, has {values} values of {bytes} bytes, which is more than {max}; combine \
         before it is read, window it more finely, or let it fire more often"
    )]
    PaneTooLarge {
        /// The window.
        window: String,
        /// How many values it has.
        values: u64,
        /// How many bytes they have.
        bytes: u64,
        /// How many there may be.
        max: u64,
    },
    /// What a kernel kept of a key is not what it wrote.
    #[error("what was kept of a key cannot be read back; this is a bug in Purlin, please report it")]
    Kept,
    /// State cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// An SDK's answer about windows is not one.
    #[error(
        "the environment that merges windows of type {window_fn} answered wrongly: {problem}; correct the `merge` \
         method of the window function"
    )]
    Merge {
        /// The window function's URN.
        window_fn: String,
        /// What is wrong, with the key and the window.
        problem: String,
    },
    /// An output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Input or side inputs cannot be kept or read back.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel was given no state: a bug.
    #[error("stage {0} keeps state, and was given none; this is a bug in Purlin, please report it")]
    NoState(StageId),
    /// The stage is not one that the runner executes: a bug.
    #[error("stage {0} is not run by a kernel; this is a bug in Purlin, please report it")]
    NotAKernel(StageId),
}

/// Runs one bundle of a stage that the runner executes itself.
///
/// # Errors
/// See [`KernelError`]; the bundle then counts as if it had not run.
pub fn run_kernel(graph: &JobGraph, stage: StageId, io: &mut KernelIo<'_>) -> Result<KernelDone, KernelError> {
    let spec = graph.stage(stage);
    match &spec.kind {
        StageKind::Impulse => {
            let mut header = Vec::new();
            Header::new(EventTime::MIN, BoundedWindow::Global, PaneInfo::NO_FIRING).encode(&mut header);
            for output in &spec.outputs {
                // The element is an empty byte string: in the nested encoding, its length.
                io.out.push(*output, &header, EventTime::MIN, &[0])?;
            }
            Ok(KernelDone::Whole)
        }
        StageKind::Group { grouping: Grouping::AppendOnce, strategy, merge: _, slices: _ } => {
            let input = spec.upstream.first().map(|output| graph.output(*output));
            let (Some(input), Some(output)) = (input, spec.outputs.first()) else {
                // A grouping of nothing, or one that nobody reads, has nothing to do.
                return Ok(KernelDone::Whole);
            };
            append_once::group(input, strategy, io, graph.output(*output))
        }
        StageKind::Group { grouping: Grouping::KeyMajor | Grouping::OneKey, strategy, merge: _, slices: _ } => {
            let input = spec.upstream.first().map(|output| graph.output(*output));
            let (Some(input), Some(output)) = (input, spec.outputs.first()) else {
                return Ok(KernelDone::Whole);
            };
            key_major::group(spec, input, strategy, io, *output)
        }
        StageKind::SortByTime { as_it_comes } => {
            if let (Some(input), Some(output)) = (spec.upstream.first(), spec.outputs.first()) {
                match as_it_comes {
                    None => sort_by_time::sort(graph.output(*input), &io.input.load()?, *output, io.out)?,
                    Some(lateness) => sort_as_it_comes::sort(spec, graph.output(*input), *lateness, *output, io)?,
                }
            }
            Ok(KernelDone::Whole)
        }
        StageKind::Materialize(side) => {
            for loaded in io.input.stream() {
                let (batch, slice) = loaded?;
                match graph.side(*side).contents {
                    SideContents::All => {
                        io.sides.append(*side, &batch, &slice, EventTime::MIN)?;
                    }
                    SideContents::InTime => {
                        io.dropped.late += io.sides.append(*side, &batch, &slice, io.watermark)?;
                    }
                    SideContents::LatestPane => io.sides.replace(io.bundle, *side, &batch, &slice)?,
                }
            }
            Ok(KernelDone::Whole)
        }
        StageKind::Replay | StageKind::TestStream | StageKind::Worker => Err(KernelError::NotAKernel(stage)),
    }
}
