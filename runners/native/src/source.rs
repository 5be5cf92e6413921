//! A synthetic splittable source: counts through a range, check-points when asked, and promises a watermark.
//!
//! ```text
//!   KV<from, until> ─► elements from, from+1, … ─► rest as KV<next, until> when asked to stop
//! ```

use purlin_model::coder::Coder;
use purlin_model::element::Header;
use purlin_model::pane::PaneInfo;
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::BoundedWindow;

use crate::bundle::{NativeBundle, NativeError, NativeStage};
use crate::codec::{Codec, Int, Pair};

/// A half-open range of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// The first position.
    pub from: i64,
    /// One behind the last position; [`i64::MAX`] never ends.
    pub until: i64,
}

/// The coder of the source's input.
pub fn synthetic_coder() -> Coder {
    Pair::<Int, Int>::coder()
}

/// Emits one element per position.
pub struct SyntheticSource<F> {
    /// At most this many positions in one bundle; the rest is left for later.
    pub positions_max: i64,
    /// Milliseconds of event time from one position to the next.
    pub step: Millis,
    /// Milliseconds to wait before the rest goes on.
    pub resume_delay: Option<Millis>,
    /// Appends the nested encoding of the element at a position.
    pub element: F,
}

impl<F> std::fmt::Debug for SyntheticSource<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyntheticSource").field("positions_max", &self.positions_max).finish_non_exhaustive()
    }
}

impl<F: Fn(i64, &mut Vec<u8>) + Send + Sync + 'static> SyntheticSource<F> {
    fn timestamp(&self, position: i64) -> EventTime {
        EventTime::from_millis(position.saturating_mul(self.step.0))
    }

    fn produce(&self, bundle: &mut NativeBundle<'_>, header: &[u8], range: Restriction) -> Result<(), NativeError> {
        let mut value = Vec::new();
        let mut element_header = Vec::new();
        let stop = range.until.min(range.from.saturating_add(self.positions_max));
        let mut next = range.from;
        let mut stamped = None;
        while next < stop {
            if next % 1024 == 0 {
                bundle.check_aborted()?;
                if bundle.checkpoint_wanted() && next > range.from {
                    break;
                }
            }
            let timestamp = self.timestamp(next);
            if stamped != Some(timestamp) {
                element_header.clear();
                Header::new(timestamp, BoundedWindow::Global, PaneInfo::NO_FIRING).encode(&mut element_header);
                stamped = Some(timestamp);
            }
            value.clear();
            (self.element)(next, &mut value);
            bundle.emit(0, &element_header, timestamp, &value)?;
            next += 1;
        }
        if next < range.until {
            let mut rest = header.to_vec();
            Pair::<Int, Int>::encode(&(next, range.until), &mut rest);
            let not_before = self.resume_delay.map(|delay| bundle.now() + delay);
            bundle.leave(&rest, not_before, self.timestamp(next), range.until != i64::MAX)?;
        }
        Ok(())
    }
}

impl<F: Fn(i64, &mut Vec<u8>) + Send + Sync + 'static> NativeStage for SyntheticSource<F> {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let (from, until) = Pair::<Int, Int>::decode(&mut &element.value[..])?;
                self.produce(bundle, element.header, Restriction { from, until })?;
            }
        }
        Ok(())
    }
}
