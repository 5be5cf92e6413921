//! The graph that an engine runs, free of protobuf.
//!
//! ```text
//!   stage 0 impulse ──output 0──► stage 1 worker ──output 1──► stage 2 group ──output 2──► …
//!                                                  └─────────► stage 3 materialize side 0
//! ```
//! Every stage has one input: the data source of a bundle, as in the Fn API. A flatten is no stage: its consumer
//! stands in the consumer list of several outputs. Ids are indices into [`JobGraph`]'s vectors.

use std::fmt;
use std::sync::Arc;

use purlin_model::coder::Coder;
use purlin_model::slices::SlicedWindows;
use purlin_model::time::{EventTime, Millis, ProcessingTime};
use purlin_model::window::{WindowCoder, WindowFn};
use purlin_model::windowing_strategy::WindowingStrategy;
use thiserror::Error;

macro_rules! index_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The position in the graph's vector.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

index_id! {
    /// A stage: what runs as one bundle. Its input has the same id.
    StageId, "s"
}
index_id! {
    /// A materialised PCollection: what one stage emits and others consume.
    OutputId, "o"
}
index_id! {
    /// A side input: one PCollection, kept for reading under one access pattern.
    SideId, "side"
}
index_id! {
    /// An environment: where the workers of a stage come from.
    EnvIndex, "env"
}

/// A name that stays the same when the same pipeline is planned again; durable things are addressed by it.
pub type StageName = Arc<str>;

/// A whole job.
#[derive(Clone, Debug)]
pub struct JobGraph {
    /// In topological order: a stage comes after all that it consumes, side inputs included.
    pub stages: Vec<StageSpec>,
    /// Every materialised PCollection.
    pub outputs: Vec<OutputSpec>,
    /// Every side input.
    pub sides: Vec<SideSpec>,
    /// How many environments there are.
    pub environments: u32,
    /// Where the clock of a job begins that a script feeds; at the real one if nothing is said.
    pub script_begins: Option<ProcessingTime>,
}

/// One stage.
#[derive(Clone, Debug)]
pub struct StageSpec {
    /// Its index.
    pub id: StageId,
    /// From the unique names of its transforms.
    pub name: StageName,
    /// The id, in the pipeline as submitted, of the first of its transforms: what the runner counts is labelled with it.
    pub transform: Arc<str>,
    /// Who runs its bundles.
    pub kind: StageKind,
    /// Where its workers come from; `None` for what the runner does itself.
    pub env: Option<EnvIndex>,
    /// The collections that feed its input. Empty for an impulse, and for a flatten of nothing.
    pub upstream: Vec<OutputId>,
    /// What it emits.
    pub outputs: Vec<OutputId>,
    /// The side inputs that must be ready, per window of the main input, before an element may run.
    pub gates: Vec<SideGate>,
    /// Whether its input is partitioned by key, one running bundle for a key at a time.
    pub keyed: bool,
    /// Whether its input can be split within an element (a splittable DoFn at the front).
    pub splittable: bool,
    /// Whether anything that it emits is unbounded, so that its bundles may never end by themselves.
    pub unbounded: bool,
    /// For a splittable DoFn: the stage whose workers make an end of its restrictions when the job is drained. It takes
    /// questions, which are this stage's input, and nothing else.
    pub truncated_by: Option<StageId>,
    /// Whether a DoFn in it asks for bundle finalization.
    pub finalizes: bool,
    /// Distance from the roots, for schedules that go stage by stage.
    pub depth: u32,
}

/// Who runs the bundles of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageKind {
    /// Emits one empty element in the global window, once.
    Impulse,
    /// Emits once the elements that an earlier job put aside, each to who failed on it.
    Replay,
    /// Emits what a script says, event by event, each when nothing else can happen (`TestStream`). The clock of its job is
    /// the script's too.
    TestStream,
    /// Runs in a worker of the stage's environment.
    Worker,
    /// Groups values by key and window.
    Group {
        /// Which of the equivalent ways.
        grouping: Grouping,
        /// The windowing of the stage's *input*.
        strategy: Arc<WindowingStrategy>,
        /// For windows that only an SDK can merge: the stage whose workers do, which takes questions and nothing else.
        merge: Option<StageId>,
        /// If its input comes in slices of its windows: each element goes to all windows that hold its slice.
        slices: Option<SlicedWindows>,
    },
    /// Passes its input on, the elements of each key in the order of their timestamps (`requires_time_sorted_input`).
    SortByTime {
        /// Of unbounded input: how much later than the watermark elements may come. Each is kept until the watermark is as much
        /// past it. Bounded input is sorted when it is complete.
        as_it_comes: Option<Millis>,
    },
    /// Keeps its input for readers of a side input.
    Materialize(SideId),
}

