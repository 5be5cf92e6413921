//! A pipeline as passes see it: the leaves that do work, and the components that they refer to.

use std::collections::BTreeMap;

use purlin_model::ids::{EnvironmentId, LocalName, PCollectionId, TransformId, WindowingStrategyId};
use purlin_model::windowing_strategy::WindowingStrategy;
use purlin_proto::pipeline::v1 as pb;

/// What a leaf is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeafKind {
    Impulse,
    Flatten,
    GroupByKey,
    /// Whatever an SDK executes.
    Worker,
    /// A reshuffle or redistribution, of which the runner does all: its output is its input, materialised.
    Barrier,
}

/// A transform that does work.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) id: TransformId,
    pub(crate) name: String,
    pub(crate) kind: LeafKind,
    /// The main inputs: one, but for a flatten.
    pub(crate) inputs: Vec<PCollectionId>,
    pub(crate) sides: BTreeMap<LocalName, PCollectionId>,
    pub(crate) outputs: BTreeMap<LocalName, PCollectionId>,
    pub(crate) env: Option<EnvironmentId>,
    /// Whether it begins a stage, whatever stands before it.
    pub(crate) forced_root: bool,
    pub(crate) splittable: bool,
    pub(crate) finalizes: bool,
    pub(crate) keyed: bool,
    /// The transform of the user's that it came from, if a pass made it.
    pub(crate) origin: TransformId,
}

/// A pipeline as passes see it. Leaves are in topological order.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) components: pb::Components,
    pub(crate) strategies: BTreeMap<WindowingStrategyId, WindowingStrategy>,
}

impl Graph {
    pub(crate) fn pcollection(&self, id: &PCollectionId) -> &pb::PCollection {
        // Validation has seen every reference.
        &self.components.pcollections[id.as_str()]
    }

    pub(crate) fn strategy_of(&self, id: &PCollectionId) -> &WindowingStrategy {
        &self.strategies[self.pcollection(id).windowing_strategy_id.as_str()]
    }

    pub(crate) fn transform(&self, id: &TransformId) -> &pb::PTransform {
        &self.components.transforms[id.as_str()]
    }

    pub(crate) fn is_bounded(&self, id: &PCollectionId) -> bool {
        self.pcollection(id).is_bounded != pb::is_bounded::Enum::Unbounded as i32
    }

    /// An id that no component of this kind has.
    pub(crate) fn fresh(&self, wanted: &str, taken: impl Fn(&pb::Components, &str) -> bool) -> String {
        let mut id = wanted.to_owned();
        let mut count = 1;
        while taken(&self.components, &id) {
            count += 1;
            id = format!("{wanted}_{count}");
        }
        id
    }
}
