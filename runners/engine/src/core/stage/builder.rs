//! Building a [`JobGraph`] by hand: for native jobs and tests.
//!
//! ```
//! # use purlin_engine::core::stage::*;
//! # use purlin_model::{coder::Coder, window::WindowCoder};
//! let mut job = JobGraphBuilder::new();
//! let env = job.environment();
//! let impulse = job.impulse("Impulse");
//! let words = job.worker("Split", env, &[impulse], Coder::Bytes, WindowCoder::Global);
//! let graph = job.build();
//! assert_eq!(graph.stages.len(), 2);
//! # let _ = words;
//! ```

use std::sync::Arc;

use purlin_model::coder::Coder;
use purlin_model::slices::SlicedWindows;
use purlin_model::time::Millis;
use purlin_model::window::{WindowCoder, WindowFn};
use purlin_model::windowing_strategy::WindowingStrategy;

use crate::core::stage::{
    ConsumerSpec, EnvIndex, Grouping, JobGraph, OutputId, OutputSpec, Partitioning, SideAccess, SideContents, SideGate,
    SideId, SideMapping, SideSpec, StageId, StageKind, StageSpec,
};

/// An output of a stage under construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputHandle(OutputId);

impl OutputHandle {
    /// Its id in the graph.
    pub fn id(self) -> OutputId {
        self.0
    }
}

/// Builds a graph, stage after stage; a stage consumes only what stands before it.
#[derive(Debug, Default)]
pub struct JobGraphBuilder {
    stages: Vec<StageSpec>,
    outputs: Vec<OutputSpec>,
    sides: Vec<SideSpec>,
    environments: u32,
}