/// The ways to group. The same input gives the same panes wherever two of them apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grouping {
    /// For bounded input without early or late panes: the lane's queue is the buffer, and one kernel per lane sorts,
    /// merges windows and emits when the input is complete.
    AppendOnce,
    /// For any trigger and windowing: all that a trigger may need is kept per key and window.
    KeyMajor,
    /// The same of elements that have no keys, as if all had the same one of no bytes: the panes of a side input.
    OneKey,
}

/// A materialised PCollection.
#[derive(Clone, Debug)]
pub struct OutputSpec {
    /// Its index.
    pub id: OutputId,
    /// The PCollection's id in the pipeline, for people and metrics.
    pub name: Arc<str>,
    /// Who emits it.
    pub producer: StageId,
    /// Who consumes it, side inputs included.
    pub consumers: Vec<ConsumerSpec>,
    /// How an element's value stands on the wire.
    pub coder: Arc<Coder>,
    /// How its windows stand on the wire.
    pub windows: WindowCoder,
    /// Whether the PCollection is bounded (`IsBounded`).
    pub bounded: bool,
}

/// One consumer of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerSpec {
    /// The stage that consumes.
    pub stage: StageId,
    /// How elements find their lane there.
    pub partitioning: Partitioning,
}

/// How elements are partitioned into the lanes of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Partitioning {
    /// One lane; anyone may run it.
    Any,
    /// One lane, and batches cut so that all elements of one wait for the same side-input windows: an element in
    /// several windows is exploded into one each.
    AnyByWindow,
    /// A lane per key group; the value is a KV.
    ByKey,
    /// A lane per key group, and batches cut by window as in [`AnyByWindow`](Self::AnyByWindow).
    ByKeyAndWindow,
    /// The lane of the key of no bytes, whatever the elements are, so that at most one bundle runs at a time and takes them in
    /// order; batches are cut by window.
    OneLaneByWindow,
}

impl Partitioning {
    /// Whether elements go to a lane by their key.
    pub fn by_key(self) -> bool {
        matches!(self, Self::ByKey | Self::ByKeyAndWindow)
    }

    /// Whether batches are cut by window.
    pub fn by_window(self) -> bool {
        matches!(self, Self::AnyByWindow | Self::ByKeyAndWindow | Self::OneLaneByWindow)
    }

    /// Whether at most one running bundle takes from a lane.
    pub fn locks_lanes(self) -> bool {
        self.by_key() || self == Self::OneLaneByWindow
    }
}

/// A side input.
#[derive(Clone, Debug)]
pub struct SideSpec {
    /// Its index.
    pub id: SideId,
    /// The stage of kind [`StageKind::Materialize`] that fills it.
    pub materialize: StageId,
    /// How it is read.
    pub access: SideAccess,
    /// What is kept of a window.
    pub contents: SideContents,
    /// Assigns the windows of the side input.
    pub window_fn: WindowFn,
    /// How an element's value stands on the wire.
    pub coder: Arc<Coder>,
    /// How its windows stand on the wire.
    pub windows: WindowCoder,
}

/// How a side input is read (`SideInput.access_pattern`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SideAccess {
    /// `beam:side_input:iterable:v1`: all elements of a window.
    Iterable,
    /// `beam:side_input:multimap:v1`: all values of a key and window; elements are KVs.
    Multimap,
}

/// What a side input holds of each window. Whichever it is, readers see none of it before the bundle that kept it commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SideContents {
    /// All of its elements, readable when the window is complete.
    All,
    /// The same of a collection that may not end: elements behind the end of a window that was read are dropped and counted.
    InTime,
    /// Those of the latest pane, readable from the first pane on. The stage that keeps it takes panes: iterables of its elements.
    LatestPane,
}

