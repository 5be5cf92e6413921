//! Gives each grouping whose windows only an SDK can merge a transform that does.
//!
//! ```text
//!   GroupByKey over custom merging windows  ─►  GroupByKey, and beside it
//!                                               questions ─► MergeWindows (in the strategy's environment) ─► answers
//! ```
//! Nobody emits the questions and nobody reads the answers but the grouping itself, while it runs. Comes behind
//! `prefix_lengths`, because windows stand in both as they do in elements.

use bytes::Bytes;
use prost::Message;
use purlin_model::ids::EnvironmentId;
use purlin_model::window::WindowFn;
use purlin_model::windowing_strategy::MergeStatus;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_coders as coders;
use purlin_proto::urns::standard_ptransforms::primitives;

use crate::graph::{Graph, Leaf, LeafKind};

pub(super) fn run(graph: &mut Graph) {
    for mut leaf in std::mem::take(&mut graph.leaves) {
        if let (LeafKind::GroupByKey, Some(env)) = (leaf.kind, merging_environment(graph, &leaf)) {
            let merger = merger(graph, &leaf, &env);
            leaf.asks = Some(merger.id.clone());
            graph.leaves.push(merger);
        }
        graph.leaves.push(leaf);
    }
}

/// The environment that merges the windows of a grouping's input, if it is not the runner that does.
fn merging_environment(graph: &Graph, leaf: &Leaf) -> Option<EnvironmentId> {
    let strategy = graph.strategy_of(leaf.inputs.first()?);
    let custom = matches!(strategy.window_fn, WindowFn::Custom { .. });
    if !custom || strategy.merge_status != MergeStatus::NeedsMerge {
        return None;
    }
    // Python leaves the environment of a strategy empty; whoever made the pipeline made its windows.
    let only = || graph.leaves.iter().find_map(|leaf| leaf.env.clone());
    let of_input = || {
        let writer = graph.leaves.iter().find(|writer| writer.outputs.values().any(|output| *output == leaf.inputs[0]));
        writer.and_then(|writer| writer.env.clone())
    };
    strategy.environment_id.clone().or_else(of_input).or_else(only)
}

fn merger(graph: &mut Graph, leaf: &Leaf, env: &EnvironmentId) -> Leaf {
    let strategy = graph.pcollection(&leaf.inputs[0]).windowing_strategy_id.clone();
    let strategy = &graph.components.windowing_strategies[&strategy];
    let (window, window_fn) = (strategy.window_coder_id.clone(), strategy.window_fn.clone().unwrap_or_default());
    let bytes = graph.coder(coders::BYTES, &[]);
    let windows = graph.coder(coders::ITERABLE, &[&window]);
    let question = graph.coder(coders::KV, &[&bytes, &windows]);
    let merge = graph.coder(coders::KV, &[&window, &windows]);
    let merges = graph.coder(coders::ITERABLE, &[&merge]);
    let both = graph.coder(coders::KV, &[&windows, &merges]);
    let answer = graph.coder(coders::KV, &[&bytes, &both]);
    let global = graph.global_windowing();
    let mut pcollection = |suffix: &str, coder: &str| {
        let id = graph.add_pcollection(&leaf.inputs[0], &format!("{}/{suffix}", leaf.id), coder);
        if let Some(pcollection) = graph.components.pcollections.get_mut(id.as_str()) {
            pcollection.windowing_strategy_id.clone_from(&global);
        }
        id
    };
    let questions = pcollection("MergeWindows.in", &question);
    let answers = pcollection("MergeWindows.out", &answer);
    let payload = for_merging(window_fn).encode_to_vec().into();
    let transform = pb::PTransform {
        unique_name: format!("{}/MergeWindows", leaf.name),
        spec: Some(pb::FunctionSpec { urn: primitives::MERGE_WINDOWS.to_owned(), payload }),
        environment_id: env.to_string(),
        ..pb::PTransform::default()
    };
    let id = format!("{}/MergeWindows", leaf.id);
    graph.make_leaf(&id, LeafKind::Worker, transform, (questions, answers), leaf.origin.clone())
}

