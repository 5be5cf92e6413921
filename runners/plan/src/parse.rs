//! From the proto to leaves in topological order, with all structural problems.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use purlin_model::ids::{EnvironmentId, LocalName, PCollectionId, TransformId};
use purlin_proto::convert;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_ptransforms::{
    combine_components, composites, primitives, splittable_par_do_components,
};

use crate::graph::{Graph, Leaf, LeafKind};
use crate::problem::Problems;

/// How deep transforms may be nested.
const DEPTH_MAX: usize = 200;

pub(crate) fn parse(pipeline: &pb::Pipeline, problems: &mut Problems) -> Graph {
    let components = pipeline.components.clone().unwrap_or_default();
    let mut reader = Reader { components: &components, problems, leaves: Vec::new(), seen: BTreeSet::new() };
    if pipeline.root_transform_ids.is_empty() {
        reader.problems.add("pipeline", "has no root transforms", "submit a pipeline that has at least one transform");
    }
    for root in &pipeline.root_transform_ids {
        reader.walk(root, "root_transform_ids", 0);
    }
    let leaves = reader.leaves;
    let leaves = sort(leaves, problems);
    let mut strategies = BTreeMap::new();
    for (id, strategy) in &components.windowing_strategies {
        let root = convert::problem::Path::root("windowing_strategies");
        let at = root.key(id);
        let mut wire = convert::problem::Problems::default();
        if let Some(strategy) = convert::windowing_strategy::from_wire(strategy, &at, &mut wire) {
            strategies.insert(id.as_str().into(), strategy);
        }
        if let Err(wire) = wire.finish(Some(())) {
            problems.add(format!("windowing strategy `{id}`"), wire.to_string(), "");
        }
    }
    Graph { leaves, components, strategies }
}

struct Reader<'a> {
    components: &'a pb::Components,
    problems: &'a mut Problems,
    leaves: Vec<Leaf>,
    seen: BTreeSet<&'a str>,
}

impl<'a> Reader<'a> {
    fn walk(&mut self, id: &'a str, from: &str, depth: usize) {
        let Some(transform) = self.components.transforms.get(id) else {
            self.problems.add(from, format!("names transform `{id}`, which does not exist"), "");
            return;
        };
        if depth > DEPTH_MAX {
            self.problems.add(&transform.unique_name, format!("is nested deeper than {DEPTH_MAX} levels"), "");
            return;
        }
        if !self.seen.insert(id) {
            self.problems.add(&transform.unique_name, "is a sub-transform of several transforms, or of itself", "");
            return;
        }
        let urn = transform.spec.as_ref().map_or("", |spec| spec.urn.as_str());
        if transform.subtransforms.is_empty() || is_barrier(urn) || is_lifted_whole(urn) {
            self.leaf(id, transform, urn);
            return;
        }
        for sub in &transform.subtransforms {
            self.walk(sub, &transform.unique_name, depth + 1);
        }
    }

    fn leaf(&mut self, id: &str, transform: &pb::PTransform, urn: &str) {
        let name = transform.unique_name.clone();
        let known = |ids: &BTreeMap<String, String>, problems: &mut Problems| {
            for pcollection in ids.values() {
                if !self.components.pcollections.contains_key(pcollection) {
                    problems.add(&name, format!("names PCollection `{pcollection}`, which does not exist"), "");
                }
            }
        };
        known(&transform.inputs, self.problems);
        known(&transform.outputs, self.problems);
        let inputs: BTreeSet<_> = transform.inputs.values().collect();
        if is_barrier(urn) {
            return self.push(id, transform, LeafKind::Barrier, None);
        }
        match urn {
            primitives::IMPULSE => self.push(id, transform, LeafKind::Impulse, None),
            primitives::FLATTEN => self.push(id, transform, LeafKind::Flatten, None),
            primitives::GROUP_BY_KEY => self.push(id, transform, LeafKind::GroupByKey, None),
            primitives::PAR_DO | splittable_par_do_components::PROCESS_SIZED_ELEMENTS_AND_RESTRICTIONS => {
                let payload = transform.spec.as_ref().map(|spec| pb::ParDoPayload::decode(&spec.payload[..]));
                match payload {
                    Some(Ok(payload)) => self.push(id, transform, LeafKind::Worker, Some(&payload)),
                    Some(Err(error)) => {
                        self.problems.add(&name, format!("has a ParDoPayload that cannot be read: {error}"), "")
                    }
                    None => self.problems.add(&name, "has no payload", ""),
                }
            }
            primitives::ASSIGN_WINDOWS
            | combine_components::COMBINE_PER_KEY_PRECOMBINE
            | combine_components::COMBINE_PER_KEY_MERGE_ACCUMULATORS
            | combine_components::COMBINE_PER_KEY_EXTRACT_OUTPUTS
            | combine_components::COMBINE_PER_KEY_CONVERT_TO_ACCUMULATORS
            | combine_components::COMBINE_GROUPED_VALUES => self.push(id, transform, LeafKind::Worker, None),
            // A composite without sub-transforms that hands its input on.
            _ if transform.outputs.values().all(|output| inputs.contains(output)) => {}
            _ => self.problems.add(
                &name,
                format!("is a transform of kind `{urn}`, which Purlin does not know"),
                "expand it in the SDK, or use a runner that knows it",
            ),
        }
    }

