//! What the payloads of transforms name: coders, and ways to read side inputs.
//!
//! ```text
//!   ParDoPayload, CombinePayload ─► ids that must exist, access patterns that must be known
//! ```
//! Does not know what any of it is for: the passes and the SDK do.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use purlin_model::coder::Coder;
use purlin_model::ids::{CoderId, LocalName};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::pipeline::v1::state_spec::Spec;
use purlin_proto::urns::standard_ptransforms::{primitives, splittable_par_do_components as parts};
use purlin_proto::urns::standard_side_input_types as access;

use crate::graph::{Graph, Leaf};
use crate::parse::WHOLE;
use crate::problem::Problems;

/// Checks the payload of a transform that an SDK executes; only those of ParDos are looked into.
pub(crate) fn check(graph: &Graph, coders: &BTreeMap<CoderId, Arc<Coder>>, leaf: &Leaf, problems: &mut Problems) {
    let Some(payload) = par_do(graph, leaf) else { return };
    check_coder(graph, leaf, "of its restrictions", &payload.restriction_coder_id, problems);
    for (id, state) in &payload.state_specs {
        for coder in state_coders(state) {
            check_coder(graph, leaf, &format!("of its state `{id}`"), coder, problems);
        }
    }
    for (id, family) in &payload.timer_family_specs {
        check_coder(graph, leaf, &format!("of its timers `{id}`"), &family.timer_family_coder_id, problems);
    }
    for (local, side) in &payload.side_inputs {
        let pattern = side.access_pattern.as_ref().map_or("", |pattern| pattern.urn.as_str());
        if pattern != access::ITERABLE && pattern != access::MULTIMAP {
            let what =
                format!("reads side input `{local}` by the access pattern `{pattern}`, which Purlin does not know");
            problems.add(&leaf.name, what, format!("use `{}` or `{}`", access::ITERABLE, access::MULTIMAP));
        }
        let side = leaf.sides.get(&LocalName::new(local.as_str()));
        let pcollection = side.and_then(|side| graph.components.pcollections.get(side.as_str()));
        let coder = pcollection.and_then(|pcollection| coders.get(pcollection.coder_id.as_str()));
        let strategy = pcollection.and_then(|it| graph.strategies.get(it.windowing_strategy_id.as_str()));
        if strategy.is_some_and(|strategy| strategy.window_fn.is_session()) {
            let what = format!(
                "reads side input `{local}`, which is in session windows: none of them can be told by a window of the main input"
            );
            problems.add(&leaf.name, what, "assign fixed, sliding or global windows to it first");
        }
        if let Some(coder) = coder.filter(|coder| pattern == access::MULTIMAP && !matches!(&***coder, Coder::Kv(..))) {
            let what =
                format!("reads side input `{local}` by key, whose coder `{coder}` is not one of keys and values");
            problems.add(&leaf.name, what, "make its elements pairs, or read it as an iterable");
        }
    }
}

/// Checks the payload of a combiner that is to be lifted.
pub(crate) fn check_combine(graph: &Graph, leaf: &Leaf, problems: &mut Problems) {
    let spec = graph.transform(&leaf.id).spec.as_ref();
    let payload = spec.and_then(|spec| pb::CombinePayload::decode(&spec.payload[..]).ok());
    let coder = payload.map(|payload| payload.accumulator_coder_id).unwrap_or_default();
    check_coder(graph, leaf, "of its accumulators", &coder, problems);
}

/// Whether transforms of this kind carry the payload of a ParDo: a ParDo, or a part of a splittable one that its SDK has
/// taken apart by itself.
pub(crate) fn is_of_par_do(urn: &str) -> bool {
    urn == primitives::PAR_DO || is_part_of_splittable(urn)
}

/// Whether this is a part of a splittable ParDo.
pub(crate) fn is_part_of_splittable(urn: &str) -> bool {
    let parts = [
        parts::PAIR_WITH_RESTRICTION,
        parts::SPLIT_AND_SIZE_RESTRICTIONS,
        parts::TRUNCATE_SIZED_RESTRICTION,
        parts::PROCESS_SIZED_ELEMENTS_AND_RESTRICTIONS,
    ];
    parts.contains(&urn)
}

/// The payload of a ParDo. One that cannot be read has been reported by the parser.
pub(crate) fn par_do(graph: &Graph, leaf: &Leaf) -> Option<pb::ParDoPayload> {
    let spec = graph.transform(&leaf.id).spec.as_ref().filter(|spec| is_of_par_do(&spec.urn))?;
    pb::ParDoPayload::decode(&spec.payload[..]).ok()
}

fn check_coder(graph: &Graph, leaf: &Leaf, whose: &str, id: &str, problems: &mut Problems) {
    if !id.is_empty() && !graph.components.coders.contains_key(id) {
        problems.add(&leaf.name, format!("names coder `{id}` {whose}, which does not exist"), WHOLE);
    }
}

pub(crate) fn state_coders(state: &pb::StateSpec) -> Vec<&str> {
    match &state.spec {
        None => vec![],
        Some(Spec::ReadModifyWriteSpec(it)) => vec![&it.coder_id],
        Some(Spec::BagSpec(it)) => vec![&it.element_coder_id],
        Some(Spec::SetSpec(it)) => vec![&it.element_coder_id],
        Some(Spec::OrderedListSpec(it)) => vec![&it.element_coder_id],
        Some(Spec::CombiningSpec(it)) => vec![&it.accumulator_coder_id],
        Some(Spec::MapSpec(it)) => vec![&it.key_coder_id, &it.value_coder_id],
        Some(Spec::MultimapSpec(it)) => vec![&it.key_coder_id, &it.value_coder_id],
    }
}
