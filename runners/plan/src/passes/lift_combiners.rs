//! Replaces a combiner by one that combines before its grouping too, so that less is grouped.
//!
//! ```text
//!   CombinePerKey        ─►  Precombine ─► GroupByKey ─► MergeAccumulators ─► ExtractOutputs
//!   KV<K,V> ─► KV<K,O>       KV<K,A>       KV<K,It<A>>   KV<K,A>               KV<K,O>
//! ```
//! Parsing has told apart the combiners of which that is legal. The parts keep the combiner's payload.

use std::collections::BTreeMap;

use prost::Message;
use purlin_model::ids::LocalName;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_coders as coders;
use purlin_proto::urns::standard_ptransforms::{combine_components as components, primitives};

use crate::graph::{Graph, Leaf, LeafKind};

pub(super) fn run(graph: &mut Graph) {
    for leaf in std::mem::take(&mut graph.leaves) {
        match (leaf.kind, key_coder(graph, &leaf)) {
            (LeafKind::CombinePerKey, Some(key)) => lift(graph, &leaf, &key),
            _ => graph.leaves.push(leaf),
        }
    }
}

/// The coder of the keys of a combiner's input.
fn key_coder(graph: &Graph, leaf: &Leaf) -> Option<String> {
    let coder = &graph.pcollection(leaf.inputs.first()?).coder_id;
    graph.components.coders.get(coder)?.component_coder_ids.first().cloned()
}

fn lift(graph: &mut Graph, leaf: &Leaf, key: &str) {
    let composite = graph.transform(&leaf.id).clone();
    let payload = composite.spec.clone().unwrap_or_default().payload;
    let accumulator = pb::CombinePayload::decode(&payload[..]).map(|it| it.accumulator_coder_id).unwrap_or_default();
    let accumulated = graph.coder(coders::KV, &[key, &accumulator]);
    let accumulators = graph.coder(coders::ITERABLE, &[&accumulator]);
    let grouped = graph.coder(coders::KV, &[key, &accumulators]);
    let input = leaf.inputs[0].clone();
    let mut next =
        |suffix: &str, coder: &str| graph.add_pcollection(&input, &format!("{}/{suffix}.out", leaf.id), coder);
    let precombined = next("Precombine", &accumulated);
    let group = next("Group", &grouped);
    let merged = next("Merge", &accumulated);
    let out = |pcollection| BTreeMap::from([(LocalName::new("out"), pcollection)]);
    let steps = [
        (components::COMBINE_PER_KEY_PRECOMBINE, "Precombine", &input, out(precombined.clone())),
        (primitives::GROUP_BY_KEY, "Group", &precombined, out(group.clone())),
        (components::COMBINE_PER_KEY_MERGE_ACCUMULATORS, "Merge", &group, out(merged.clone())),
        (components::COMBINE_PER_KEY_EXTRACT_OUTPUTS, "Extract", &merged, leaf.outputs.clone()),
    ];
    for (urn, suffix, input, outputs) in steps {
        let groups = urn == primitives::GROUP_BY_KEY;
        let spec = pb::FunctionSpec {
            urn: urn.to_owned(),
            payload: if groups { Default::default() } else { payload.clone() },
        };
        let name = format!("{}/{suffix}", leaf.name);
        let env = leaf.env.as_ref().filter(|_| !groups).cloned();
        let id = graph.add_transform(
            &format!("{}/{suffix}", leaf.id),
            pb::PTransform {
                unique_name: name.clone(),
                spec: Some(spec),
                inputs: BTreeMap::from([("in".to_owned(), input.to_string())]),
                outputs: outputs.iter().map(|(local, id)| (local.to_string(), id.to_string())).collect(),
                environment_id: env.as_ref().map(ToString::to_string).unwrap_or_default(),
                ..pb::PTransform::default()
            },
        );
        graph.leaves.push(Leaf {
            id,
            name,
            kind: if groups { LeafKind::GroupByKey } else { LeafKind::Worker },
            inputs: vec![input.clone()],
            outputs,
            env,
            ..leaf.clone()
        });
    }
}
