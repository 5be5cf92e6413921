//! From a pipeline as submitted to a graph of stages that an engine can run.
//!
//! ```text
//!  pb::Pipeline ─parse─► Graph ─validate─► ValidatedPipeline ─passes─► Graph ─fuse─► StageGraph ─► descriptors
//!                  └──── all problems at once ────┘                                  └─► explain (text, dot)
//! ```
//! Pure: no IO, no clock, no randomness. The same pipeline gives the same plan, id for id.
#![warn(missing_docs)]

mod problem;
mod stage;

pub use problem::{Problem, Problems};
pub use stage::{Environment, SideUse, Stage, StageGraph};
