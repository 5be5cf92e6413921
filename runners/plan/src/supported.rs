//! What cannot be planned, all of it at once. What a runner does not do is said by its sheet
//! ([`requirements`](crate::requirements())), not here.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use purlin_model::ids::PCollectionId;
use purlin_proto::pipeline::v1 as pb;

use crate::fuse::may_join;
use crate::graph::{Graph, LeafKind};
use crate::parse::WHOLE;
use crate::payload;
use crate::problem::Problems;
use crate::validate::ValidatedPipeline;

/// Along how many ways elements may come through flattens, over all transforms: each is planned as one.
const WAYS_MAX: usize = 2_000_000;

/// # Errors
/// Everything in the pipeline that cannot run.
pub(crate) fn supported(pipeline: &ValidatedPipeline) -> Result<(), Problems> {
    let mut problems = Problems::new();
    let graph = &pipeline.graph;
    for leaf in &graph.leaves {
        if leaf.kind == LeafKind::TestStream {
            let spec = graph.transform(&leaf.id).spec.as_ref();
            if let Err(error) = pb::TestStreamPayload::decode(spec.map_or(&[][..], |spec| &spec.payload[..])) {
                problems.add(&leaf.name, format!("has a payload that is no script: {error}"), WHOLE);
            }
        }
        let payload = payload::par_do(graph, leaf).unwrap_or_default();
        if leaf.stateful && !payload.restriction_coder_id.is_empty() {
            let fix = "put the state or the timers into a ParDo behind it";
            problems.add(&leaf.name, "is splittable, and has state or timers", fix);
        }
    }
    for second in graph.leaves.iter().filter(|leaf| leaf.kind == LeafKind::TestStream).skip(1) {
        let fix = "merge their events into one, with an output each";
        problems.add(&second.name, "is a second TestStream, and a job has one clock only", fix);
    }
    check_ways(graph, &mut problems);
    problems.into_result(())
}

/// Flattens of flattens can lead the same elements along more ways than anyone can follow.
fn check_ways(graph: &Graph, problems: &mut Problems) {
    let mut ways = BTreeMap::<&PCollectionId, usize>::new();
    let mut total = 0_usize;
    // Readers that begin a stage together have one input, and readers of one side input share it.
    let (mut shared, mut read) = (BTreeSet::new(), BTreeSet::new());
    for leaf in &graph.leaves {
        let along = |input: &PCollectionId| ways.get(input).copied().unwrap_or(1);
        let steps = leaf.inputs.iter().fold(1, |sum: usize, input| sum.saturating_add(along(input)));
        if matches!(leaf.kind, LeafKind::Flatten | LeafKind::Barrier) {
            ways.extend(leaf.outputs.values().map(|output| (output, steps)));
            continue;
        }
        let alone = !may_join(leaf) || shared.insert((&leaf.inputs, leaf.env.as_ref()));
        let sides = leaf.sides.values().filter(|side| read.insert(*side));
        let steps = sides.fold(if alone { steps } else { 0 }, |sum, side| sum.saturating_add(along(side)));
        total = total.saturating_add(steps);
        if total > WAYS_MAX {
            let what = format!("reads through flattens what comes along more than {WAYS_MAX} ways");
            problems.add(&leaf.name, what, "flatten each PCollection once");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use crate::testing::TestPipeline;

    fn pairs() -> TestPipeline {
        TestPipeline::new()
            .collection("pairs", "kv<string_utf8, any>")
            .collection("sums", "kv<string_utf8, any>")
            .collection("groups", "kv<string_utf8, iterable<any>>")
            .impulse("start")
            .par_do("Pair", "start", &["pairs"])
    }

    #[test]
    fn what_is_splittable_has_no_state() {
        let both = pairs().par_do("Both", "pairs", &["boths"]).stateful().splittable("any");
        assert_snapshot!(both.problems(), @"Both: is splittable, and has state or timers; put the state or the timers into a ParDo behind it");
        let timers = pairs().par_do("Both", "pairs", &["boths"]).timers().splittable("any");
        assert_snapshot!(timers.problems(), @"Both: is splittable, and has state or timers; put the state or the timers into a ParDo behind it");
    }

    #[test]
    fn flattens_may_not_multiply_without_end() {
        let doubled = |times: usize| {
            let double = |pipeline: TestPipeline, level: usize| {
                let (from, to) = (format!("x{level}"), format!("x{}", level + 1));
                pipeline.flatten(&format!("Double {level}"), &[&from, &from], &to)
            };
            let start = TestPipeline::new().impulse("start").par_do("Make", "start", &["x0"]);
            (0..times).fold(start, double).par_do("Read", &format!("x{times}"), &["read"])
        };
        assert_eq!(doubled(10).problems(), "");
        let readers = (0..50).fold(doubled(19), |pipeline, reader| {
            pipeline.par_do(&format!("Also {reader}"), "x19", &[&format!("also {reader}")])
        });
        assert_eq!(readers.problems(), "", "they read it together");
        assert_snapshot!(doubled(100).problems(), @"Read: reads through flattens what comes along more than 2000000 ways; flatten each PCollection once");
    }
}
