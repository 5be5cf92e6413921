//! Sources whose watermark stands still while somebody waits for it.
//!
//! ```text
//!   clock ─► once a second: each source that never ends ─ where it holds its outputs ─ since when ─► Action::Standstill
//! ```
//! A job with such a source is not stuck: the source is asked again and again, and may move its watermark at any time. So it
//! is told, once for each instant at which it stands, and the job goes on. Does not know why the source does not move.

use std::collections::{BTreeMap, BTreeSet};

use purlin_model::time::{EventTime, Millis, ProcessingTime};

use super::Engine;
use crate::core::action::{Action, Standstill};
use crate::core::stage::StageId;

/// A look costs something for each source, and a standstill is long: there is no need for more.
const LOOK_EVERY: Millis = Millis(1_000);

/// Where sources stand.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    looked: Option<ProcessingTime>,
    sources: BTreeMap<StageId, Stand>,
}

#[derive(Clone, Copy, Debug)]
struct Stand {
    at: EventTime,
    since: ProcessingTime,
    told: bool,
}

impl Engine {
    /// Tells of sources that have stood still for too long.
    pub(super) fn look_at_sources(&mut self, now: ProcessingTime) {
        if self.standing.looked.is_some_and(|looked| now < looked + LOOK_EVERY) {
            return;
        }
        self.standing.looked = Some(now);
        let graph = self.graph.clone();
        for source in graph.stages.iter().filter(|stage| stage.splittable && stage.unbounded) {
            let Some(at) = self.stages[source.id.index()].least_residual_hold() else {
                self.standing.sources.remove(&source.id);
                continue;
            };
            let stand = self.standing.sources.entry(source.id).or_insert(Stand { at, since: now, told: false });
            if stand.at != at {
                *stand = Stand { at, since: now, told: false };
            }
            if stand.told || now < stand.since + self.config.standstill_after {
                continue;
            }
            let since = stand.since;
            let waiting = self.wait_for(source.id, at);
            if !waiting.is_empty()
                && let Some(stand) = self.standing.sources.get_mut(&source.id)
            {
                stand.told = true;
                let waiting = waiting.into_iter().map(|stage| graph.stage(stage).name.clone()).collect();
                let standstill = Standstill { source: source.name.clone(), at, for_ms: (now - since).0, waiting };
                self.actions.push_back(Action::Standstill(standstill));
            }
        }
    }

    /// Stages behind a source, side inputs apart, that keep something until the source's watermark has moved on from here.
    fn wait_for(&self, source: StageId, at: EventTime) -> Vec<StageId> {
        let mut behind = BTreeSet::from([source]);
        let mut waiting = Vec::new();
        // Stages come after all that they consume.
        for stage in &self.graph.stages {
            let consumes = stage.upstream.iter().any(|output| behind.contains(&self.graph.output(*output).producer));
            if !consumes {
                continue;
            }
            behind.insert(stage.id);
            let state = &self.stages[stage.id.index()];
            let held = state.waits().is_some_and(|of_state| of_state.next_event.is_some());
            let collecting = self.waits_for_all(stage.id) && state.pending() > 0;
            // What is ahead of another, slower source waits for that one.
            if (held || collecting) && state.input.at() >= at {
                waiting.push(stage.id);
            }
        }
        waiting
    }
}
