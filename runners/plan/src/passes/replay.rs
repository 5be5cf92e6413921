//! Puts the elements that an earlier job put aside in the place of sources.
//!
//! ```text
//!   Read ─► Parse ─► Sum ─┐                      letters ─► Parse ─► Sum ─┐
//!                         ▼ side         ─►                               ▼ side
//!   Impulse ─► Do once ─► Write                  Impulse ─► Do once ─► Write
//! ```
//! *The way of the letters* is what they flow into. Along it nothing flows but letters: whatever else came there was processed by the job that
//! put them aside. What is read as a side input on the way is made again, from its sources. What reads, as a side input, something that is made of
//! letters runs again if all it takes is made of impulses alone, as the parts of `CombineGlobally` and `WriteToText` are that run once.
//! Everything else is left out. Comes last, because letters name transforms and coders as they are when a job runs.

use std::collections::{BTreeMap, BTreeSet};

use purlin_model::ids::{LocalName, PCollectionId, TransformId};
use purlin_proto::pipeline::v1 as pb;

use crate::entry::{EntryPoint, windows_text};
use crate::graph::{Graph, Leaf, LeafKind};
use crate::problem::Problems;

const SAME: &str = "replay with the pipeline that they come from, changed only in what its DoFns do";

/// Rewrites the graph, and tells for each of the points which PCollection takes its letters.
///
/// # Errors
/// All points that the pipeline has not.
pub(crate) fn run(graph: &mut Graph, points: &BTreeSet<EntryPoint>) -> Result<Vec<PCollectionId>, Problems> {
    let places = places(graph, points)?;
    let way = Way::new(graph, &places);
    let kept = way.kept(graph);
    let letters: Vec<PCollectionId> = places
        .iter()
        .map(|place| {
            let coder = graph.pcollection(&place.input).coder_id.clone();
            graph.add_pcollection(&place.input, "purlin:dead_letters", &coder)
        })
        .collect();
    // Who takes letters of the same points reads the same as before, and can go on to run together.
    let mut inputs = BTreeMap::<(PCollectionId, Vec<usize>), PCollectionId>::new();
    let mut leaves = vec![source(graph, &letters)];
    for (position, mut leaf) in std::mem::take(&mut graph.leaves).into_iter().enumerate() {
        if !kept.contains(&position) {
            continue;
        }
        let taken: Vec<usize> = (0..places.len()).filter(|point| places[*point].leaves.contains(&position)).collect();
        if !taken.is_empty() {
            let before = leaf.inputs[0].clone();
            let input = inputs.entry((before.clone(), taken)).or_insert_with_key(|(before, taken)| {
                let along = way.leads_to(before).then(|| before.clone());
                let letters = taken.iter().map(|point| letters[*point].clone());
                let join = join(graph, &leaf, before, along.into_iter().chain(letters).collect());
                let joined = join.outputs.values().next().expect("a flatten has an output").clone();
                leaves.push(join);
                joined
            });
            let local = graph.main_local(&leaf);
            if let Some(transform) = graph.components.transforms.get_mut(leaf.id.as_str()) {
                transform.inputs.insert(local, input.to_string());
            }
            leaf.inputs = vec![input.clone()];
        } else if way.leaves.contains(&position) {
            leaf.inputs.retain(|input| way.leads_to(input));
        }
        leaves.push(leaf);
    }
    graph.leaves = leaves;
    Ok(letters)
}

/// A point, found in the pipeline.
struct Place {
    /// Who takes its letters, by position.
    leaves: BTreeSet<usize>,
    /// What they all read.
    input: PCollectionId,
}

