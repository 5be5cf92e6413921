//! Cuts overlapping windows into slices where only combiners read them, so that each element is combined once.
//!
//! ```text
//!   WindowInto(sliding) ─► CombinePerKey    ─►    WindowInto(slices) ─► CombinePerKey, grouped in the windows of each slice
//! ```
//! The combiner's early part runs in slices; what it emits goes to all windows that hold its slice as the runner partitions
//! it. Nobody else may see the slices, so that the windows must be read by combiners that are lifted, and by nothing else.

use prost::Message;
use purlin_model::ids::{PCollectionId, WindowingStrategyId};
use purlin_model::slices::SlicedWindows;
use purlin_model::trigger::Trigger;
use purlin_model::windowing_strategy::WindowingStrategy;
use purlin_proto::convert::windowing_strategy;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_ptransforms::{combine_components, primitives};

use super::lift_combiners;
use crate::graph::{Graph, Leaf, LeafKind, fresh};

pub(super) fn run(graph: &mut Graph) {
    let cuts: Vec<_> = (0..graph.leaves.len()).filter_map(|assigner| cut(graph, assigner)).collect();
    for cut in cuts {
        apply(graph, cut);
    }
}

/// One assignment of windows that can be cut.
struct Cut {
    /// The position of the leaf that assigns them.
    assigner: usize,
    windowed: PCollectionId,
    slices: SlicedWindows,
    /// What it is told.
    payload: pb::WindowingStrategy,
}

fn cut(graph: &Graph, assigner: usize) -> Option<Cut> {
    let leaf = &graph.leaves[assigner];
    let spec = graph.transform(&leaf.id).spec.as_ref()?;
    if leaf.kind != LeafKind::Worker || spec.urn != primitives::ASSIGN_WINDOWS {
        return None;
    }
    // Python sends the whole strategy and other SDKs a WindowIntoPayload; both have the function in the same place.
    let payload = pb::WindowingStrategy::decode(&spec.payload[..]).ok()?;
    let mut outputs = leaf.outputs.values();
    let (windowed, None) = (outputs.next()?, outputs.next()) else { return None };
    let strategy = graph.strategy_of(windowed);
    let slices = SlicedWindows::of(&strategy.window_fn)?;
    // Other triggers may tell elements apart that are combined by then.
    if strategy.trigger != Trigger::Default {
        return None;
    }
    let mut readers = readers(graph, windowed).peekable();
    readers.peek()?;
    let is_theirs_alone = readers.all(|(_, reader)| match reader.kind {
        LeafKind::CombinePerKey => {
            reader.sides.is_empty()
                && lift_combiners::key_coder(graph, reader).is_some()
                && reader.outputs.values().all(|output| graph.strategy_of(output).window_fn == strategy.window_fn)
        }
        _ => groups_of(graph, reader).is_some(),
    });
    let wire = graph.components.windowing_strategies.get(&graph.pcollection(windowed).windowing_strategy_id)?;
    let is_as_it_says = payload.window_fn == wire.window_fn;
    (is_theirs_alone && is_as_it_says).then(|| Cut { assigner, windowed: windowed.clone(), slices, payload })
}

/// Who reads a PCollection, with their positions.
fn readers<'a>(graph: &'a Graph, pcollection: &'a PCollectionId) -> impl Iterator<Item = (usize, &'a Leaf)> {
    let reads =
        move |leaf: &Leaf| leaf.inputs.contains(pcollection) || leaf.sides.values().any(|side| side == pcollection);
    graph.leaves.iter().enumerate().filter(move |(_, leaf)| reads(leaf))
}

/// If this is the early part of a combiner that the SDK has lifted, as Python's does: the groupings that alone read what it emits.
fn groups_of(graph: &Graph, leaf: &Leaf) -> Option<Vec<usize>> {
    let spec = graph.transform(&leaf.id).spec.as_ref()?;
    let (Some(emitted), 1) = (leaf.outputs.values().next(), leaf.outputs.len()) else { return None };
    let is_early = spec.urn == combine_components::COMBINE_PER_KEY_PRECOMBINE && leaf.sides.is_empty();
    let groups: Vec<_> = readers(graph, emitted).collect();
    let all_group = groups.iter().all(|(_, reader)| reader.kind == LeafKind::GroupByKey);
    (is_early && all_group).then(|| groups.into_iter().map(|(position, _)| position).collect())
}

fn apply(graph: &mut Graph, cut: Cut) {
    let strategy = WindowingStrategy { window_fn: cut.slices.slice_fn(), ..graph.strategy_of(&cut.windowed).clone() };
    let wire = windowing_strategy::to_wire(&strategy);
    let payload = pb::WindowingStrategy { window_fn: wire.window_fn.clone(), ..cut.payload };
    let id = fresh(&format!("{}/slices", cut.windowed), |id| graph.components.windowing_strategies.contains_key(id));
    graph.components.windowing_strategies.insert(id.clone(), wire);
    graph.strategies.insert(WindowingStrategyId::new(id.as_str()), strategy);
    let assigner = graph.leaves[cut.assigner].id.clone();
    if let Some(spec) = graph.components.transforms.get_mut(assigner.as_str()).and_then(|it| it.spec.as_mut()) {
        spec.payload = payload.encode_to_vec().into();
    }
    if let Some(windowed) = graph.components.pcollections.get_mut(cut.windowed.as_str()) {
        windowed.windowing_strategy_id = id;
    }
    let told: Vec<_> = readers(graph, &cut.windowed)
        .flat_map(|(position, reader)| groups_of(graph, reader).unwrap_or_else(|| vec![position]))
        .collect();
    for position in told {
        graph.leaves[position].slices = Some(cut.slices);
    }
}

