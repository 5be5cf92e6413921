//! One stage, as workers are told of it, and what comes back of it as the engine knows it.
//!
//! ```text
//!   StageGraph ─► ProcessBundleDescriptor ─► worker
//!                  └─read once─► sink → output, (transform, side input) → side, families of timers, residual → outputs
//! ```
//! Does not know how a plan makes descriptors; reads only what any descriptor says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prost::Message;
use purlin_backend::{Importance, JobMessage, Reporter, WindowLifetime};
use purlin_engine::core::stage::{OutputId, SideId, StageId};
use purlin_engine::store::{SideView, Timer};
use purlin_model::coder::Coder;
use purlin_model::time::{Millis, ProcessingTime};
use purlin_model::window::WindowCoder;
use purlin_plan::StageGraph;
use purlin_proto::convert::coder::from_components;
use purlin_proto::convert::problem::{Path, Problems as WireProblems};
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::process_bundle_request::{CacheToken, cache_token};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::pipeline::v1::state_spec::Spec;
use purlin_proto::urns::fn_api_transforms::runner;
use purlin_proto::urns::standard_ptransforms::primitives;
use thiserror::Error;

use crate::timers::StageTimers;

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
    /// Whether one bundle at a time has a key, because transforms keep state.
    pub(crate) stateful: bool,
    pub(crate) proto: fnpb::ProcessBundleDescriptor,
    /// The transform that data is sent to.
    pub(crate) source: String,
    /// The transforms that data comes from, and which output it is.
    pub(crate) sinks: BTreeMap<String, OutputId>,
    /// What its transforms' timers are; `None` if they have none.
    pub(crate) timers: Option<StageTimers>,
    /// How long the windows of its input live.
    pub(crate) lifetime: WindowLifetime,
    changed_timer_told: AtomicBool,
    looping_timer_told: AtomicBool,
    /// Whether a script moves the job's clock, so that it stands still while a bundle runs.
    pub(crate) clock_stands: bool,
    /// Whether that clock began at the epoch.
    pub(crate) clock_from_epoch: bool,
    /// By transform and local name: the side input, and how its windows stand on the wire.
    sides: BTreeMap<String, BTreeMap<String, (SideId, WindowCoder)>>,
    /// Who reads which side input, for [`side_tokens`](Self::side_tokens).
    side_uses: Vec<(cache_token::SideInput, SideId)>,
    /// By transform and id: the coder of a map's values.
    map_values: BTreeMap<String, BTreeMap<String, Arc<Coder>>>,
    /// For each transform that reads the source: for each output of the stage, the local outputs that it comes from.
    residual_tags: BTreeMap<String, Vec<(OutputId, Vec<String>)>>,
}

impl StageDescriptor {
    pub(crate) fn new(plan: &StageGraph, stage: StageId, id: &str, endpoint: &str) -> Result<Self, DescriptorError> {
        let of = plan.stages.get(stage.index()).ok_or(DescriptorError::UnknownStage { stage })?;
        let name = plan.graph.stage(stage).name.clone();
        let stateful = plan.graph.stage(stage).keyed;
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
        let lifetime = lifetime(plan, stage);
        let timers = StageTimers::new(plan, stage, &proto, lifetime);
        let changed_timer_told = AtomicBool::new(false);
        let map_values = map_values(&proto);
        let side_uses = of.sides.iter().map(|side| {
            let (transform_id, side_input_id) = (side.transform.to_string(), side.local_name.to_string());
            (cache_token::SideInput { transform_id, side_input_id }, side.side)
        });
        let side_uses = side_uses.collect();
        Ok(Self {
            side_uses,
            map_values,
            stage,
            name,
            stateful,
            source,
            sinks,
            timers,
            lifetime,
            changed_timer_told,
            looping_timer_told: AtomicBool::new(false),
            clock_stands: plan.graph.scripted().is_some(),
            clock_from_epoch: plan.graph.script_begins == Some(ProcessingTime(0)),
            sides,
            residual_tags,
            proto,
        })
    }

    /// The side input that a transform reads under a local name, and how its windows stand on the wire.
    pub(crate) fn side(&self, transform: &str, local_name: &str) -> Option<(SideId, WindowCoder)> {
        self.sides.get(transform)?.get(local_name).copied()
    }

