//! Puts a sort by time in front of each ParDo that requires its input in order of time.
//!
//! ```text
//!   X ─► ParDo(requires_time_sorted_input)   ─►   X ─► SortByTime ─► X' ─► ParDo
//! ```
//! The sort is the runner's own, per key; between it and the ParDo the order of each key is kept. What is bounded is sorted when it
//! is complete, a stream as it comes.

use prost::Message;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_ptransforms::primitives;

use crate::graph::{Graph, Leaf, LeafKind};

pub(super) fn run(graph: &mut Graph) {
    for mut leaf in std::mem::take(&mut graph.leaves) {
        if requires_sorted_input(graph, &leaf) {
            let sort = sort(graph, &leaf);
            for sorted in sort.outputs.values() {
                let local = graph.main_local(&leaf);
                if let Some(transform) = graph.components.transforms.get_mut(leaf.id.as_str()) {
                    transform.inputs.insert(local, sorted.to_string());
                }
                leaf.inputs = vec![sorted.clone()];
            }
            graph.leaves.push(sort);
        }
        graph.leaves.push(leaf);
    }
}

fn requires_sorted_input(graph: &Graph, leaf: &Leaf) -> bool {
    let spec = graph.transform(&leaf.id).spec.as_ref().filter(|spec| spec.urn == primitives::PAR_DO);
    let payload = spec.and_then(|spec| pb::ParDoPayload::decode(&spec.payload[..]).ok());
    leaf.stateful && payload.is_some_and(|payload| payload.requires_time_sorted_input)
}

fn sort(graph: &mut Graph, leaf: &Leaf) -> Leaf {
    let input = leaf.inputs[0].clone();
    let coder = graph.pcollection(&input).coder_id.clone();
    let sorted = graph.add_pcollection(&input, &format!("{}/SortByTime.out", leaf.id), &coder);
    let transform = pb::PTransform { unique_name: format!("{}/SortByTime", leaf.name), ..pb::PTransform::default() };
    let id = format!("{}/SortByTime", leaf.id);
    graph.make_leaf(&id, LeafKind::SortByTime, transform, (input, sorted), leaf.id.clone())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use purlin_model::time::Millis;
    use purlin_model::window::WindowFn;
    use purlin_model::windowing_strategy::WindowingStrategy;

    use super::*;
    use crate::testing::TestPipeline;

    fn in_order() -> TestPipeline {
        TestPipeline::new()
            .collection("pairs", "kv<string_utf8, any>")
            .impulse("start")
            .par_do("Pair", "start", &["pairs"])
            .par_do("InOrder", "pairs", &["found"])
            .sides(&[("start", "iterable")])
            .stateful()
            .payload(|payload| payload.requires_time_sorted_input = true)
    }

    #[test]
    fn what_needs_its_input_in_order_gets_a_sort() {
        assert_snapshot!(in_order().graph(), @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Pair in py [start] -> [pairs: kv<string_utf8, any>]
        Worker InOrder in py root [pairs, (start)] -> [found: bytes]
        ");
        let sorted = in_order().after(run);
        assert_snapshot!(sorted, @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Pair in py [start] -> [pairs: kv<string_utf8, any>]
        SortByTime InOrder/SortByTime root [pairs] -> [inorder/SortByTime.out: kv<string_utf8, any>]
        Worker InOrder in py root [inorder/SortByTime.out, (start)] -> [found: bytes]
        ");
        let inputs = &sorted.components.transforms["inorder"].inputs;
        assert_eq!((inputs["0"].as_str(), inputs["side0"].as_str()), ("inorder/SortByTime.out", "start"));
    }

    #[test]
    fn a_stream_is_sorted_as_it_comes_with_its_lateness() {
        let sort = |input: TestPipeline| {
            let plan = input
                .impulse("start")
                .par_do("Pair", "start", &["pairs"])
                .par_do("InOrder", "pairs", &["found"])
                .stateful()
                .payload(|payload| payload.requires_time_sorted_input = true)
                .plan();
            let text = crate::explain::text(&plan);
            text.lines().find(|line| line.contains("sort by time")).map(str::to_owned)
        };
        let fixed = WindowFn::Fixed { size: Millis(10_000), offset: Millis(0) };
        let windowed = || {
            let late = |it: &mut WindowingStrategy| it.allowed_lateness = Millis(500);
            let strategy = TestPipeline::new().strategy("late", "interval_window", fixed.clone(), late);
            strategy.windowed("pairs", "kv<string_utf8, any>", "late")
        };
        assert_snapshot!(sort(windowed()).unwrap_or_default(), @"s2 sort by time");
        let stream = sort(windowed().unbounded("pairs")).unwrap_or_default();
        assert_snapshot!(stream, @"s2 sort by time, as it comes, late by 500 ms at most, unbounded");
    }

    #[test]
    fn others_do_not() {
        let unordered = || in_order().payload(|payload| payload.requires_time_sorted_input = false);
        assert_eq!(unordered().after(run).to_string(), unordered().graph().to_string());
    }
}
