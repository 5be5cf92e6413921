//! What this version cannot run yet, all of it at once.

use purlin_model::windowing_strategy::MergeStatus;

use crate::graph::LeafKind;
use crate::problem::Problems;
use crate::validate::ValidatedPipeline;

const FIX: &str = "this version of Purlin does not do that yet";

pub(crate) fn supported(pipeline: &ValidatedPipeline) -> Result<(), Problems> {
    let mut problems = Problems::new();
    let graph = &pipeline.graph;
    for leaf in &graph.leaves {
        if leaf.keyed {
            problems.add(&leaf.name, "uses state or timers", FIX);
        }
        if leaf.kind == LeafKind::GroupByKey {
            let strategy = graph.strategy_of(&leaf.inputs[0]);
            if !graph.is_bounded(&leaf.inputs[0]) {
                problems.add(&leaf.name, "groups an unbounded PCollection", FIX);
            }
            if strategy.merge_status == MergeStatus::NeedsMerge {
                problems.add(&leaf.name, "groups windows that merge", FIX);
            }
            if !strategy.trigger.fires_only_at_end_of_window() {
                problems.add(&leaf.name, "groups with a trigger that fires before the end of the window", FIX);
            }
        }
    }
    problems.into_result(())
}
