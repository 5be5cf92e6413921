//! The passes, in order.

mod expand_splittable;
mod lift_combiners;

pub(crate) use expand_splittable::coder;

use crate::graph::Graph;

/// Runs all passes. Combiners are lifted first, because what comes of it is ordinary; splittable DoFns are expanded
/// then; coders are made readable last, when every PCollection is there.
pub(crate) fn run(graph: &mut Graph) {
    lift_combiners::run(graph);
    expand_splittable::run(graph);
    crate::coders::run(graph);
}