    /// Under them a worker may keep what it has read of side inputs from bundle to bundle: a window that is complete when it
    /// is first read does not change, and one that is refreshed has another version then.
    pub(crate) fn side_tokens(&self, sides: Option<&dyn SideView>) -> impl Iterator<Item = CacheToken> {
        self.side_uses.iter().map(move |(of, side)| {
            let version = sides.map_or(0, |sides| sides.version(*side));
            let token = format!("{}-{version}", self.proto.id).into();
            CacheToken { token, r#type: Some(cache_token::Type::SideInput(of.clone())) }
        })
    }

    /// How the values of a map in a transform's state are encoded, if it has such a map.
    pub(crate) fn map_values(&self, transform: &str, state: &str) -> Option<&Coder> {
        Some(&**self.map_values.get(transform)?.get(state)?)
    }

    /// Transform and family of everything that may set timers; each takes a terminator and gives one back.
    pub(crate) fn timer_families(&self) -> impl Iterator<Item = (&str, &str)> {
        self.timers.iter().flat_map(StageTimers::families)
    }

    /// Tells the user, once per stage, that a timer fires early or not at all.
    pub(crate) fn tell_changed_timer(&self, reporter: &Reporter, timer: &Timer) {
        if self.changed_timer_told.swap(true, Ordering::Relaxed) {
            return;
        }
        let what = match timer.fire_at {
            Some(_) => "fires when its window expires, because its own time is behind that",
            None => "will not fire: its window has expired",
        };
        tell_of_timer(reporter, timer, what);
    }

    /// Tells the user, once per stage, that a timer which is set again does not fire again, because its job is drained.
    pub(crate) fn tell_looping_timer(&self, reporter: &Reporter, timer: &Timer) {
        if !self.looping_timer_told.swap(true, Ordering::Relaxed) {
            tell_of_timer(
                reporter,
                timer,
                "again once it had fired will not fire again: the job is drained, and its input has ended",
            );
        }
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

fn tell_of_timer(reporter: &Reporter, timer: &Timer, what: &str) {
    let text = format!(
        "a timer of family `{}` that transform `{}` set for key {} {what}. This is told once.",
        timer.family,
        timer.transform,
        timer.key.escape_ascii()
    );
    reporter.message(JobMessage::now(Importance::Warning, text));
}

fn urn(transform: &pb::PTransform) -> &str {
    transform.spec.as_ref().map_or("", |spec| &spec.urn)
}

fn map_values(proto: &fnpb::ProcessBundleDescriptor) -> BTreeMap<String, BTreeMap<String, Arc<Coder>>> {
    let value_coder = |spec: &pb::StateSpec| match spec.spec.as_ref()? {
        Spec::MapSpec(map) => Some(map.value_coder_id.clone()),
        Spec::MultimapSpec(map) => Some(map.value_coder_id.clone()),
        Spec::ReadModifyWriteSpec(_)
        | Spec::BagSpec(_)
        | Spec::CombiningSpec(_)
        | Spec::SetSpec(_)
        | Spec::OrderedListSpec(_) => None,
    };
    let mut found = BTreeMap::new();
    for (id, transform) in proto.transforms.iter().filter(|(_, transform)| urn(transform) == primitives::PAR_DO) {
        let payload = transform.spec.as_ref().and_then(|spec| pb::ParDoPayload::decode(&spec.payload[..]).ok());
        let states = payload.into_iter().flat_map(|payload| payload.state_specs);
        let maps: Vec<_> = states.filter_map(|(state, spec)| Some((state, value_coder(&spec)?))).collect();
        if !maps.is_empty() {
            found.insert(id.clone(), maps);
        }
    }
    if found.is_empty() {
        return BTreeMap::new();
    }
    // What cannot be read here is missing when it is asked for, and no other state is.
    let coders = from_components(&proto.coders, &Path::root("coders"), &mut WireProblems::new());
    let coder = |(state, id): (String, String)| Some((state, coders.get(id.as_str())?.clone()));
    found.into_iter().map(|(id, maps)| (id, maps.into_iter().filter_map(coder).collect())).collect()
}

/// How long the windows of a stage's input live.
fn lifetime(plan: &StageGraph, stage: StageId) -> WindowLifetime {
    let mut upstream = plan.graph.stage(stage).upstream.iter().map(|output| plan.graph.output(*output));
    let bounded = upstream.clone().all(|output| output.bounded);
    let strategy = plan.stages.get(stage.index()).and_then(|stage| stage.input.as_ref()).and_then(|input| {
        let input = plan.components.pcollections.get(input.as_str())?;
        plan.components.windowing_strategies.get(&input.windowing_strategy_id)
    });
    WindowLifetime {
        windows: upstream.next().map_or(WindowCoder::Global, |output| output.windows),
        allowed_lateness: Millis(strategy.map_or(0, |strategy| strategy.allowed_lateness.max(0))),
        bounded,
    }
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
