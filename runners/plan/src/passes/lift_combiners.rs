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
pub(super) fn key_coder(graph: &Graph, leaf: &Leaf) -> Option<String> {
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
    // If the input comes in slices, the windows are those of the output.
    let windowing = leaf.slices.and_then(|_| leaf.outputs.values().next());
    let windowing = graph.pcollection(windowing.unwrap_or(&input)).windowing_strategy_id.clone();
    let mut next = |suffix: &str, coder: &str| {
        let id = graph.add_pcollection(&input, &format!("{}/{suffix}.out", leaf.id), coder);
        if let Some(made) = graph.components.pcollections.get_mut(id.as_str()) {
            made.windowing_strategy_id.clone_from(&windowing);
        }
        id
    };
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
            slices: leaf.slices.filter(|_| groups),
            ..leaf.clone()
        });
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use purlin_model::trigger::Trigger;
    use purlin_model::window::WindowFn;
    use purlin_model::windowing_strategy::WindowingStrategy;

    use super::*;
    use crate::testing::TestPipeline;

    /// Sums per key, in this windowing strategy.
    fn sum(strategy: &str) -> TestPipeline {
        sum_in(TestPipeline::new(), strategy)
    }

    fn sum_in(pipeline: TestPipeline, strategy: &str) -> TestPipeline {
        pipeline
            .windowed("pairs", "kv<string_utf8, varint>", strategy)
            .windowed("groups", "kv<string_utf8, iterable<varint>>", strategy)
            .windowed("sums", "kv<string_utf8, varint>", strategy)
            .impulse("start")
            .par_do("Pair", "start", &["pairs"])
            .combine("Sum", "pairs", "groups", "sums", "partial")
    }

    fn with_trigger(trigger: Trigger) -> TestPipeline {
        let change = |strategy: &mut WindowingStrategy| strategy.trigger = trigger;
        let pipeline = TestPipeline::new().strategy("triggered", "global_window", WindowFn::Global, change);
        sum_in(pipeline, "triggered").unbounded("pairs")
    }

    fn is_lifted(pipeline: TestPipeline) -> bool {
        pipeline.after(run).leaves.iter().any(|leaf| leaf.name == "Sum/Precombine")
    }

    #[test]
    fn a_combiner_becomes_four_transforms() {
        assert_snapshot!(sum("global").graph(), @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Pair in py [start] -> [pairs: kv<string_utf8, varint>]
        CombinePerKey Sum in py [pairs] -> [sums: kv<string_utf8, varint>]
        ");
        assert_snapshot!(sum("global").after(run), @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Pair in py [start] -> [pairs: kv<string_utf8, varint>]
        Worker Sum/Precombine in py [pairs] -> [sum/Precombine.out: purlin:kv(string_utf8,partial)]
        GroupByKey Sum/Group [sum/Precombine.out] -> [sum/Group.out: purlin:kv(string_utf8,purlin:iterable(partial))]
        Worker Sum/Merge in py [sum/Group.out] -> [sum/Merge.out: purlin:kv(string_utf8,partial)]
        Worker Sum/Extract in py [sum/Merge.out] -> [sums: kv<string_utf8, varint>]
        ");
    }

    #[test]
    fn the_parts_keep_the_payload_and_the_collections_know_where_they_stand() {
        let graph = sum("fixed").after(run);
        for part in ["Precombine", "Merge", "Extract"] {
            let spec = graph.components.transforms[&format!("sum/{part}")].spec.clone().unwrap_or_default();
            let payload = pb::CombinePayload::decode(&spec.payload[..]).unwrap();
            assert_eq!(payload.accumulator_coder_id, "partial", "{part}");
        }
        for between in ["Precombine", "Group", "Merge"] {
            let pcollection = &graph.components.pcollections[&format!("sum/{between}.out")];
            assert_eq!(pcollection.windowing_strategy_id, "fixed", "{between}");
        }
        assert!(graph.leaves.iter().skip(2).all(|leaf| leaf.origin.as_str() == "sum"), "metrics name the user's");
    }

    #[test]
    fn merging_windows_are_not_lifted() {
        assert_snapshot!(sum("sessions").after(run), @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Pair in py [start] -> [pairs: kv<string_utf8, varint>]
        GroupByKey Sum/Group [pairs] -> [groups: kv<string_utf8, iterable<varint>>]
        Worker Sum/Values in py [groups] -> [sums: kv<string_utf8, varint>]
        ");
    }

    #[test]
    fn a_combiner_is_lifted_unless_panes_depend_on_single_elements() {
        let count = |count| Trigger::ElementCount { count };
        let boxed = Box::new;
        let early = |trigger| Trigger::AfterEndOfWindow { early: Some(Box::new(trigger)), late: None };
        assert!(is_lifted(sum("fixed")));
        assert!(is_lifted(with_trigger(Trigger::Default)));
        assert!(is_lifted(with_trigger(Trigger::Repeat(boxed(Trigger::AfterProcessingTime {
            transforms: Vec::new()
        })))));
        assert!(!is_lifted(with_trigger(Trigger::Always)));
        assert!(!is_lifted(with_trigger(Trigger::Repeat(boxed(count(1))))));
        assert!(is_lifted(with_trigger(early(Trigger::AfterSynchronizedProcessingTime))));
        assert!(!is_lifted(with_trigger(Trigger::Repeat(boxed(count(2))))));
        assert!(!is_lifted(with_trigger(early(count(10)))));
        assert!(!is_lifted(with_trigger(Trigger::AfterAll(vec![Trigger::Always]))));
        assert!(!is_lifted(with_trigger(Trigger::AfterEach(vec![Trigger::Always]))));
        let finally = boxed(Trigger::Never);
        assert!(!is_lifted(with_trigger(Trigger::OrFinally { main: boxed(Trigger::Always), finally })));
    }

    #[test]
    fn bounded_input_has_one_pane_and_is_lifted_whatever_its_trigger() {
        let change = |strategy: &mut WindowingStrategy| strategy.trigger = Trigger::ElementCount { count: 2 };
        let pipeline = TestPipeline::new().strategy("triggered", "global_window", WindowFn::Global, change);
        assert!(is_lifted(sum_in(pipeline, "triggered")));
    }

    #[test]
    fn a_combiner_without_a_coder_for_accumulators_is_not_lifted() {
        let unknown = sum("global").edit(|transform| {
            transform.spec.as_mut().unwrap().payload = pb::CombinePayload::default().encode_to_vec().into();
        });
        assert!(!is_lifted(unknown));
        let unreadable =
            sum("global").edit(|transform| transform.spec.as_mut().unwrap().payload = b"\xff".as_slice().into());
        assert!(!is_lifted(unreadable));
    }

    #[test]
    fn a_combiner_with_side_inputs_is_not_lifted() {
        let with_side = sum("global").edit(|transform| {
            transform.inputs.insert("side".to_owned(), "start".to_owned());
        });
        assert!(!is_lifted(with_side));
    }

    #[test]
    fn what_the_sdk_has_lifted_is_not_lifted_again() {
        let lifted = sum("global")
            .collection("early", "kv<string_utf8, partial>")
            .transform("Sum/Early", components::COMBINE_PER_KEY_PRECOMBINE, &["pairs"], &["early"])
            .in_env("py")
            .inside("Sum");
        assert!(!is_lifted(lifted));
    }

    #[test]
    fn a_composite_runs_where_the_transforms_in_it_do() {
        let inner = sum("global").edit(|transform| transform.environment_id.clear());
        assert!(is_lifted(inner.clone()));
        assert_eq!(inner.after(run).to_string(), sum("global").after(run).to_string());
    }

    #[test]
    fn what_is_called_like_a_part_keeps_its_name() {
        let graph = sum("global").collection("sum/Group.out", "bytes").after(run);
        assert_eq!(graph.components.pcollections["sum/Group.out"].coder_id, "bytes");
        assert!(graph.components.pcollections.contains_key("sum/Group.out_2"));
    }
}
