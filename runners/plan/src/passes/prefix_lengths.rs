//! Gives every PCollection a coder whose elements the runner can find the ends of, and that all SDKs involved know.
//!
//! ```text
//!   kv<string_utf8, pickled>  ─►  kv<string_utf8, length_prefix<pickled>>
//! ```
//! Coders are changed by id, and the SDK is told the new ones: it then writes the lengths itself. The same coder gets
//! the same wire coder everywhere, so that groupings copy keys and values as bytes, and a side input is written as it
//! will be read. Iterables are written whole: one that may end in a reference to state becomes one that may not. Windows
//! that only their SDK knows become custom windows, which carry their last instant in front.

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
        let is_prefixed = graph.urn_of_coder(&from) == coders::LENGTH_PREFIX;
        let prefixed = if is_prefixed { from } else { graph.coder(coders::LENGTH_PREFIX, &[&from]) };
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
    if depth < DEPTH_MAX && urn == coders::STATE_BACKED_ITERABLE {
        let element = graph.components.coders[id].component_coder_ids.first().cloned().unwrap_or_default();
        let element = wire_coder(graph, &element, known, depth + 1);
        return graph.coder(coders::ITERABLE, &[&element]);
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

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use purlin_model::window::WindowFn;

    use super::*;
    use crate::testing::TestPipeline;

    /// The wire coder of a PCollection of this coder, in the plan's notation.
    fn wired(coder: &str) -> String {
        wired_in(TestPipeline::new(), coder)
    }

    fn wired_in(pipeline: TestPipeline, coder: &str) -> String {
        let graph = pipeline.collection("out", coder).impulse("start").par_do("Make", "start", &["out"]).after(run);
        let (known, _) = crate::build::coders(&graph);
        known[graph.components.pcollections["out"].coder_id.as_str()].to_string()
    }

    #[test]
    fn only_the_names_of_coders_change() {
        let pipeline = || {
            TestPipeline::new()
                .collection("pairs", "kv<string_utf8, any>")
                .collection("groups", "kv<string_utf8, iterable<any>>")
                .impulse("start")
                .par_do("Pair", "start", &["pairs"])
                .group("Group", "pairs", "groups")
        };
        assert_snapshot!(pipeline().graph(), @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Pair in py [start] -> [pairs: kv<string_utf8, any>]
        GroupByKey Group [pairs] -> [groups: kv<string_utf8, iterable<any>>]
        ");
        assert_snapshot!(pipeline().after(run), @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Pair in py [start] -> [pairs: purlin:kv(string_utf8,purlin:length_prefix(any))]
        GroupByKey Group [pairs] -> [groups: purlin:kv(string_utf8,purlin:iterable(purlin:length_prefix(any)))]
        ");
    }

    #[test]
    fn what_the_runner_can_read_stays() {
        for coder in [
            "bytes",
            "string_utf8",
            "bool",
            "varint",
            "double",
            "global_window",
            "interval_window",
            "kv<bytes, iterable<kv<string_utf8, varint>>>",
            "nullable<double>",
            "length_prefix<any>",
            "length_prefix<kv<any, any>>",
        ] {
            assert_eq!(wired(coder), coder);
        }
    }

    #[test]
    fn the_smallest_unknown_part_gets_a_length() {
        assert_snapshot!(wired("any"), @"length_prefix<any>");
        assert_snapshot!(wired("kv<any, bytes>"), @"kv<length_prefix<any>, bytes>");
        assert_snapshot!(wired("kv<string_utf8, iterable<kv<bool, any>>>"), @"kv<string_utf8, iterable<kv<bool, length_prefix<any>>>>");
        assert_snapshot!(wired("nullable<any>"), @"nullable<length_prefix<any>>");
        assert_snapshot!(wired("iterable<length_prefix<any>>"), @"iterable<length_prefix<any>>");
        assert_snapshot!(wired("tuple<bytes, bytes>"), @"length_prefix<tuple<bytes, bytes>>");
        assert_snapshot!(wired("sharded_key<bytes>"), @"length_prefix<sharded_key<bytes>>");
    }

    #[test]
    fn an_iterable_may_not_refer_to_state() {
        assert_snapshot!(wired("kv<bytes, state_backed_iterable<any>>"), @"kv<bytes, iterable<length_prefix<any>>>");
    }

    #[test]
    fn a_coder_that_an_environment_does_not_list_is_unknown() {
        let pair = "kv<string_utf8, kv<varint, nullable<bytes>>>";
        let go = |coders: &[&str]| {
            TestPipeline::new().environment("go", coders).par_do("Go", "start", &["gone"]).in_env("go")
        };
        assert_snapshot!(wired_in(go(&["string_utf8"]), pair), @"kv<string_utf8, kv<length_prefix<varint>, length_prefix<nullable<bytes>>>>");
        assert_snapshot!(wired_in(go(&["varint", "nullable", "string_utf8"]), pair), @"kv<string_utf8, kv<varint, nullable<bytes>>>");
        // One in which nothing runs has no say.
        assert_eq!(wired_in(TestPipeline::new().environment("idle", &[]), pair), pair);
    }

    fn window_coder(of: &str) -> String {
        let custom = |_: &mut _| ();
        let graph = TestPipeline::new()
            .strategy("own", of, WindowFn::Custom { urn: "test:windows".to_owned(), payload: "".into() }, custom)
            .windowed("out", "bytes", "own")
            .impulse("start")
            .par_do("Make", "start", &["out"])
            .after(run);
        let (known, _) = crate::build::coders(&graph);
        known[graph.components.windowing_strategies["own"].window_coder_id.as_str()].to_string()
    }

    #[test]
    fn windows_carry_their_last_instant_and_their_length() {
        assert_eq!(window_coder("global_window"), "global_window");
        assert_eq!(window_coder("interval_window"), "interval_window");
        assert_snapshot!(window_coder("day"), @"custom_window<length_prefix<day>>");
        assert_snapshot!(window_coder("length_prefix<day>"), @"custom_window<length_prefix<day>>");
        assert_snapshot!(window_coder("custom_window<length_prefix<day>>"), @"custom_window<length_prefix<day>>");
        assert_snapshot!(window_coder("custom_window<interval_window>"), @"custom_window<length_prefix<custom_window<interval_window>>>");
    }

    #[test]
    fn timers_carry_keys_and_windows_as_elements_do() {
        let graph = TestPipeline::new()
            .windowed("pairs", "kv<any, bytes>", "custom")
            .impulse("start")
            .par_do("Pair", "start", &["pairs"])
            .par_do("Remind", "pairs", &["reminders"])
            .timers()
            .after(run);
        let spec = graph.components.transforms["remind"].spec.clone().unwrap_or_default();
        let payload = pb::ParDoPayload::decode(&spec.payload[..]).unwrap();
        let (known, _) = crate::build::coders(&graph);
        let coder = &known[payload.timer_family_specs["timers"].timer_family_coder_id.as_str()];
        assert_snapshot!(coder, @"timer<length_prefix<any>, custom_window<length_prefix<day>>>");
    }

    #[test]
    fn ids_with_commas_name_no_other_coder() {
        // As texts, the parts of both pairs are `a,b,c`.
        let pipeline = TestPipeline::new()
            .collection("first", "bytes")
            .collection("second", "bytes")
            .impulse("start")
            .par_do("Make", "start", &["first", "second"])
            .change(|components| {
                let coder = |urn: &str, parts: &[&str]| pb::Coder {
                    spec: Some(pb::FunctionSpec { urn: urn.to_owned(), ..Default::default() }),
                    component_coder_ids: parts.iter().map(|part| (*part).to_owned()).collect(),
                };
                for (id, urn) in [("a,b", coders::BYTES), ("c", "test:c"), ("a", "test:a"), ("b,c", coders::VARINT)] {
                    components.coders.insert(id.to_owned(), coder(urn, &[]));
                }
                components.coders.insert("one".to_owned(), coder(coders::KV, &["a,b", "c"]));
                components.coders.insert("two".to_owned(), coder(coders::KV, &["a", "b,c"]));
                components.pcollections.get_mut("first").unwrap().coder_id = "one".to_owned();
                components.pcollections.get_mut("second").unwrap().coder_id = "two".to_owned();
            });
        let graph = pipeline.after(run);
        let (known, _) = crate::build::coders(&graph);
        let coder = |id: &str| known[graph.components.pcollections[id].coder_id.as_str()].to_string();
        assert_snapshot!(coder("first"), @"kv<bytes, length_prefix<test:c>>");
        assert_snapshot!(coder("second"), @"kv<length_prefix<test:a>, varint>");
    }
}
