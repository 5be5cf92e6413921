//! Where the runner hands on bytes of PCollections that are encoded differently, lets an SDK encode them alike.
//!
//! ```text
//!   A: string_utf8 ────────────┐          A ─► SDK flatten of one ─► A': length_prefix<any> ─┐
//!   B: length_prefix<any> ─────┴─► C  ─►  B ─────────────────────────────────────────────────┴─► C
//! ```
//! Flattens and reshuffles join PCollections without looking at their elements; groupings put the bytes of keys and
//! values into groups. Both want input that looks like what comes of it, which nothing in Beam's protocol promises. An
//! SDK writes elements with the coder of the PCollection that it writes to, and does not mind where they came from.

use std::collections::BTreeMap;

use purlin_model::ids::{EnvironmentId, PCollectionId, TransformId};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_coders as coders;
use purlin_proto::urns::standard_ptransforms::primitives;

use crate::graph::{Graph, Leaf, LeafKind};

pub(super) fn run(graph: &mut Graph) {
    let environments = environments(graph);
    for mut leaf in std::mem::take(&mut graph.leaves) {
        if let Some(wanted) = wanted(graph, &leaf) {
            let mut recoded = BTreeMap::<PCollectionId, PCollectionId>::new();
            for input in &mut leaf.inputs {
                if alike(graph, &graph.pcollection(input).coder_id, &wanted) {
                    continue;
                }
                if let Some(done) = recoded.get(input) {
                    *input = done.clone();
                    continue;
                }
                // Whoever wrote the elements can read them; what the runner wrote, a reader can.
                let nearest = environments.get(&*input).or_else(|| environments.get(leaf.outputs.values().next()?));
                // Without any environment there is no element either: nobody makes any, and nobody reads them.
                let Some(env) = nearest.or_else(|| environments.values().next()).cloned() else { continue };
                let fresh = recode(graph, &leaf.id, input, &wanted, &env);
                recoded.insert(input.clone(), fresh.clone());
                *input = fresh;
            }
        }
        graph.leaves.push(leaf);
    }
}

/// The coder that a leaf's inputs must have, if it hands on their bytes.
fn wanted(graph: &mut Graph, leaf: &Leaf) -> Option<String> {
    let output = graph.pcollection(leaf.outputs.values().next()?).coder_id.clone();
    match leaf.kind {
        LeafKind::Flatten | LeafKind::Barrier => Some(output),
        LeafKind::GroupByKey => {
            let parts = |id: &str| graph.components.coders.get(id).map(|coder| coder.component_coder_ids.clone());
            let pair = parts(&output)?;
            let value = parts(pair.get(1)?)?;
            Some(graph.coder(coders::KV, &[pair.first()?, value.first()?]))
        }
        LeafKind::Impulse
        | LeafKind::Replay
        | LeafKind::TestStream
        | LeafKind::CombinePerKey
        | LeafKind::Worker
        | LeafKind::SortByTime
        | LeafKind::Panes => None,
    }
}

/// For each PCollection, an environment that writes or reads it.
pub(super) fn environments(graph: &Graph) -> BTreeMap<PCollectionId, EnvironmentId> {
    let mut environments = BTreeMap::new();
    for leaf in &graph.leaves {
        if let Some(env) = &leaf.env {
            for pcollection in leaf.inputs.iter().chain(leaf.sides.values()) {
                environments.entry(pcollection.clone()).or_insert_with(|| env.clone());
            }
        }
    }
    // A writer is a better choice than a reader: it is where the elements are.
    for leaf in &graph.leaves {
        if let Some(env) = &leaf.env {
            environments.extend(leaf.outputs.values().map(|output| (output.clone(), env.clone())));
        }
    }
    environments
}

/// Whether two coders write the same bytes: they are the same one, or made alike of such.
fn alike(graph: &Graph, a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let (Some(a), Some(b)) = (graph.components.coders.get(a), graph.components.coders.get(b)) else { return false };
    a.spec == b.spec
        && a.component_coder_ids.len() == b.component_coder_ids.len()
        && a.component_coder_ids.iter().zip(&b.component_coder_ids).all(|(a, b)| alike(graph, a, b))
}

fn recode(
    graph: &mut Graph,
    for_leaf: &TransformId,
    input: &PCollectionId,
    coder: &str,
    env: &EnvironmentId,
) -> PCollectionId {
    let fresh = graph.add_pcollection(input, &format!("{for_leaf}/Recode({input}).out"), coder);
    let leaf = recoding(graph, for_leaf, input, (input.clone(), fresh.clone()), env);
    graph.leaves.push(leaf);
    fresh
}