#[cfg(test)]
mod tests {
    use prost::bytes::Bytes;
    use purlin_model::time::Millis;
    use purlin_model::window::WindowFn;

    use super::*;
    use crate::testing::TestPipeline;

    fn sliding() -> WindowFn {
        WindowFn::Sliding { size: Millis(10_000), period: Millis(4000), offset: Millis(1000) }
    }

    /// What an assignment of these windows is told.
    fn assigned() -> Bytes {
        let strategy = WindowingStrategy { window_fn: sliding(), ..WindowingStrategy::global("global".into()) };
        windowing_strategy::to_wire(&strategy).encode_to_vec().into()
    }

    /// Sums per key in sliding windows, which `Slide` assigns.
    fn sum(trigger: Trigger) -> TestPipeline {
        let change = |strategy: &mut WindowingStrategy| strategy.trigger = trigger;
        let pipeline = TestPipeline::new().strategy("sliding", "interval_window", sliding(), change);
        pipeline
            .collection("pairs", "kv<string_utf8, varint>")
            .windowed("slid", "kv<string_utf8, varint>", "sliding")
            .windowed("groups", "kv<string_utf8, iterable<varint>>", "sliding")
            .windowed("sums", "kv<string_utf8, varint>", "sliding")
            .impulse("start")
            .par_do("Pair", "start", &["pairs"])
            .transform("Slide", primitives::ASSIGN_WINDOWS, &["pairs"], &["slid"])
            .in_env("py")
            .edit(|transform| transform.spec.as_mut().unwrap().payload = assigned())
            .combine("Sum", "slid", "groups", "sums", "partial")
    }

    fn slices(pipeline: TestPipeline) -> Option<i64> {
        let graph = pipeline.after(run);
        let sum = graph.leaves.iter().find(|leaf| leaf.name == "Sum")?;
        sum.slices.map(|slices| slices.slice().0)
    }

    #[test]
    fn a_combiner_combines_slices_and_groups_windows() {
        let graph = sum(Trigger::Default).after(|graph| {
            run(graph);
            lift_combiners::run(graph);
        });
        let windows = |id: &str| graph.strategy_of(&id.into()).window_fn.clone();
        let slices = WindowFn::Fixed { size: Millis(2000), offset: Millis(1000) };
        assert_eq!(windows("slid"), slices);
        for id in ["sum/Precombine.out", "sum/Group.out", "sum/Merge.out", "sums"] {
            assert_eq!(windows(id), sliding(), "{id}");
        }
        let sliced: Vec<_> = graph.leaves.iter().filter(|leaf| leaf.slices.is_some()).map(|leaf| &*leaf.name).collect();
        assert_eq!(sliced, ["Sum/Group"]);
        let payload = &graph.components.transforms["slide"].spec.as_ref().unwrap().payload;
        let told = pb::WindowingStrategy::decode(&payload[..]).unwrap();
        let wanted = WindowingStrategy { window_fn: slices, ..WindowingStrategy::global("global".into()) };
        assert_eq!(told.window_fn, windowing_strategy::to_wire(&wanted).window_fn);
    }

    #[test]
    fn nobody_else_may_see_the_slices() {
        assert_eq!(slices(sum(Trigger::Default)), Some(2000));
        assert_eq!(slices(sum(Trigger::Default).par_do("Also", "slid", &["seen"])), None);
        let grouped = sum(Trigger::Default).windowed("more", "kv<string_utf8, iterable<varint>>", "sliding");
        assert_eq!(slices(grouped.group("Too", "slid", "more")), None);
    }

    #[test]
    fn a_combiner_that_is_not_lifted_is_not_sliced() {
        assert_eq!(slices(sum(Trigger::Repeat(Box::new(Trigger::ElementCount { count: 2 })))), None);
    }

    #[test]
    fn what_the_sdk_has_lifted_is_sliced_too() {
        let lifted = |groups: &[&str]| {
            let early = sum(Trigger::Default)
                .windowed("early", "kv<string_utf8, partial>", "sliding")
                .windowed("slid too", "kv<string_utf8, varint>", "sliding")
                .transform("Slide too", primitives::ASSIGN_WINDOWS, &["pairs"], &["slid too"])
                .in_env("py")
                .edit(|transform| transform.spec.as_mut().unwrap().payload = assigned())
                .transform("Early", combine_components::COMBINE_PER_KEY_PRECOMBINE, &["slid too"], &["early"])
                .in_env("py")
                .windowed("grouped", "kv<string_utf8, iterable<partial>>", "sliding")
                .group("Group", "early", "grouped");
            let graph = groups.iter().fold(early, |early, name| early.par_do(name, "early", &["seen"])).after(run);
            let group = graph.leaves.iter().find(|leaf| leaf.name == "Group").cloned();
            group.unwrap().slices.map(|slices| slices.slice().0)
        };
        assert_eq!(lifted(&[]), Some(2000));
        assert_eq!(lifted(&["Also"]), None);
    }

    #[test]
    fn an_assignment_that_contradicts_its_output_is_left_alone() {
        let other = sum(Trigger::Default).change(|components| {
            components.transforms.get_mut("slide").unwrap().spec.as_mut().unwrap().payload = Default::default();
        });
        assert_eq!(slices(other), None);
    }
}
