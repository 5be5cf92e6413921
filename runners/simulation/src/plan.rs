//! From a program to the graph that an engine runs, and what each stage of it does.

use purlin_engine::core::stage::{
    EnvIndex, Grouping, JobGraph, JobGraphBuilder, OutputHandle, SideAccess, SideId, SideMapping, StageId,
};
use purlin_model::coder::Coder;
use purlin_model::window::{WindowCoder, WindowFn};

use crate::program::{Does, Node, Program};
use crate::random::Random;

/// What a worker does in a stage.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    /// The runner's own, for a node if it is a grouping.
    Kernel { node: Option<usize> },
    /// Cuts the numbers of a source into ranges.
    Ranges { node: usize },
    /// Says what is left to do of ranges when the job is drained: all of it.
    Truncate,
    /// Emits the numbers of ranges.
    Numbers { node: usize },
    /// Works element by element, perhaps with a side input.
    Elements { node: usize, side: Option<(SideId, usize)> },
    /// The runner's own: sorts what a node reads, of a stream as it comes.
    Sort { node: usize },
    /// Keeps state by key and window.
    Keyed { node: usize },
    /// Keeps how far each key is.
    Ordered { node: usize },
    /// Takes what comes out.
    Collect { node: usize },
}

/// A program as an engine sees it.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) graph: JobGraph,
    /// By stage.
    pub(crate) roles: Vec<Role>,
    pub(crate) environments: Vec<EnvIndex>,
}

pub(crate) fn single() -> Coder {
    Coder::kv(Coder::VarInt, Coder::VarInt)
}

pub(crate) fn coder_of(node: &Node) -> Coder {
    if node.grouped { Coder::kv(Coder::VarInt, Coder::iterable(Coder::VarInt)) } else { single() }
}

pub(crate) fn windows_of(node: &Node) -> WindowCoder {
    match node.strategy.window_fn {
        WindowFn::Global => WindowCoder::Global,
        _ => WindowCoder::Interval,
    }
}

pub(crate) fn plan(program: &Program, random: &mut Random) -> Planned {
    let mut graph = JobGraphBuilder::new();
    let environments = [graph.environment(), graph.environment()];
    let mut roles = Vec::new();
    let mut set = |stage: StageId, role: Role| {
        roles.resize(roles.len().max(stage.index() + 1), Role::Kernel { node: None });
        roles[stage.index()] = role;
    };
    // Where the elements of each node come from: several places, where they are flattened.
    let mut places: Vec<Vec<OutputHandle>> = Vec::new();
    for (node, spec) in program.nodes.iter().enumerate() {
        let env = environments[random.below(2) as usize];
        let (coder, windows) = (coder_of(spec), windows_of(spec));
        let name = |what: &str| format!("{node} {what}");
        let emitted = match &spec.does {
            Does::Flatten { inputs } => inputs.iter().flat_map(|input| places[*input].clone()).collect(),
            Does::Source { .. } => {
                let impulse = graph.impulse(&name("impulse"));
                let ranges = graph.worker(&name("ranges"), env, &[impulse], single(), WindowCoder::Global);
                set(graph.producer(ranges), Role::Ranges { node });
                let numbers = graph.worker(&name("numbers"), env, &[ranges], coder, windows);
                let stage = graph.producer(numbers);
                graph.stage_mut(stage).splittable = true;
                graph.stage_mut(stage).unbounded = program.stream;
                set(stage, Role::Numbers { node });
                let truncate = graph.worker(&name("truncate"), env, &[], single(), WindowCoder::Global);
                let asked = graph.producer(truncate);
                graph.stage_mut(stage).truncated_by = Some(asked);
                set(asked, Role::Truncate);
                vec![numbers]
            }
            Does::Group { input } => {
                let group = graph.group(&name("group"), &places[*input], &program.nodes[*input].strategy, coder);
                if program.stream {
                    graph.group_by(group, Grouping::KeyMajor);
                }
                set(graph.producer(group), Role::Kernel { node: Some(node) });
                vec![group]
            }
            Does::Total { input } | Does::InOrder { input } | Does::Ordered { input } => {
                let from = if matches!(spec.does, Does::Total { .. }) {
                    places[*input].clone()
                } else {
                    let sorted = graph.sort_by_time(&name("sort"), &places[*input]);
                    if program.stream {
                        graph.sort_as_it_comes(sorted, program.nodes[*input].strategy.allowed_lateness);
                    }
                    set(graph.producer(sorted), Role::Sort { node });
                    vec![sorted]
                };
                let output = graph.worker(&name("keyed"), env, &from, coder, windows);
                let stage = graph.producer(output);
                graph.stage_mut(stage).keyed = true;
                let ordered = matches!(spec.does, Does::Ordered { .. });
                set(stage, if ordered { Role::Ordered { node } } else { Role::Keyed { node } });
                vec![output]
            }
            Does::Side { input, side, refreshed } => {
                let strategy = &program.nodes[*side].strategy;
                let window_fn = strategy.window_fn.clone();
                let ends = window_fn != WindowFn::Global;
                let access = SideAccess::Iterable;
                let kept = if *refreshed {
                    graph.refreshed_side_input(&name("side"), &places[*side], access, strategy)
                } else {
                    graph.side_input(&name("side"), &places[*side], access, window_fn)
                };
                if program.stream && !refreshed {
                    graph.in_time(kept);
                }
                let output = graph.worker(&name("reader"), env, &places[*input], coder, windows);
                let stage = graph.producer(output);
                graph.reads(stage, kept, SideMapping::Default);
                // Also where nothing is ever late, what is read must be there.
                if ends {
                    graph.lets_in(stage, program.nodes[*input].strategy.allowed_lateness);
                }
                set(stage, Role::Elements { node, side: Some((kept, *side)) });
                vec![output]
            }
            Does::KeyBy { input, .. } | Does::Odd { input } | Does::Window { input } => {
                let output = graph.worker(&name("elements"), env, &places[*input], coder, windows);
                set(graph.producer(output), Role::Elements { node, side: None });
                vec![output]
            }
        };
        places.push(emitted);
    }
    for node in program.sinks() {
        let stage = graph.sink(&format!("{node} collect"), environments[0], &places[node]);
        set(stage, Role::Collect { node });
    }
    let graph = graph.build();
    roles.resize(graph.stages.len(), Role::Kernel { node: None });
    Planned { graph, roles, environments: environments.to_vec() }
}