/// A leaf by which an SDK reads the elements of a PCollection and writes them into another one, on behalf of a leaf and of what
/// that one reads or writes.
pub(super) fn recoding(
    graph: &mut Graph,
    for_leaf: &TransformId,
    of: &PCollectionId,
    between: (PCollectionId, PCollectionId),
    env: &EnvironmentId,
) -> Leaf {
    let transform = pb::PTransform {
        unique_name: format!("{}/Recode({of})", graph.transform(for_leaf).unique_name),
        spec: Some(pb::FunctionSpec { urn: primitives::FLATTEN.to_owned(), ..pb::FunctionSpec::default() }),
        environment_id: env.to_string(),
        ..pb::PTransform::default()
    };
    let id = format!("{for_leaf}/Recode({of})");
    let leaf = graph.make_leaf(&id, LeafKind::Worker, transform, between, for_leaf.clone());
    Leaf { forced_root: false, ..leaf }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::passes::prefix_lengths;
    use crate::testing::TestPipeline;

    fn after(pipeline: TestPipeline) -> Graph {
        pipeline.after(|graph| {
            prefix_lengths::run(graph);
            run(graph);
        })
    }

    fn joined(inputs: &[&str]) -> TestPipeline {
        TestPipeline::new()
            .collection("words", "string_utf8")
            .collection("things", "any")
            .collection("all", "any")
            .impulse("start")
            .par_do("Words", "start", &["words"])
            .par_do("Things", "start", &["things"])
            .flatten("Join", inputs, "all")
    }

    #[test]
    fn what_a_flatten_joins_is_encoded_alike() {
        assert_snapshot!(after(joined(&["words", "things"])), @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Words in py [start] -> [words: string_utf8]
        Worker Things in py [start] -> [things: purlin:length_prefix(any)]
        Worker Join/Recode(words) in py [words] -> [join/Recode(words).out: purlin:length_prefix(any)]
        Flatten Join [join/Recode(words).out, things] -> [all: purlin:length_prefix(any)]
        ");
    }

    #[test]
    fn what_is_alike_stays() {
        assert_snapshot!(after(joined(&["things", "things"])), @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Words in py [start] -> [words: string_utf8]
        Worker Things in py [start] -> [things: purlin:length_prefix(any)]
        Flatten Join [things, things] -> [all: purlin:length_prefix(any)]
        ");
        let equal = joined(&["words", "things"]).change(|components| {
            components.coders.insert("other".to_owned(), components.coders["any"].clone());
            components.pcollections.get_mut("words").unwrap().coder_id = "other".to_owned();
        });
        assert!(!after(equal).to_string().contains("Recode("), "the same coder under another id writes the same bytes");
    }

    #[test]
    fn what_is_joined_twice_is_recoded_once() {
        assert_snapshot!(after(joined(&["words", "words"])), @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Words in py [start] -> [words: string_utf8]
        Worker Things in py [start] -> [things: purlin:length_prefix(any)]
        Worker Join/Recode(words) in py [words] -> [join/Recode(words).out: purlin:length_prefix(any)]
        Flatten Join [join/Recode(words).out, join/Recode(words).out] -> [all: purlin:length_prefix(any)]
        ");
    }

    #[test]
    fn a_reshuffle_recodes_too() {
        let pipeline = TestPipeline::new()
            .collection("words", "string_utf8")
            .collection("shuffled", "any")
            .impulse("start")
            .par_do("Words", "start", &["words"])
            .reshuffle("Shuffle", "words", "shuffled");
        assert_snapshot!(after(pipeline), @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Words in py [start] -> [words: string_utf8]
        Worker Shuffle/Recode(words) in py [words] -> [shuffle/Recode(words).out: purlin:length_prefix(any)]
        Barrier Shuffle [shuffle/Recode(words).out] -> [shuffled: purlin:length_prefix(any)]
        ");
    }

    #[test]
    fn a_grouping_copies_bytes_and_wants_them_as_its_groups_promise() {
        let pipeline = TestPipeline::new()
            .collection("pairs", "kv<any, kv<string_utf8, varint>>")
            .collection("groups", "kv<any, iterable<any>>")
            .impulse("start")
            .par_do("Pair", "start", &["pairs"])
            .group("Group", "pairs", "groups");
        assert_snapshot!(after(pipeline), @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Pair in py [start] -> [pairs: purlin:kv(purlin:length_prefix(any),kv<string_utf8, varint>)]
        Worker Group/Recode(pairs) in py [pairs] -> [group/Recode(pairs).out: purlin:kv(purlin:length_prefix(any),purlin:length_prefix(any))]
        GroupByKey Group [group/Recode(pairs).out] -> [groups: purlin:kv(purlin:length_prefix(any),purlin:iterable(purlin:length_prefix(any)))]
        ");
    }

    #[test]
    fn what_the_runner_wrote_is_recoded_by_who_reads_it() {
        let pipeline = TestPipeline::new()
            .environment("java", &["string_utf8"])
            .collection("all", "any")
            .impulse("start")
            .flatten("Join", &["start"], "all")
            .par_do("Read", "all", &["done"])
            .in_env("java");
        assert_snapshot!(after(pipeline), @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Join/Recode(start) in java [start] -> [join/Recode(start).out: purlin:length_prefix(any)]
        Flatten Join [join/Recode(start).out] -> [all: purlin:length_prefix(any)]
        Worker Read in java [all] -> [done: bytes]
        ");
    }
}
