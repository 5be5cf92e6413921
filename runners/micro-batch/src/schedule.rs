//! The schedule of rounds: what stands nearest to the sources runs first, and nothing behind it begins before it is done.
//!
//! ```text
//!   depth 0 ▓▓▓▓
//!   depth 1     ▓▓▓▓▓▓
//!   depth 2           ▓▓▓   each stage gets all of its input at once, shared out among its workers
//! ```
//! So bundles are as large as can be, which is what throughput wants, and results come when the round ends.

use purlin_engine::core::bundle::BundleStats;
use purlin_engine::core::schedule::{Pick, ReadyStage, Schedule};
use purlin_engine::core::stage::{StageId, StageSpec};
use purlin_model::time::ProcessingTime;

/// A bundle of an unbounded source is asked to check-point itself at this age, so that the round can end.
const UNBOUNDED_BUNDLE_AGE_MS: i64 = 500;

/// Bounds of [`RoundSchedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundOptions {
    /// No bundle is larger, except by its last element.
    pub bundle_bytes_max: u64,
}

impl Default for RoundOptions {
    fn default() -> Self {
        Self { bundle_bytes_max: 128 << 20 }
    }
}

/// Picks only stages before which nothing runs or could run.
#[derive(Clone, Debug)]
pub struct RoundSchedule {
    options: RoundOptions,
}

impl RoundSchedule {
    /// A schedule with these bounds.
    pub fn new(options: RoundOptions) -> Self {
        Self { options }
    }
}

impl Schedule for RoundSchedule {
    fn pick(&mut self, ready: &[ReadyStage<'_>], _now: ProcessingTime) -> Option<Pick> {
        // What is behind an active stage waits for it. Something runs then, and the end of it is when to ask again.
        let chosen = ready
            .iter()
            .filter(|ready| ready.stage.depth <= ready.active_depth)
            .min_by_key(|ready| (ready.stage.depth, ready.stage.id))?;
        let elements = if chosen.stage.splittable { chosen.share_of_source() } else { chosen.share() };
        Some(Pick {
            stage: chosen.stage.id,
            lanes_max: chosen.share_of_lanes(),
            elements_max: elements,
            bytes_max: self.options.bundle_bytes_max,
        })
    }

    fn on_finished(&mut self, _stage: StageId, _stats: &BundleStats) {}

    fn bundle_age_max_ms(&self, stage: &StageSpec) -> Option<i64> {
        stage.unbounded.then_some(UNBOUNDED_BUNDLE_AGE_MS)
    }

    fn next_wakeup(&self) -> Option<ProcessingTime> {
        None
    }
}
