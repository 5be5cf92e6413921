//! Gives what a TestStream emits the coder that its elements are written in.
//!
//! ```text
//!   TestStream(coder C) ─► X (coder of an SDK's own for anything)   ─►   TestStream(coder C) ─► X (coder C)
//! ```
//! Python writes elements with the coder that its user names, and declares another for the PCollection. Go names no coder
//! that means anything; what its PCollection declares is true.

use prost::Message;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_coders as coders;

use crate::graph::{Graph, LeafKind};
use crate::requirements::is_of_go;

pub(super) fn run(graph: &mut Graph) {
    let go = is_of_go(&graph.components);
    let leaves = graph.leaves.iter().filter(|leaf| leaf.kind == LeafKind::TestStream && !go);
    let mut coded = Vec::new();
    for leaf in leaves {
        let spec = graph.transform(&leaf.id).spec.as_ref();
        let payload = spec.and_then(|spec| pb::TestStreamPayload::decode(&spec.payload[..]).ok()).unwrap_or_default();
        if !graph.components.coders.contains_key(&payload.coder_id) {
            continue;
        }
        let pairs = |id: &str| graph.urn_of_coder(id) == coders::KV;
        for output in leaf.outputs.values() {
            // Readers that want keys cannot be given what has none; then the elements say so.
            if pairs(&payload.coder_id) || !pairs(&graph.pcollection(output).coder_id) {
                coded.push((output.clone(), payload.coder_id.clone()));
            }
        }
    }
    for (output, coder) in coded {
        if let Some(pcollection) = graph.components.pcollections.get_mut(output.as_str()) {
            pcollection.coder_id = coder;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestPipeline;
    use purlin_proto::urns::standard_ptransforms::primitives;

    fn script(declared: &str, coder_id: &str) -> String {
        let payload = pb::TestStreamPayload { coder_id: coder_id.to_owned(), ..pb::TestStreamPayload::default() };
        let pipeline = TestPipeline::new()
            .collection("texts", "string_utf8")
            .collection("events", declared)
            .impulse("start")
            .par_do("Text", "start", &["texts"])
            .transform("Events", primitives::TEST_STREAM, &[], &["events"])
            .edit(|transform| {
                if let Some(spec) = transform.spec.as_mut() {
                    spec.payload = payload.encode_to_vec().into();
                }
            });
        let graph = pipeline.after(run);
        graph.components.pcollections["events"].coder_id.clone()
    }

    #[test]
    fn elements_are_what_the_payload_says() {
        assert_eq!(script("any", "string_utf8"), "string_utf8");
        assert_eq!(script("any", "none of these"), "any");
    }

    #[test]
    fn pairs_stay_pairs() {
        assert_eq!(script("kv<string_utf8, any>", "string_utf8"), "kv<string_utf8, any>");
    }
}
