//! Which leaves run in one bundle: greedily, along main inputs, within one environment.
//!
//! ```text
//!   A ─► B ─► C   B and C join A, unless they must begin a stage
//!   X ─┬► D       D and E begin one stage together: one source, shared out by the SDK
//!      └► E
//! ```
//! A leaf with side inputs begins a stage of its own: whoever computes a side input can then never wait for a stage
//! that waits for it, because everything else in a stage hangs on its root's input alone.

use std::collections::BTreeMap;

use purlin_model::ids::{EnvironmentId, PCollectionId};

use crate::graph::{Graph, Leaf, LeafKind};

/// Leaves that run together: their positions in the graph, in topological order. The first is a root, and so may
/// others be, if they read the same PCollection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fused {
    pub(crate) leaves: Vec<usize>,
}

/// Puts every leaf that does work into exactly one stage. Flattens and barriers are no work: they only say where
/// elements come from.
pub(crate) fn fuse(graph: &Graph) -> Vec<Fused> {
    let mut stages: Vec<Fused> = Vec::new();
    // Where each PCollection that an SDK writes is written.
    let mut writers = BTreeMap::<&PCollectionId, usize>::new();
    // The stages that others may join who read the same PCollection.
    let mut open_roots = BTreeMap::<(&PCollectionId, &EnvironmentId), usize>::new();
    for (position, leaf) in graph.leaves.iter().enumerate() {
        let joined = match (leaf.kind, &leaf.env) {
            (LeafKind::Flatten | LeafKind::Barrier, _) => continue,
            (LeafKind::Worker, Some(env)) if may_join(leaf) => {
                let input = &leaf.inputs[0];
                let writer = writers.get(input).copied();
                let same = |stage: &usize| graph.leaves[stages[*stage].leaves[0]].env.as_ref() == Some(env);
                writer.filter(same).or_else(|| open_roots.get(&(input, env)).copied())
            }
            (
                LeafKind::Worker
                | LeafKind::Impulse
                | LeafKind::Replay
                | LeafKind::TestStream
                | LeafKind::GroupByKey
                | LeafKind::CombinePerKey
                | LeafKind::SortByTime
                | LeafKind::Panes,
                _,
            ) => None,
        };
        let stage = joined.unwrap_or_else(|| {
            stages.push(Fused { leaves: Vec::new() });
            stages.len() - 1
        });
        if let (true, LeafKind::Worker, Some(env)) = (joined.is_none() && may_join(leaf), leaf.kind, &leaf.env) {
            open_roots.insert((&leaf.inputs[0], env), stage);
        }
        stages[stage].leaves.push(position);
        if leaf.kind == LeafKind::Worker {
            writers.extend(leaf.outputs.values().map(|output| (output, stage)));
        }
    }
    stages
}

