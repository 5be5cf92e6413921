//! Makes panes of side inputs that are refreshed while their collection goes on.
//!
//! ```text
//!   collection ─read as a side input─► ParDo   ─►   collection ─► Panes (as the trigger says) ─kept, the latest of each window─► ParDo
//! ```
//! A trigger says when a grouping emits, and no SDK puts one before a side input. So the runner groups: without keys, by the windowing of the
//! collection that is read. What is bounded, or fires once, at the end of its window, is kept without. Comes behind all passes that
//! look at who reads what, because the reader still names the collection itself.

use std::collections::BTreeSet;

use prost::Message;
use purlin_model::ids::{LocalName, PCollectionId, TransformId};
use purlin_model::time::Millis;
use purlin_model::window::WindowFn;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_coders as coders;

use crate::graph::{Graph, Leaf, LeafKind};

/// The URN of Python's window mappings.
const PICKLED_MAPPING: &str = "beam:window_mapping_fn:pickled_python:v1";

/// `functools.partial(_global_window_mapping_fn)` as Python's pickler writes it (base64 of bzip2): the function that maps into the global window, which
/// Python itself pickles by this name, but not the same object.
const ANOTHER_GLOBAL_MAPPING: &str = "QlpoOTFBWSZTWatomhsAAAzTgAAQAEEQAL/n3oAgAEio2ptRozU8T0UFGjTQNDQaEFGIyaEU/rwF5l/Dl2fWsbzmOhkyqOHRsUC1vpfI0ekccipgkSeElHsj2+52tj4u5IpwoSFW0TQ2";

pub(super) fn run(graph: &mut Graph) {
    let mut made = BTreeSet::new();
    let reader = |leaf: &Leaf| (leaf.id.clone(), leaf.origin.clone(), leaf.sides.clone());
    for (id, origin, sides) in graph.leaves.iter().map(reader).collect::<Vec<_>>() {
        for (local, side) in sides {
            if !fires_again(graph, &side) {
                continue;
            }
            if graph.strategy_of(&side).window_fn == WindowFn::Global {
                read_anew(graph, &id, &local);
            }
            if made.insert(side.clone()) {
                let panes = panes(graph, &side, origin.clone());
                graph.leaves.push(panes);
            }
        }
    }
}

/// Makes Python look at a side input in each bundle.
///
/// If all side inputs of a DoFn are mapped by the very function that Python has for the global window, it makes the DoFn's arguments of
/// them once, for as long as the worker lives (`DoFnInvoker`, apache/beam#28776). An experiment of the worker's turns that off, but one in the
/// client's process has no experiments. So the function is replaced by another that does the same.
fn read_anew(graph: &mut Graph, reader: &TransformId, local: &LocalName) {
    let transform = graph.components.transforms.get_mut(reader.as_str());
    let Some(spec) = transform.and_then(|transform| transform.spec.as_mut()) else { return };
    let Ok(mut payload) = pb::ParDoPayload::decode(&spec.payload[..]) else { return };
    let side = payload.side_inputs.get_mut(local.as_str());
    let mapping = side.and_then(|side| side.window_mapping_fn.as_mut()).filter(|it| it.urn == PICKLED_MAPPING);
    if let Some(mapping) = mapping {
        mapping.payload = ANOTHER_GLOBAL_MAPPING.into();
        spec.payload = payload.encode_to_vec().into();
    }
}

/// Whether windows of an unbounded collection may have more panes than one at their end.
fn fires_again(graph: &Graph, side: &PCollectionId) -> bool {
    let strategy = graph.strategy_of(side);
    let late = strategy.allowed_lateness > Millis(0) && strategy.window_fn != WindowFn::Global;
    !graph.is_bounded(side) && (late || !strategy.trigger.fires_only_at_end_of_window())
}

