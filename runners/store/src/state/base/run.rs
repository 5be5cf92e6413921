//! A run: cells in the order of their addresses, in blocks on disk.
//!
//! ```text
//!   begin(cell), extent, extent … ─► RunWriter ─► blocks ─► Run: the first address of each block, a filter, the windows
//!
//!   block: pieces      piece: length and bytes of the address │ how it stands over older runs │ extents of the cell in the run │
//!                             number of the first one here │ (length + 1 and bytes of an extent)* │ 0
//! ```
//! A cell of many extents goes on in further blocks, so that a page of it is read without the others. A window that is
//! collected is struck from the run, and a run without windows is gone. Does not know what stands over it.

use std::collections::HashMap;

use bytes::Bytes;
use purlin_engine::store::StoreError;
use purlin_model::coder::varint::{read_varint, write_length, write_varint};
use xxhash_rust::xxh3::xxh3_64;

use super::super::address::window_of;
use super::filter::Filter;
use crate::segment::{Record, SegmentStore};

/// How much is read to find one cell.
const BLOCK_BYTES: usize = 4 << 10;

/// What errors call it; whoever asked adds which.
const WHAT: &str = "a block of cells";

/// How a cell stands over what older runs have of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::state) enum Stands {
    /// Behind it.
    Behind,
    /// In its place.
    InPlace,
}

/// Cells in order.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: u64,
    blocks: Vec<Block>,
    filter: Filter,
    /// Windows that are not collected.
    windows: HashMap<Bytes, OfWindow>,
    /// The sum of these.
    held: OfWindow,
    cells: u64,
    /// About how much memory it takes.
    cost: u64,
}

/// What a run holds of a window.
#[derive(Clone, Copy, Debug, Default)]
struct OfWindow {
    /// Bytes of extents.
    payload: u64,
    /// These and the addresses.
    bytes: u64,
}

#[derive(Debug)]
struct Block {
    first: Box<[u8]>,
    /// How many extents of its first cell stand in the blocks before it.
    extents_before: u64,
    record: Record,
}

/// Blocks that were read last, one of each run: who reads cells in order reads each block once.
#[derive(Debug, Default)]
pub(in crate::state) struct Blocks {
    last: HashMap<u64, (usize, Bytes)>,
    bytes: u64,
}

impl Blocks {
    /// How much memory they take.
    pub(in crate::state) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn keep(&mut self, run: u64, number: usize, block: Bytes) {
        self.bytes += block.len() as u64;
        let before = self.last.insert(run, (number, block));
        self.bytes -= before.map_or(0, |(_, block)| block.len() as u64);
    }
}

/// Where a cell begins in a run, and how many extents it has there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    block: usize,
    pub(super) stands: Stands,
    pub(super) extents: u64,
}

/// One piece of a cell.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    pub(super) address: &'a [u8],
    pub(super) stands: Stands,
    pub(super) total: u64,
    /// The number of its first extent within the cell.
    pub(super) first: u64,
    /// Extents, and what is behind them.
    rest: &'a [u8],
}

impl<'a> Piece<'a> {
    /// The piece at the front of this, or `None` if it is not one.
    pub(super) fn read(mut rest: &'a [u8]) -> Option<Self> {
        let length = length(&mut rest)?;
        let address = take(&mut rest, length)?;
        let stands = match take(&mut rest, 1)? {
            [0] => Stands::Behind,
            [1] => Stands::InPlace,
            _ => return None,
        };
        let total = read_varint(&mut rest).ok()? as u64;
        let first = read_varint(&mut rest).ok()? as u64;
        Some(Self { address, stands, total, first, rest })
    }

    /// Calls `take` with each extent; returns what stands behind the piece, or `None` if it is not whole.
    pub(super) fn extents(&self, mut each: impl FnMut(&'a [u8])) -> Option<&'a [u8]> {
        let mut rest = self.rest;
        loop {
            match length(&mut rest)?.checked_sub(1) {
                None => return Some(rest),
                Some(length) => each(take(&mut rest, length)?),
            }
        }
    }
}

fn length(from: &mut &[u8]) -> Option<usize> {
    usize::try_from(read_varint(from).ok()?).ok()
}

fn take<'a>(from: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(taken)
}

impl Run {
    /// How large it is without the windows that are collected.
    pub(super) fn live_bytes(&self) -> u64 {
        self.held.bytes
    }

    pub(super) fn payload_bytes(&self) -> u64 {
        self.held.payload
    }