/// Whether nothing asks for a stage of the leaf's own.
pub(crate) fn may_join(leaf: &Leaf) -> bool {
    !leaf.forced_root && leaf.sides.is_empty()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::testing::TestPipeline;

    /// A stage a line: the leaves that run together.
    fn fused(pipeline: TestPipeline) -> String {
        let graph = pipeline.graph();
        let name = |leaf: &usize| graph.leaves[*leaf].name.clone();
        fuse(&graph).iter().map(|stage| stage.leaves.iter().map(name).collect::<Vec<_>>().join(" + ") + "\n").collect()
    }

    fn words() -> TestPipeline {
        TestPipeline::new()
            .collection("pairs", "kv<string_utf8, varint>")
            .collection("groups", "kv<string_utf8, iterable<varint>>")
            .impulse("start")
            .par_do("Read", "start", &["lines"])
    }

    #[test]
    fn a_chain_runs_together() {
        let chain = words().par_do("Split", "lines", &["words"]).par_do("Pair", "words", &["pairs"]);
        assert_snapshot!(fused(chain), @"
        Impulse start
        Read + Split + Pair
        ");
    }

    #[test]
    fn branches_join_who_writes_what_they_read() {
        let tree = words().par_do("Count", "lines", &["counts"]).par_do("Print", "lines", &["printed"]).par_do(
            "Add",
            "counts",
            &["added"],
        );
        assert_snapshot!(fused(tree), @"
        Impulse start
        Read + Count + Print + Add
        ");
    }

    #[test]
    fn who_reads_the_same_from_a_runner_runs_together() {
        let siblings = words()
            .par_do("Pair", "lines", &["pairs"])
            .group("Group", "pairs", "groups")
            .par_do("Sum", "groups", &["sums"])
            .par_do("Max", "groups", &["maxima"])
            .par_do("Print", "maxima", &["printed"]);
        assert_snapshot!(fused(siblings), @"
        Impulse start
        Read + Pair
        Group
        Sum + Max + Print
        ");
    }

    #[test]
    fn an_environment_runs_only_what_is_its_own() {
        let mixed = words()
            .environment("java", &["kv"])
            .par_do("Split", "lines", &["words"])
            .in_env("java")
            .par_do("Count", "words", &["counts"])
            .par_do("Trim", "words", &["trimmed"])
            .in_env("java")
            .par_do("Other", "words", &["others"]);
        assert_snapshot!(fused(mixed), @"
        Impulse start
        Read
        Split + Trim
        Count + Other
        ");
    }

    #[test]
    fn state_begins_a_stage() {
        let stateful = words()
            .par_do("Pair", "lines", &["pairs"])
            .par_do("Number", "pairs", &["numbered"])
            .stateful()
            .par_do("Remind", "pairs", &["reminders"])
            .timers()
            .par_do("Print", "numbered", &["printed"])
            .par_do("Look", "pairs", &["looked"]);
        assert_snapshot!(fused(stateful), @"
        Impulse start
        Read + Pair + Look
        Number + Print
        Remind
        ");
    }

    #[test]
    fn stable_input_begins_a_stage() {
        let stable = words()
            .par_do("Write", "lines", &["written"])
            .payload(|payload| payload.requires_stable_input = true)
            .par_do("Print", "written", &["printed"]);
        assert_snapshot!(fused(stable), @"
        Impulse start
        Read
        Write + Print
        ");
    }

    #[test]
    fn side_inputs_begin_a_stage_so_that_nobody_waits_for_oneself() {
        // `Join` reads what `Count` makes of the same lines: together with them it would wait for itself.
        let diamond = words()
            .par_do("Count", "lines", &["counts"])
            .par_do("Join", "lines", &["joined"])
            .sides(&[("counts", "iterable")])
            .par_do("Print", "joined", &["printed"]);
        assert_snapshot!(fused(diamond), @"
        Impulse start
        Read + Count
        Join + Print
        ");
    }

    #[test]
    fn flattens_and_reshuffles_stand_between_stages() {
        let barriers = words()
            .par_do("Split", "lines", &["words"])
            .reshuffle("Shuffle", "words", "shuffled")
            .par_do("Upper", "shuffled", &["uppers"])
            .flatten("Join", &["lines", "uppers"], "all")
            .par_do("Print", "all", &["printed"])
            .par_do("Count", "all", &["counts"]);
        assert_snapshot!(fused(barriers), @"
        Impulse start
        Read + Split
        Upper
        Print + Count
        ");
    }

    #[test]
    fn restrictions_are_materialised_before_they_are_processed() {
        let splittable =
            words().par_do("Files", "lines", &["texts"]).splittable("range").par_do("Print", "texts", &["printed"]);
        let graph = splittable.after(crate::passes::run_all);
        let name = |leaf: &usize| graph.leaves[*leaf].name.clone();
        let stages: Vec<_> = fuse(&graph).iter().map(|it| it.leaves.iter().map(name).collect::<Vec<_>>()).collect();
        assert_eq!(
            stages[1..],
            [vec!["Read", "Files/PairWithRestriction", "Files/SplitAndSize"], vec!["Files/ProcessSized", "Print"]]
        );
    }
}