/// What elements of a main window read of a side input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SideRead {
    /// The window that ends here: its last instant.
    Window(EventTime),
    /// Something that only the SDK knows.
    Anything,
    /// Nothing: the side input has no window there, as the SDK will say.
    Nothing,
}

/// A stage's dependence on a side input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideGate {
    /// Which side input.
    pub side: SideId,
    /// From a window of the main input to the window of the side input.
    pub mapping: SideMapping,
    /// How long behind a main window's end its elements may come, if those that come later are not let in: then windows of the side
    /// input are forgotten when nobody can read them any more. Without it they stay as long as the job.
    pub lateness: Option<Millis>,
}

/// From a window of the main input to the window of the side input that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SideMapping {
    /// Beam's default: the side input's earliest window that contains the last instant of the main window.
    Default,
    /// Only the SDK knows: the whole side input must be complete.
    Opaque,
}

impl SideSpec {
    /// What elements of a main window read whose last instant is `main_max`.
    pub fn read_by(&self, main_max: EventTime, mapping: SideMapping) -> SideRead {
        match mapping {
            SideMapping::Default => match self.window_fn.side_window_of(main_max) {
                Some(window) => SideRead::Window(window.max_timestamp()),
                None => SideRead::Nothing,
            },
            SideMapping::Opaque => SideRead::Anything,
        }
    }
}

impl StageKind {
    /// Whether its bundles have the state of their lanes, and may wait for timers.
    pub fn keeps_state(&self) -> bool {
        match self {
            Self::Group { grouping: Grouping::KeyMajor | Grouping::OneKey, .. }
            | Self::SortByTime { as_it_comes: Some(_) }
            | Self::Worker => true,
            Self::Group { grouping: Grouping::AppendOnce, .. }
            | Self::SortByTime { as_it_comes: None }
            | Self::Impulse
            | Self::Replay
            | Self::TestStream
            | Self::Materialize(_) => false,
        }
    }

    /// Whether its input is partitioned by key whatever the pipeline says.
    pub fn is_by_key(&self) -> bool {
        match self {
            Self::Group { .. } | Self::SortByTime { .. } => true,
            Self::Worker | Self::Impulse | Self::Replay | Self::TestStream | Self::Materialize(_) => false,
        }
    }

    /// Whether it has no input, and one bundle.
    pub fn runs_once(&self) -> bool {
        match self {
            Self::Impulse | Self::Replay => true,
            Self::TestStream | Self::Worker | Self::Group { .. } | Self::SortByTime { .. } | Self::Materialize(_) => {
                false
            }
        }
    }

    /// If its input comes in slices of its windows: which.
    pub fn slices(&self) -> Option<SlicedWindows> {
        if let Self::Group { slices, .. } = self { *slices } else { None }
    }

    /// Whether its bundles take whole lanes, once, when the input is complete.
    pub fn waits_for_all(&self) -> bool {
        match self {
            Self::Group { grouping: Grouping::AppendOnce, .. } | Self::SortByTime { as_it_comes: None } => true,
            Self::Group { grouping: Grouping::KeyMajor | Grouping::OneKey, .. }
            | Self::SortByTime { as_it_comes: Some(_) }
            | Self::Impulse
            | Self::Replay
            | Self::TestStream
            | Self::Worker
            | Self::Materialize(_) => false,
        }
    }
}

impl JobGraph {
    /// The stage with this id. Ids come from this graph, so the lookup cannot fail.
    pub fn stage(&self, id: StageId) -> &StageSpec {
        &self.stages[id.index()]
    }

    /// The output with this id. Ids come from this graph, so the lookup cannot fail.
    pub fn output(&self, id: OutputId) -> &OutputSpec {
        &self.outputs[id.index()]
    }

    /// The side input with this id. Ids come from this graph, so the lookup cannot fail.
    pub fn side(&self, id: SideId) -> &SideSpec {
        &self.sides[id.index()]
    }

    /// The coder of a stage's elements, if they are pairs that reach it by their keys.
    pub fn keyed_input(&self, stage: StageId) -> Option<&Arc<Coder>> {
        let stage = self.stage(stage);
        let input = self.output(*stage.upstream.first().filter(|_| stage.keyed)?);
        let by_key = |consumer: &ConsumerSpec| consumer.stage == stage.id && consumer.partitioning.by_key();
        input.consumers.iter().any(by_key).then_some(&input.coder)
    }

