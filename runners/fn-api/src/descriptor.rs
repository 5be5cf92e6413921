//! One stage, as workers are told of it, and what comes back of it as the engine knows it.
//!
//! ```text
//!   StageGraph ─► ProcessBundleDescriptor ─► worker
//!                  └─read once─► sink → output, (transform, side input) → side, families of timers, residual → outputs
//! ```
//! Does not know how a plan makes descriptors; reads only what any descriptor says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message;
use purlin_engine::core::stage::{OutputId, SideId, StageId};
use purlin_model::window::WindowCoder;
use purlin_plan::StageGraph;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::fn_api_transforms::runner;
use thiserror::Error;

/// Why a stage cannot be told to workers: a bug of the planner.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum DescriptorError {
    /// The plan has no such stage.
    #[error("{stage} is not in the plan; this is a bug in Purlin, please report it with the pipeline")]
    UnknownStage {
        /// Which.
        stage: StageId,
    },
    /// Its descriptor lacks something.
    #[error("the descriptor of stage `{stage}` {problem}; this is a bug in Purlin, please report it with the pipeline")]
    Malformed {
        /// Its name.
        stage: Arc<str>,
        /// What is wrong.
        problem: String,
    },
}

/// A stage of a job.
#[derive(Debug)]
pub(crate) struct StageDescriptor {
    pub(crate) stage: StageId,
    /// The stage's name, for messages.
    pub(crate) name: Arc<str>,
    pub(crate) proto: fnpb::ProcessBundleDescriptor,
    /// The transform that data is sent to.
    pub(crate) source: String,
    /// The transforms that data comes from, and which output it is.
    pub(crate) sinks: BTreeMap<String, OutputId>,
    /// Transform and family of everything that may set timers; each takes a terminator and gives one back.
    pub(crate) timer_families: Vec<(String, String)>,
    /// By transform and local name: the side input, and how its windows stand on the wire.
    sides: BTreeMap<String, BTreeMap<String, (SideId, WindowCoder)>>,
    /// For each transform that reads the source: for each output of the stage, the local outputs that it comes from.
    residual_tags: BTreeMap<String, Vec<(OutputId, Vec<String>)>>,
}

impl StageDescriptor {
    pub(crate) fn new(plan: &StageGraph, stage: StageId, id: &str, endpoint: &str) -> Result<Self, DescriptorError> {
        let of = plan.stages.get(stage.index()).ok_or(DescriptorError::UnknownStage { stage })?;
        let name = plan.graph.stage(stage).name.clone();
        let malformed = |problem: String| DescriptorError::Malformed { stage: name.clone(), problem };
        let proto = plan.descriptor(stage, id, endpoint);
        let mut sources = proto.transforms.iter().filter(|(_, transform)| urn(transform) == runner::DATA_SOURCE);
        let (source, source_output) = match (sources.next(), sources.next()) {
            (Some((id, transform)), None) => match transform.outputs.values().next() {
                Some(output) => (id.clone(), output.clone()),
                None => return Err(malformed(format!("has a source `{id}` without an output"))),
            },
            (None, _) => return Err(malformed("has no source".to_owned())),
            (Some((first, _)), Some((second, _))) => {
                return Err(malformed(format!("has two sources, `{first}` and `{second}`")));
            }
        };
        let outputs: BTreeMap<&str, OutputId> = of.outputs.iter().map(|(output, id)| (id.as_str(), *output)).collect();
        let mut sinks = BTreeMap::new();
        for (id, transform) in proto.transforms.iter().filter(|(_, transform)| urn(transform) == runner::DATA_SINK) {
            let input = transform.inputs.values().next().map_or("", String::as_str);
            let output = outputs
                .get(input)
                .ok_or_else(|| malformed(format!("has a sink `{id}` of `{input}`, which is no output of the stage")))?;
            sinks.insert(id.clone(), *output);
        }
        let mut sides = BTreeMap::<String, BTreeMap<String, (SideId, WindowCoder)>>::new();
        for side in &of.sides {
            let of_transform = sides.entry(side.transform.as_str().to_owned()).or_default();
            let windows = plan.graph.side(side.side).windows;
            of_transform.insert(side.local_name.as_str().to_owned(), (side.side, windows));
        }
        let residual_tags = residual_tags(&proto, &source_output, &outputs);
        let timer_families = timer_families(&proto);
        Ok(Self { stage, name, source, sinks, timer_families, sides, residual_tags, proto })
    }

