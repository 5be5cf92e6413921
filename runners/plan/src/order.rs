//! Producers before consumers, on petgraph.
//!
//! Among nodes that could come next, the one that was given first comes first, so that plans read like pipelines and
//! are the same from run to run.

use std::collections::BTreeSet;

use petgraph::Direction;
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// Positions `0..count`, each behind all that it needs. `edges` are (needed, needing).
///
/// # Errors
/// The positions that stand on a cycle, each cycle in order of position.
pub(crate) fn order(
    count: usize,
    edges: impl IntoIterator<Item = (usize, usize)>,
) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    let mut graph = DiGraph::<(), ()>::with_capacity(count, count);
    for _ in 0..count {
        graph.add_node(());
    }
    // Each once, found by sorting: to ask the graph costs a walk over all edges of a node that many need.
    for (needed, needing) in edges.into_iter().collect::<BTreeSet<_>>() {
        graph.add_edge(NodeIndex::new(needed), NodeIndex::new(needing), ());
    }
    let mut missing: Vec<usize> =
        graph.node_indices().map(|node| graph.edges_directed(node, Direction::Incoming).count()).collect();
    let mut ready: BTreeSet<usize> = (0..count).filter(|position| missing[*position] == 0).collect();
    let mut ordered = Vec::with_capacity(count);
    while let Some(position) = ready.pop_first() {
        ordered.push(position);
        for next in graph.neighbors(NodeIndex::new(position)) {
            missing[next.index()] -= 1;
            if missing[next.index()] == 0 {
                ready.insert(next.index());
            }
        }
    }
    if ordered.len() == count {
        return Ok(ordered);
    }
    let on_itself = |node: NodeIndex| graph.contains_edge(node, node);
    let mut cycles: Vec<Vec<usize>> = tarjan_scc(&graph)
        .into_iter()
        .filter(|part| part.len() > 1 || part.first().is_some_and(|node| on_itself(*node)))
        .map(|part| {
            let mut positions: Vec<_> = part.into_iter().map(NodeIndex::index).collect();
            positions.sort_unstable();
            positions
        })
        .collect();
    cycles.sort();
    Err(cycles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_given_first_comes_first() {
        assert_eq!(order(4, [(3, 0), (1, 2)]), Ok(vec![1, 2, 3, 0]));
        assert_eq!(order(0, []), Ok(vec![]));
    }

    #[test]
    fn cycles_are_named() {
        assert_eq!(order(5, [(0, 1), (1, 2), (2, 1), (4, 4)]), Err(vec![vec![1, 2], vec![4]]));
    }

    #[test]
    fn a_node_that_many_need_is_as_cheap_as_others() {
        let many = 200_000;
        assert_eq!(order(many, (1..many).map(|needing| (0, needing))), Ok((0..many).collect()));
    }

    proptest! {
        #[test]
        fn each_comes_behind_what_it_needs(edges in proptest::collection::vec((0usize..12, 0usize..12), 0..40)) {
            if let Ok(ordered) = order(12, edges.iter().copied()) {
                let place = |position: usize| ordered.iter().position(|it| *it == position);
                for (needed, needing) in edges {
                    prop_assert!(place(needed) < place(needing));
                }
            }
        }
    }
}
