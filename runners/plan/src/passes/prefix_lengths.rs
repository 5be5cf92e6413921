//! Gives every PCollection a coder whose elements the runner can find the ends of, and that all SDKs involved know.
//!
//! ```text
//!   kv<string_utf8, pickled>  ─►  kv<string_utf8, length_prefix<pickled>>
//! ```
//! Coders are changed by id, and the SDK is told the new ones: it then writes the lengths itself. The same coder gets
//! the same wire coder everywhere, so that groupings copy keys and values as bytes, and a side input is written as it
//! will be read. Windows that only their SDK knows become custom windows, which carry their last instant in front.

use std::collections::BTreeSet;

use prost::Message;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_coders as coders;

use crate::graph::Graph;

/// How deep coders may be nested; validation has found no more than this.
const DEPTH_MAX: usize = 200;

/// What every SDK knows, whether it says so or not.
const CORE: &[&str] = &[coders::BYTES, coders::KV, coders::ITERABLE, coders::DOUBLE, coders::GLOBAL_WINDOW];

/// What the runner reads as it stands, if all SDKs involved do. Rows are wrapped: that is always right.
const PLAIN: &[&str] = &[
    coders::BYTES,
    coders::STRING_UTF8,
    coders::BOOL,
    coders::VARINT,
    coders::DOUBLE,
    coders::GLOBAL_WINDOW,
    coders::INTERVAL_WINDOW,
];

/// What the runner reads if it can read the parts.
const COMPOSED: &[&str] = &[coders::KV, coders::ITERABLE, coders::NULLABLE];

/// What stands in a windowing strategy as it is.
const WINDOWS: &[&str] = &[coders::GLOBAL_WINDOW, coders::INTERVAL_WINDOW];

pub(super) fn run(graph: &mut Graph) {
    let known = known_by_all(graph);
    let pcollections: Vec<String> = graph.components.pcollections.keys().cloned().collect();
    for id in pcollections {
        let from = graph.components.pcollections[&id].coder_id.clone();
        let to = wire_coder(graph, &from, &known, 0);
        if let Some(pcollection) = graph.components.pcollections.get_mut(&id) {
            pcollection.coder_id = to;
        }
    }
    let strategies: Vec<String> = graph.components.windowing_strategies.keys().cloned().collect();
    for id in strategies {
        let from = graph.components.windowing_strategies[&id].window_coder_id.clone();
        if WINDOWS.contains(&graph.urn_of_coder(&from)) || is_custom(graph, &from) {
            continue;
        }
        let prefixed = graph.coder(coders::LENGTH_PREFIX, &[&from]);
        let custom = graph.coder(coders::CUSTOM_WINDOW, &[&prefixed]);
        if let Some(strategy) = graph.components.windowing_strategies.get_mut(&id) {
            strategy.window_coder_id = custom;
        }
    }
    for position in 0..graph.leaves.len() {
        if graph.leaves[position].stateful {
            recode_timers(graph, position);
        }
    }
}

/// Timers carry keys and windows, as the elements of their ParDo's input do.
fn recode_timers(graph: &mut Graph, position: usize) {
    let leaf = graph.leaves[position].clone();
    let input = graph.pcollection(&leaf.inputs[0]).clone();
    let window = graph.components.windowing_strategies[&input.windowing_strategy_id].window_coder_id.clone();
    let Some(key) = graph.components.coders.get(&input.coder_id).and_then(|kv| kv.component_coder_ids.first()).cloned()
    else {
        return;
    };
    let timer = graph.coder(coders::TIMER, &[&key, &window]);
    let transform = graph.components.transforms.get_mut(leaf.id.as_str());
    let Some(spec) = transform.and_then(|transform| transform.spec.as_mut()) else { return };
    // Parsing has read it.
    let Ok(mut payload) = pb::ParDoPayload::decode(&spec.payload[..]) else { return };
    for family in payload.timer_family_specs.values_mut() {
        family.timer_family_coder_id.clone_from(&timer);
    }
    spec.payload = payload.encode_to_vec().into();
}

/// Whether a window already stands behind its last instant and its length.
fn is_custom(graph: &Graph, id: &str) -> bool {
    let Some(coder) = graph.components.coders.get(id) else { return false };
    graph.urn_of_coder(id) == coders::CUSTOM_WINDOW
        && coder.component_coder_ids.first().is_some_and(|part| graph.urn_of_coder(part) == coders::LENGTH_PREFIX)
}

fn known_by_all(graph: &Graph) -> BTreeSet<&'static str> {
    let used: BTreeSet<_> = graph.leaves.iter().filter_map(|leaf| leaf.env.as_ref()).collect();
    let environments: Vec<_> =
        used.into_iter().filter_map(|env| graph.components.environments.get(env.as_str())).collect();
    let listed = |urn: &str| environments.iter().all(|env| env.capabilities.iter().any(|it| it == urn));
    PLAIN.iter().chain(COMPOSED).copied().filter(|urn| CORE.contains(urn) || listed(urn)).collect()
}

fn wire_coder(graph: &mut Graph, id: &str, known: &BTreeSet<&str>, depth: usize) -> String {
    let urn = graph.urn_of_coder(id).to_owned();
    let plain = PLAIN.contains(&urn.as_str()) && known.contains(urn.as_str());
    if plain || urn == coders::LENGTH_PREFIX {
        return id.to_owned();
    }
    if depth < DEPTH_MAX && COMPOSED.contains(&urn.as_str()) && known.contains(urn.as_str()) {
        let parts = graph.components.coders[id].component_coder_ids.clone();
        let wired: Vec<String> = parts.iter().map(|part| wire_coder(graph, part, known, depth + 1)).collect();
        if wired == parts {
            return id.to_owned();
        }
        let parts: Vec<&str> = wired.iter().map(String::as_str).collect();
        return graph.coder(&urn, &parts);
    }
    graph.coder(coders::LENGTH_PREFIX, &[id])
}
