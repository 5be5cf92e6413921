//! Makes every PCollection's coder one whose elements the runner can find the ends of, and that all SDKs involved know.

use std::collections::BTreeSet;

use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_coders as urns;

use crate::graph::Graph;
use crate::passes::coder;

/// What every SDK knows.
const CORE: &[&str] = &[
    urns::BYTES,
    urns::KV,
    urns::ITERABLE,
    urns::DOUBLE,
    urns::TIMER,
    urns::LENGTH_PREFIX,
    urns::GLOBAL_WINDOW,
    urns::WINDOWED_VALUE,
    urns::CUSTOM_WINDOW,
];

/// What the runner reads where it stands; rows are wrapped, which is always right.
const LEAVES: &[&str] = &[
    urns::BYTES,
    urns::STRING_UTF8,
    urns::BOOL,
    urns::VARINT,
    urns::DOUBLE,
    urns::GLOBAL_WINDOW,
    urns::INTERVAL_WINDOW,
];
const COMPOSITES: &[&str] = &[urns::KV, urns::ITERABLE, urns::NULLABLE];

pub(crate) fn run(graph: &mut Graph) {
    let known = known(&graph.components);
    let ids: Vec<String> = graph.components.pcollections.keys().cloned().collect();
    for id in ids {
        let from = graph.components.pcollections[&id].coder_id.clone();
        let to = wire(graph, &from, &known, 0);
        if let Some(pcollection) = graph.components.pcollections.get_mut(&id) {
            pcollection.coder_id = to;
        }
    }
    let ids: Vec<String> = graph.components.windowing_strategies.keys().cloned().collect();
    for id in ids {
        let from = graph.components.windowing_strategies[&id].window_coder_id.clone();
        let urn = urn_of(&graph.components, &from).to_owned();
        if [urns::GLOBAL_WINDOW, urns::INTERVAL_WINDOW, urns::CUSTOM_WINDOW].contains(&urn.as_str()) {
            continue;
        }
        let prefixed = coder(graph, urns::LENGTH_PREFIX, &[&from]);
        let custom = coder(graph, urns::CUSTOM_WINDOW, &[&prefixed]);
        if let Some(strategy) = graph.components.windowing_strategies.get_mut(&id) {
            strategy.window_coder_id = custom;
        }
    }
}

fn known(components: &pb::Components) -> BTreeSet<String> {
    let all = LEAVES.iter().chain(COMPOSITES).copied();
    all.filter(|urn| {
        CORE.contains(urn)
            || components.environments.values().all(|env| env.capabilities.iter().any(|capability| capability == urn))
    })
    .map(str::to_owned)
    .collect()
}

fn urn_of<'a>(components: &'a pb::Components, coder: &str) -> &'a str {
    components.coders.get(coder).and_then(|coder| coder.spec.as_ref()).map_or("", |spec| spec.urn.as_str())
}

fn wire(graph: &mut Graph, id: &str, known: &BTreeSet<String>, depth: usize) -> String {
    let urn = urn_of(&graph.components, id).to_owned();
    if urn == urns::LENGTH_PREFIX || (LEAVES.contains(&urn.as_str()) && known.contains(&urn)) {
        return id.to_owned();
    }
    if depth < 100 && COMPOSITES.contains(&urn.as_str()) && known.contains(&urn) {
        let parts = graph.components.coders[id].component_coder_ids.clone();
        let wired: Vec<String> = parts.iter().map(|part| wire(graph, part, known, depth + 1)).collect();
        if wired == parts {
            return id.to_owned();
        }
        let parts: Vec<&str> = wired.iter().map(String::as_str).collect();
        return coder(graph, &urn, &parts);
    }
    coder(graph, urns::LENGTH_PREFIX, &[id])
}