    fn push(&mut self, id: &str, transform: &pb::PTransform, kind: LeafKind, par_do: Option<&pb::ParDoPayload>) {
        let sides: BTreeMap<LocalName, PCollectionId> = par_do
            .iter()
            .flat_map(|payload| payload.side_inputs.keys())
            .filter_map(|local| {
                let side = transform.inputs.get(local);
                if side.is_none() {
                    self.problems.add(
                        &transform.unique_name,
                        format!("reads side input `{local}`, which is none of its inputs"),
                        "",
                    );
                }
                Some((local.as_str().into(), side?.as_str().into()))
            })
            .collect();
        let inputs: Vec<PCollectionId> = transform
            .inputs
            .iter()
            .filter(|(local, _)| !sides.contains_key(local.as_str()))
            .map(|(_, input)| input.as_str().into())
            .collect();
        let wanted = match kind {
            LeafKind::Impulse => 0..1,
            LeafKind::Flatten => 0..usize::MAX,
            LeafKind::GroupByKey | LeafKind::Worker | LeafKind::Barrier => 1..2,
        };
        if !wanted.contains(&inputs.len()) {
            self.problems.add(&transform.unique_name, format!("has {} main inputs", inputs.len()), "");
            return;
        }
        let env = match kind {
            LeafKind::Worker if transform.environment_id.is_empty() => {
                self.problems.add(&transform.unique_name, "is executed by an SDK, but names no environment", "");
                None
            }
            LeafKind::Worker if !self.components.environments.contains_key(&transform.environment_id) => {
                let env = &transform.environment_id;
                self.problems.add(
                    &transform.unique_name,
                    format!("names environment `{env}`, which does not exist"),
                    "",
                );
                None
            }
            LeafKind::Worker => Some(EnvironmentId::new(transform.environment_id.clone())),
            LeafKind::Impulse | LeafKind::Flatten | LeafKind::GroupByKey | LeafKind::Barrier => None,
        };
        let keyed =
            par_do.is_some_and(|payload| !payload.state_specs.is_empty() || !payload.timer_family_specs.is_empty());
        let id = TransformId::new(id);
        self.leaves.push(Leaf {
            origin: id.clone(),
            id,
            name: transform.unique_name.clone(),
            kind,
            inputs,
            sides,
            outputs: transform.outputs.iter().map(|(local, id)| (local.as_str().into(), id.as_str().into())).collect(),
            env,
            forced_root: keyed,
            splittable: false,
            finalizes: par_do.is_some_and(|payload| payload.requests_finalization),
            keyed,
        });
    }
}

pub(crate) fn is_barrier(urn: &str) -> bool {
    [composites::RESHUFFLE, composites::REDISTRIBUTE_BY_KEY, composites::REDISTRIBUTE_ARBITRARILY].contains(&urn)
}

fn is_lifted_whole(_urn: &str) -> bool {
    false
}

/// Producers before consumers; among leaves that could come next, the one that the pipeline names first.
fn sort(leaves: Vec<Leaf>, problems: &mut Problems) -> Vec<Leaf> {
    let mut producers = BTreeMap::<PCollectionId, usize>::new();
    for (index, leaf) in leaves.iter().enumerate() {
        for output in leaf.outputs.values() {
            if let Some(other) = producers.insert(output.clone(), index) {
                let other = &leaves[other].name;
                problems.add(&leaf.name, format!("emits PCollection `{output}`, which `{other}` emits too"), "");
            }
        }
    }
    for leaf in &leaves {
        for input in leaf.inputs.iter().chain(leaf.sides.values()) {
            if !producers.contains_key(input) {
                problems.add(&leaf.name, format!("reads PCollection `{input}`, which no transform emits"), "");
            }
        }
    }
    let mut pending: Vec<Option<Leaf>> = leaves.into_iter().map(Some).collect();
    let mut done = BTreeSet::<PCollectionId>::new();
    let mut sorted = Vec::new();
    loop {
        let before = sorted.len();
        for slot in &mut pending {
            let ready = slot.as_ref().is_some_and(|leaf| {
                leaf.inputs.iter().chain(leaf.sides.values()).all(|it| done.contains(it) || !producers.contains_key(it))
            });
            if let (true, Some(leaf)) = (ready, ready.then(|| slot.take()).flatten()) {
                done.extend(leaf.outputs.values().cloned());
                sorted.push(leaf);
            }
        }
        if sorted.len() == before {
            break;
        }
    }
    for leaf in pending.into_iter().flatten() {
        problems.add(leaf.name, "consumes what comes of its own output", "remove the cycle");
    }
    sorted
}
