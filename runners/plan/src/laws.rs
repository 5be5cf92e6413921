//! What holds for every plan: laws, tried on random pipelines and on damaged ones.
//!
//! ```text
//!   random steps ─► TestPipeline ─► plan ─► each leaf in one stage, producers first, bytes read as they were written
//!   one pipeline with something of everything ─damage─► validate, plan: an answer, never a panic
//! ```

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;
use purlin_engine::core::stage::StageKind;
use purlin_model::coder::Coder;
use purlin_model::ids::{PCollectionId, TransformId};
use purlin_proto::convert::coder::from_components;
use purlin_proto::convert::problem::{Path, Problems as WireProblems};
use purlin_proto::pipeline::v1 as pb;

use crate::graph::LeafKind;
use crate::testing::TestPipeline;
use crate::{StageGraph, explain, passes, plan, validate};

const STRATEGIES: &[&str] = &["global", "fixed", "sessions", "custom", "custom_merging"];
const VALUES: &[&str] = &["varint", "any", "kv<bytes, any>", "nullable<string_utf8>"];

/// Something that reads collections that are there already, and adds some.
#[derive(Clone, Debug)]
enum Step {
    ParDo { input: Index, java: bool, outputs: Vec<(Index, Option<Index>)>, sides: Vec<(Index, bool)>, extra: Extra },
    Flatten { inputs: Vec<Index>, like: Index },
    Group { input: Index, promises_any: bool },
    Combine { input: Index },
    Reshuffle { input: Index },
}

/// What a ParDo asks for.
#[derive(Clone, Copy, Debug)]
enum Extra {
    Nothing,
    State,
    Sorted,
    Timers,
    Splittable,
    Stable,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let extra = prop_oneof![
        6 => Just(Extra::Nothing),
        1 => Just(Extra::State),
        1 => Just(Extra::Sorted),
        1 => Just(Extra::Timers),
        1 => Just(Extra::Splittable),
        1 => Just(Extra::Stable),
    ];
    let outputs = prop::collection::vec((any::<Index>(), prop::option::weighted(0.3, any::<Index>())), 0..3);
    let sides = prop::collection::vec((any::<Index>(), any::<bool>()), 0..3);
    let sides = prop_oneof![2 => Just(vec![]), 1 => sides];
    let par_do = (any::<Index>(), prop::bool::weighted(0.3), outputs, sides, extra)
        .prop_map(|(input, java, outputs, sides, extra)| Step::ParDo { input, java, outputs, sides, extra });
    let flatten = (prop::collection::vec(any::<Index>(), 0..4), any::<Index>());
    let step = prop_oneof![
        6 => par_do,
        3 => flatten.prop_map(|(inputs, like)| Step::Flatten { inputs, like }),
        2 => (any::<Index>(), any::<bool>()).prop_map(|(input, promises_any)| Step::Group { input, promises_any }),
        1 => any::<Index>().prop_map(|input| Step::Combine { input }),
        1 => any::<Index>().prop_map(|input| Step::Reshuffle { input }),
    ];
    prop::collection::vec(step, 1..14)
}

/// A collection of pairs.
#[derive(Clone, Debug)]
struct Made {
    id: String,
    value: String,
    strategy: &'static str,
}

impl Made {
    fn coder(&self) -> String {
        format!("kv<string_utf8, {}>", self.value)
    }
}

/// A pipeline under construction, and the collections that steps may read.
struct Random {
    pipeline: TestPipeline,
    made: Vec<Made>,
    count: usize,
}

/// A well-formed pipeline of these steps, its roots in the order of `order`.
fn pipeline(steps: &[Step], order: &[Index]) -> TestPipeline {
    let start = TestPipeline::new().environment("java", &["string_utf8", "kv", "varint"]).impulse("start");
    let mut random = Random { pipeline: start, made: Vec::new(), count: 0 };
    let first = random.add("any", "global");
    random.change(|pipeline| pipeline.par_do("First", "start", &[&first]));
    for (number, step) in steps.iter().enumerate() {
        random.step(&format!("T{number}"), step);
    }
    random.pipeline.roots_swapped(order)
}

