//! From the proto to leaves in topological order, reporting whatever is wrong with its structure.
//!
//! ```text
//!   root_transform_ids ─walk─► leaves ─order─► Graph
//! ```
//! A composite that the runner executes whole (reshuffles, combiners that may be lifted) is a leaf here; what is
//! inside it is never looked at. One that hands its input on is none.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use purlin_model::ids::{EnvironmentId, LocalName, PCollectionId, TransformId, WindowingStrategyId};
use purlin_model::windowing_strategy::{MergeStatus, TimestampCombiner, WindowingStrategy};
use purlin_proto::convert::problem::{Fault, Path, Problems as WireProblems};
use purlin_proto::convert::windowing_strategy;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_ptransforms::{
    combine_components, composites, primitives, splittable_par_do_components,
};

use crate::graph::{Graph, Leaf, LeafKind};
use crate::order::order;
use crate::payload::{is_of_par_do, is_part_of_splittable};
use crate::problem::Problems;
use crate::windowing;

/// How deep transforms may be nested; SDKs nest a few dozen.
const DEPTH_MAX: usize = 200;

/// How every id begins that is made here for workers, and no id of a pipeline.
pub(crate) const OWN: &str = "purlin:";

/// What to do about a component that is missing or unreadable: no user can mend one by hand.
pub(crate) const WHOLE: &str = "submit the pipeline as the SDK wrote it, with all its components";

/// What to do about a fault in a message, where the fault does not say it itself.
pub(crate) fn fix(fault: &Fault) -> &'static str {
    match fault {
        Fault::Missing { .. }
        | Fault::UnknownNumber { .. }
        | Fault::Unsupported { .. }
        | Fault::OutOfRange { .. }
        | Fault::WrongCount { .. } => "",
        Fault::TooDeep { .. } => "nest less",
        Fault::Malformed { .. } | Fault::Dangling { .. } | Fault::Cycle { .. } => WHOLE,
    }
}

/// A transform that gives what it takes; it names no environment.
const PYTHON_IDENTITY: &str = "beam:dofn:identity:0.1";

/// Reads a pipeline. With problems, what is returned is only good for finding more of them.
pub(crate) fn parse(pipeline: &pb::Pipeline, problems: &mut Problems) -> Graph {
    let components = pipeline.components.clone().unwrap_or_default();
    let strategies = strategies(&components, problems);
    let mut walk = Walk {
        components: &components,
        strategies: &strategies,
        problems,
        leaves: Vec::new(),
        seen: BTreeSet::new(),
        lost: BTreeSet::new(),
    };
    // A pipeline of nothing is one, and done at once.
    if pipeline.root_transform_ids.is_empty() && !components.transforms.is_empty() {
        walk.problems.add(
            "pipeline",
            "has transforms but names no roots",
            "name its outermost ones in root_transform_ids",
        );
    }
    for root in &pipeline.root_transform_ids {
        walk.transform(root, "root_transform_ids", 0);
    }
    let (leaves, lost) = (walk.leaves, walk.lost);
    let leaves = sort(leaves, &lost, problems);
    Graph { leaves, components, strategies }
}

fn strategies(
    components: &pb::Components,
    problems: &mut Problems,
) -> BTreeMap<WindowingStrategyId, WindowingStrategy> {
    let mut strategies = BTreeMap::new();
    let root = Path::root("windowing_strategies");
    for (id, strategy) in &components.windowing_strategies {
        let mut wire = WireProblems::new();
        if let Some(strategy) = windowing_strategy::from_wire(strategy, &root.key(id), &mut wire) {
            let asked = windowing::asked(components, strategy.environment_id.as_ref());
            strategies.insert(id.as_str().into(), WindowingStrategy { asked, ..strategy });
        }
        for problem in wire.iter() {
            let what = format!("{problem}{}", emitter(components, id));
            problems.add(format!("windowing strategy `{id}`"), what, fix(&problem.fault));
        }
    }
    strategies
}

/// Where a windowing strategy comes from, as its user knows it: a transform that emits in it what it does not get in it, if there is one.
fn emitter(components: &pb::Components, strategy: &str) -> String {
    let windowed = |id: &String| {
        let pcollection = components.pcollections.get(id);
        pcollection.is_some_and(|pcollection| pcollection.windowing_strategy_id == strategy)
    };
    let leaves = components.transforms.values().filter(|transform| transform.subtransforms.is_empty());
    let emitters = leaves.filter(|transform| transform.outputs.values().any(windowed));
    let first = emitters.min_by_key(|transform| transform.inputs.values().any(windowed));
    first.map(|transform| format!(" (in what `{}` emits)", transform.unique_name)).unwrap_or_default()
}