    pub(super) fn payload_of_window(&self, window: &Bytes) -> u64 {
        self.windows.get(window).map_or(0, |of| of.payload)
    }

    pub(super) fn cells(&self) -> u64 {
        self.cells
    }

    pub(super) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// About how much memory it takes.
    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    pub(super) fn holds_window(&self, window: &[u8]) -> bool {
        self.windows.contains_key(window)
    }

    /// Its windows without this one; tells whether any are left.
    pub(super) fn strike(&mut self, window: &Bytes) -> bool {
        if let Some(of) = self.windows.remove(window) {
            self.held.payload -= of.payload;
            self.held.bytes -= of.bytes;
            self.cost -= cost_of_window(window);
        }
        !self.windows.is_empty()
    }

    /// Whether a look at its blocks may find something.
    pub(super) fn may_hold(&self, address: &[u8]) -> bool {
        self.windows.contains_key(window_of(address)) && self.filter.may_hold(xxh3_64(address))
    }

    /// Reads a block.
    pub(super) fn block(&self, number: usize, segments: &SegmentStore) -> Result<Bytes, StoreError> {
        segments.read(&self.blocks[number].record, WHAT).map(|(_, bytes)| bytes)
    }

    fn block_by(&self, number: usize, blocks: &mut Blocks, segments: &SegmentStore) -> Result<Bytes, StoreError> {
        if let Some((_, bytes)) = blocks.last.get(&self.id).filter(|(last, _)| *last == number) {
            return Ok(bytes.clone());
        }
        let bytes = self.block(number, segments)?;
        if bytes.len() <= 2 * BLOCK_BYTES {
            blocks.keep(self.id, number, bytes.clone());
        }
        Ok(bytes)
    }

    /// What is told of a block that was read as it was written, and yet is not what it should be.
    pub(super) fn wrong(&self, number: usize) -> StoreError {
        self.blocks[number].record.altered(WHAT, "its entries are wrong")
    }

    /// The block from which on to look for what begins with this.
    fn block_of(&self, from: &[u8]) -> usize {
        let next = self.blocks.partition_point(|block| &*block.first < from);
        let begins = self.blocks.get(next).is_some_and(|block| &*block.first == from && block.extents_before == 0);
        if begins { next } else { next.saturating_sub(1) }
    }

    /// Finds a cell.
    pub(super) fn find(
        &self,
        address: &[u8],
        blocks: &mut Blocks,
        segments: &SegmentStore,
    ) -> Result<Option<Found>, StoreError> {
        if !self.may_hold(address) || self.blocks.is_empty() {
            return Ok(None);
        }
        let block = self.block_of(address);
        let bytes = self.block_by(block, blocks, segments)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let piece = Piece::read(rest).ok_or_else(|| self.wrong(block))?;
            if piece.address == address {
                return Ok(Some(Found { block, stands: piece.stands, extents: piece.total }));
            }
            if piece.address > address {
                break;
            }
            rest = piece.extents(|_| {}).ok_or_else(|| self.wrong(block))?;
        }
        Ok(None)
    }

    /// Calls `each` with the extents of a cell that was found, from this number on, until it says no.
    pub(super) fn extents(
        &self,
        address: &[u8],
        found: Found,
        from: u64,
        blocks: &mut Blocks,
        segments: &SegmentStore,
        each: &mut dyn FnMut(Bytes) -> bool,
    ) -> Result<(), StoreError> {
        let goes_on = |number: usize| {
            self.blocks.get(number).filter(|block| &*block.first == address && block.extents_before > 0)
        };
        let mut number = found.block;
        while goes_on(number + 1).is_some_and(|next| next.extents_before <= from) {
            number += 1;
        }
        let mut wanted = true;
        loop {
            let bytes = self.block_by(number, blocks, segments)?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let piece = Piece::read(rest).ok_or_else(|| self.wrong(number))?;
                let mut at = piece.first;
                let is_it = piece.address == address;
                let behind = piece.extents(|extent| {
                    if is_it && at >= from && wanted {
                        wanted = each(bytes.slice_ref(extent));
                    }
                    at += 1;
                });
                rest = behind.ok_or_else(|| self.wrong(number))?;
                if is_it {
                    break;
                }
            }
            number += 1;
            if !wanted || goes_on(number).is_none() {
                return Ok(());
            }
        }
    }

    /// Calls `each` with the address and the count of extents of every cell whose address begins with `prefix`.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
        segments: &SegmentStore,
        mut each: impl FnMut(&[u8], u64),
    ) -> Result<(), StoreError> {
        for number in self.block_of(prefix)..self.blocks.len() {
            let bytes = self.block(number, segments)?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let piece = Piece::read(rest).ok_or_else(|| self.wrong(number))?;
                if piece.address.starts_with(prefix) {
                    each(piece.address, piece.total);
                } else if piece.address > prefix {
                    return Ok(());
                }
                rest = piece.extents(|_| {}).ok_or_else(|| self.wrong(number))?;
            }
        }
        Ok(())
    }
}

