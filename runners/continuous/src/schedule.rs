//! The schedule of flow: a bundle starts as soon as its stage and a worker are idle, and is as large as its time allows.
//!
//! ```text
//!   what bundles of a stage took ─► cost of a bundle, cost of an element ─► elements within max(age, k × cost of a bundle)
//! ```
//! Stages that are nearest to the results go first, so that what is begun is finished before more is begun.

use std::collections::BTreeMap;

use purlin_engine::core::bundle::BundleStats;
use purlin_engine::core::schedule::{Pick, ReadyStage, ResultsFirst, Schedule};
use purlin_engine::core::stage::{StageId, StageSpec};
use purlin_model::time::ProcessingTime;

/// A bundle may take this many times what an empty one would, whatever its age: less would spend more on bundles than
/// on elements.
const OVERHEADS: u64 = 4;

/// No bundle is larger, except by its last element: what is on its way to a worker cannot be given to another.
const BUNDLE_BYTES_MAX: u64 = 16 << 20;

/// A stage of which nothing is known yet begins with bundles of this size.
const ELEMENTS_FIRST: u64 = 1_000;

/// Knobs of [`FlowSchedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowOptions {
    /// How long a bundle should take, in milliseconds.
    pub bundle_age_ms: u64,
}

impl Default for FlowOptions {
    fn default() -> Self {
        Self { bundle_age_ms: 100 }
    }
}

/// What bundles of a stage cost, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// The least that one took: mostly not the elements' doing.
    bundle: u64,
    /// Per thousand elements, a running mean.
    thousand: u64,
}

/// Picks what is nearest to the results ([`ResultsFirst`]), in bundles that take about as long as they may.
#[derive(Clone, Debug)]
pub struct FlowSchedule {
    options: FlowOptions,
    order: ResultsFirst,
    costs: BTreeMap<StageId, Cost>,
}

impl FlowSchedule {
    /// A schedule with these knobs.
    pub fn new(options: FlowOptions) -> Self {
        Self { options, order: ResultsFirst::default(), costs: BTreeMap::new() }
    }

    fn elements_max(&self, stage: StageId) -> u64 {
        let Some(cost) = self.costs.get(&stage) else { return ELEMENTS_FIRST };
        let target = (self.options.bundle_age_ms * 1_000).max(OVERHEADS * cost.bundle);
        (target.saturating_sub(cost.bundle).saturating_mul(1_000) / cost.thousand.max(1)).max(1)
    }
}

impl Schedule for FlowSchedule {
    fn pick(&mut self, ready: &[ReadyStage<'_>], _now: ProcessingTime) -> Option<Pick> {
        let chosen = self.order.choose(ready)?;
        Some(Pick {
            stage: chosen.stage.id,
            lanes_max: chosen.share_of_lanes(),
            elements_max: self.elements_max(chosen.stage.id).min(chosen.share()).max(1),
            bytes_max: BUNDLE_BYTES_MAX,
        })
    }

    fn on_finished(&mut self, stage: StageId, stats: &BundleStats) {
        if stats.elements_in == 0 {
            return;
        }
        let thousand = stats.duration_us.saturating_mul(1_000) / stats.elements_in;
        let cost = self.costs.entry(stage).or_insert(Cost { bundle: stats.duration_us, thousand });
        cost.bundle = cost.bundle.min(stats.duration_us);
        cost.thousand = (cost.thousand * 3 + thousand) / 4;
    }

    fn bundle_age_max_ms(&self, stage: &StageSpec) -> Option<i64> {
        stage.unbounded.then(|| i64::try_from(self.options.bundle_age_ms).unwrap_or(i64::MAX))
    }

    fn next_wakeup(&self) -> Option<ProcessingTime> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_take_as_long_as_they_may() {
        let mut schedule = FlowSchedule::new(FlowOptions { bundle_age_ms: 100 });
        let stage = StageId(3);
        assert_eq!(schedule.elements_max(stage), ELEMENTS_FIRST);
        let stats = |elements_in, duration_us| BundleStats { elements_in, duration_us, ..BundleStats::default() };
        // An empty bundle takes 2 ms, and each element 10 µs.
        for _ in 0..40 {
            schedule.on_finished(stage, &stats(1, 2_010));
            schedule.on_finished(stage, &stats(10_000, 102_000));
            schedule.on_finished(stage, &stats(10_000, 102_000));
            schedule.on_finished(stage, &stats(10_000, 102_000));
            schedule.on_finished(stage, &stats(10_000, 102_000));
            schedule.on_finished(stage, &stats(10_000, 102_000));
            schedule.on_finished(stage, &stats(10_000, 102_000));
            schedule.on_finished(stage, &stats(10_000, 102_000));
            schedule.on_finished(stage, &stats(10_000, 102_000));
        }
        let elements = schedule.elements_max(stage);
        assert!((100..=10_000).contains(&elements), "{elements}");
        // Where a bundle alone takes longer than it may, it may take four times that.
        let slow = StageId(4);
        schedule.on_finished(slow, &stats(1, 200_000));
        assert_eq!(schedule.elements_max(slow), 3);
    }
}
