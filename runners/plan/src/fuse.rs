//! Which leaves run in one bundle: greedily, along main inputs, within one environment.

use std::collections::BTreeMap;

use purlin_model::ids::PCollectionId;

use crate::graph::{Graph, Leaf, LeafKind};

/// Leaves that run together: their indices, in topological order; the first is the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fused {
    pub(crate) leaves: Vec<usize>,
}

pub(crate) fn fuse(graph: &Graph) -> Vec<Fused> {
    let mut stages: Vec<Fused> = Vec::new();
    let mut produced_in = BTreeMap::<&PCollectionId, usize>::new();
    let mut roots = BTreeMap::<(&PCollectionId, &str), usize>::new();
    for (index, leaf) in graph.leaves.iter().enumerate() {
        let stage = match leaf.kind {
            LeafKind::Flatten | LeafKind::Barrier => continue,
            LeafKind::Impulse | LeafKind::GroupByKey => None,
            LeafKind::Worker => joins(graph, leaf, &stages, &produced_in, &roots),
        };
        let stage = stage.unwrap_or_else(|| {
            stages.push(Fused { leaves: Vec::new() });
            stages.len() - 1
        });
        stages[stage].leaves.push(index);
        if leaf.kind == LeafKind::Worker {
            for output in leaf.outputs.values() {
                produced_in.insert(output, stage);
            }
            if stages[stage].leaves.len() == 1 && is_plain(leaf) {
                roots.insert((&leaf.inputs[0], env(leaf)), stage);
            }
        }
    }
    stages
}

fn joins(
    graph: &Graph,
    leaf: &Leaf,
    stages: &[Fused],
    produced_in: &BTreeMap<&PCollectionId, usize>,
    roots: &BTreeMap<(&PCollectionId, &str), usize>,
) -> Option<usize> {
    if !is_plain(leaf) {
        return None;
    }
    let input = &leaf.inputs[0];
    let upstream = produced_in.get(input).copied();
    let same_env = |stage: &usize| env(&graph.leaves[stages[*stage].leaves[0]]) == env(leaf);
    upstream.filter(same_env).or_else(|| roots.get(&(input, env(leaf))).copied())
}

/// Whether nothing forbids a leaf to stand in the middle of a stage, or beside another root.
fn is_plain(leaf: &Leaf) -> bool {
    !leaf.forced_root && leaf.sides.is_empty()
}

fn env(leaf: &Leaf) -> &str {
    leaf.env.as_ref().map_or("", |env| env.as_str())
}