fn places(graph: &Graph, points: &BTreeSet<EntryPoint>) -> Result<Vec<Place>, Problems> {
    let by_name: BTreeMap<&str, usize> =
        graph.leaves.iter().enumerate().map(|(position, leaf)| (leaf.name.as_str(), position)).collect();
    let (coders, _) = crate::build::coders(graph);
    let mut problems = Problems::new();
    let mut places = Vec::new();
    for point in points {
        let mut leaves = BTreeSet::new();
        for name in &point.transforms {
            let found = by_name.get(name.as_str()).filter(|position| graph.leaves[**position].kind == LeafKind::Worker);
            let Some(position) = found else {
                problems.add(name, "has dead letters, and the pipeline has no such transform", SAME);
                continue;
            };
            if graph.leaves[*position].stateful {
                let fix = "what its keys have in their state would be missing: start the pipeline anew, without replay";
                problems.add(name, "has dead letters, and has state or timers now", fix);
            }
            leaves.insert(*position);
        }
        let inputs: BTreeSet<_> = leaves.iter().flat_map(|position| &graph.leaves[*position].inputs).collect();
        let mut inputs = inputs.into_iter();
        let Some(input) = inputs.next() else { continue };
        if inputs.next().is_some() {
            problems.add(point.to_string(), "have dead letters of one PCollection, and read several now", SAME);
        }
        let coder = coders.get(graph.pcollection(input).coder_id.as_str()).map(ToString::to_string).unwrap_or_default();
        if coder != point.coder {
            let what = format!("has dead letters encoded as `{}`, and reads `{coder}` now", point.coder);
            problems.add(point.to_string(), what, SAME);
        }
        let windows = windows_text(&graph.strategy_of(input).window_fn);
        if windows != point.window_fn {
            let what = format!(
                "has dead letters in windows that are {}, and reads windows that are {windows}",
                point.window_fn
            );
            problems.add(point.to_string(), what, SAME);
        }
        places.push(Place { input: input.clone(), leaves });
    }
    problems.into_result(places)
}

/// The way of the letters.
struct Way {
    /// By position.
    leaves: BTreeSet<usize>,
    /// Those of them that take nothing of the letters but side inputs.
    beside: BTreeSet<usize>,
    /// What is emitted along it.
    emitted: BTreeSet<PCollectionId>,
}

impl Way {
    fn new(graph: &Graph, places: &[Place]) -> Self {
        let mut way = Self { leaves: BTreeSet::new(), beside: BTreeSet::new(), emitted: BTreeSet::new() };
        // What is made of impulses alone: it is part of the pipeline.
        let mut constant = BTreeSet::<&PCollectionId>::new();
        // Leaves are in topological order, side inputs included.
        for (position, leaf) in graph.leaves.iter().enumerate() {
            let takes_letters = places.iter().any(|place| place.leaves.contains(&position));
            let is_constant = match leaf.kind {
                LeafKind::TestStream | LeafKind::Replay => false,
                LeafKind::Impulse
                | LeafKind::Flatten
                | LeafKind::GroupByKey
                | LeafKind::CombinePerKey
                | LeafKind::Worker
                | LeafKind::Barrier
                | LeafKind::SortByTime
                | LeafKind::Panes => !leaf.splittable && leaf.inputs.iter().all(|input| constant.contains(input)),
            };
            if is_constant {
                constant.extend(leaf.outputs.values());
            }
            if takes_letters || leaf.inputs.iter().any(|input| way.leads_to(input)) {
                way.leaves.insert(position);
            } else if is_constant && leaf.sides.values().any(|side| way.leads_to(side)) {
                way.beside.insert(position);
            } else {
                continue;
            }
            way.emitted.extend(leaf.outputs.values().cloned());
        }
        way
    }

    fn leads_to(&self, pcollection: &PCollectionId) -> bool {
        self.emitted.contains(pcollection)
    }

    /// The leaves that run: the way, what is read beside it, and what makes that.
    fn kept(&self, graph: &Graph) -> BTreeSet<usize> {
        let mut writers = BTreeMap::<&PCollectionId, usize>::new();
        let (mut panes, mut by_id) = (BTreeMap::<&PCollectionId, usize>::new(), BTreeMap::<&TransformId, usize>::new());
        for (position, leaf) in graph.leaves.iter().enumerate() {
            writers.extend(leaf.outputs.values().map(|output| (output, position)));
            by_id.insert(&leaf.id, position);
            if leaf.kind == LeafKind::Panes {
                panes.extend(leaf.inputs.iter().map(|input| (input, position)));
            }
        }
        let mut kept = BTreeSet::new();
        let mut pending: Vec<usize> = self.leaves.union(&self.beside).copied().collect();
        while let Some(position) = pending.pop() {
            if !kept.insert(position) {
                continue;
            }
            let leaf = &graph.leaves[position];
            let inputs = leaf.inputs.iter().filter(|_| !self.leaves.contains(&position));
            pending.extend(inputs.chain(leaf.sides.values()).filter_map(|input| writers.get(input).copied()));
            pending.extend(leaf.sides.values().filter_map(|side| panes.get(side).copied()));
            pending.extend(leaf.asks.iter().filter_map(|asked| by_id.get(asked).copied()));
        }
        kept
    }
}

