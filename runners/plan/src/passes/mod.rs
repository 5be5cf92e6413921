//! The passes: each takes the graph and leaves it in another form that means the same.
//!
//! ```text
//!   test_stream ─► slice_windows ─► lift_combiners ─► expand_splittable ─► sort_by_time ─► (isolate_sources)
//!     ─► prefix_lengths ─► recode ─► merge_windows ─► groups_by_reference ─► truncate_restrictions ─► panes_of_sides ─► (replay) ─► fuse
//! ```
//! The order has reasons. Combiners are lifted early, because what comes of it is ordinary; only before can it be seen that nobody but combiners
//! reads some windows. Splittable DoFns are
//! expanded before coders are looked at, because expanding makes PCollections. Lengths are prefixed when every
//! PCollection is there. Only then can it be seen where the runner would mix what is encoded differently, and
//! at last who reads groups, what is read by a splittable DoFn, and what as a side input that is refreshed. Then everything has the name and
//! the coder that dead letters have it by.

mod expand_splittable;
mod groups_by_reference;
mod isolate_sources;
mod lift_combiners;
mod merge_windows;
mod panes_of_sides;
mod prefix_lengths;
mod recode;
pub(crate) mod replay;
mod slice_windows;
mod sort_by_time;
mod test_stream;
mod truncate_restrictions;

use crate::PlanOptions;
use crate::graph::Graph;

/// Runs all passes, in order, but for `replay`, which can fail.
pub(crate) fn run(graph: &mut Graph, options: &PlanOptions) {
    test_stream::run(graph);
    slice_windows::run(graph);
    lift_combiners::run(graph);
    expand_splittable::run(graph);
    sort_by_time::run(graph);
    if options.isolate_sources {
        isolate_sources::run(graph);
    }
    prefix_lengths::run(graph);
    recode::run(graph);
    merge_windows::run(graph);
    groups_by_reference::run(graph);
    truncate_restrictions::run(graph);
    panes_of_sides::run(graph);
}

/// Runs them as a pipeline is planned by default.
#[cfg(test)]
pub(crate) fn run_all(graph: &mut Graph) {
    run(graph, &PlanOptions::default());
}