struct Walk<'a, 'p> {
    components: &'a pb::Components,
    strategies: &'a BTreeMap<WindowingStrategyId, WindowingStrategy>,
    problems: &'p mut Problems,
    leaves: Vec<Leaf>,
    seen: BTreeSet<&'a str>,
    /// What transforms emit that are refused: whoever reads it has no other problem than theirs.
    lost: BTreeSet<&'a str>,
}

impl<'a> Walk<'a, '_> {
    fn transform(&mut self, id: &'a str, from: &str, depth: usize) {
        let Some(transform) = self.components.transforms.get(id) else {
            self.problems.add(from, format!("names transform `{id}`, which does not exist"), WHOLE);
            return;
        };
        if depth > DEPTH_MAX {
            let fix = "nest fewer composites";
            self.refuse(id, transform, format!("is nested deeper than {DEPTH_MAX} levels"), fix);
            return;
        }
        if !self.seen.insert(id) {
            let what = "is named more than once, as a root or as a sub-transform";
            self.problems.add(place(id, transform), what, "name each transform in one place");
            return;
        }
        if id.starts_with(OWN) {
            let what = format!("has the id `{id}`, and ids that begin with `{OWN}` are Purlin's own");
            self.problems.add(place(id, transform), what, "choose another id");
        }
        let urn = urn(transform);
        if is_barrier(urn) {
            self.leaf(id, transform, LeafKind::Barrier);
        } else if transform.subtransforms.is_empty() {
            self.primitive(id, transform, urn);
        } else if urn == composites::COMBINE_PER_KEY && self.may_lift(transform) {
            self.leaf(id, transform, LeafKind::CombinePerKey);
        } else {
            let name = place(id, transform);
            for sub in &transform.subtransforms {
                if !self.components.transforms.contains_key(sub) {
                    self.lost.extend(transform.outputs.values().map(String::as_str));
                }
                self.transform(sub, &name, depth + 1);
            }
        }
    }

    /// Reports a transform of which nothing is kept.
    fn refuse(&mut self, id: &str, transform: &'a pb::PTransform, what: String, fix: &str) {
        self.problems.add(place(id, transform), what, fix);
        self.lost.extend(transform.outputs.values().map(String::as_str));
    }

    fn primitive(&mut self, id: &str, transform: &'a pb::PTransform, urn: &str) {
        let inputs: BTreeSet<_> = transform.inputs.values().collect();
        match urn {
            primitives::IMPULSE => self.leaf(id, transform, LeafKind::Impulse),
            primitives::TEST_STREAM if !self.environment_lists(transform, urn) => {
                self.leaf(id, transform, LeafKind::TestStream);
            }
            // A change of coders that Python's own optimizer puts before a Flatten is a Flatten of one.
            primitives::FLATTEN | PYTHON_IDENTITY => self.leaf(id, transform, LeafKind::Flatten),
            composites::COMBINE_PER_KEY if self.may_lift(transform) => {
                self.leaf(id, transform, LeafKind::CombinePerKey)
            }
            primitives::GROUP_BY_KEY => self.leaf(id, transform, LeafKind::GroupByKey),
            primitives::PAR_DO
            | primitives::ASSIGN_WINDOWS
            | combine_components::COMBINE_PER_KEY_PRECOMBINE
            | combine_components::COMBINE_PER_KEY_MERGE_ACCUMULATORS
            | combine_components::COMBINE_PER_KEY_EXTRACT_OUTPUTS
            | combine_components::COMBINE_PER_KEY_CONVERT_TO_ACCUMULATORS
            | combine_components::COMBINE_GROUPED_VALUES => self.leaf(id, transform, LeafKind::Worker),
            // Python's own optimizer may have taken it apart.
            _ if is_part_of_splittable(urn) => self.leaf(id, transform, LeafKind::Worker),
            // What the environment itself says it can execute.
            _ if self.environment_lists(transform, urn) => self.leaf(id, transform, LeafKind::Worker),
            _ if transform.outputs.values().all(|output| inputs.contains(output)) => {}
            "" => {
                let fix = "give its `spec` a URN, or its sub-transforms";
                self.refuse(id, transform, "does not say what it does".to_owned(), fix);
            }
            _ => self.refuse(
                id,
                transform,
                format!("is a transform of kind `{urn}`, which neither Purlin nor its environment knows"),
                "replace it by transforms that Beam defines, or choose a runner that knows it",
            ),
        }
    }

    fn environment_lists(&self, transform: &pb::PTransform, urn: &str) -> bool {
        let environment = self.components.environments.get(&transform.environment_id);
        !urn.is_empty() && environment.is_some_and(|environment| environment.capabilities.iter().any(|it| it == urn))
    }

    /// Whether a combiner may run before and behind its grouping: the SDK has not arranged that itself, nothing
    /// depends on when single elements arrive, and windows do not merge. Bounded input has one pane, whatever its trigger.
    fn may_lift(&self, transform: &pb::PTransform) -> bool {
        let subs: Vec<_> =
            transform.subtransforms.iter().filter_map(|sub| self.components.transforms.get(sub)).collect();
        let lifted = subs.iter().any(|sub| urn(sub) == combine_components::COMBINE_PER_KEY_PRECOMBINE);
        let payload = transform.spec.as_ref().map(|spec| pb::CombinePayload::decode(&spec.payload[..]));
        let accumulates = matches!(payload, Some(Ok(payload)) if !payload.accumulator_coder_id.is_empty());
        let input = transform.inputs.values().next().and_then(|input| self.components.pcollections.get(input));
        let strategy = input.and_then(|input| self.strategies.get(input.windowing_strategy_id.as_str()));
        let unbounded = input.is_some_and(|input| input.is_bounded() == pb::is_bounded::Enum::Unbounded);
        let plain = strategy.is_some_and(|strategy| {
            // What was combined with late elements is as late as they are, and the pane would lose its timestamp.
            let keeps_time = strategy.timestamp_combiner != TimestampCombiner::Earliest;
            let keeps_panes = strategy.trigger.allows_lifting() && !strategy.tells_elements_apart();
            let keeps_panes = !unbounded || keeps_panes && keeps_time;
            strategy.merge_status != MergeStatus::NeedsMerge && keeps_panes
        });
        let one_each = transform.inputs.len() == 1 && transform.outputs.len() == 1;
        !lifted && accumulates && plain && one_each && self.environment_of(transform).is_some()
    }

    /// The environment of a composite: its own, or that of the first transform in it that has one.
    fn environment_of(&self, transform: &pb::PTransform) -> Option<&'a str> {
        let (mut pending, mut seen) = (vec![transform], BTreeSet::new());
        while let Some(transform) = pending.pop() {
            if let Some((id, _)) = self.components.environments.get_key_value(&transform.environment_id) {
                return Some(id);
            }
            let subs = transform.subtransforms.iter().rev().filter(|sub| seen.insert(sub.as_str()));
            pending.extend(subs.filter_map(|sub| self.components.transforms.get(sub)));
        }
        None
    }

    fn leaf(&mut self, id: &str, transform: &'a pb::PTransform, kind: LeafKind) {
        let name = place(id, transform);
        let mut complete = true;
        for pcollection in transform.inputs.values().chain(transform.outputs.values()) {
            if !self.components.pcollections.contains_key(pcollection) {
                let what = format!("names PCollection `{pcollection}`, which does not exist");
                self.problems.add(&name, what, WHOLE);
                complete = false;
            }
        }
        let par_do = self.par_do(&name, transform);
        let sides = self.side_inputs(&name, transform, par_do.as_ref());
        let inputs: Vec<PCollectionId> = transform
            .inputs
            .iter()
            .filter(|(local, _)| !sides.contains_key(local.as_str()))
            .map(|(_, input)| input.as_str().into())
            .collect();
        // A payload that cannot be read does not tell main inputs from side inputs.
        let readable = par_do.is_some() || !is_of_par_do(urn(transform));
        let (wanted, fix) = match kind {
            LeafKind::Impulse => (0..=0, "an impulse has no input"),
            LeafKind::TestStream | LeafKind::Replay => (0..=0, "a TestStream has no input"),
            LeafKind::Flatten => (0..=usize::MAX, ""),
            LeafKind::GroupByKey
            | LeafKind::CombinePerKey
            | LeafKind::Worker
            | LeafKind::Barrier
            | LeafKind::SortByTime
            | LeafKind::Panes => (1..=1, "it takes exactly one beside its side inputs"),
        };
        if readable && !wanted.contains(&inputs.len()) {
            self.problems.add(&name, format!("has {} main inputs", inputs.len()), fix);
            complete = false;
        }
        if !matches!(kind, LeafKind::Worker | LeafKind::TestStream) && transform.outputs.len() != 1 {
            let what = format!("has {} outputs", transform.outputs.len());
            self.problems.add(&name, what, "a transform of its kind has exactly one");
            complete = false;
        }
        let env = match kind {
            LeafKind::Worker => self.environment(&name, transform),
            LeafKind::CombinePerKey => self.environment_of(transform).map(EnvironmentId::from),
            LeafKind::Impulse
            | LeafKind::Replay
            | LeafKind::TestStream
            | LeafKind::Flatten
            | LeafKind::GroupByKey
            | LeafKind::Barrier
            | LeafKind::SortByTime
            | LeafKind::Panes => None,
        };
        if !complete || !readable {
            self.lost.extend(transform.outputs.values().map(String::as_str));
            return;
        }
        let stateful = par_do
            .as_ref()
            .is_some_and(|payload| !payload.state_specs.is_empty() || !payload.timer_family_specs.is_empty());
        let process = urn(transform) == splittable_par_do_components::PROCESS_SIZED_ELEMENTS_AND_RESTRICTIONS;
        // Of a DoFn in parts, the one that processes is told of bundles.
        let finalizes = process || !is_part_of_splittable(urn(transform));
        let id = TransformId::new(id);
        self.leaves.push(Leaf {
            origin: id.clone(),
            id,
            name,
            kind,
            inputs,
            sides,
            outputs: transform.outputs.iter().map(|(local, id)| (local.as_str().into(), id.as_str().into())).collect(),
            env,
            forced_root: process || stateful || par_do.as_ref().is_some_and(|payload| payload.requires_stable_input),
            splittable: process,
            finalizes: finalizes && par_do.is_some_and(|payload| payload.requests_finalization),
            stateful,
            asks: None,
            slices: None,
        });
    }

    fn par_do(&mut self, name: &str, transform: &pb::PTransform) -> Option<pb::ParDoPayload> {
        let spec = transform.spec.as_ref().filter(|spec| is_of_par_do(&spec.urn))?;
        let read = pb::ParDoPayload::decode(&spec.payload[..]);
        read.map_err(|error| {
            let what = format!("has a ParDoPayload that cannot be read: {error}");
            self.problems.add(name, what, "send the payload that Beam defines for a ParDo");
        })
        .ok()
    }

    fn side_inputs(
        &mut self,
        name: &str,
        transform: &pb::PTransform,
        par_do: Option<&pb::ParDoPayload>,
    ) -> BTreeMap<LocalName, PCollectionId> {
        let mut sides = BTreeMap::new();
        for local in par_do.iter().flat_map(|payload| payload.side_inputs.keys()) {
            match transform.inputs.get(local) {
                Some(side) => {
                    sides.insert(local.as_str().into(), side.as_str().into());
                }
                None => {
                    let what = format!("declares side input `{local}`, which is none of its inputs");
                    self.problems.add(name, what, "name the PCollection in its `inputs`");
                }
            }
        }
        sides
    }

    fn environment(&mut self, name: &str, transform: &pb::PTransform) -> Option<EnvironmentId> {
        let env = transform.environment_id.as_str();
        if env.is_empty() {
            let what = "is executed by an SDK, but names no environment";
            self.problems.add(name, what, "set `environment_id` in its PTransform");
            return None;
        }
        if !self.components.environments.contains_key(env) {
            self.problems.add(name, format!("names environment `{env}`, which does not exist"), WHOLE);
            return None;
        }
        Some(env.into())
    }
}