/// The window function for who merges by it, as its SDK reads it there.
///
/// Python pickles its functions as base64 within a `BytesValue`, and here takes the whole for base64, of which it ignores what is not of that
/// alphabet. The tag of the `BytesValue` is not, but its length may be, and then nothing can be read. So the text goes alone.
fn for_merging(mut window_fn: pb::FunctionSpec) -> pb::FunctionSpec {
    if window_fn.urn == "beam:window_fn:pickled_python:v1"
        && let Ok(text) = <Bytes as Message>::decode(window_fn.payload.clone())
        && !text.is_empty()
    {
        window_fn.payload = text;
    }
    window_fn
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::passes::prefix_lengths;
    use crate::testing::TestPipeline;

    fn group(strategy: &str) -> TestPipeline {
        TestPipeline::new()
            .windowed("pairs", "kv<string_utf8, varint>", strategy)
            .windowed("groups", "kv<string_utf8, iterable<varint>>", strategy)
            .impulse("start")
            .par_do("Pair", "start", &["pairs"])
            .group("Group", "pairs", "groups")
    }

    fn after(pipeline: TestPipeline) -> Graph {
        pipeline.after(|graph| {
            prefix_lengths::run(graph);
            run(graph);
        })
    }

    #[test]
    fn windows_that_only_an_sdk_merges_are_asked_about() {
        let graph = after(group("custom_merging"));
        assert_snapshot!(graph, @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Pair in py [start] -> [pairs: kv<string_utf8, varint>]
        Worker Group/MergeWindows in py root [group/MergeWindows.in] -> [group/MergeWindows.out: purlin:kv(purlin:bytes(),purlin:kv(purlin:iterable(purlin:custom_window(purlin:length_prefix(day))),purlin:iterable(purlin:kv(purlin:custom_window(purlin:length_prefix(day)),purlin:iterable(purlin:custom_window(purlin:length_prefix(day)))))))]
        GroupByKey Group [pairs] -> [groups: kv<string_utf8, iterable<varint>>]
        ");
        let grouping = graph.leaves.iter().find(|leaf| leaf.kind == LeafKind::GroupByKey).unwrap();
        assert_eq!(grouping.asks.as_ref().map(ToString::to_string).as_deref(), Some("group/MergeWindows"));
        let spec = graph.components.transforms["group/MergeWindows"].spec.clone().unwrap_or_default();
        let window_fn = pb::FunctionSpec::decode(&spec.payload[..]).unwrap();
        assert_eq!((spec.urn.as_str(), window_fn.urn.as_str()), (primitives::MERGE_WINDOWS, "test:windows"));
        for id in ["group/MergeWindows.in", "group/MergeWindows.out"] {
            assert_eq!(graph.strategy_of(&id.into()).window_fn, WindowFn::Global);
        }
    }

    #[test]
    fn python_gets_its_pickled_window_fn_without_its_wrapper() {
        let wrapped = |payload: &'static [u8]| pb::FunctionSpec {
            urn: "beam:window_fn:pickled_python:v1".to_owned(),
            payload: payload.into(),
        };
        assert_eq!(for_merging(wrapped(b"\x0a\x04eJw=")).payload, "eJw=");
        assert_eq!(for_merging(wrapped(b"eJw=")).payload, "eJw=");
    }

    #[test]
    fn all_others_are_left_to_the_runner() {
        for strategy in ["global", "fixed", "sessions", "custom"] {
            let plain = group(strategy).after(prefix_lengths::run).to_string();
            assert_eq!(after(group(strategy)).to_string(), plain, "{strategy}");
        }
    }

    #[test]
    fn the_environment_that_made_the_windows_merges_them() {
        let declared = group("custom_merging").environment("java", &["kv"]).change(|components| {
            let strategy = components.windowing_strategies.get_mut("custom_merging").unwrap();
            strategy.environment_id = "java".to_owned();
        });
        let merger = |graph: &Graph| {
            let leaf = graph.leaves.iter().find(|leaf| leaf.name == "Group/MergeWindows").unwrap();
            leaf.env.as_ref().map(ToString::to_string).unwrap_or_default()
        };
        assert_eq!(merger(&after(declared)), "java");
        assert_eq!(merger(&after(group("custom_merging"))), "py");
    }
}