impl Random {
    fn change(&mut self, change: impl FnOnce(TestPipeline) -> TestPipeline) {
        self.pipeline = change(self.pipeline.clone());
    }

    /// A collection that no later step reads.
    fn hidden(&mut self, value: &str, strategy: &'static str) -> Made {
        self.count += 1;
        let made = Made { id: format!("c{}", self.count), value: value.to_owned(), strategy };
        self.change(|pipeline| pipeline.windowed(&made.id, &made.coder(), strategy));
        made
    }

    fn add(&mut self, value: &str, strategy: &'static str) -> String {
        let made = self.hidden(value, strategy);
        self.made.push(made);
        self.made[self.made.len() - 1].id.clone()
    }

    fn any(&self, index: &Index) -> Made {
        index.get(&self.made).clone()
    }

    fn step(&mut self, name: &str, step: &Step) {
        match step {
            Step::ParDo { input, java, outputs, sides, extra } => {
                let input = self.any(input);
                let access = |keyed| if keyed { "multimap" } else { "iterable" };
                // A side input in sessions is refused.
                let sides = sides.iter().map(|(side, keyed)| (self.any(side), access(*keyed)));
                let sides = sides.filter(|(side, _)| side.strategy != "sessions");
                let sides: Vec<_> = sides.map(|(side, access)| (side.id, access)).collect();
                let strategy =
                    |own: &Option<Index>| own.map_or(input.strategy, |own| STRATEGIES[own.index(STRATEGIES.len())]);
                let outputs: Vec<_> = outputs
                    .iter()
                    .map(|(value, own)| self.add(VALUES[value.index(VALUES.len())], strategy(own)))
                    .collect();
                let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
                let sides: Vec<_> = sides.iter().map(|(side, access)| (side.as_str(), *access)).collect();
                self.change(|pipeline| {
                    let env = if *java { "java" } else { "py" };
                    let par_do = pipeline.par_do(name, &input.id, &outputs).in_env(env).sides(&sides);
                    match extra {
                        Extra::Nothing => par_do,
                        Extra::State => par_do.stateful(),
                        Extra::Sorted => par_do.stateful().payload(|payload| payload.requires_time_sorted_input = true),
                        Extra::Timers => par_do.timers(),
                        Extra::Splittable => par_do.splittable("range"),
                        Extra::Stable => par_do.payload(|payload| payload.requires_stable_input = true),
                    }
                });
            }
            Step::Flatten { inputs, like } => {
                let like = self.any(like);
                let inputs: Vec<_> = inputs.iter().map(|input| self.any(input)).collect();
                let alike = inputs.iter().filter(|input| input.strategy == like.strategy);
                let inputs: Vec<&str> = alike.map(|input| input.id.as_str()).collect();
                let output = self.add(&like.value, like.strategy);
                self.change(|pipeline| pipeline.flatten(name, &inputs, &output));
            }
            Step::Group { input, promises_any } => {
                let input = self.any(input);
                let value = if *promises_any { "any" } else { &input.value };
                let output = self.add(&format!("iterable<{value}>"), input.strategy);
                self.change(|pipeline| pipeline.group(name, &input.id, &output));
            }
            Step::Combine { input } => {
                let input = self.any(input);
                let groups = self.hidden(&format!("iterable<{}>", input.value), input.strategy).id;
                let output = self.add("varint", input.strategy);
                self.change(|pipeline| pipeline.combine(name, &input.id, &groups, &output, "partial"));
            }
            Step::Reshuffle { input } => {
                let input = self.any(input);
                let output = self.add(&input.value, input.strategy);
                self.change(|pipeline| pipeline.reshuffle(name, &input.id, &output));
            }
        }
    }
}

