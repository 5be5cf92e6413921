//! Gives each grouping whose windows only an SDK can merge a transform that does.
//!
//! ```text
//!   GroupByKey over custom merging windows  ─►  GroupByKey, and beside it
//!                                               questions ─► MergeWindows (in the strategy's environment) ─► answers
//! ```
//! Nobody emits the questions and nobody reads the answers but the grouping itself, while it runs. Comes behind
//! `prefix_lengths`, because windows stand in both as they do in elements.

use std::collections::BTreeMap;

use purlin_model::ids::{EnvironmentId, LocalName};
use purlin_model::window::WindowFn;
use purlin_model::windowing_strategy::MergeStatus;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_coders as coders;
use purlin_proto::urns::standard_ptransforms::primitives;

use crate::graph::{Graph, Leaf, LeafKind};

pub(super) fn run(graph: &mut Graph) {
    for mut leaf in std::mem::take(&mut graph.leaves) {
        if let (LeafKind::GroupByKey, Some(env)) = (leaf.kind, merging_environment(graph, &leaf)) {
            let merger = merger(graph, &leaf, env);
            leaf.merged_by = Some(merger.id.clone());
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

fn merger(graph: &mut Graph, leaf: &Leaf, env: EnvironmentId) -> Leaf {
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
    let name = format!("{}/MergeWindows", leaf.name);
    let payload = prost::Message::encode_to_vec(&window_fn).into();
    let transform = pb::PTransform {
        unique_name: name.clone(),
        spec: Some(pb::FunctionSpec { urn: primitives::MERGE_WINDOWS.to_owned(), payload }),
        inputs: BTreeMap::from([("in".to_owned(), questions.to_string())]),
        outputs: BTreeMap::from([("out".to_owned(), answers.to_string())]),
        environment_id: env.to_string(),
        ..pb::PTransform::default()
    };
    let id = graph.add_transform(&format!("{}/MergeWindows", leaf.id), transform);
    Leaf {
        id,
        name,
        kind: LeafKind::Worker,
        inputs: vec![questions],
        sides: BTreeMap::new(),
        outputs: BTreeMap::from([(LocalName::new("out"), answers)]),
        env: Some(env),
        forced_root: true,
        splittable: false,
        finalizes: false,
        stateful: false,
        merged_by: None,
        origin: leaf.origin.clone(),
    }
}
