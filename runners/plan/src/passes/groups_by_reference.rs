//! Lets large groups reach workers by reference, where all who read them understand that.
//!
//! ```text
//!   GroupByKey ─► kv<K, iterable<V>>  ─►  kv<K, state_backed_iterable<V>> ─► worker ══StateKey.runner══► page after page
//! ```
//! Groups are written once for all their readers. So the coder changes where every reader is an SDK's that lists
//! `beam:coder:state_backed_iterable:v1`, and reads them as its main input. What the runner reads itself (a side input, another grouping)
//! it takes whole, and so do flattens with what is no group. Runs when all coders are what they will be.

use std::collections::BTreeSet;

use purlin_model::ids::PCollectionId;
use purlin_proto::urns::standard_coders as coders;

use crate::graph::{Graph, Leaf, LeafKind};

pub(super) fn run(graph: &mut Graph) {
    for pcollection in by_reference(graph) {
        let kv = &graph.components.coders[&graph.pcollection(&pcollection).coder_id];
        let [key, iterable] = kv.component_coder_ids.clone().try_into().unwrap_or_default();
        let Some(value) = value_coder(graph, &iterable) else { continue };
        let values = graph.coder(coders::STATE_BACKED_ITERABLE, &[&value]);
        let coder = graph.coder(coders::KV, &[&key, &values]);
        if let Some(pcollection) = graph.components.pcollections.get_mut(pcollection.as_str()) {
            pcollection.coder_id = coder;
        }
    }
}

/// The PCollections that hold groups and nothing else, and whose readers all understand references.
fn by_reference(graph: &Graph) -> BTreeSet<PCollectionId> {
    let mut groups = BTreeSet::new();
    // Leaves are in topological order, so that what comes of groups comes after them.
    for leaf in &graph.leaves {
        let is_group = match leaf.kind {
            LeafKind::GroupByKey => true,
            LeafKind::Flatten | LeafKind::Barrier => {
                !leaf.inputs.is_empty() && leaf.inputs.iter().all(|input| groups.contains(input))
            }
            LeafKind::Impulse
            | LeafKind::Replay
            | LeafKind::TestStream
            | LeafKind::CombinePerKey
            | LeafKind::Worker
            | LeafKind::SortByTime
            | LeafKind::Panes => false,
        };
        if is_group {
            groups.extend(leaf.outputs.values().filter(|output| holds_groups(graph, output)).cloned());
        }
    }
    // A reader that does not understand spoils what it reads, and all that is joined with it.
    loop {
        let before = groups.len();
        for leaf in &graph.leaves {
            for side in leaf.sides.values() {
                groups.remove(side);
            }
            match leaf.kind {
                LeafKind::Flatten | LeafKind::Barrier => {
                    let all = leaf.inputs.iter().chain(leaf.outputs.values());
                    if all.clone().any(|pcollection| !groups.contains(pcollection)) {
                        for pcollection in all {
                            groups.remove(pcollection);
                        }
                    }
                }
                LeafKind::Worker if understands(graph, leaf) => {}
                LeafKind::Impulse
                | LeafKind::Replay
                | LeafKind::TestStream
                | LeafKind::GroupByKey
                | LeafKind::CombinePerKey
                | LeafKind::Worker
                | LeafKind::SortByTime
                | LeafKind::Panes => {
                    for input in &leaf.inputs {
                        groups.remove(input);
                    }
                }
            }
        }
        if groups.len() == before {
            return groups;
        }
    }
}

fn understands(graph: &Graph, leaf: &Leaf) -> bool {
    let env = leaf.env.as_ref().and_then(|env| graph.components.environments.get(env.as_str()));
    env.is_some_and(|env| env.capabilities.iter().any(|urn| urn == coders::STATE_BACKED_ITERABLE))
}

fn holds_groups(graph: &Graph, pcollection: &PCollectionId) -> bool {
    let id = &graph.pcollection(pcollection).coder_id;
    let values = graph.components.coders.get(id).and_then(|kv| kv.component_coder_ids.get(1));
    graph.urn_of_coder(id) == coders::KV && values.is_some_and(|values| value_coder(graph, values).is_some())
}

/// The coder of the values of an iterable.
fn value_coder(graph: &Graph, iterable: &str) -> Option<String> {
    let is_iterable = graph.urn_of_coder(iterable) == coders::ITERABLE;
    graph.components.coders.get(iterable).filter(|_| is_iterable)?.component_coder_ids.first().cloned()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::passes::{prefix_lengths, recode};
    use crate::testing::TestPipeline;

    fn grouped() -> TestPipeline {
        TestPipeline::new()
            .collection("pairs", "kv<string_utf8, any>")
            .collection("groups", "kv<string_utf8, iterable<any>>")
            .impulse("start")
            .par_do("Pair", "start", &["pairs"])
            .group("Group", "pairs", "groups")
    }

    /// The coder of a PCollection, in the plan's notation.
    fn coder(pipeline: TestPipeline, pcollection: &str) -> String {
        let graph = pipeline.after(|graph| {
            prefix_lengths::run(graph);
            recode::run(graph);
            run(graph);
        });
        let (known, _) = crate::build::coders(&graph);
        known[graph.components.pcollections[pcollection].coder_id.as_str()].to_string()
    }

    #[test]
    fn readers_that_understand_get_references() {
        let read = grouped().par_do("Sum", "groups", &["sums"]).par_do("Print", "groups", &["printed"]);
        assert_snapshot!(coder(read, "groups"), @"kv<string_utf8, state_backed_iterable<length_prefix<any>>>");
    }

    #[test]
    fn one_reader_that_does_not_spoils_it_for_all() {
        let plain = "kv<string_utf8, iterable<length_prefix<any>>>";
        let old = grouped()
            .environment("old", &["string_utf8"])
            .par_do("Sum", "groups", &["sums"])
            .par_do("Old", "groups", &["olds"])
            .in_env("old");
        assert_eq!(coder(old, "groups"), plain);
        let side = grouped()
            .par_do("Sum", "groups", &["sums"])
            .par_do("Look", "pairs", &["looked"])
            .sides(&[("groups", "multimap")]);
        assert_eq!(coder(side, "groups"), plain);
        let again = grouped().collection("twice", "kv<string_utf8, iterable<iterable<any>>>");
        assert_eq!(coder(again.group("Again", "groups", "twice"), "groups"), plain);
    }

    #[test]
    fn references_pass_through_what_only_joins() {
        let shuffled = grouped()
            .collection("shuffled", "kv<string_utf8, iterable<any>>")
            .reshuffle("Shuffle", "groups", "shuffled")
            .par_do("Write", "shuffled", &["written"]);
        let by_reference = "kv<string_utf8, state_backed_iterable<length_prefix<any>>>";
        assert_eq!(coder(shuffled.clone(), "groups"), by_reference);
        assert_eq!(coder(shuffled, "shuffled"), by_reference);
        let joined = grouped()
            .collection("made", "kv<string_utf8, iterable<any>>")
            .collection("all", "kv<string_utf8, iterable<any>>")
            .par_do("Make", "start", &["made"])
            .flatten("Join", &["groups", "made"], "all")
            .par_do("Write", "all", &["written"]);
        assert_eq!(coder(joined, "groups"), "kv<string_utf8, iterable<length_prefix<any>>>");
    }
}
