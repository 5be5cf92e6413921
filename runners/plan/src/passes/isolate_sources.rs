//! Puts what reads a source's elements into a stage of its own, so that each element is an input of its own.
//!
//! ```text
//!   Impulse ─► Read + Parse + Count     ─►   Impulse ─► Read │ Parse + Count
//!   restrictions ─► ProcessSized + Parse ─►  restrictions ─► ProcessSized │ Parse
//! ```
//! Only where it is asked for, because it costs a pass of the elements through the runner. Without it an element that a DoFn fails on
//! could not be told from everything that came out of the same impulse, or of the same file.

use std::collections::BTreeSet;

use purlin_model::ids::PCollectionId;

use crate::graph::{Graph, LeafKind};

pub(super) fn run(graph: &mut Graph) {
    let impulses: BTreeSet<PCollectionId> = written_by(graph, |kind, _, _| kind == LeafKind::Impulse);
    let sources = written_by(graph, |kind, splittable, input| {
        kind == LeafKind::Worker && (splittable || input.is_some_and(|input| impulses.contains(input)))
    });
    for leaf in &mut graph.leaves {
        if leaf.kind == LeafKind::Worker && leaf.inputs.iter().any(|input| sources.contains(input)) {
            leaf.forced_root = true;
        }
    }
}

/// What is written by leaves of such a kind, whether it is splittable, and first input.
fn written_by(
    graph: &Graph,
    wanted: impl Fn(LeafKind, bool, Option<&PCollectionId>) -> bool,
) -> BTreeSet<PCollectionId> {
    let leaves = graph.leaves.iter().filter(|leaf| wanted(leaf.kind, leaf.splittable, leaf.inputs.first()));
    leaves.flat_map(|leaf| leaf.outputs.values().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use crate::fuse::fuse;
    use crate::testing::TestPipeline;

    fn stages(pipeline: TestPipeline, isolate: bool) -> Vec<Vec<String>> {
        let mut graph = pipeline.graph();
        crate::passes::run(
            &mut graph,
            &crate::PlanOptions { isolate_sources: isolate, ..crate::PlanOptions::default() },
        );
        let name = |leaf: &usize| graph.leaves[*leaf].name.clone();
        fuse(&graph).iter().map(|stage| stage.leaves.iter().map(name).collect()).collect()
    }

    #[test]
    fn what_an_impulse_and_a_splittable_do_fn_emit_goes_through_the_runner() {
        let files = || {
            TestPipeline::new()
                .impulse("start")
                .par_do("Files", "start", &["files"])
                .par_do("Read", "files", &["lines"])
                .splittable("range")
                .par_do("Parse", "lines", &["parsed"])
                .par_do("Count", "parsed", &["counts"])
        };
        assert_eq!(stages(files(), false).last().unwrap(), &["Read/ProcessSized", "Parse", "Count"]);
        assert_eq!(
            stages(files(), true),
            [
                vec!["Impulse start"],
                vec!["Files"],
                vec!["Read/PairWithRestriction", "Read/SplitAndSize"],
                vec!["Read/ProcessSized"],
                vec!["Parse", "Count"],
            ]
        );
    }
}
