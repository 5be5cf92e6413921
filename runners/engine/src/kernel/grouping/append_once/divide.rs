//! Divides what does not fit into memory, by further bits of the hash, into parts that the store may write to disk.
//!
//! ```text
//!   part ─batch by batch─► (window, key) ─5 bits of hash─► child 0 … 31, each in order of arrival
//!                                                          a child of one key and window is one group
//! ```
//! Keeps one batch of input and one small batch per child in memory.

use std::sync::Arc;

use purlin_model::element::{Header, encode_window};
use purlin_model::key_group::hash_key;
use purlin_model::pane::PaneInfo;
use purlin_model::time::EventTime;
use purlin_model::window::BoundedWindow;

use super::Grouper;
use super::window_table::WindowTable;
use crate::core::lane::Lane;
use crate::core::stage::StageId;
use crate::data::{BatchInput, BatchSlice, ElementBatchBuilder};
use crate::kernel::KernelError;
use crate::kernel::grouping::merge::Becomes;
use crate::store::{BatchPlace, BatchStore, MemoryClass, StoreError};

/// How many bits of the hash one division looks at.
const BITS: u32 = 5;
const CHILDREN: usize = 1 << BITS;

/// Behind so many divisions all bits are used: the first seven chose the lane.
pub(super) const DIVISIONS_MAX: u32 = (64 - 7) / BITS;

/// A child's batch is closed at this size at most.
const BATCH_BYTES_MAX: u64 = 1 << 20;
const BATCH_BYTES_MIN: u64 = 1 << 14;

/// By what a part is divided.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    /// By key and window; elements in several windows become one for each.
    KeyAndWindow,
    /// By key alone, because windows have yet to merge.
    Key,
    /// By window, each replaced by what it becomes.
    Merged(&'a Becomes),
    /// Elements of the first key, or key and window, and all others: hashes tell no more.
    First { with_window: bool },
}

/// A part of the input, in the store. Freed when it is dropped.
pub(super) struct Child {
    store: Arc<dyn BatchStore>,
    place: BatchPlace,
    builder: ElementBatchBuilder,
    slices: Vec<BatchSlice>,
    first: Option<First>,
    /// Whether all elements have one key, and whether they have one window.
    pub(super) one_key: bool,
    pub(super) one_window: bool,
    pub(super) values: u64,
    pub(super) value_bytes: u64,
    pub(super) least: EventTime,
    pub(super) latest: EventTime,
}

struct First {
    hash: u64,
    key: Vec<u8>,
    window: BoundedWindow,
    window_hash: u64,
}

impl Child {
    fn new(store: &Arc<dyn BatchStore>, stage: StageId) -> Self {
        Self {
            store: store.clone(),
            place: BatchPlace { stage, lane: Lane::Any, window_max: None, soon: true },
            builder: ElementBatchBuilder::new(),
            slices: Vec::new(),
            first: None,
            one_key: true,
            one_window: true,
            values: 0,
            value_bytes: 0,
            least: EventTime::MAX,
            latest: EventTime::MIN,
        }
    }

    fn close(&mut self) -> Result<(), StoreError> {
        if !self.builder.is_empty() {
            let batches = self.store.put(&[self.place], self.builder.finish())?;
            self.slices.extend(batches.into_iter().map(BatchSlice::whole));
        }
        Ok(())
    }

    pub(super) fn input(&self) -> BatchInput {
        BatchInput::new(self.slices.clone(), self.store.clone())
    }

    /// The key and window of the first element: of all, where there is but one.
    pub(super) fn first(&self) -> Option<(&[u8], &BoundedWindow)> {
        self.first.as_ref().map(|first| (first.key.as_slice(), &first.window))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let batches: Vec<_> = self.slices.iter().map(|slice| slice.batch.id).collect();
        if !batches.is_empty() {
            self.store.free(&batches);
        }
    }
}

/// A header, taken apart: once for each window where windows divide, else once.
struct Face {
    header: Vec<u8>,
    window: BoundedWindow,
    window_hash: u64,
    /// Whether the header has no other window.
    only: bool,
}