/// Checks a plan against the pipeline that it is of.
fn check(pipeline: TestPipeline) -> Result<(), TestCaseError> {
    let validated = pipeline.validated();
    let plan = plan(&validated).map_err(|problems| TestCaseError::fail(problems.to_string()))?;
    prop_assert_eq!(plan.graph.check(), Ok(()));
    let mut graph = validated.graph.clone();
    passes::run_all(&mut graph);
    // Where elements of a PCollection come from, counted without following any way twice.
    let mut sources = BTreeMap::<&PCollectionId, Vec<&PCollectionId>>::new();
    for leaf in &graph.leaves {
        let passive = matches!(leaf.kind, LeafKind::Flatten | LeafKind::Barrier);
        let through = leaf.inputs.iter().flat_map(|input| sources.get(input).into_iter().flatten().copied()).collect();
        for output in leaf.outputs.values() {
            let of = if passive { Vec::clone(&through) } else { vec![output] };
            sources.insert(output, of);
        }
    }
    let leaves: BTreeMap<&TransformId, _> = graph.leaves.iter().map(|leaf| (&leaf.id, leaf)).collect();
    let coders = wire_coders(&plan);
    let coder = |id: &PCollectionId| &coders[plan.components.pcollections[id.as_str()].coder_id.as_str()];

    let mut planned: Vec<_> = plan.stages.iter().flat_map(|stage| &stage.transforms).collect();
    planned.sort();
    let passive = |kind| matches!(kind, LeafKind::Flatten | LeafKind::Barrier);
    let mut expected: Vec<_> = leaves.values().filter(|leaf| !passive(leaf.kind)).map(|leaf| &leaf.id).collect();
    expected.sort();
    prop_assert_eq!(planned, expected, "each leaf stands in exactly one stage");

    for (stage, spec) in plan.stages.iter().zip(&plan.graph.stages) {
        let within: BTreeSet<&PCollectionId> =
            stage.transforms.iter().flat_map(|id| leaves[id].outputs.values()).collect();
        for id in &stage.transforms {
            let leaf = leaves[id];
            for input in &leaf.inputs {
                let from_source = stage.input.as_ref() == Some(input);
                prop_assert!(from_source || within.contains(input), "{} of {} lacks {input}", id, spec.name);
            }
            for (local, side) in &leaf.sides {
                prop_assert!(!within.contains(side), "{} of {} waits for itself", id, spec.name);
                let uses: Vec<_> =
                    stage.sides.iter().filter(|it| it.transform == *id && it.local_name == *local).collect();
                prop_assert_eq!(uses.len(), 1);
                let keeper = plan.graph.side(uses[0].side).materialize;
                prop_assert!(keeper < spec.id && plan.stages[keeper.index()].input.as_ref() == Some(side));
            }
            let env = spec.env.map(|env| &plan.environments[env.0 as usize].id);
            prop_assert_eq!(env, leaf.env.as_ref(), "{} runs where it belongs", id);
        }
        let Some(input) = &stage.input else { continue };
        let mut sent: Vec<&str> = Vec::new();
        for output in &plan.graph.outputs {
            let times = output.consumers.iter().filter(|consumer| consumer.stage == spec.id).count();
            let merges = matches!(spec.kind, StageKind::Group { merge: Some(merge), .. } if merge == output.producer);
            let answers = merges || spec.truncated_by == Some(output.producer);
            if times == 0 || answers {
                continue;
            }
            prop_assert!(output.producer < spec.id && spec.upstream.contains(&output.id));
            prop_assert_eq!(&output.coder, coder(input), "{} reads {} as it was written", spec.name, output.name);
            sent.extend(std::iter::repeat_n(&*output.name, times));
        }
        // Questions about windows come from the grouping itself, as those to a truncation do from what waits.
        let mut wanted: Vec<&str> = sources.get(input).into_iter().flatten().map(|source| source.as_str()).collect();
        wanted.sort_unstable();
        sent.sort_unstable();
        prop_assert_eq!(sent, wanted, "{} gets what is flattened twice, twice", spec.name);
        if let StageKind::Group { .. } = spec.kind {
            let Some(output) = leaves[&stage.transforms[0]].outputs.values().next() else { continue };
            let (Coder::Kv(key, value), Coder::Kv(same_key, values)) = (&**coder(input), &**coder(output)) else {
                return Err(TestCaseError::fail("no pairs are grouped"));
            };
            prop_assert_eq!(key, same_key);
            let by_reference = Coder::StateBackedIterable(value.clone());
            prop_assert!(**values == Coder::Iterable(value.clone()) || **values == by_reference, "{values}");
        }
    }
    Ok(())
}

