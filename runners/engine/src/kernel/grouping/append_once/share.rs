//! Groups what fits into memory: two passes, and no sort of elements.
//!
//! ```text
//!   1. each element: key, windows ─► number of its group, counted
//!   2. groups in order of window, hash and key: room for each; each element: its value into the room of its group
//! ```
//! Values keep their order of arrival, for both passes go by it, and are copied once.

use purlin_model::element::Header;
use purlin_model::key_group::hash_key;
use purlin_model::pane::PaneInfo;
use purlin_model::time::EventTime;
use purlin_model::window::BoundedWindow;

use super::Grouper;
use super::group_table::{Group, GroupTable};
use super::large_group::LargeGroup;
use super::window_table::WindowTable;
use crate::data::{ElementBatchBuilder, Loaded};
use crate::kernel::KernelError;
use crate::store::MemoryClass;

/// Groups are gathered into batches of about this much.
const BATCH_BYTES: usize = 1 << 20;

/// What is being written.
enum Piece {
    Batch(ElementBatchBuilder),
    Large { group: LargeGroup, number: u32 },
}

/// Where the next value of a group goes.
#[derive(Clone, Copy, Default)]
struct Place {
    piece: u32,
    at: u32,
    key_length: u32,
}

impl Grouper<'_> {
    /// Groups these elements. With `merge`, their windows are merged first.
    pub(super) fn group_in_memory(&mut self, batches: &[Loaded], merge: bool) -> Result<(), KernelError> {
        let mut windows = WindowTable::new();
        let mut table = GroupTable::new();
        let mut numbers = self.count(batches, &mut windows, &mut table)?;
        if merge {
            let Some(into) = table.merge(&mut windows, &mut self.merger)? else { return Ok(()) };
            for number in &mut numbers {
                *number = into[*number as usize];
            }
        }
        if self.merger.is_asking() {
            return Ok(());
        }
        let values: u64 = table.groups().iter().map(|group| group.bytes).sum();
        let positions = (numbers.len() * size_of::<u32>()) as u64;
        let mut held = self.out.memory().reserve(MemoryClass::Kernels, values + positions);
        let (mut pieces, mut places) = self.lay_out(&windows, &table)?;
        self.fill(batches, &mut windows, &numbers, &mut pieces, &mut places)?;
        for piece in pieces {
            match piece {
                Piece::Batch(mut builder) => {
                    let batch = builder.finish();
                    // From here on it is the store's.
                    held.resize(held.bytes().saturating_sub(batch.bytes()));
                    self.emit(batch)?;
                }
                Piece::Large { group, number } => {
                    let of = &table.groups()[number as usize];
                    let (header, timestamp) = self.header(windows.window(of.window), of.least, of.latest);
                    group.finish(self.output.id, &header, timestamp, self.out)?;
                }
            }
        }
        Ok(())
    }

    /// The first pass: the number of the group of each element, once for each of its windows.
    fn count(
        &self,
        batches: &[Loaded],
        windows: &mut WindowTable,
        table: &mut GroupTable,
    ) -> Result<Vec<u32>, KernelError> {
        let elements: usize = batches.iter().map(|(_, slice)| slice.len() as usize).sum();
        let mut numbers = Vec::with_capacity(elements);
        for (batch, slice) in batches {
            for view in batch.iter(slice.first as usize, slice.last as usize) {
                let key = self.input.coder.key_of(view.value).map_err(KernelError::Key)?;
                windows.read(view.header, self.input.windows)?;
                let hash = hash_key(key);
                for window in &windows.current {
                    let number = table.number(*window, hash, key);
                    table.count(number, view.value.len() - key.len(), windows.timestamp);
                    numbers.push(number);
                }
            }
        }
        Ok(numbers)
    }

    /// Makes room for all groups, in their order.
    fn lay_out(&self, windows: &WindowTable, table: &GroupTable) -> Result<(Vec<Piece>, Vec<Place>), KernelError> {
        let groups = table.groups();
        let ranks = windows.ranks();
        let mut order: Vec<u32> =
            (0..groups.len() as u32).filter(|number| groups[*number as usize].values > 0).collect();
        order.sort_unstable_by(|a, b| {
            let (a, b) = (&groups[*a as usize], &groups[*b as usize]);
            (ranks[a.window as usize], a.hash)
                .cmp(&(ranks[b.window as usize], b.hash))
                // Hashes almost never collide, so that keys are compared only among equals.
                .then_with(|| table.key(a).cmp(table.key(b)))
        });
        let room_of = |group: &Group| group.key_length as usize + 4 + group.bytes as usize;
        let mut pieces = Vec::new();
        let mut places = vec![Place::default(); groups.len()];
        for (index, number) in order.iter().copied().enumerate() {
            let group = &groups[number as usize];
            let key = table.key(group);
            let window = windows.window(group.window);
            let key_length = key.len() as u32;
            if self.is_large(group.values, group.bytes) {
                places[number as usize] = Place { piece: pieces.len() as u32, at: 0, key_length };
                pieces.push(Piece::Large { group: LargeGroup::new(key), number });
                continue;
            }
            let (count, bytes) = self.check_inline(key, window, group.values, group.bytes)?;
            let room = key.len() + 4 + bytes;
            let fits = |builder: &ElementBatchBuilder| builder.is_empty() || builder.bytes() + room <= BATCH_BYTES;
            if !matches!(pieces.last(), Some(Piece::Batch(builder)) if fits(builder)) {
                // As much room as the groups need that will stand in it: none to grow, none to give back.
                let next = order[index..].iter().map(|number| &groups[*number as usize]);
                let next = next.take_while(|group| !self.is_large(group.values, group.bytes));
                let (mut elements, mut bytes) = (0, 0);
                for room in next.map(room_of) {
                    if elements > 0 && bytes + room > BATCH_BYTES {
                        break;
                    }
                    (elements, bytes) = (elements + 1, bytes + room);
                }
                pieces.push(Piece::Batch(ElementBatchBuilder::with_capacity(elements, bytes)));
            }
            let piece = pieces.len() as u32 - 1;
            let Some(Piece::Batch(builder)) = pieces.last_mut() else { continue };
            let (header, timestamp) = self.header(window, group.least, group.latest);
            let start = builder.push_room(&header, timestamp, room);
            let values = start + key.len() + 4;
            builder.values_mut()[start..start + key.len()].copy_from_slice(key);
            builder.values_mut()[start + key.len()..values].copy_from_slice(&count.to_be_bytes());
            places[number as usize] = Place { piece, at: values as u32, key_length };
        }
        Ok((pieces, places))
    }

    /// The second pass: each value into the room of its group.
    fn fill(
        &mut self,
        batches: &[Loaded],
        windows: &mut WindowTable,
        numbers: &[u32],
        pieces: &mut [Piece],
        places: &mut [Place],
    ) -> Result<(), KernelError> {
        let mut numbers = numbers.iter();
        for (batch, slice) in batches {
            for view in batch.iter(slice.first as usize, slice.last as usize) {
                windows.read(view.header, self.input.windows)?;
                for number in numbers.by_ref().take(windows.current.len()) {
                    let place = &mut places[*number as usize];
                    let value = &view.value[place.key_length as usize..];
                    match &mut pieces[place.piece as usize] {
                        Piece::Batch(builder) => {
                            let at = place.at as usize;
                            builder.values_mut()[at..at + value.len()].copy_from_slice(value);
                            place.at += value.len() as u32;
                        }
                        Piece::Large { group, .. } => group.push(value, self.out)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// The header of a group, and its timestamp.
    pub(super) fn header(&self, window: &BoundedWindow, least: EventTime, latest: EventTime) -> (Vec<u8>, EventTime) {
        let timestamp = self.output_timestamp(window, least, latest);
        let mut header = Vec::with_capacity(16);
        Header::new(timestamp, window.clone(), PaneInfo::ON_TIME_AND_ONLY).encode(&mut header);
        (header, timestamp)
    }
}
