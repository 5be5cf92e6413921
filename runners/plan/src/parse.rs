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
use purlin_model::windowing_strategy::{MergeStatus, WindowingStrategy};
use purlin_proto::convert::problem::{Path, Problems as WireProblems};
use purlin_proto::convert::windowing_strategy;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_ptransforms::{combine_components, composites, primitives};

use crate::graph::{Graph, Leaf, LeafKind};
use crate::order::order;
use crate::problem::Problems;

/// How deep transforms may be nested; SDKs nest a few dozen.
const DEPTH_MAX: usize = 200;

/// Reads a pipeline. With problems, what is returned is only good for finding more of them.
pub(crate) fn parse(pipeline: &pb::Pipeline, problems: &mut Problems) -> Graph {
    let components = pipeline.components.clone().unwrap_or_default();
    let strategies = strategies(&components, problems);
    let mut walk =
        Walk { components: &components, strategies: &strategies, problems, leaves: Vec::new(), seen: BTreeSet::new() };
    if pipeline.root_transform_ids.is_empty() {
        walk.problems.add("pipeline", "has no root transforms", "submit a pipeline with at least one transform");
    }
    for root in &pipeline.root_transform_ids {
        walk.transform(root, "root_transform_ids", 0);
    }
    let leaves = walk.leaves;
    let leaves = sort(leaves, problems);
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
            strategies.insert(id.as_str().into(), strategy);
        }
        for problem in wire.iter() {
            problems.add(format!("windowing strategy `{id}`"), problem.to_string(), "");
        }
    }
    strategies
}

struct Walk<'a> {
    components: &'a pb::Components,
    strategies: &'a BTreeMap<WindowingStrategyId, WindowingStrategy>,
    problems: &'a mut Problems,
    leaves: Vec<Leaf>,
    seen: BTreeSet<&'a str>,
}

impl<'a> Walk<'a> {
    fn transform(&mut self, id: &'a str, from: &str, depth: usize) {
        let Some(transform) = self.components.transforms.get(id) else {
            self.problems.add(from, format!("names transform `{id}`, which does not exist"), "");
            return;
        };
        if depth > DEPTH_MAX {
            self.problems.add(&transform.unique_name, format!("is nested deeper than {DEPTH_MAX} levels"), "");
            return;
        }
        if !self.seen.insert(id) {
            let what = "is named more than once, as a root or as a sub-transform";
            self.problems.add(&transform.unique_name, what, "name each transform in one place");
            return;
        }
        let urn = urn(transform);
        if is_barrier(urn) {
            self.leaf(id, transform, LeafKind::Barrier);
        } else if transform.subtransforms.is_empty() {
            self.primitive(id, transform, urn);
        } else if urn == composites::COMBINE_PER_KEY && self.may_lift(transform) {
            self.leaf(id, transform, LeafKind::CombinePerKey);
        } else {
            for sub in &transform.subtransforms {
                self.transform(sub, &transform.unique_name, depth + 1);
            }
        }
    }