/// Writes cells, which come in the order of their addresses.
#[derive(Debug)]
pub(super) struct RunWriter<'a> {
    segments: &'a SegmentStore,
    run: Run,
    block: Vec<u8>,
    /// The first cell of the block, and how many of its extents came before.
    first: Option<(Box<[u8]>, u64)>,
    cell: Vec<u8>,
    stands: Stands,
    total: u64,
    written: u64,
}

impl<'a> RunWriter<'a> {
    /// A writer of at most about so many cells.
    pub(super) fn new(id: u64, cells: u64, segments: &'a SegmentStore) -> Self {
        let (filter, windows) = (Filter::new(cells), HashMap::new());
        let run = Run { id, blocks: Vec::new(), filter, windows, held: OfWindow::default(), cells: 0, cost: 0 };
        let (block, cell) = (Vec::with_capacity(2 * BLOCK_BYTES), Vec::new());
        Self { segments, run, block, first: None, cell, stands: Stands::InPlace, total: 0, written: 0 }
    }

    /// Begins a cell of so many extents.
    pub(super) fn begin(&mut self, address: &[u8], stands: Stands, extents: u64) {
        self.cell.clear();
        self.cell.extend_from_slice(address);
        (self.stands, self.total, self.written) = (stands, extents, 0);
        self.run.filter.insert(xxh3_64(address));
        self.run.cells += 1;
        self.count(0, address.len());
        self.piece();
    }

    /// Enters something into what the run holds of the window.
    fn count(&mut self, payload: usize, bytes: usize) {
        let window = window_of(&self.cell);
        // Most cells are of a window that is known.
        if !self.run.windows.contains_key(window) {
            self.run.windows.insert(Bytes::copy_from_slice(window), OfWindow::default());
        }
        if let Some(of) = self.run.windows.get_mut(window) {
            of.payload += payload as u64;
            of.bytes += (payload + bytes) as u64;
        }
        self.run.held.payload += payload as u64;
        self.run.held.bytes += (payload + bytes) as u64;
    }

    fn piece(&mut self) {
        if self.first.is_none() {
            self.first = Some((self.cell.as_slice().into(), self.written));
        }
        write_length(self.cell.len(), &mut self.block);
        self.block.extend_from_slice(&self.cell);
        self.block.push(match self.stands {
            Stands::Behind => 0,
            Stands::InPlace => 1,
        });
        write_varint(self.total as i64, &mut self.block);
        write_varint(self.written as i64, &mut self.block);
    }

    /// The next extent of the cell.
    pub(super) fn extent(&mut self, extent: &[u8]) -> Result<(), StoreError> {
        // A piece without extents would be taken for a cell that was cleared, were it the only one.
        if self.block.len() >= BLOCK_BYTES && self.written > 0 {
            self.block.push(0);
            self.close()?;
            self.piece();
        }
        write_length(extent.len() + 1, &mut self.block);
        self.block.extend_from_slice(extent);
        self.written += 1;
        self.count(extent.len(), 0);
        Ok(())
    }

    /// Ends the cell.
    pub(super) fn end(&mut self) -> Result<(), StoreError> {
        self.block.push(0);
        if self.block.len() >= BLOCK_BYTES { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), StoreError> {
        if let Some((first, extents_before)) = self.first.take() {
            let record = self.segments.write(&[], &self.block)?;
            self.run.blocks.push(Block { first, extents_before, record });
            self.block.clear();
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Run, StoreError> {
        self.close()?;
        self.run.blocks.shrink_to_fit();
        let of_blocks = self.run.blocks.iter().map(|block| (size_of::<Block>() + block.first.len() + 16) as u64);
        let of_windows = self.run.windows.keys().map(cost_of_window);
        let whole = size_of::<Run>() as u64 + self.run.filter.bytes();
        self.run.cost = of_blocks.chain(of_windows).sum::<u64>() + whole;
        Ok(self.run)
    }
}

fn cost_of_window(window: &Bytes) -> u64 {
    window.len() as u64 + 96
}
