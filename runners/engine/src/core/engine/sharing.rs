//! Sharing: a worker that is idle gets part of what a straggler still has to do.
//!
//! ```text
//!   slots free, nothing ready in the environment, a bundle old enough ─► SplitBundle { 0.5 } ─► its rest is pending input
//! ```
//! A bundle may refuse by silence, as one of a single element that cannot be split does; so it is asked rarely.

use purlin_model::time::{Millis, ProcessingTime};

use super::Engine;
use crate::core::action::{Action, BundleId};
use crate::core::bundle::Running;
use crate::core::stage::EnvIndex;

impl Engine {
    /// Asks bundles to share what is left with workers that are idle: one bundle per idle slot, the oldest first.
    pub(super) fn share_with_idle(&mut self, now: ProcessingTime) {
        if self.ending.is_some() {
            return;
        }
        for env in 0..self.graph.environments {
            let env = EnvIndex(env);
            let idle = self.idle_slots(env);
            let asked: Vec<BundleId> =
                self.sharers(env).filter(|(_, _, at)| *at <= now).map(|(bundle, ..)| bundle).take(idle).collect();
            for bundle in asked {
                if let Some(running) = self.ledger.get_mut(bundle) {
                    let age = now - running.started;
                    running.share_at = Some(now + Millis(age.0.max(self.config.share_after_ms.unwrap_or(0))));
                    self.actions.push_back(Action::SplitBundle { bundle, fraction: 0.5 });
                }
            }
        }
    }

    /// When the next bundle is old enough to be asked, if a worker is idle.
    pub(super) fn next_sharing(&self) -> Option<ProcessingTime> {
        (0..self.graph.environments)
            .map(EnvIndex)
            .filter(|env| self.idle_slots(*env) > 0)
            .flat_map(|env| self.sharers(env))
            .map(|(_, _, at)| at)
            .min()
    }

    /// Slots of an environment for which there is nothing to do.
    fn idle_slots(&self, env: EnvIndex) -> usize {
        let free = self.slots[env.index()].unwrap_or(0).saturating_sub(self.running_in_env[env.index()]);
        let wanted = self.maybe_ready.iter().any(|stage| self.graph.stage(*stage).env == Some(env));
        if wanted { 0 } else { free as usize }
    }

    /// Bundles of an environment that could share, oldest first, and when each may be asked.
    fn sharers(&self, env: EnvIndex) -> impl Iterator<Item = (BundleId, &Running, ProcessingTime)> {
        self.ledger
            .iter()
            .filter(move |(_, running)| !running.aborted && self.graph.stage(running.stage).env == Some(env))
            .filter_map(|(bundle, running)| Some((bundle, running, running.share_at?)))
    }
}