fn wire_coders(plan: &StageGraph) -> BTreeMap<purlin_model::ids::CoderId, std::sync::Arc<Coder>> {
    let mut problems = WireProblems::new();
    let coders = from_components(&plan.components.coders, &Path::root("coders"), &mut problems);
    assert!(problems.is_empty(), "{problems}");
    coders
}

/// What is said of a pipeline, sound or not; the same if asked again.
fn answer(pipeline: &pb::Pipeline) -> Result<String, String> {
    let answer = || {
        let planned = validate(pipeline.clone()).and_then(|validated| plan(&validated));
        planned.map_err(|problems| problems.to_string())
    };
    let (first, second) = (answer(), answer());
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
    let plan = first?;
    for stage in &plan.stages {
        let _ = plan.descriptor(stage.id, "d", "localhost:1");
    }
    let _ = explain::dot(&plan);
    Ok(explain::text(&plan))
}

/// Something of everything.
fn everything() -> pb::Pipeline {
    TestPipeline::new()
        .environment("java", &["kv", "string_utf8"])
        .collection("lines", "any")
        .windowed("pairs", "kv<string_utf8, any>", "fixed")
        .windowed("groups", "kv<string_utf8, iterable<any>>", "fixed")
        .windowed("lists", "kv<string_utf8, iterable<any>>", "fixed")
        .windowed("sums", "kv<string_utf8, varint>", "fixed")
        .windowed("days", "kv<string_utf8, any>", "custom_merging")
        .windowed("grouped days", "kv<string_utf8, iterable<any>>", "custom_merging")
        .windowed("all", "kv<string_utf8, any>", "fixed")
        .impulse("start")
        .par_do("Read", "start", &["lines"])
        .splittable("range")
        .par_do("Pair", "lines", &["pairs"])
        .sides(&[("start", "iterable")])
        .par_do("Days", "lines", &["days"])
        .in_env("java")
        .group("Group", "pairs", "groups")
        .group("Group days", "days", "grouped days")
        .combine("Sum", "pairs", "lists", "sums", "partial")
        .par_do("Number", "pairs", &["numbered"])
        .stateful()
        .timers()
        .sides(&[("pairs", "multimap")])
        .flatten("Join", &["sums", "pairs"], "all")
        .reshuffle("Shuffle", "all", "shuffled")
        .collection("shuffled", "kv<string_utf8, any>")
        .par_do("Print", "shuffled", &["printed"])
        .change(|components| {
            components.pcollections.get_mut("shuffled").unwrap().windowing_strategy_id = "fixed".into()
        })
        .proto()
}

/// One change of a pipeline's components: which field, of which component, to what.
#[derive(Clone, Copy, Debug)]
struct Damage {
    kind: u8,
    at: Index,
    to: Index,
}