fn panes(graph: &mut Graph, side: &PCollectionId, reader: TransformId) -> Leaf {
    let element = graph.pcollection(side).coder_id.clone();
    let coder = graph.coder(coders::ITERABLE, &[&element]);
    let panes = graph.add_pcollection(side, &format!("{side}/Panes.out"), &coder);
    let name = format!("panes of {}", graph.pcollection(side).unique_name);
    let transform = pb::PTransform { unique_name: name, ..pb::PTransform::default() };
    graph.make_leaf(&format!("{side}/Panes"), LeafKind::Panes, transform, (side.clone(), panes), reader)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use purlin_model::trigger::Trigger;

    use super::*;
    use crate::testing::TestPipeline;

    fn read(strategy: &str) -> TestPipeline {
        let again = |it: &mut purlin_model::windowing_strategy::WindowingStrategy| {
            it.trigger = Trigger::Repeat(Box::new(Trigger::ElementCount { count: 1 }));
        };
        let fixed = WindowFn::Fixed { size: Millis(10_000), offset: Millis(0) };
        TestPipeline::new()
            .strategy("again", "global_window", WindowFn::Global, again)
            .strategy("late", "interval_window", fixed, |it| it.allowed_lateness = Millis(1))
            .windowed("rates", "kv<string_utf8, any>", strategy)
            .unbounded("rates")
            .impulse("start")
            .par_do("Rate", "start", &["rates"])
            .par_do("Look", "start", &["looked"])
            .sides(&[("rates", "multimap"), ("rates", "iterable")])
    }

    #[test]
    fn a_collection_that_fires_again_is_grouped_once_for_all_readers() {
        assert_snapshot!(crate::explain::text(&read("again").plan()), @"
        env0 py (beam:env:external:v1)
        s0 impulse
             Impulse start
          -> o0 start: bytes
        s1 worker in env0, unbounded
             Rate
          <- o0
          -> o1 rates: kv<string_utf8, length_prefix<any>>, unbounded
        s2 group (OneKey, Global, Repeat(ElementCount { count: 1 })), unbounded
             panes of rates.out
          <- o1 in one lane, by window
          -> o2 rates/Panes.out: iterable<kv<string_utf8, length_prefix<any>>>, unbounded
        s3 side0, kept as iterable, the latest pane of each window
          <- o2 in one lane, by window
        s4 side1, kept as multimap, the latest pane of each window
          <- o2 in one lane, by window
        s5 worker in env0
             Look
          <- o0 by window
          <- side1 as side0
          <- side0 as side1
        ");
    }

    #[test]
    fn python_looks_at_a_global_side_input_in_each_bundle() {
        let mapping = |strategy: &str, urn: &str| {
            let spec = pb::FunctionSpec { urn: urn.to_owned(), payload: "theirs".into() };
            let pipeline = read(strategy).payload(|payload| {
                payload.side_inputs.values_mut().for_each(|side| side.window_mapping_fn = Some(spec.clone()));
            });
            let graph = pipeline.after(run);
            let leaf = graph.leaves.iter().find(|leaf| leaf.name == "Look").unwrap();
            let spec = graph.transform(&leaf.id).spec.as_ref().unwrap();
            let payload = pb::ParDoPayload::decode(&spec.payload[..]).unwrap();
            let sides =
                payload.side_inputs.values().map(|side| side.window_mapping_fn.as_ref().unwrap().payload.clone());
            sides.collect::<Vec<_>>()
        };
        assert_eq!(mapping("again", PICKLED_MAPPING), [ANOTHER_GLOBAL_MAPPING, ANOTHER_GLOBAL_MAPPING]);
        for (strategy, urn) in
            [("again", "beam:go:windowmapping:global:v1"), ("late", PICKLED_MAPPING), ("global", PICKLED_MAPPING)]
        {
            assert_eq!(mapping(strategy, urn), ["theirs", "theirs"], "{strategy} {urn}");
        }
    }

    #[test]
    fn what_has_one_pane_is_kept_as_it_comes() {
        let has_panes = |pipeline: TestPipeline| pipeline.after(run).to_string().contains("panes of");
        assert!(has_panes(read("again")) && has_panes(read("late")));
        assert!(!has_panes(read("global")) && !has_panes(read("fixed")));
        let bounded = read("again").change(|components| {
            components.pcollections.get_mut("rates").unwrap().is_bounded = pb::is_bounded::Enum::Bounded.into();
        });
        assert!(!has_panes(bounded));
    }
}
