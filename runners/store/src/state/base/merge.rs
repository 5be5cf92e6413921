//! Several runs become one, block by block.
//!
//! ```text
//!   runs, oldest first ─► a cursor each ─least address─► cell: what newer runs put in the place of older goes ─► RunWriter
//! ```
//! Law: what is read through the one run is what was read through all of them.

use bytes::Bytes;
use purlin_engine::store::StoreError;

use super::super::address::window_of;
use super::run::{Piece, Run, RunWriter, Stands};
use crate::segment::SegmentStore;

/// A place in a run.
struct Cursor<'a> {
    run: &'a Run,
    segments: &'a SegmentStore,
    number: usize,
    block: Bytes,
    /// Where in the block the next piece is.
    at: usize,
}

/// The cell at which a cursor stands.
struct Head {
    address: Vec<u8>,
    stands: Stands,
    total: u64,
}

impl<'a> Cursor<'a> {
    fn new(run: &'a Run, segments: &'a SegmentStore) -> Result<Self, StoreError> {
        let block = if run.block_count() == 0 { Bytes::new() } else { run.block(0, segments)? };
        Ok(Self { run, segments, number: 0, block, at: 0 })
    }

    fn piece(&mut self) -> Result<Option<Piece<'_>>, StoreError> {
        while self.at == self.block.len() {
            if self.number + 1 >= self.run.block_count() {
                return Ok(None);
            }
            self.number += 1;
            self.block = self.run.block(self.number, self.segments)?;
            self.at = 0;
        }
        Piece::read(&self.block[self.at..]).map(Some).ok_or_else(|| self.run.wrong(self.number))
    }

    /// The cell here, passing over those whose windows are collected.
    fn head(&mut self) -> Result<Option<Head>, StoreError> {
        loop {
            let run = self.run;
            let Some(piece) = self.piece()? else { return Ok(None) };
            let head = Head { address: piece.address.to_vec(), stands: piece.stands, total: piece.total };
            if run.holds_window(window_of(&head.address)) {
                return Ok(Some(head));
            }
            self.pass(&head.address, &mut |_| Ok(()))?;
        }
    }

    /// Passes the cell here, calling `each` with its extents.
    fn pass(
        &mut self,
        address: &[u8],
        each: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (run, mut failed) = (self.run, Ok(()));
        while let Some(piece) = self.piece()?.filter(|piece| piece.address == address) {
            let rest = piece.extents(|extent| {
                if failed.is_ok() {
                    failed = each(extent);
                }
            });
            let left = rest.map(<[u8]>::len);
            self.at = self.block.len() - left.ok_or_else(|| run.wrong(self.number))?;
        }
        failed
    }
}

/// Merges runs, oldest first. If nothing is older than the first of them, what was cleared is forgotten.
pub(super) fn merge(runs: &[Run], is_oldest: bool, id: u64, segments: &SegmentStore) -> Result<Run, StoreError> {
    let mut writer = RunWriter::new(id, runs.iter().map(Run::cells).sum(), segments);
    let mut cursors = runs.iter().map(|run| Cursor::new(run, segments)).collect::<Result<Vec<_>, _>>()?;
    let mut heads = cursors.iter_mut().map(Cursor::head).collect::<Result<Vec<_>, _>>()?;
    while let Some(address) = heads.iter().flatten().map(|head| &head.address).min().cloned() {
        let here: Vec<usize> =
            (0..heads.len()).filter(|run| heads[*run].as_ref().is_some_and(|head| head.address == address)).collect();
        let of = |run: &usize| heads[*run].as_ref().map_or((Stands::Behind, 0), |head| (head.stands, head.total));
        let in_place = here.iter().rposition(|run| of(run).0 == Stands::InPlace);
        let counts = &here[in_place.unwrap_or(0)..];
        let total = counts.iter().map(|run| of(run).1).sum();
        let stands = if is_oldest || in_place.is_some() { Stands::InPlace } else { Stands::Behind };
        let first = counts.first().copied().unwrap_or_default();
        let kept = total > 0 || !is_oldest;
        if kept {
            writer.begin(&address, stands, total);
        }
        for run in here {
            if kept && run >= first {
                cursors[run].pass(&address, &mut |extent| writer.extent(extent))?;
            } else {
                cursors[run].pass(&address, &mut |_| Ok(()))?;
            }
            heads[run] = cursors[run].head()?;
        }
        if kept {
            writer.end()?;
        }
    }
    writer.finish()
}