/// What a transform is called, for people: its id if it has no name.
fn place(id: &str, transform: &pb::PTransform) -> String {
    if transform.unique_name.is_empty() { id.to_owned() } else { transform.unique_name.clone() }
}

fn urn(transform: &pb::PTransform) -> &str {
    transform.spec.as_ref().map_or("", |spec| spec.urn.as_str())
}

fn is_barrier(urn: &str) -> bool {
    [composites::RESHUFFLE, composites::REDISTRIBUTE_BY_KEY, composites::REDISTRIBUTE_ARBITRARILY].contains(&urn)
}

/// Producers before consumers.
fn sort(leaves: Vec<Leaf>, lost: &BTreeSet<&str>, problems: &mut Problems) -> Vec<Leaf> {
    let mut producers = BTreeMap::<&PCollectionId, usize>::new();
    for (index, leaf) in leaves.iter().enumerate() {
        for output in leaf.outputs.values() {
            if let Some(other) = producers.insert(output, index) {
                let other = &leaves[other].name;
                let what = format!("emits PCollection `{output}`, which `{other}` emits too");
                problems.add(&leaf.name, what, "give each its own; a Flatten joins them");
            }
        }
    }
    let mut edges = Vec::new();
    for (index, leaf) in leaves.iter().enumerate() {
        for input in leaf.inputs.iter().chain(leaf.sides.values()) {
            match producers.get(input) {
                Some(producer) => edges.push((*producer, index)),
                None if lost.contains(input.as_str()) => {}
                None => {
                    let what = format!("reads PCollection `{input}`, which no transform emits");
                    problems.add(&leaf.name, what, WHOLE);
                }
            }
        }
    }
    match order(leaves.len(), edges) {
        Ok(ordered) => {
            let mut leaves: Vec<_> = leaves.into_iter().map(Some).collect();
            ordered.into_iter().filter_map(|position| leaves[position].take()).collect()
        }
        Err(cycles) => {
            for cycle in cycles {
                let names: Vec<_> = cycle.iter().map(|position| format!("`{}`", leaves[*position].name)).collect();
                let what = format!("stand on a cycle: each consumes what comes of the others: {}", names.join(", "));
                problems.add("transforms", what, "break the cycle");
            }
            leaves
        }
    }
}
