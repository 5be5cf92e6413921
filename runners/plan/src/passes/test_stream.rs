//! Gives what a TestStream emits the coder that its elements are written in.
//!
//! ```text
//!   TestStream(coder C) ─► X (coder of an SDK's own for anything)   ─►   TestStream(coder C) ─► X (coder C)
//!   TestStream(coder C) ─► X (pairs)   ─►   TestStream(coder C) ─► X' (coder C) ─► SDK flatten of one ─► X (pairs)
//! ```
//! Python writes elements with the coder that its user names, and declares another for the PCollection. If that one is of pairs, and the
//! named one is not, the SDK that reads the elements makes pairs of them. Go names no coder that means anything; what its PCollection
//! declares is true.

use prost::Message;
use purlin_model::ids::{EnvironmentId, LocalName, PCollectionId, TransformId};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_coders as coders;

use super::recode::{environments, recoding};
use crate::graph::{Graph, LeafKind};
use crate::requirements::is_of_go;

pub(super) fn run(graph: &mut Graph) {
    let scripted = scripted(graph);
    if scripted.is_empty() || is_of_go(&graph.components) {
        return;
    }
    let environments = environments(graph);
    for (leaf, local, output) in scripted {
        let spec = graph.transform(&leaf).spec.as_ref();
        let payload = spec.and_then(|spec| pb::TestStreamPayload::decode(&spec.payload[..]).ok()).unwrap_or_default();
        if !graph.components.coders.contains_key(&payload.coder_id) {
            continue;
        }
        let pairs = |id: &str| graph.urn_of_coder(id) == coders::KV;
        // Readers that want keys cannot be given what has none.
        if pairs(&payload.coder_id) || !pairs(&graph.pcollection(&output).coder_id) {
            if let Some(pcollection) = graph.components.pcollections.get_mut(output.as_str()) {
                pcollection.coder_id = payload.coder_id;
            }
        } else if let Some(env) = environments.get(&output).or_else(|| environments.values().next()) {
            // A grouping has none; whoever reads what it makes will do.
            make_pairs(graph, &leaf, &local, &output, &payload.coder_id, env);
        }
    }
}

/// Every output of every TestStream.
fn scripted(graph: &Graph) -> Vec<(TransformId, LocalName, PCollectionId)> {
    let scripts = graph.leaves.iter().filter(|leaf| leaf.kind == LeafKind::TestStream);
    let outputs = scripts
        .flat_map(|leaf| leaf.outputs.iter().map(|(local, output)| (leaf.id.clone(), local.clone(), output.clone())));
    outputs.collect()
}

/// Puts an SDK between a TestStream and its readers, which have pairs then.
fn make_pairs(
    graph: &mut Graph,
    script: &TransformId,
    local: &LocalName,
    output: &PCollectionId,
    coder: &str,
    env: &EnvironmentId,
) {
    let written = graph.add_pcollection(output, &format!("{script}/Scripted({output})"), coder);
    let pairs = recoding(graph, script, output, (written.clone(), output.clone()), env);
    if let Some(transform) = graph.components.transforms.get_mut(script.as_str()) {
        transform.outputs.insert(local.to_string(), written.to_string());
    }
    if let Some(at) = graph.leaves.iter().position(|leaf| leaf.id == *script) {
        graph.leaves[at].outputs.insert(local.clone(), written);
        graph.leaves.insert(at + 1, pairs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestPipeline;
    use purlin_proto::urns::standard_ptransforms::primitives;

    /// A TestStream whose elements have one coder, and its PCollection another.
    fn scripted_graph(declared: &str, coder_id: &str) -> Graph {
        let payload = pb::TestStreamPayload { coder_id: coder_id.to_owned(), ..pb::TestStreamPayload::default() };
        let pipeline = TestPipeline::new()
            .collection("texts", "string_utf8")
            .collection("pairs", "kv<string_utf8, bytes>")
            .collection("events", declared)
            .impulse("start")
            .par_do("Text", "start", &["texts", "pairs"])
            .transform("Events", primitives::TEST_STREAM, &[], &["events"])
            .edit(|transform| {
                if let Some(spec) = transform.spec.as_mut() {
                    spec.payload = payload.encode_to_vec().into();
                }
            })
            .par_do("Read", "events", &["read"]);
        pipeline.after(run)
    }

    fn script(declared: &str, coder_id: &str) -> String {
        scripted_graph(declared, coder_id).components.pcollections["events"].coder_id.clone()
    }

    #[test]
    fn elements_are_what_the_payload_says() {
        assert_eq!(script("any", "string_utf8"), "string_utf8");
        assert_eq!(script("any", "none of these"), "any");
    }

    #[test]
    fn an_sdk_makes_pairs_for_readers_that_want_them() {
        let graph = scripted_graph("kv<string_utf8, any>", "string_utf8");
        assert_eq!(graph.components.pcollections["events"].coder_id, "kv<string_utf8, any>");
        let kinds: Vec<_> = graph.leaves.iter().map(|leaf| (leaf.name.as_str(), leaf.kind)).collect();
        let expected = [("Events", LeafKind::TestStream), ("Events/Recode(events)", LeafKind::Worker)];
        assert_eq!(kinds[2..4], expected, "{kinds:?}");
        let (script, pairs) = (&graph.leaves[2], &graph.leaves[3]);
        let written = script.outputs.values().next().unwrap();
        assert_eq!(graph.pcollection(written).coder_id, "string_utf8");
        assert_eq!(pairs.inputs, std::slice::from_ref(written));
        assert_eq!(pairs.outputs.values().next().unwrap().as_str(), "events");
        assert_eq!(pairs.env.as_ref().unwrap().as_str(), "py");
        assert_eq!(graph.transform(&script.id).outputs.values().next().unwrap(), written.as_str());
    }

    #[test]
    fn pairs_of_the_stream_are_left_alone() {
        let graph = scripted_graph("kv<string_utf8, any>", "kv<string_utf8, bytes>");
        assert_eq!(graph.components.pcollections["events"].coder_id, "kv<string_utf8, bytes>");
        assert_eq!(graph.leaves.len(), 4);
    }
}