    /// The stage that a script feeds, if there is one.
    pub fn scripted(&self) -> Option<&StageSpec> {
        self.stages.iter().find(|stage| stage.kind == StageKind::TestStream)
    }

    /// Whether a stage makes or keeps the panes of a side input: it takes its input in order, window by window.
    pub fn has_panes(&self, stage: &StageSpec) -> bool {
        match stage.kind {
            StageKind::Group { grouping, .. } => grouping == Grouping::OneKey,
            StageKind::Materialize(side) => {
                self.sides.get(side.index()).is_some_and(|side| side.contents == SideContents::LatestPane)
            }
            StageKind::Impulse
            | StageKind::Replay
            | StageKind::TestStream
            | StageKind::Worker
            | StageKind::SortByTime { .. } => false,
        }
    }

    /// Checks what the engine relies on: ids are indices, references exist, and stages are in topological order.
    ///
    /// # Errors
    /// The first thing that is not so, as a [`GraphError`]: a bug of whoever built the graph.
    pub fn check(&self) -> Result<(), GraphError> {
        let fail = |stage: &StageSpec, problem: String| GraphError { stage: stage.name.clone(), problem };
        for (index, stage) in self.stages.iter().enumerate() {
            if stage.id.index() != index {
                return Err(fail(stage, format!("has id {} at position {index}", stage.id)));
            }
            if stage.env.is_some_and(|env| env.0 >= self.environments) {
                return Err(fail(stage, format!("runs in {:?} of {}", stage.env, self.environments)));
            }
            for output in &stage.outputs {
                if self.outputs.get(output.index()).is_none_or(|spec| spec.id != *output || spec.producer != stage.id) {
                    return Err(fail(stage, format!("emits {output}, which does not know it")));
                }
            }
            for output in &stage.upstream {
                let Some(spec) = self.outputs.get(output.index()) else {
                    return Err(fail(stage, format!("consumes {output}, which does not exist")));
                };
                if spec.producer >= stage.id {
                    return Err(fail(stage, format!("consumes {output} of the later stage {}", spec.producer)));
                }
                if !spec.consumers.iter().any(|consumer| consumer.stage == stage.id) {
                    return Err(fail(stage, format!("consumes {output}, which does not send to it")));
                }
            }
            if let StageKind::Group { merge: Some(merge), .. } = stage.kind
                && self.stages.get(merge.index()).is_none_or(|asked| asked.kind != StageKind::Worker)
            {
                return Err(fail(stage, format!("has its windows merged by {merge}, which is no stage of workers")));
            }
            if let Some(asked) = stage.truncated_by
                && self.stages.get(asked.index()).is_none_or(|asked| asked.kind != StageKind::Worker)
            {
                return Err(fail(
                    stage,
                    format!("has its restrictions truncated by {asked}, which is no stage of workers"),
                ));
            }
            for gate in &stage.gates {
                if self.sides.get(gate.side.index()).is_none_or(|side| side.materialize >= stage.id) {
                    return Err(fail(stage, format!("waits for {}, which no earlier stage fills", gate.side)));
                }
            }
        }
        if let Some(second) = self.stages.iter().filter(|stage| stage.kind == StageKind::TestStream).nth(1) {
            return Err(fail(second, "is a second TestStream".to_owned()));
        }
        for output in &self.outputs {
            for consumer in &output.consumers {
                let Some(stage) = self.stages.get(consumer.stage.index()) else {
                    return Err(GraphError {
                        stage: output.name.clone(),
                        problem: format!("is sent to {}, which does not exist", consumer.stage),
                    });
                };
                let by_window = !stage.gates.is_empty() || self.has_panes(stage);
                if stage.keyed != consumer.partitioning.locks_lanes() || by_window != consumer.partitioning.by_window()
                {
                    return Err(fail(stage, format!("takes {} partitioned {:?}", output.id, consumer.partitioning)));
                }
            }
        }
        Ok(())
    }
}

/// A graph that an engine cannot run: a bug of whoever built it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("stage `{stage}` {problem}; this is a bug in Purlin's planner, please report it with the pipeline")]
pub struct GraphError {
    /// The stage's name.
    pub stage: Arc<str>,
    /// What is wrong with it.
    pub problem: String,
}