/// The leaf that emits all letters.
fn source(graph: &mut Graph, letters: &[PCollectionId]) -> Leaf {
    let outputs: BTreeMap<LocalName, PCollectionId> = letters
        .iter()
        .enumerate()
        .map(|(point, letters)| (LocalName::new(point.to_string()), letters.clone()))
        .collect();
    let name = "dead letters".to_owned();
    let outputs_wire = outputs.iter().map(|(local, id)| (local.to_string(), id.to_string())).collect();
    let transform = pb::PTransform { unique_name: name.clone(), outputs: outputs_wire, ..pb::PTransform::default() };
    let id = graph.add_transform("purlin:dead_letters", transform);
    leaf(id.clone(), name, LeafKind::Replay, Vec::new(), outputs, id)
}

/// Letters, beside what still flows along their way.
fn join(graph: &mut Graph, reader: &Leaf, before: &PCollectionId, inputs: Vec<PCollectionId>) -> Leaf {
    let name = format!("{}/With dead letters", reader.name);
    let coder = graph.pcollection(before).coder_id.clone();
    let joined = graph.add_pcollection(before, &format!("{before} with dead letters"), &coder);
    let shown = graph.pcollection(before).unique_name.clone();
    if let Some(pcollection) = graph.components.pcollections.get_mut(joined.as_str()) {
        pcollection.unique_name = shown;
    }
    let transform = pb::PTransform { unique_name: name.clone(), ..pb::PTransform::default() };
    let id = graph.add_transform(&format!("{}/With dead letters", reader.id), transform);
    let outputs = BTreeMap::from([(LocalName::new("out"), joined)]);
    leaf(id, name, LeafKind::Flatten, inputs, outputs, reader.origin.clone())
}

