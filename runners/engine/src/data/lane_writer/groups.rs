//! What a grouping writes: batches as it made them, and large groups as a token beside their extents.
//!
//! ```text
//!   ready batch ─► as it is where there is one lane, element by element where there are many
//!   large group ─► extents in the store ─► an element in a batch of its own, which pins them
//! ```

use purlin_model::time::EventTime;

use super::{Exploded, LaneWriter, Route, WriteError, lane_of};
use crate::core::lane::Lane;
use crate::core::stage::OutputId;
use crate::data::{BatchId, ElementBatch, ElementBatchBuilder};
use crate::store::StoreError;

/// A batch, and the extents that must stay for as long as it does.
pub type Pin = (BatchId, Vec<BatchId>);

impl LaneWriter {
    /// Takes a batch whole. Its elements are those of this output, which the caller vouches for.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn push_batch(
        &mut self,
        output: OutputId,
        batch: ElementBatch,
        timestamp: impl Fn(&[u8]) -> EventTime,
    ) -> Result<(), WriteError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (writer, shelf) = self.parts(output)?;
        let one_lane = |route: &Route| !route.partitioning.by_key() && !route.partitioning.by_window();
        if !writer.routes.iter().all(one_lane) {
            for element in batch.iter(0, batch.len()) {
                writer.push(element.header, timestamp(element.header), element.value, shelf)?;
            }
            return Ok(());
        }
        shelf.totals.elements += batch.len() as u64;
        shelf.totals.bytes += batch.wire_bytes();
        // All of one lane are one route.
        if let Some(route) = writer.routes.first_mut() {
            // What came before goes before.
            route.flush_all(writer.id, shelf)?;
            shelf.put(writer.id, &route.consumers, Lane::Any, None, batch)?;
        }
        Ok(())
    }

    /// Keeps a page of the values of a large group. Freed if the bundle fails, or with the last batch that refers to it.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn put_extent(&mut self, values: Vec<u8>) -> Result<BatchId, StoreError> {
        let extent = self.put_aside(ElementBatch::of_one(values))?.id;
        self.extents.push(extent);
        Ok(extent)
    }

    /// Takes an element that refers to extents, and pins these. Whoever decides how much a bundle takes is told of their
    /// bytes as if they stood in the element.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn push_group(
        &mut self,
        output: OutputId,
        header: &[u8],
        timestamp: EventTime,
        value: &[u8],
        extents: &[BatchId],
        extent_bytes: u64,
    ) -> Result<(), WriteError> {
        let (writer, shelf) = self.parts(output)?;
        shelf.totals.elements += 1;
        shelf.totals.bytes += (header.len() + value.len()) as u64;
        let mut own = Vec::new();
        for route in &mut writer.routes {
            let lane = lane_of(route.partitioning, &writer.coder, value, &writer.name)?;
            // It stands alone in its batch, so that its extents go when it goes. What came before goes before.
            route.flush_all(writer.id, shelf)?;
            let first = shelf.routed.len();
            if route.partitioning.by_window() {
                let exploded = Exploded::new(header, writer.windows)
                    .map_err(|source| WriteError::Window { output: writer.name.clone(), source })?;
                for (window_max, header) in &exploded.windows {
                    let batch = alone(header, timestamp, value);
                    shelf.put(writer.id, &route.consumers, lane, Some(*window_max), batch)?;
                }
            } else {
                let batch = alone(header, timestamp, value);
                shelf.put(writer.id, &route.consumers, lane, None, batch)?;
            }
            for routed in &mut shelf.routed[first..] {
                routed.batch.bytes += extent_bytes;
                own.push((routed.batch.id, extents.to_vec()));
            }
        }
        self.pins.extend(own);
        Ok(())
    }

    /// Which batches refer to which extents. Whoever calls this keeps them from now on.
    pub fn take_pins(&mut self) -> Vec<Pin> {
        std::mem::take(&mut self.pins)
    }
}

fn alone(header: &[u8], timestamp: EventTime, value: &[u8]) -> ElementBatch {
    let mut builder = ElementBatchBuilder::with_capacity(1, value.len());
    builder.push(header, timestamp, value);
    builder.finish()
}
