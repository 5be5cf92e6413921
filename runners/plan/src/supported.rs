//! What this version cannot run yet, all of it at once.

use crate::graph::LeafKind;
use crate::problem::Problems;
use crate::validate::ValidatedPipeline;

const LATER: &str = "this version of Purlin does not do that yet";

/// # Errors
/// Everything in the pipeline that cannot run.
pub(crate) fn supported(pipeline: &ValidatedPipeline) -> Result<(), Problems> {
    let mut problems = Problems::new();
    let graph = &pipeline.graph;
    for leaf in &graph.leaves {
        if leaf.kind != LeafKind::GroupByKey && leaf.kind != LeafKind::CombinePerKey {
            continue;
        }
        let input = &leaf.inputs[0];
        if !graph.is_bounded(input) {
            problems.add(&leaf.name, format!("groups the unbounded PCollection `{input}`"), LATER);
        }
    }
    problems.into_result(())
}
