//! Who last had which lanes of a stage, and under which token a worker may keep the state of their keys.
//!
//! ```text
//!   worker 1, token a: lanes 3 5 ─► lane 5 goes to worker 2, and comes back ─► worker 1, token b: lanes 3 5
//! ```
//! An SDK keeps under a token what it has read and written of user state. That is right as long as nobody else writes it. So a worker's
//! token lasts until a lane comes back to it that another worker has had meanwhile, or one of its bundles fails. Bundles go to the
//! worker that has most of their lanes, so that this is rare. Knows nothing of what is in the lanes.

use std::collections::HashMap;

use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::StageId;
use purlin_model::ids::WorkerId;

/// Counts tokens; never reused within a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenNumber(pub(crate) u64);

#[derive(Debug, Default)]
pub(crate) struct LaneOwners {
    lanes: HashMap<(StageId, Lane), LaneOwner>,
    tokens: HashMap<StageId, Vec<(WorkerId, TokenNumber)>>,
    next: u64,
}

#[derive(Debug)]
struct LaneOwner {
    now: WorkerId,
    /// Workers that may remember the lane, and under which token.
    remembered: Vec<(WorkerId, TokenNumber)>,
}

impl LaneOwners {
    /// How many of these lanes a worker had last.
    pub(crate) fn had(&self, stage: StageId, lanes: &[Lane], worker: &WorkerId) -> usize {
        lanes.iter().filter(|lane| self.lanes.get(&(stage, **lane)).is_some_and(|owner| owner.now == *worker)).count()
    }

    /// A worker gets these lanes. Returns the token under which it may use what it remembers.
    pub(crate) fn give(&mut self, stage: StageId, lanes: &[Lane], worker: &WorkerId) -> TokenNumber {
        let token = self.token(stage, worker);
        let stale = |lane: &Lane| {
            let owner = self.lanes.get(&(stage, *lane))?;
            let remembered = owner.remembered.iter().any(|(who, under)| who == worker && *under == token);
            (owner.now != *worker && remembered).then_some(())
        };
        let token = if lanes.iter().any(|lane| stale(lane).is_some()) {
            self.forget(stage, worker);
            self.token(stage, worker)
        } else {
            token
        };
        for lane in lanes {
            let owner = self
                .lanes
                .entry((stage, *lane))
                .or_insert_with(|| LaneOwner { now: worker.clone(), remembered: Vec::new() });
            owner.now = worker.clone();
            match owner.remembered.iter_mut().find(|(who, _)| who == worker) {
                Some((_, under)) => *under = token,
                None => owner.remembered.push((worker.clone(), token)),
            }
        }
        token
    }

    /// What a worker remembers of a stage is wrong, or may be: it gets another token.
    pub(crate) fn forget(&mut self, stage: StageId, worker: &WorkerId) {
        if let Some(tokens) = self.tokens.get_mut(&stage) {
            tokens.retain(|(who, _)| who != worker);
        }
    }

    /// A worker is gone for good.
    pub(crate) fn gone(&mut self, worker: &WorkerId) {
        for tokens in self.tokens.values_mut() {
            tokens.retain(|(who, _)| who != worker);
        }
        for owner in self.lanes.values_mut() {
            owner.remembered.retain(|(who, _)| who != worker);
        }
    }

    fn token(&mut self, stage: StageId, worker: &WorkerId) -> TokenNumber {
        let tokens = self.tokens.entry(stage).or_default();
        if let Some((_, token)) = tokens.iter().find(|(who, _)| who == worker) {
            return *token;
        }
        let token = TokenNumber(self.next);
        self.next += 1;
        tokens.push((worker.clone(), token));
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_model::key_group::KeyGroup;

    const STAGE: StageId = StageId(4);

    fn lane(group: u8) -> Lane {
        Lane::Group(KeyGroup::new(group).unwrap())
    }

    fn workers() -> [WorkerId; 2] {
        ["worker-1".into(), "worker-2".into()]
    }

    #[test]
    fn a_token_lasts_while_lanes_stay() {
        let mut owners = LaneOwners::default();
        let [first, second] = workers();
        let token = owners.give(STAGE, &[lane(1), lane(2)], &first);
        assert_eq!(owners.give(STAGE, &[lane(2), lane(3)], &first), token, "lane 3 is new to everybody");
        let other = owners.give(STAGE, &[lane(9)], &second);
        assert_ne!(other, token);
        assert_ne!(owners.give(StageId(5), &[lane(1)], &first), token, "stages have tokens of their own");
        assert_eq!(owners.had(STAGE, &[lane(1), lane(3), lane(9)], &first), 2);
    }

    #[test]
    fn a_lane_that_comes_back_brings_a_new_token() {
        let mut owners = LaneOwners::default();
        let [first, second] = workers();
        let token = owners.give(STAGE, &[lane(1), lane(2)], &first);
        let other = owners.give(STAGE, &[lane(2)], &second);
        assert_eq!(owners.give(STAGE, &[lane(1)], &first), token, "lane 1 never left");
        let fresh = owners.give(STAGE, &[lane(2)], &first);
        assert_ne!(fresh, token);
        assert_eq!(owners.give(STAGE, &[lane(1)], &first), fresh);
        assert_eq!(
            owners.give(STAGE, &[lane(7)], &second),
            other,
            "what the other remembers of lane 2 is not asked for"
        );
        assert_ne!(owners.give(STAGE, &[lane(2)], &second), other);
    }

    #[test]
    fn a_bundle_that_fails_brings_a_new_token() {
        let mut owners = LaneOwners::default();
        let [first, _] = workers();
        let token = owners.give(STAGE, &[lane(1)], &first);
        owners.forget(STAGE, &first);
        assert_ne!(owners.give(STAGE, &[lane(1)], &first), token);
    }
}