    fn primitive(&mut self, id: &str, transform: &pb::PTransform, urn: &str) {
        let inputs: BTreeSet<_> = transform.inputs.values().collect();
        match urn {
            primitives::IMPULSE => self.leaf(id, transform, LeafKind::Impulse),
            primitives::FLATTEN => self.leaf(id, transform, LeafKind::Flatten),
            primitives::GROUP_BY_KEY => self.leaf(id, transform, LeafKind::GroupByKey),
            primitives::PAR_DO
            | primitives::ASSIGN_WINDOWS
            | combine_components::COMBINE_PER_KEY_PRECOMBINE
            | combine_components::COMBINE_PER_KEY_MERGE_ACCUMULATORS
            | combine_components::COMBINE_PER_KEY_EXTRACT_OUTPUTS
            | combine_components::COMBINE_PER_KEY_CONVERT_TO_ACCUMULATORS
            | combine_components::COMBINE_GROUPED_VALUES => self.leaf(id, transform, LeafKind::Worker),
            // What the environment itself says it can execute.
            _ if self.environment_lists(transform, urn) => self.leaf(id, transform, LeafKind::Worker),
            _ if transform.outputs.values().all(|output| inputs.contains(output)) => {}
            _ => self.problems.add(
                &transform.unique_name,
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
    /// depends on when single elements arrive, and windows do not merge.
    fn may_lift(&self, transform: &pb::PTransform) -> bool {
        let subs: Vec<_> =
            transform.subtransforms.iter().filter_map(|sub| self.components.transforms.get(sub)).collect();
        let lifted = subs.iter().any(|sub| urn(sub) == combine_components::COMBINE_PER_KEY_PRECOMBINE);
        let payload = transform.spec.as_ref().map(|spec| pb::CombinePayload::decode(&spec.payload[..]));
        let accumulates = matches!(payload, Some(Ok(payload)) if !payload.accumulator_coder_id.is_empty());
        let strategy = transform
            .inputs
            .values()
            .next()
            .and_then(|input| self.components.pcollections.get(input))
            .and_then(|input| self.strategies.get(input.windowing_strategy_id.as_str()));
        let plain = strategy.is_some_and(|strategy| {
            strategy.trigger.allows_lifting() && strategy.merge_status != MergeStatus::NeedsMerge
        });
        let one_each = transform.inputs.len() == 1 && transform.outputs.len() == 1;
        !lifted && accumulates && plain && one_each && self.environment_of(transform).is_some()
    }

    /// The environment of a composite: its own, or that of the first transform in it that has one.
    fn environment_of(&self, transform: &pb::PTransform) -> Option<&'a str> {
        let mut pending = vec![transform];
        let mut seen = 0;
        while let Some(transform) = pending.pop() {
            if let Some((id, _)) = self.components.environments.get_key_value(&transform.environment_id) {
                return Some(id);
            }
            seen += 1;
            if seen > self.components.transforms.len() {
                return None;
            }
            let subs = transform.subtransforms.iter().rev();
            pending.extend(subs.filter_map(|sub| self.components.transforms.get(sub)));
        }
        None
    }

    fn leaf(&mut self, id: &str, transform: &pb::PTransform, kind: LeafKind) {
        let name = &transform.unique_name;
        let mut complete = true;
        for pcollection in transform.inputs.values().chain(transform.outputs.values()) {
            if !self.components.pcollections.contains_key(pcollection) {
                self.problems.add(name, format!("names PCollection `{pcollection}`, which does not exist"), "");
                complete = false;
            }
        }
        let par_do = self.par_do(transform);
        let sides = self.side_inputs(transform, par_do.as_ref());
        let inputs: Vec<PCollectionId> = transform
            .inputs
            .iter()
            .filter(|(local, _)| !sides.contains_key(local.as_str()))
            .map(|(_, input)| input.as_str().into())
            .collect();
        let (wanted, fix) = match kind {
            LeafKind::Impulse => (0..=0, "an impulse has no input"),
            LeafKind::Flatten => (0..=usize::MAX, ""),
            LeafKind::GroupByKey
            | LeafKind::CombinePerKey
            | LeafKind::Worker
            | LeafKind::Barrier
            | LeafKind::SortByTime => (1..=1, "it takes exactly one beside its side inputs"),
        };
        if !wanted.contains(&inputs.len()) {
            self.problems.add(name, format!("has {} main inputs", inputs.len()), fix);
            complete = false;
        }
        let env = match kind {
            LeafKind::Worker => self.environment(transform),
            LeafKind::CombinePerKey => self.environment_of(transform).map(EnvironmentId::from),
            LeafKind::Impulse | LeafKind::Flatten | LeafKind::GroupByKey | LeafKind::Barrier | LeafKind::SortByTime => {
                None
            }
        };
        if !complete {
            return;
        }
        let stateful = par_do
            .as_ref()
            .is_some_and(|payload| !payload.state_specs.is_empty() || !payload.timer_family_specs.is_empty());
        let id = TransformId::new(id);
        self.leaves.push(Leaf {
            origin: id.clone(),
            id,
            name: name.clone(),
            kind,
            inputs,
            sides,
            outputs: transform.outputs.iter().map(|(local, id)| (local.as_str().into(), id.as_str().into())).collect(),
            env,
            forced_root: stateful,
            splittable: false,
            finalizes: par_do.is_some_and(|payload| payload.requests_finalization),
            stateful,
            merged_by: None,
        });
    }

    fn par_do(&mut self, transform: &pb::PTransform) -> Option<pb::ParDoPayload> {
        let spec = transform.spec.as_ref().filter(|spec| spec.urn == primitives::PAR_DO)?;
        match pb::ParDoPayload::decode(&spec.payload[..]) {
            Ok(payload) => Some(payload),
            Err(error) => {
                self.problems.add(
                    &transform.unique_name,
                    format!("has a ParDoPayload that cannot be read: {error}"),
                    "",
                );
                None
            }
        }
    }

    fn side_inputs(
        &mut self,
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
                    self.problems.add(&transform.unique_name, what, "");
                }
            }
        }
        sides
    }

    fn environment(&mut self, transform: &pb::PTransform) -> Option<EnvironmentId> {
        let env = transform.environment_id.as_str();
        if env.is_empty() {
            let what = "is executed by an SDK, but names no environment";
            self.problems.add(&transform.unique_name, what, "set `environment_id` in its PTransform");
            return None;
        }
        if !self.components.environments.contains_key(env) {
            self.problems.add(&transform.unique_name, format!("names environment `{env}`, which does not exist"), "");
            return None;
        }
        Some(env.into())
    }
}

fn urn(transform: &pb::PTransform) -> &str {
    transform.spec.as_ref().map_or("", |spec| spec.urn.as_str())
}

fn is_barrier(urn: &str) -> bool {
    [composites::RESHUFFLE, composites::REDISTRIBUTE_BY_KEY, composites::REDISTRIBUTE_ARBITRARILY].contains(&urn)
}

/// Producers before consumers.
fn sort(leaves: Vec<Leaf>, problems: &mut Problems) -> Vec<Leaf> {
    let mut producers = BTreeMap::<&PCollectionId, usize>::new();
    for (index, leaf) in leaves.iter().enumerate() {
        for output in leaf.outputs.values() {
            if let Some(other) = producers.insert(output, index) {
                let other = &leaves[other].name;
                problems.add(&leaf.name, format!("emits PCollection `{output}`, which `{other}` emits too"), "");
            }
        }
    }
    let mut edges = Vec::new();
    for (index, leaf) in leaves.iter().enumerate() {
        for input in leaf.inputs.iter().chain(leaf.sides.values()) {
            match producers.get(input) {
                Some(producer) => edges.push((*producer, index)),
                None => problems.add(&leaf.name, format!("reads PCollection `{input}`, which no transform emits"), ""),
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
