//! What a job is made of: stages, the collections that they emit, the side inputs that gate them.

mod builder;
mod spec;
mod state;

pub use builder::{JobGraphBuilder, OutputHandle};
pub(crate) use state::{Leftover, StageState, Take};

pub use spec::{
    ConsumerSpec, EnvIndex, GraphError, Grouping, JobGraph, OutputId, OutputSpec, Partitioning, SideAccess,
    SideContents, SideGate, SideId, SideMapping, SideRead, SideSpec, StageId, StageKind, StageName, StageSpec,
};
