//! What a pipeline needs of its runner: rows of the capability matrix, each with the transforms that need it.
//!
//! ```text
//!   ValidatedPipeline ─leaves─► transforms, payloads ─┐
//!                     ├─────► windowings ─────────────┼─► Requirements: Row ─► unique names
//!                     └─────► environments ───────────┘
//! ```
//! Sees what the submitted pipeline says, and no more: that a DoFn counts something, drains or defers itself is known
//! only once it runs. Does not know what any runner can do.

mod environment;
mod par_do;
mod windowing;

#[cfg(test)]
mod tests;

pub(crate) use environment::is_of_go;

use std::collections::BTreeSet;

use purlin_capability_matrix::circumstance::Circumstance;
use purlin_capability_matrix::requirements::Requirements;
use purlin_capability_matrix::row::Row;
use purlin_model::ids::PCollectionId;
use purlin_model::windowing_strategy::MergeStatus;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_ptransforms::{
    combine_components, composites, deprecated_primitives, primitives, splittable_par_do_components,
};
use purlin_proto::urns::standard_requirements as wire;

use crate::graph::{Graph, Leaf, LeafKind};
use crate::payload;
use crate::validate::ValidatedPipeline;

/// Where a need stands that the pipeline states as a whole, and no transform shows.
const WHOLE_PIPELINE: &str = "the pipeline";

/// What a pipeline needs: every row that can be told from what was submitted.
///
/// Costs one look at each transform. A row that is general (`timers`) is needed beside the particular one
/// (`event-time-timers`), so that whichever is narrower in a sheet decides.
pub fn requirements(pipeline: &ValidatedPipeline) -> Requirements {
    let graph = &pipeline.graph;
    let mut needs = Needs { graph, merging: merging(graph), found: Requirements::new() };
    for leaf in &graph.leaves {
        needs.leaf(leaf);
    }
    needs.composites(pipeline.proto());
    needs.environments();
    needs.stated(&pipeline.proto().requirements);
    needs.found
}

/// The PCollections whose windows have yet to merge. Python says of all windows that can merge that they need to, also
/// behind the grouping that has merged them: they stay merged until somebody assigns others.
fn merging(graph: &Graph) -> BTreeSet<&PCollectionId> {
    let mut merging = BTreeSet::new();
    // In topological order, so that what stands before a leaf is known.
    for leaf in &graph.leaves {
        let window_fn = |id: &PCollectionId| &graph.strategy_of(id).window_fn;
        let kept = |id: &PCollectionId| leaf.inputs.iter().all(|input| window_fn(input) == window_fn(id));
        let came_merged = || !leaf.inputs.is_empty() && !leaf.inputs.iter().any(|input| merging.contains(input));
        let merged = match leaf.kind {
            LeafKind::GroupByKey | LeafKind::CombinePerKey => true,
            LeafKind::Worker if urn(graph, leaf) == primitives::ASSIGN_WINDOWS => false,
            LeafKind::Impulse
            | LeafKind::Replay
            | LeafKind::TestStream
            | LeafKind::Flatten
            | LeafKind::Worker
            | LeafKind::Barrier
            | LeafKind::SortByTime
            | LeafKind::Panes => came_merged(),
        };
        let need = |id: &&PCollectionId| graph.strategy_of(id).merge_status == MergeStatus::NeedsMerge;
        let found: Vec<_> = leaf.outputs.values().filter(need).filter(|id| !(merged && kept(id))).collect();
        merging.extend(found);
    }
    merging
}

fn urn<'a>(graph: &'a Graph, leaf: &Leaf) -> &'a str {
    graph.transform(&leaf.id).spec.as_ref().map_or("", |spec| spec.urn.as_str())
}

struct Needs<'a> {
    graph: &'a Graph,
    /// PCollections whose windows have yet to merge.
    merging: BTreeSet<&'a PCollectionId>,
    found: Requirements,
}