    /// The side input that a transform reads under a local name, and how its windows stand on the wire.
    pub(crate) fn side(&self, transform: &str, local_name: &str) -> Option<(SideId, WindowCoder)> {
        self.sides.get(transform)?.get(local_name).copied()
    }

    /// A transform's unique name, if the descriptor has such a transform.
    pub(crate) fn unique_name(&self, transform: &str) -> Option<&str> {
        self.proto.transforms.get(transform).map(|transform| transform.unique_name.as_str())
    }

    /// For a transform that may leave residuals: each output of the stage, and the transform's own outputs that it
    /// comes from.
    pub(crate) fn residual_tags(&self, transform: &str) -> Option<&[(OutputId, Vec<String>)]> {
        self.residual_tags.get(transform).map(Vec::as_slice)
    }
}

fn urn(transform: &pb::PTransform) -> &str {
    transform.spec.as_ref().map_or("", |spec| &spec.urn)
}

/// Which transforms declare timers. Without an address for timers a worker neither sends nor expects any.
fn timer_families(proto: &fnpb::ProcessBundleDescriptor) -> Vec<(String, String)> {
    use purlin_proto::urns::standard_ptransforms::{primitives, splittable_par_do_components as splittable};
    const PAR_DOS: [&str; 5] = [
        primitives::PAR_DO,
        splittable::PAIR_WITH_RESTRICTION,
        splittable::SPLIT_AND_SIZE_RESTRICTIONS,
        splittable::TRUNCATE_SIZED_RESTRICTION,
        splittable::PROCESS_SIZED_ELEMENTS_AND_RESTRICTIONS,
    ];
    if proto.timer_api_service_descriptor.is_none() {
        return Vec::new();
    }
    let mut families = Vec::new();
    for (id, transform) in &proto.transforms {
        let Some(spec) = transform.spec.as_ref().filter(|spec| PAR_DOS.contains(&spec.urn.as_str())) else { continue };
        // The plan has read this payload already, so that it can be read.
        let Ok(payload) = pb::ParDoPayload::decode(spec.payload.clone()) else { continue };
        families.extend(payload.timer_family_specs.keys().map(|family| (id.clone(), family.clone())));
    }
    families
}

fn residual_tags(
    proto: &fnpb::ProcessBundleDescriptor,
    source_output: &str,
    outputs: &BTreeMap<&str, OutputId>,
) -> BTreeMap<String, Vec<(OutputId, Vec<String>)>> {
    let mut all = BTreeMap::new();
    for (id, transform) in &proto.transforms {
        if !transform.inputs.values().any(|input| input == source_output) {
            continue;
        }
        let mut tags = BTreeMap::<OutputId, Vec<String>>::new();
        for (tag, collection) in &transform.outputs {
            for reached in downstream(proto, collection) {
                if let Some(output) = outputs.get(reached.as_str()) {
                    tags.entry(*output).or_default().push(tag.clone());
                }
            }
        }
        all.insert(id.clone(), tags.into_iter().collect());
    }
    all
}

/// A PCollection and everything that is made of it within the stage.
fn downstream(proto: &fnpb::ProcessBundleDescriptor, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::from([from.to_owned()]);
    let mut next = vec![from.to_owned()];
    while let Some(collection) = next.pop() {
        for transform in proto.transforms.values() {
            if transform.inputs.values().any(|input| *input == collection) {
                next.extend(transform.outputs.values().filter(|output| reached.insert((*output).clone())).cloned());
            }
        }
    }
    reached
}
