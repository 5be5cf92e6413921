//! Where a flatten, or a reshuffle, joins PCollections that are encoded differently, lets an SDK encode them alike.
//!
//! ```text
//!   A: string_utf8 ────────────┐          A ─► SDK flatten of one ─► A': length_prefix<any> ─┐
//!   B: length_prefix<any> ─────┴─► C  ─►  B ─────────────────────────────────────────────────┴─► C
//! ```
//! The runner joins PCollections without looking at their elements, so that they must look alike. An SDK writes
//! elements with the coder of the PCollection that it writes to, and does not mind where they came from.

use std::collections::BTreeMap;

use purlin_model::ids::{EnvironmentId, LocalName, PCollectionId};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_ptransforms::primitives;

use crate::graph::{Graph, Leaf, LeafKind};

pub(super) fn run(graph: &mut Graph) {
    let environments = environments(graph);
    for mut leaf in std::mem::take(&mut graph.leaves) {
        if let (LeafKind::Flatten | LeafKind::Barrier, Some(output)) =
            (leaf.kind, leaf.outputs.values().next().cloned())
        {
            let mut recoded = BTreeMap::<PCollectionId, PCollectionId>::new();
            for input in &mut leaf.inputs {
                if alike(graph, &graph.pcollection(input).coder_id, &graph.pcollection(&output).coder_id) {
                    continue;
                }
                if let Some(done) = recoded.get(input) {
                    *input = done.clone();
                    continue;
                }
                // Whoever wrote the elements can read them; what the runner wrote, a reader can.
                let nearest = environments.get(&*input).or_else(|| environments.get(&output));
                // Without any environment there is no element either: nobody makes any, and nobody reads them.
                let Some(env) = nearest.or_else(|| environments.values().next()).cloned() else { continue };
                let fresh = recode(graph, leaf.id.as_str(), input, &output, env);
                recoded.insert(input.clone(), fresh.clone());
                *input = fresh;
            }
        }
        graph.leaves.push(leaf);
    }
}

/// For each PCollection, an environment that writes or reads it.
fn environments(graph: &Graph) -> BTreeMap<PCollectionId, EnvironmentId> {
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
    for_leaf: &str,
    input: &PCollectionId,
    output: &PCollectionId,
    env: EnvironmentId,
) -> PCollectionId {
    let coder = graph.pcollection(output).coder_id.clone();
    let fresh = graph.add_pcollection(input, &format!("{for_leaf}/Recode({input}).out"), &coder);
    let name = format!("{}/Recode", graph.pcollection(input).unique_name);
    let transform = pb::PTransform {
        unique_name: name.clone(),
        spec: Some(pb::FunctionSpec { urn: primitives::FLATTEN.to_owned(), ..pb::FunctionSpec::default() }),
        inputs: BTreeMap::from([("in".to_owned(), input.to_string())]),
        outputs: BTreeMap::from([("out".to_owned(), fresh.to_string())]),
        environment_id: env.to_string(),
        ..pb::PTransform::default()
    };
    let id = graph.add_transform(&format!("{for_leaf}/Recode({input})"), transform);
    graph.leaves.push(Leaf {
        origin: id.clone(),
        id,
        name,
        kind: LeafKind::Worker,
        inputs: vec![input.clone()],
        sides: BTreeMap::new(),
        outputs: BTreeMap::from([(LocalName::new("out"), fresh.clone())]),
        env: Some(env),
        forced_root: false,
        splittable: false,
        finalizes: false,
        stateful: false,
        merged_by: None,
    });
    fresh
}
