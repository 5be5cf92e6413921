//! The schedule of rounds: what stands nearest to the sources runs first, and nothing behind it begins before it is done.
//!
//! ```text
//!   depth 0 ▓▓▓▓
//!   depth 1     ▓▓▓▓▓▓
//!   depth 2           ▓▓▓   each stage gets all of its input at once, shared out among its workers
//! ```
//! So bundles are as large as can be, which is what throughput wants, and results come when the round ends. A source that never
//! ends has one bundle in each round, of half a second unless it gives it back before. Sources that share a worker
//! have theirs one after the other, so that with two of them a round takes twice that. It is meant: shorter turns would cost
//! every stage behind them a bundle each time. Who wants answers sooner chooses the continuous runner.

use std::collections::BTreeSet;

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

/// Picks only stages before which nothing runs or could run, sources apart that have had their bundle of the round.
#[derive(Clone, Debug)]
pub struct RoundSchedule {
    options: RoundOptions,
    /// Sources that never end, and have had their bundle of this round: they are always ready, and would let nobody behind them.
    served: BTreeSet<StageId>,
}

impl RoundSchedule {
    /// A schedule with these bounds.
    pub fn new(options: RoundOptions) -> Self {
        Self { options, served: BTreeSet::new() }
    }
}

impl Schedule for RoundSchedule {
    fn pick(&mut self, ready: &[ReadyStage<'_>], _now: ProcessingTime) -> Option<Pick> {
        let nearest = |ready: &&ReadyStage<'_>| (ready.stage.depth, ready.stage.id);
        let served = |ready: &&ReadyStage<'_>| self.served.contains(&ready.stage.id);
        let chosen = if ready.iter().any(|ready| served(&ready)) {
            let rest = ready.iter().filter(|ready| !served(ready)).min_by_key(nearest);
            if rest.is_none() {
                self.served.clear();
            }
            rest.or_else(|| ready.iter().min_by_key(nearest))?
        } else {
            // What is behind an active stage waits for it. Something runs then, and the end of it is when to ask again.
            ready.iter().filter(|ready| ready.stage.depth <= ready.active_depth).min_by_key(nearest)?
        };
        if chosen.stage.splittable && chosen.stage.unbounded {
            self.served.insert(chosen.stage.id);
        }
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
