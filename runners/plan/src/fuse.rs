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
                | LeafKind::GroupByKey
                | LeafKind::CombinePerKey
                | LeafKind::SortByTime,
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
fn may_join(leaf: &Leaf) -> bool {
    !leaf.forced_root && leaf.sides.is_empty()
}
