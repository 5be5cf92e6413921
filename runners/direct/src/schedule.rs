//! The eager schedule: whatever can run, runs.

use purlin_engine::core::bundle::BundleStats;
use purlin_engine::core::schedule::{Pick, ReadyStage, ResultsFirst, Schedule};
use purlin_engine::core::stage::{StageId, StageSpec};
use purlin_model::time::ProcessingTime;

/// A bundle of an unbounded source is asked to check-point itself at this age, so that its output moves on.
const UNBOUNDED_BUNDLE_AGE_MS: i64 = 200;

/// Bounds and knobs of [`EagerSchedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EagerOptions {
    /// No bundle is larger, except by its last element.
    pub bundle_bytes_max: u64,
    /// No bundle is larger.
    pub bundle_elements_max: u64,
    /// Choose among ready stages at random, repeatably.
    pub shuffle_seed: Option<u64>,
}

impl Default for EagerOptions {
    fn default() -> Self {
        // Large enough that a bundle's fixed cost (milliseconds in Python) vanishes, small enough that a lost bundle
        // or a full queue costs little.
        Self { bundle_bytes_max: 32 << 20, bundle_elements_max: u64::MAX, shuffle_seed: None }
    }
}

/// Picks what is nearest to the results ([`ResultsFirst`]), so that what is there is finished before more is made,
/// and shares its input out evenly among its workers.
#[derive(Clone, Debug)]
pub struct EagerSchedule {
    options: EagerOptions,
    order: ResultsFirst,
    random: u64,
}

impl EagerSchedule {
    /// A schedule with these bounds.
    pub fn new(options: EagerOptions) -> Self {
        Self { options, order: ResultsFirst::default(), random: options.shuffle_seed.unwrap_or(0) }
    }

    /// The next of a fixed sequence of numbers (SplitMix64), which depends on the seed alone.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Schedule for EagerSchedule {
    fn pick(&mut self, ready: &[ReadyStage<'_>], _now: ProcessingTime) -> Option<Pick> {
        let chosen = match self.options.shuffle_seed {
            Some(_) => {
                let at = self.next_random() as usize % ready.len();
                ready.get(at)
            }
            None => self.order.choose(ready),
        }?;
        let elements = if chosen.stage.splittable { chosen.share_of_source() } else { chosen.share() };
        Some(Pick {
            stage: chosen.stage.id,
            lanes_max: chosen.share_of_lanes(),
            elements_max: elements.min(self.options.bundle_elements_max),
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