fn leaf(
    id: TransformId,
    name: String,
    kind: LeafKind,
    inputs: Vec<PCollectionId>,
    outputs: BTreeMap<LocalName, PCollectionId>,
    origin: TransformId,
) -> Leaf {
    Leaf {
        id,
        name,
        kind,
        inputs,
        sides: BTreeMap::new(),
        outputs,
        env: None,
        forced_root: true,
        splittable: false,
        finalizes: false,
        stateful: false,
        asks: None,
        slices: None,
        origin,
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::PlanOptions;
    use crate::testing::TestPipeline;

    fn point(transforms: &[&str], coder: &str, windows: &str) -> EntryPoint {
        let transforms = transforms.iter().map(|name| (*name).to_owned()).collect();
        EntryPoint { transforms, coder: coder.to_owned(), window_fn: windows.to_owned() }
    }

    /// The plan of a pipeline into which letters come here, or what is wrong with that.
    fn replayed(pipeline: TestPipeline, points: &[EntryPoint]) -> String {
        let options = PlanOptions { isolate_sources: true, replay: points.iter().cloned().collect() };
        let plan = crate::plan(&pipeline.validated().planned_by(options));
        plan.map_or_else(|problems| problems.to_string(), |plan| crate::explain::text(&plan))
    }

    fn words() -> TestPipeline {
        TestPipeline::new()
            .collection("words", "string_utf8")
            .collection("numbers", "varint")
            .impulse("start")
            .par_do("Read", "start", &["words"])
            .par_do("Parse", "words", &["numbers"])
    }

    fn parse() -> EntryPoint {
        point(&["Parse"], "string_utf8", "global")
    }

    #[test]
    fn letters_stand_in_the_place_of_sources() {
        let pipeline = words()
            .collection("pairs", "kv<string_utf8, varint>")
            .collection("groups", "kv<string_utf8, iterable<varint>>")
            .par_do("Pair", "numbers", &["pairs"])
            .group("Group", "pairs", "groups")
            .par_do("Others", "words", &["others"]);
        assert_snapshot!(replayed(pipeline, &[parse()]), @"
        env0 py (beam:env:external:v1)
        s0 dead letters
             dead letters
          -> o0 purlin:dead_letters: string_utf8
        s1 worker in env0
             Parse
             Pair
          <- o0
          -> o1 pairs: kv<string_utf8, varint>
        s2 group (AppendOnce, Global, Default)
             Group
          <- o1 by key
        ");
    }

    #[test]
    fn what_is_read_beside_the_way_is_made_again_and_so_is_what_runs_once() {
        let pipeline = words()
            .impulse("table")
            .par_do("Rows", "table", &["rows"])
            .par_do("Enrich", "numbers", &["rich"])
            .sides(&[("rows", "iterable")])
            .impulse("once")
            .par_do("Finish", "once", &["finished"])
            .sides(&[("rich", "iterable")])
            .par_do("Idle", "table", &["idle"]);
        assert_snapshot!(replayed(pipeline, &[parse()]), @"
        env0 py (beam:env:external:v1)
        s0 dead letters
             dead letters
          -> o0 purlin:dead_letters: string_utf8
        s1 worker in env0
             Parse
          <- o0
          -> o1 numbers: varint
        s2 impulse
             Impulse table
          -> o2 table: bytes
        s3 worker in env0
             Rows
          <- o2
          -> o3 rows: bytes
        s4 impulse
             Impulse once
          -> o4 once: bytes
        s5 side0, kept as iterable
          <- o3
        s6 worker in env0
             Enrich
          <- o1 by window
          <- side0 as side0
          -> o5 rich: bytes
        s7 side1, kept as iterable
          <- o5
        s8 worker in env0
             Finish
          <- o4 by window
          <- side1 as side0
        ");
    }

    #[test]
    fn what_a_source_feeds_is_not_read_again_for_the_sake_of_a_side_input() {
        let pipeline = words()
            .collection("files", "string_utf8")
            .impulse("more")
            .par_do("Files", "more", &["files"])
            .par_do("ReadMore", "files", &["lines"])
            .splittable("any")
            .par_do("Compare", "lines", &["compared"])
            .sides(&[("numbers", "iterable")])
            .collection("all", "varint")
            .collection("made", "varint")
            .par_do("Make", "lines", &["made"])
            .flatten("All", &["numbers", "made"], "all")
            .par_do("Print", "all", &["printed"]);
        assert_snapshot!(replayed(pipeline, &[parse()]), @"
        env0 py (beam:env:external:v1)
        s0 dead letters
             dead letters
          -> o0 purlin:dead_letters: string_utf8
        s1 worker in env0
             Parse
          <- o0
          -> o1 numbers: varint
        s2 worker in env0
             Print
          <- o1
        ");
    }

    #[test]
    fn letters_of_two_places_go_each_to_its_own() {
        let pipeline = words()
            .reshuffle("Shuffle", "numbers", "shuffled")
            .collection("shuffled", "varint")
            .par_do("Add", "shuffled", &["added"])
            .par_do("Sub", "shuffled", &["subtracted"]);
        let both = point(&["Add", "Sub"], "varint", "global");
        assert_snapshot!(replayed(pipeline, &[parse(), both]), @"
        env0 py (beam:env:external:v1)
        s0 dead letters
             dead letters
          -> o0 purlin:dead_letters: varint
          -> o1 purlin:dead_letters_2: string_utf8
        s1 worker in env0
             Parse
          <- o1
          -> o2 numbers: varint
        s2 worker in env0
             Add
             Sub
          <- o0
          <- o2
        ");
    }

    #[test]
    fn what_does_not_fit_is_told_at_once() {
        let pipeline =
            || words().collection("numbers", "kv<varint, varint>").par_do("Count", "numbers", &["counts"]).stateful();
        let points = [
            point(&["Gone"], "string_utf8", "global"),
            point(&["Parse"], "bytes", "fixed, 1000 ms from 0 ms"),
            point(&["Count", "Parse"], "string_utf8", "global"),
            point(&["Count"], "kv<varint, varint>", "global"),
        ];
        assert_snapshot!(replayed(pipeline(), &points), @"
        this pipeline cannot run, for 6 reasons:
        - Count: has dead letters, and has state or timers now; what its keys have in their state would be missing: start the pipeline anew, without replay
        - Count + Parse: has dead letters encoded as `string_utf8`, and reads `kv<varint, varint>` now; replay with the pipeline that they come from, changed only in what its DoFns do
        - Count + Parse: have dead letters of one PCollection, and read several now; replay with the pipeline that they come from, changed only in what its DoFns do
        - Gone: has dead letters, and the pipeline has no such transform; replay with the pipeline that they come from, changed only in what its DoFns do
        - Parse: has dead letters encoded as `bytes`, and reads `string_utf8` now; replay with the pipeline that they come from, changed only in what its DoFns do
        - Parse: has dead letters in windows that are fixed, 1000 ms from 0 ms, and reads windows that are global; replay with the pipeline that they come from, changed only in what its DoFns do
        ");
    }
}
