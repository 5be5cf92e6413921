//! A splittable ParDo becomes three: pair each element with a restriction, split and size it, process it.

use std::collections::BTreeMap;

use prost::Message;
use purlin_model::ids::{LocalName, PCollectionId, TransformId};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_coders;
use purlin_proto::urns::standard_ptransforms::{primitives, splittable_par_do_components as components};

use crate::graph::{Graph, Leaf};

pub(crate) fn run(graph: &mut Graph) {
    let leaves = std::mem::take(&mut graph.leaves);
    for leaf in leaves {
        match restriction_coder(graph, &leaf) {
            Some(coder) => expand(graph, leaf, &coder),
            None => graph.leaves.push(leaf),
        }
    }
}

fn restriction_coder(graph: &Graph, leaf: &Leaf) -> Option<String> {
    let spec = graph.transform(&leaf.id).spec.as_ref()?;
    if spec.urn != primitives::PAR_DO {
        return None;
    }
    let payload = pb::ParDoPayload::decode(&spec.payload[..]).ok()?;
    Some(payload.restriction_coder_id).filter(|coder| !coder.is_empty())
}

fn expand(graph: &mut Graph, leaf: Leaf, restriction: &str) {
    let input = leaf.inputs[0].clone();
    let element = graph.pcollection(&input).coder_id.clone();
    let pair = coder(graph, standard_coders::KV, &[&element, restriction]);
    let double = coder(graph, standard_coders::DOUBLE, &[]);
    let sized = coder(graph, standard_coders::KV, &[&pair, &double]);
    let paired = pcollection(graph, &input, &format!("{}/PairWithRestriction.out", leaf.id), &pair);
    let split = pcollection(graph, &input, &format!("{}/SplitAndSize.out", leaf.id), &sized);
    let local = main_local(graph, &leaf);
    let out = LocalName::new("out");
    let steps = [
        (components::PAIR_WITH_RESTRICTION, "PairWithRestriction", input, Some(paired.clone())),
        (components::SPLIT_AND_SIZE_RESTRICTIONS, "SplitAndSize", paired, Some(split.clone())),
        (components::PROCESS_SIZED_ELEMENTS_AND_RESTRICTIONS, "ProcessSized", split, None),
    ];
    for (urn, suffix, input, output) in steps {
        let mut transform = graph.transform(&leaf.id).clone();
        if let Some(spec) = &mut transform.spec {
            spec.urn = urn.to_owned();
        }
        transform.inputs.insert(local.clone(), input.as_str().to_owned());
        let outputs = match &output {
            Some(output) => BTreeMap::from([(out.clone(), output.clone())]),
            None => leaf.outputs.clone(),
        };
        transform.outputs = outputs.iter().map(|(local, id)| (local.to_string(), id.to_string())).collect();
        transform.unique_name = format!("{}/{suffix}", leaf.name);
        let id = graph.fresh(&format!("{}/{suffix}", leaf.id), |it, id| it.transforms.contains_key(id));
        let process = output.is_none();
        graph.leaves.push(Leaf {
            id: TransformId::new(id.clone()),
            name: transform.unique_name.clone(),
            inputs: vec![input],
            outputs,
            forced_root: process || leaf.forced_root,
            splittable: process,
            finalizes: process && leaf.finalizes,
            ..leaf.clone()
        });
        graph.components.transforms.insert(id, transform);
    }
}

fn main_local(graph: &Graph, leaf: &Leaf) -> String {
    let inputs = &graph.transform(&leaf.id).inputs;
    inputs.keys().find(|local| !leaf.sides.contains_key(local.as_str())).cloned().unwrap_or_default()
}

pub(crate) fn coder(graph: &mut Graph, urn: &str, parts: &[&str]) -> String {
    let short = urn.split(':').nth(2).unwrap_or("coder");
    let wanted = format!("purlin:{short}({})", parts.join(","));
    if !graph.components.coders.contains_key(&wanted) {
        let spec = Some(pb::FunctionSpec { urn: urn.to_owned(), ..pb::FunctionSpec::default() });
        let component_coder_ids = parts.iter().map(|part| (*part).to_owned()).collect();
        graph.components.coders.insert(wanted.clone(), pb::Coder { spec, component_coder_ids });
    }
    wanted
}

fn pcollection(graph: &mut Graph, like: &PCollectionId, wanted: &str, coder: &str) -> PCollectionId {
    let id = graph.fresh(wanted, |it, id| it.pcollections.contains_key(id));
    let like = graph.pcollection(like).clone();
    let pcollection = pb::PCollection { unique_name: id.clone(), coder_id: coder.to_owned(), ..like };
    graph.components.pcollections.insert(id.clone(), pcollection);
    PCollectionId::new(id)
}
