//! The rows that a ParDo needs: side inputs, state, timers, splitting, order, finalization.
//!
//! ```text
//!   ParDoPayload, and the PCollections around it ─► rows
//! ```
//! Does not know what the DoFn does with any of it.

use purlin_capability_matrix::row::Row;
use purlin_model::window::WindowFn;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::pipeline::v1::state_spec::Spec;
use purlin_proto::urns::standard_side_input_types as access;

use super::{Needs, windowing};
use crate::graph::Leaf;

impl Needs<'_> {
    pub(super) fn par_do(&mut self, leaf: &Leaf, payload: &pb::ParDoPayload) {
        self.add(leaf, Row::ParDo);
        if !payload.restriction_coder_id.is_empty() {
            self.splittable(leaf);
        }
        self.side_inputs(leaf, payload);
        self.state_and_timers(leaf, payload);
        let flags = [
            (payload.requires_time_sorted_input, Row::TimeSortedInput),
            (payload.requires_stable_input, Row::StableInput),
            (payload.requests_finalization, Row::BundleFinalization),
            (!payload.on_window_expiration_timer_family_spec.is_empty(), Row::OnWindowExpiration),
        ];
        self.add_all(leaf, flags.into_iter().filter(|(needed, _)| *needed).map(|(_, row)| row));
    }

    /// A splittable DoFn, whole or a part of one that its SDK has expanded. It is unbounded for each element if it
    /// makes something unbounded of what is bounded; where its input is unbounded already, the pipeline does not tell.
    pub(super) fn splittable(&mut self, leaf: &Leaf) {
        let unbounded = self.any_unbounded(leaf.outputs.values()) && !self.any_unbounded(&leaf.inputs);
        let [base, sides, finalization] = if unbounded {
            [Row::UnboundedSdfBase, Row::UnboundedSdfSideInputs, Row::UnboundedSdfBundleFinalization]
        } else {
            [Row::BoundedSdfBase, Row::BoundedSdfSideInputs, Row::BoundedSdfBundleFinalization]
        };
        self.add(leaf, base);
        if !leaf.sides.is_empty() {
            self.add(leaf, sides);
        }
        if leaf.finalizes {
            self.add(leaf, finalization);
        }
    }

    fn side_inputs(&mut self, leaf: &Leaf, payload: &pb::ParDoPayload) {
        for (local, side) in &leaf.sides {
            let strategy = self.graph.strategy_of(side);
            let pattern = payload.side_inputs.get(local.as_str()).and_then(|side| side.access_pattern.as_ref());
            let kind = match pattern.map_or("", |pattern| pattern.urn.as_str()) {
                access::MULTIMAP => Row::MultimapSideInputs,
                // There are only those two past validation.
                _ => Row::IterableSideInputs,
            };
            let windowed = (strategy.window_fn != WindowFn::Global).then_some(Row::WindowedSideInputs);
            let again = (!strategy.trigger.fires_only_at_end_of_window()).then_some(Row::TriggeredSideInputs);
            self.add_all(leaf, [Some(Row::SideInputs), Some(kind), windowed, again].into_iter().flatten());
        }
    }

    fn state_and_timers(&mut self, leaf: &Leaf, payload: &pb::ParDoPayload) {
        for spec in payload.state_specs.values().filter_map(|state| state.spec.as_ref()) {
            let row = match spec {
                Spec::ReadModifyWriteSpec(_) => Row::StateValue,
                Spec::BagSpec(_) => Row::StateBag,
                Spec::CombiningSpec(_) => Row::StateCombining,
                Spec::MapSpec(_) => Row::StateMap,
                Spec::SetSpec(_) => Row::StateSet,
                Spec::MultimapSpec(_) => Row::StateMultimap,
                Spec::OrderedListSpec(_) => Row::StateOrderedList,
            };
            self.add_all(leaf, [Row::StatefulProcessing, row]);
        }
        // The family of the end of windows is the SDK's own, and has a row of its own.
        let expiry = payload.on_window_expiration_timer_family_spec.as_str();
        for (_, family) in payload.timer_family_specs.iter().filter(|(id, _)| id.as_str() != expiry) {
            let row = match pb::time_domain::Enum::try_from(family.time_domain) {
                Ok(pb::time_domain::Enum::ProcessingTime) => Row::ProcessingTimeTimers,
                // A domain that nobody knows is told where the timers are planned.
                Ok(pb::time_domain::Enum::EventTime | pb::time_domain::Enum::Unspecified) | Err(_) => {
                    Row::EventTimeTimers
                }
            };
            self.add_all(leaf, [Row::Timers, row]);
        }
        if leaf.stateful {
            for input in &leaf.inputs {
                self.add_all(leaf, windowing::of_windows(self.graph.strategy_of(input)));
            }
        }
    }
}