impl Needs<'_> {
    fn add(&mut self, leaf: &Leaf, row: Row) {
        self.found.add(row, leaf.name.as_str(), self.circumstances(leaf));
    }

    fn add_all(&mut self, leaf: &Leaf, rows: impl IntoIterator<Item = Row>) {
        for row in rows {
            self.add(leaf, row);
        }
    }

    /// What limits of runners speak of: of all that the transform does, not of one row.
    fn circumstances(&self, leaf: &Leaf) -> impl Iterator<Item = Circumstance> + use<> {
        let around = || leaf.inputs.iter().chain(leaf.sides.values()).chain(leaf.outputs.values());
        let unbounded = self.any_unbounded(around()).then_some(Circumstance::Unbounded);
        let merging = leaf.inputs.iter().any(|id| self.merging.contains(id)).then_some(Circumstance::MergingWindows);
        unbounded.into_iter().chain(merging)
    }

    fn leaf(&mut self, leaf: &Leaf) {
        match leaf.kind {
            LeafKind::Impulse | LeafKind::Replay | LeafKind::Barrier | LeafKind::SortByTime | LeafKind::Panes => {}
            LeafKind::TestStream => self.add(leaf, Row::TestStream),
            LeafKind::Flatten => self.add(leaf, Row::Flatten),
            LeafKind::GroupByKey => self.grouping(leaf),
            LeafKind::CombinePerKey => {
                self.add(leaf, Row::Combine);
                self.grouping(leaf);
            }
            LeafKind::Worker => self.worker(leaf),
        }
        // Whoever reads an unbounded collection has it from the transform that is named here.
        if self.any_unbounded(leaf.outputs.values()) && !self.any_unbounded(&leaf.inputs) {
            self.add(leaf, Row::UnboundedPcollections);
        }
    }

    fn grouping(&mut self, leaf: &Leaf) {
        self.add(leaf, Row::GroupByKey);
        for input in &leaf.inputs {
            self.add_all(leaf, windowing::of_grouping(self.graph.strategy_of(input)));
        }
    }

    fn worker(&mut self, leaf: &Leaf) {
        match urn(self.graph, leaf) {
            primitives::PAR_DO => {
                if let Some(payload) = payload::par_do(self.graph, leaf) {
                    self.par_do(leaf, &payload);
                }
            }
            primitives::ASSIGN_WINDOWS => {
                for output in leaf.outputs.values() {
                    self.add_all(leaf, windowing::of_windows(self.graph.strategy_of(output)));
                }
            }
            primitives::TEST_STREAM => self.add(leaf, Row::TestStream),
            deprecated_primitives::READ => self.add(leaf, Row::SourceApi),
            combine_components::COMBINE_PER_KEY_PRECOMBINE
            | combine_components::COMBINE_PER_KEY_MERGE_ACCUMULATORS
            | combine_components::COMBINE_PER_KEY_EXTRACT_OUTPUTS
            | combine_components::COMBINE_PER_KEY_CONVERT_TO_ACCUMULATORS
            | combine_components::COMBINE_GROUPED_VALUES => self.add(leaf, Row::Combine),
            splittable_par_do_components::PAIR_WITH_RESTRICTION
            | splittable_par_do_components::SPLIT_AND_SIZE_RESTRICTIONS
            | splittable_par_do_components::PROCESS_SIZED_ELEMENTS_AND_RESTRICTIONS
            | splittable_par_do_components::TRUNCATE_SIZED_RESTRICTION => self.splittable(leaf),
            // Whatever else an environment lists is user code like any other.
            _ => self.add(leaf, Row::ParDo),
        }
    }

    /// Composites that the graph has taken apart. The runner looks into none that it does whole.
    fn composites(&mut self, proto: &pb::Pipeline) {
        let whole: BTreeSet<&str> = self.graph.leaves.iter().map(|leaf| leaf.id.as_str()).collect();
        let mut pending: Vec<&str> = proto.root_transform_ids.iter().map(String::as_str).collect();
        while let Some(id) = pending.pop() {
            // Validation has seen that each stands in one place, so that this ends.
            let Some(transform) = self.graph.components.transforms.get(id) else { continue };
            if transform.subtransforms.is_empty() || whole.contains(id) {
                continue;
            }
            pending.extend(transform.subtransforms.iter().map(String::as_str));
            let name = transform.unique_name.as_str();
            self.found.add(Row::CompositeTransforms, name, []);
            match transform.spec.as_ref().map_or("", |spec| spec.urn.as_str()) {
                composites::COMBINE_PER_KEY | composites::COMBINE_GLOBALLY => self.found.add(Row::Combine, name, []),
                deprecated_primitives::READ => {
                    // Nobody has checked what a composite emits.
                    let pcollections = &self.graph.components.pcollections;
                    let mut outputs = transform.outputs.values().filter_map(|id| pcollections.get(id));
                    let unbounded = outputs.any(|output| output.is_bounded == pb::is_bounded::Enum::Unbounded as i32);
                    self.found.add(Row::SourceApi, name, unbounded.then_some(Circumstance::Unbounded));
                }
                _ => {}
            }
        }
    }

    /// What the pipeline states to require, where no transform shows it.
    fn stated(&mut self, requirements: &[String]) {
        for requirement in requirements {
            let row = match requirement.as_str() {
                wire::REQUIRES_STATEFUL_PROCESSING => Row::StatefulProcessing,
                wire::REQUIRES_BUNDLE_FINALIZATION => Row::BundleFinalization,
                wire::REQUIRES_STABLE_INPUT => Row::StableInput,
                wire::REQUIRES_TIME_SORTED_INPUT => Row::TimeSortedInput,
                wire::REQUIRES_ON_WINDOW_EXPIRATION => Row::OnWindowExpiration,
                // Splittable DoFns are always seen, and any other requirement was refused by validation.
                _ => continue,
            };
            // A DoFn with timers only is stateful to the SDK, and not to the matrix.
            let shown = self.found.contains(row)
                || row == Row::StatefulProcessing && self.graph.leaves.iter().any(|leaf| leaf.stateful);
            if !shown {
                self.found.add(row, WHOLE_PIPELINE, []);
            }
        }
    }

    fn any_unbounded<'b>(&self, pcollections: impl IntoIterator<Item = &'b PCollectionId>) -> bool {
        pcollections.into_iter().any(|id| !self.graph.is_bounded(id))
    }
}