impl JobGraphBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more environment.
    pub fn environment(&mut self) -> EnvIndex {
        self.environments += 1;
        EnvIndex(self.environments - 1)
    }

    /// A stage that emits one empty element.
    pub fn impulse(&mut self, name: &str) -> OutputHandle {
        let stage = self.stage(name, StageKind::Impulse, None, &[]);
        self.output(stage, Coder::Bytes, WindowCoder::Global)
    }

    /// A stage that a script feeds, with one output.
    pub fn test_stream(&mut self, name: &str, coder: Coder) -> OutputHandle {
        let stage = self.stage(name, StageKind::TestStream, None, &[]);
        self.output(stage, coder, WindowCoder::Global)
    }

    /// A stage that runs in an environment's workers, with one output.
    pub fn worker(
        &mut self,
        name: &str,
        env: EnvIndex,
        upstream: &[OutputHandle],
        coder: Coder,
        windows: WindowCoder,
    ) -> OutputHandle {
        let stage = self.sink(name, env, upstream);
        self.output(stage, coder, windows)
    }

    /// A stage that runs in an environment's workers and emits nothing (yet).
    pub fn sink(&mut self, name: &str, env: EnvIndex, upstream: &[OutputHandle]) -> StageId {
        self.stage(name, StageKind::Worker, Some(env), upstream)
    }

    /// One more output of a stage.
    pub fn output(&mut self, stage: StageId, coder: Coder, windows: WindowCoder) -> OutputHandle {
        let id = OutputId(self.outputs.len() as u32);
        let spec = &mut self.stages[stage.index()];
        spec.outputs.push(id);
        self.outputs.push(OutputSpec {
            id,
            name: format!("{}.{}", spec.name, spec.outputs.len() - 1).into(),
            producer: stage,
            consumers: Vec::new(),
            coder: Arc::new(coder),
            windows,
            bounded: true,
        });
        OutputHandle(id)
    }

    /// A stage that groups by key and window. `coder` is that of its output.
    pub fn group(
        &mut self,
        name: &str,
        upstream: &[OutputHandle],
        strategy: &WindowingStrategy,
        coder: Coder,
    ) -> OutputHandle {
        let windows = upstream.first().map_or(WindowCoder::Global, |output| self.outputs[output.0.index()].windows);
        let kind = StageKind::Group {
            grouping: Grouping::AppendOnce,
            strategy: Arc::new(strategy.clone()),
            merge: None,
            slices: None,
        };
        let stage = self.stage(name, kind, None, upstream);
        self.output(stage, coder, windows)
    }

    /// Makes a stage group in another way.
    pub fn group_by(&mut self, output: OutputHandle, by: Grouping) {
        let stage = self.producer(output);
        if let StageKind::Group { grouping, .. } = &mut self.stages[stage.index()].kind {
            *grouping = by;
        }
    }

    /// Tells a stage that groups that its input comes in slices of its windows.
    pub fn group_slices(&mut self, output: OutputHandle, of: SlicedWindows) {
        let stage = self.producer(output);
        if let StageKind::Group { slices, .. } = &mut self.stages[stage.index()].kind {
            *slices = Some(of);
        }
    }

    /// A stage that passes its input on, sorted by key and time.
    pub fn sort_by_time(&mut self, name: &str, upstream: &[OutputHandle]) -> OutputHandle {
        let from = upstream.first().map(|output| &self.outputs[output.0.index()]);
        let (coder, windows) =
            from.map_or((Coder::Bytes, WindowCoder::Global), |output| ((*output.coder).clone(), output.windows));
        let stage = self.stage(name, StageKind::SortByTime { as_it_comes: None }, None, upstream);
        self.output(stage, coder, windows)
    }

    /// Makes a stage that sorts do so as its input comes, which may be late by so much.
    pub fn sort_as_it_comes(&mut self, output: OutputHandle, lateness: Millis) {
        let stage = self.producer(output);
        if let StageKind::SortByTime { as_it_comes } = &mut self.stages[stage.index()].kind {
            *as_it_comes = Some(lateness);
        }
    }

    /// A stage that keeps its input as a side input.
    pub fn side_input(
        &mut self,
        name: &str,
        upstream: &[OutputHandle],
        access: SideAccess,
        window_fn: WindowFn,
    ) -> SideId {
        let side = SideId(self.sides.len() as u32);
        let materialize = self.stage(name, StageKind::Materialize(side), None, upstream);
        let from = upstream.first().map(|output| &self.outputs[output.0.index()]);
        let (coder, windows) = from.map_or_else(
            || (Arc::new(Coder::Bytes), WindowCoder::Global),
            |output| (output.coder.clone(), output.windows),
        );
        let contents = SideContents::All;
        self.sides.push(SideSpec { id: side, materialize, access, contents, window_fn, coder, windows });
        side
    }

    /// Makes a side input drop what comes behind the end of its window.
    pub fn in_time(&mut self, side: SideId) {
        self.sides[side.index()].contents = SideContents::InTime;
    }

    /// Two stages: one that makes panes of its input as its trigger says, and one that keeps the latest of each window.
    pub fn refreshed_side_input(
        &mut self,
        name: &str,
        upstream: &[OutputHandle],
        access: SideAccess,
        strategy: &WindowingStrategy,
    ) -> SideId {
        let coder = upstream
            .first()
            .map_or_else(|| Arc::new(Coder::Bytes), |output| self.outputs[output.0.index()].coder.clone());
        let panes = self.group(&format!("panes of {name}"), upstream, strategy, Coder::Iterable(coder.clone()));
        self.group_by(panes, Grouping::OneKey);
        let side = self.side_input(name, &[panes], access, strategy.window_fn.clone());
        let spec = &mut self.sides[side.index()];
        (spec.contents, spec.coder) = (SideContents::LatestPane, coder);
        self.stages[spec.materialize.index()].keyed = true;
        side
    }

    /// Makes a stage wait for a side input.
    pub fn reads(&mut self, stage: StageId, side: SideId, mapping: SideMapping) {
        self.stages[stage.index()].gates.push(SideGate { side, mapping, lateness: None });
    }

    /// Makes a stage let nothing in that comes so long behind the end of its window, so that windows of side inputs need not stay.
    pub fn lets_in(&mut self, stage: StageId, lateness: Millis) {
        self.stages[stage.index()].gates.iter_mut().for_each(|gate| gate.lateness = Some(lateness));
    }

    /// The first output of a stage that has one.
    ///
    /// # Panics
    /// If it has none.
    pub fn output_of(&self, stage: StageId) -> OutputHandle {
        OutputHandle(self.stages[stage.index()].outputs[0])
    }

    /// The stage that emits this.
    pub fn producer(&self, output: OutputHandle) -> StageId {
        self.outputs[output.0.index()].producer
    }

    /// Changes a stage in ways that have no method of their own.
    pub fn stage_mut(&mut self, stage: StageId) -> &mut StageSpec {
        &mut self.stages[stage.index()]
    }

    /// The graph.
    pub fn build(self) -> JobGraph {
        let Self { stages, outputs, sides, environments } = self;
        let mut graph = JobGraph { stages, outputs, sides, environments, script_begins: None };
        for stage in &graph.stages {
            let partitioning = match (stage.keyed, stage.gates.is_empty()) {
                _ if graph.has_panes(stage) => Partitioning::OneLaneByWindow,
                (false, true) => Partitioning::Any,
                (false, false) => Partitioning::AnyByWindow,
                (true, true) => Partitioning::ByKey,
                (true, false) => Partitioning::ByKeyAndWindow,
            };
            for output in &stage.upstream {
                graph.outputs[output.index()].consumers.push(ConsumerSpec { stage: stage.id, partitioning });
            }
        }
        graph
    }

    fn stage(&mut self, name: &str, kind: StageKind, env: Option<EnvIndex>, upstream: &[OutputHandle]) -> StageId {
        let id = StageId(self.stages.len() as u32);
        let depth = upstream
            .iter()
            .map(|output| self.stages[self.outputs[output.0.index()].producer.index()].depth + 1)
            .max()
            .unwrap_or(0);
        self.stages.push(StageSpec {
            id,
            name: name.into(),
            transform: name.into(),
            keyed: kind.is_by_key(),
            kind,
            env,
            upstream: upstream.iter().map(|output| output.0).collect(),
            outputs: Vec::new(),
            gates: Vec::new(),
            splittable: false,
            unbounded: false,
            truncated_by: None,
            finalizes: false,
            depth,
        });
        id
    }
}
