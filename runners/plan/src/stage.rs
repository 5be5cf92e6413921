//! The result of planning: stages for the engine, and what a worker must be told of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use purlin_engine::core::stage::{JobGraph, OutputId, SideId, StageId};
use purlin_model::ids::{EnvironmentId, LocalName, PCollectionId, TransformId};
use purlin_model::time::ProcessingTime;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::sdk::Sdk;

use crate::entry::EntryPoint;

/// A planned pipeline. `stages`, `environments` and the vectors of `graph` share their indices.
#[derive(Clone, Debug)]
pub struct StageGraph {
    /// What the engine runs.
    pub graph: Arc<JobGraph>,
    /// What stands behind each stage of `graph`, at the same index.
    pub stages: Vec<Stage>,
    /// The environments that own at least one stage, at the index of their `EnvIndex`.
    pub environments: Vec<Environment>,
    /// Components after all passes: expanded transforms, wire coders, and everything they refer to.
    pub components: Arc<pb::Components>,
    /// From each transform that a pass made to the user's.
    pub origins: BTreeMap<TransformId, TransformId>,
    /// If elements that an earlier job put aside come in: the output that carries those of each point, in order.
    pub letters: Vec<OutputId>,
}

impl StageGraph {
    /// Whether the Go SDK made the pipeline, as far as its environments tell. A few things mean something else there.
    pub fn is_of_go(&self) -> bool {
        crate::requirements::is_of_go(&self.components)
    }
}

/// What stands behind a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its index.
    pub id: StageId,
    /// The leaf transforms in it, in topological order; ids in `components`.
    pub transforms: Vec<TransformId>,
    /// The PCollection that it consumes; `None` for an impulse.
    pub input: Option<PCollectionId>,
    /// The PCollections that it emits.
    pub outputs: Vec<(OutputId, PCollectionId)>,
    /// The side inputs that its transforms read.
    pub sides: Vec<SideUse>,
    /// Where elements enter it, if workers run it.
    pub entry: Option<EntryPoint>,
}

/// One side input of one transform.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SideUse {
    /// The transform that reads.
    pub transform: TransformId,
    /// Under which name.
    pub local_name: LocalName,
    /// What it reads.
    pub side: SideId,
}

/// An environment that the job needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// Its id in the pipeline.
    pub id: EnvironmentId,
    /// As submitted, to the letter: SDKs compare it with their own.
    pub proto: pb::Environment,
}

/// Where the clock of a script begins: that of Python's TestStream does so at the epoch, and its tests count on it.
pub(crate) fn script_begins(environments: &[Environment]) -> Option<ProcessingTime> {
    let of_python = |environment: &Environment| Sdk::of_environment(&environment.proto) == Some(Sdk::Python);
    (!environments.is_empty() && environments.iter().all(of_python)).then_some(ProcessingTime(0))
}
