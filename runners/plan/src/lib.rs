//! From a pipeline as submitted to a graph of stages that an engine can run.
//!
//! ```text
//!  pb::Pipeline ─parse─► Graph ─validate─► ValidatedPipeline ─passes─► Graph ─fuse─► StageGraph ─► descriptors
//!                  └──── all problems at once ────┘                                  └─► explain (text, dot)
//! ```
//! Pure: no IO, no clock, no randomness. The same pipeline gives the same plan, id for id.
#![warn(missing_docs)]

mod entry;
mod limits;
mod problem;
mod validate;

mod parse;
mod payload;

mod graph;
mod order;
mod requirements;
mod supported;

mod passes;

mod fuse;

mod draft;

mod windowing;

mod build;
mod stage;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod testing;

pub mod descriptor;
pub mod explain;

use std::collections::BTreeSet;

pub use entry::EntryPoint;
pub use problem::{Problem, Problems};
pub use requirements::requirements;
pub use stage::{Environment, SideUse, Stage, StageGraph};
pub use validate::{ValidatedPipeline, validate};

/// Plans a pipeline: all passes, fusion, stages.
///
/// # Errors
/// Everything that this version cannot run, at once.
pub fn plan(pipeline: &ValidatedPipeline) -> Result<StageGraph, Problems> {
    supported::supported(pipeline)?;
    let mut graph = pipeline.graph.clone();
    passes::run(&mut graph, &pipeline.options);
    let replay = &pipeline.options.replay;
    let letters = if replay.is_empty() { Vec::new() } else { passes::replay::run(&mut graph, replay)? };
    build::build(graph, &letters)
}

/// How a pipeline is planned ([`ValidatedPipeline::planned_by`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Whether what a source emits is materialised before anybody reads it, so that each element is an input of its own.
    pub isolate_sources: bool,
    /// Where elements that an earlier job put aside come in, in the place of sources. If there are none, sources are read as ever.
    pub replay: BTreeSet<EntryPoint>,
}