impl Grouper<'_> {
    /// The parts of a part that are not empty, in order of the hash.
    pub(super) fn divide(&self, part: &BatchInput, division: u32, by: By<'_>) -> Result<Vec<Child>, KernelError> {
        let store = part.store();
        let mut children: Vec<Child> = (0..CHILDREN).map(|_| Child::new(store, self.output.producer)).collect();
        let batch_bytes = (self.share_bytes / (2 * CHILDREN as u64)).clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX) as usize;
        // Each builder that grows has up to as much room again.
        let _held = self.out.memory().reserve(MemoryClass::Kernels, (2 * CHILDREN * batch_bytes) as u64);
        let shift = 57_u32.saturating_sub(BITS * (division + 1));
        let mut windows = WindowTable::new();
        let mut faces = Vec::new();
        let mut first: Option<(Vec<u8>, BoundedWindow)> = None;
        for loaded in part.stream() {
            let (batch, slice) = loaded?;
            for view in batch.iter(slice.first as usize, slice.last as usize) {
                let key = self.input.coder.key_of(view.value).map_err(KernelError::Key)?;
                if windows.read(view.header, self.input.windows)? {
                    faces = take_apart(view.header, &windows, by);
                }
                let hash = hash_key(key);
                for face in &faces {
                    let at = match by {
                        By::KeyAndWindow | By::Merged(_) => ((hash ^ face.window_hash) >> shift) as usize % CHILDREN,
                        By::Key => (hash >> shift) as usize % CHILDREN,
                        By::First { with_window } => {
                            let (first, window) = first.get_or_insert_with(|| (key.to_vec(), face.window.clone()));
                            usize::from(first.as_slice() != key || (with_window && *window != face.window))
                        }
                    };
                    let child = &mut children[at];
                    child.note(hash, key, face, view.value.len() - key.len(), windows.timestamp);
                    child.builder.push(&face.header, windows.timestamp, view.value);
                    if child.builder.bytes() >= batch_bytes {
                        child.close()?;
                    }
                }
            }
        }
        for child in &mut children {
            child.close()?;
        }
        children.retain(|child| child.values > 0);
        Ok(children)
    }
}

impl Child {
    #[inline]
    fn note(&mut self, hash: u64, key: &[u8], face: &Face, bytes: usize, timestamp: EventTime) {
        self.values += 1;
        self.value_bytes += bytes as u64;
        self.least = self.least.min(timestamp);
        self.latest = self.latest.max(timestamp);
        match &self.first {
            Some(first) => {
                self.one_key &= first.hash == hash && first.key == key;
                self.one_window &= face.only && first.window_hash == face.window_hash && first.window == face.window;
            }
            None => {
                self.one_window = face.only;
                let (window, window_hash) = (face.window.clone(), face.window_hash);
                self.first = Some(First { hash, key: key.to_vec(), window, window_hash });
            }
        }
    }
}

fn take_apart(header: &[u8], windows: &WindowTable, by: By<'_>) -> Vec<Face> {
    let face = |window: &BoundedWindow, header: Vec<u8>, only: bool| {
        let mut encoded = Vec::new();
        encode_window(window, &mut encoded);
        Face { header, window: window.clone(), window_hash: hash_key(&encoded), only }
    };
    let each = windows.current.iter().map(|number| windows.window(*number));
    let alone = |window: &BoundedWindow| {
        let mut alone = Vec::with_capacity(header.len());
        // Panes of a grouping's input say nothing that its output keeps.
        Header::new(windows.timestamp, window.clone(), PaneInfo::NO_FIRING).encode(&mut alone);
        face(window, alone, true)
    };
    let only = windows.current.len() == 1;
    match by {
        By::Key | By::First { .. } => each.take(1).map(|window| face(window, header.to_vec(), only)).collect(),
        By::KeyAndWindow if only => each.map(|window| face(window, header.to_vec(), true)).collect(),
        By::KeyAndWindow => each.map(alone).collect(),
        By::Merged(becomes) => each.map(|window| alone(becomes.get(window).unwrap_or(window))).collect(),
    }
}
