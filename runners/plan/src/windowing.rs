//! How a grouping groups: which of the ways, and by which windowing.
//!
//! ```text
//!   bounded input   ─► append-once: one pane per key and window, when the input is complete
//!   unbounded input ─► key-major: whatever the trigger says, when it says so
//! ```

use purlin_engine::core::stage::Grouping;
use purlin_model::ids::{EnvironmentId, PCollectionId};
use purlin_model::windowing_strategy::{Asked, ClosingBehavior, WindowingStrategy};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::sdk::Sdk;

use crate::graph::Graph;

/// The way to group. A bounded input has one pane whatever its trigger, which Beam allows.
pub(crate) fn grouping(bounded: bool) -> Grouping {
    if bounded { Grouping::AppendOnce } else { Grouping::KeyMajor }
}

/// When a trigger is asked that looks at elements, by the environment of its windowing. Python's and Java's own runners ask
/// once for what comes together, and Beam's tests of TestStream in Python count on it. Beam's tests in Go want a pane for every
/// element, and so may whoever says nothing.
pub(crate) fn asked(components: &pb::Components, environment: Option<&EnvironmentId>) -> Asked {
    let environment = environment.and_then(|id| components.environments.get(id.as_str()));
    match environment.and_then(Sdk::of_environment) {
        Some(Sdk::Python | Sdk::Java) => Asked::OncePerBundle,
        _ => Asked::BehindEachElement,
    }
}

/// The windowing by which to group a PCollection.
///
/// Python writes `EMIT_ALWAYS` into every strategy, whatever its user says, and its own runner never emits an empty last
/// pane. Purlin does as Python's runner for strategies of Python, and takes all others at their word.
pub(crate) fn of_grouping(graph: &Graph, input: &PCollectionId) -> WindowingStrategy {
    let mut strategy = graph.strategy_of(input).clone();
    let environments = &graph.components.environments;
    let environment = strategy.environment_id.as_ref().and_then(|id| environments.get(id.as_str()));
    if environment.and_then(Sdk::of_environment) == Some(Sdk::Python) {
        strategy.closing = ClosingBehavior::EmitIfNonempty;
    }
    strategy
}

/// The windowing by which to make panes of a side input.
///
/// A trigger that looks at elements is asked behind each of them, in whichever language: how many come together is chance, and a view that
/// takes one value must not fail when two do.
pub(crate) fn of_side_input(graph: &Graph, side: &PCollectionId) -> WindowingStrategy {
    WindowingStrategy { asked: Asked::BehindEachElement, ..of_grouping(graph, side) }
}