impl Damage {
    fn apply(self, pipeline: &mut pb::Pipeline) {
        let components = pipeline.components.get_or_insert_default();
        match self.kind {
            0 => self.drop_or_rename(&mut components.transforms),
            1 => self.drop_or_rename(&mut components.pcollections),
            2 => self.drop_or_rename(&mut components.coders),
            3 => self.drop_or_rename(&mut components.windowing_strategies),
            4 => self.drop_or_rename(&mut components.environments),
            5 => self.refer(&components.coders.clone(), &mut components.pcollections, |it| &mut it.coder_id),
            6 => self.refer(&components.windowing_strategies.clone(), &mut components.pcollections, |it| {
                &mut it.windowing_strategy_id
            }),
            7 => self
                .refer(&components.coders.clone(), &mut components.windowing_strategies, |it| &mut it.window_coder_id),
            8 => self.refer(&components.environments.clone(), &mut components.transforms, |it| &mut it.environment_id),
            9 => self.refer(&components.pcollections.clone(), &mut components.transforms, |it| {
                it.inputs.entry("0".to_owned()).or_default()
            }),
            10 => self.refer(&components.pcollections.clone(), &mut components.transforms, |it| {
                it.outputs.entry("0".to_owned()).or_default()
            }),
            11 => self.refer(&components.transforms.clone(), &mut components.transforms, |it| {
                it.subtransforms.push(String::new());
                it.subtransforms.last_mut().unwrap()
            }),
            12 => self.refer(&components.coders.clone(), &mut components.coders, |it| {
                if it.component_coder_ids.is_empty() {
                    it.component_coder_ids.push(String::new());
                }
                &mut it.component_coder_ids[0]
            }),
            13 => self.exchange(&mut components.transforms, |from, to| to.spec = from.spec),
            14 => self.exchange(&mut components.coders, |from, to| to.spec = from.spec),
            15 => self.exchange(&mut components.windowing_strategies, |from, to| to.merge_status = from.merge_status),
            _ => {
                let root = self.at.get(&pipeline.root_transform_ids).clone();
                pipeline.root_transform_ids.push(root);
            }
        }
    }

    fn drop_or_rename<T>(self, map: &mut BTreeMap<String, T>) {
        let Some(key) = self.key(self.at, map) else { return };
        let value = map.remove(&key);
        if self.to.index(2) == 0 {
            map.extend(value.map(|value| (key + "'", value)));
        }
    }

    fn refer<T, U>(self, to: &BTreeMap<String, U>, of: &mut BTreeMap<String, T>, field: fn(&mut T) -> &mut String) {
        let (Some(at), Some(to)) = (self.key(self.at, of), self.key(self.to, to)) else { return };
        of.entry(at).and_modify(|it| *field(it) = to);
    }

    fn exchange<T: Clone>(self, map: &mut BTreeMap<String, T>, change: fn(T, &mut T)) {
        let (Some(at), Some(from)) = (self.key(self.at, map), self.key(self.to, map)) else { return };
        let from = map[&from].clone();
        map.entry(at).and_modify(|it| change(from, it));
    }

    fn key<T>(self, index: Index, map: &BTreeMap<String, T>) -> Option<String> {
        (!map.is_empty()).then(|| map.keys().nth(index.index(map.len())).cloned())?
    }
}

/// Which roots change places.
fn order() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 0..20)
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let damage = (0..17_u8, any::<Index>(), any::<Index>()).prop_map(|(kind, at, to)| Damage { kind, at, to });
    prop::collection::vec(damage, 1..4)
}

proptest! {
    #[test]
    fn every_plan_keeps_the_laws(steps in steps(), order in order()) {
        check(pipeline(&steps, &order))?;
    }

    #[test]
    fn planning_again_gives_the_same(steps in steps(), order in order()) {
        prop_assert!(answer(&pipeline(&steps, &order).proto()).is_ok());
    }

    #[test]
    fn wrong_references_are_planned_or_refused(damages in damages()) {
        let mut pipeline = everything();
        damages.iter().for_each(|damage| damage.apply(&mut pipeline));
        let _ = answer(&pipeline);
    }

    #[test]
    fn wrong_bytes_are_planned_or_refused(changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..5)) {
        let mut bytes = everything().encode_to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(pipeline) = pb::Pipeline::decode(bytes.as_slice()) {
            let _ = answer(&pipeline);
        }
    }
}

#[test]
fn what_is_damaged_was_sound() {
    assert!(answer(&everything()).is_ok());
}
