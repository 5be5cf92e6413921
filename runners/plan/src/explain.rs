//! A plan for people: as text, and as a graph in the dot language.
//!
//! ```text
//!   s2 worker in env0   Read/ProcessSized + Split            splittable
//!      <- o1
//!      -> o2 words: string_utf8
//! ```
//! Tests of the planner compare the same text that `purlin explain` prints.

use std::fmt::{self, Write};

use purlin_engine::core::stage::{OutputId, Partitioning, SideAccess, StageKind, StageSpec};

use crate::stage::StageGraph;

/// The stages in order, each with its transforms, what it reads and what it emits.
pub fn text(plan: &StageGraph) -> String {
    let mut text = String::new();
    write_text(plan, &mut text).expect("writing to a string cannot fail");
    text
}

fn write_text(plan: &StageGraph, text: &mut String) -> fmt::Result {
    for (index, environment) in plan.environments.iter().enumerate() {
        writeln!(text, "env{index} {} ({})", environment.id, environment.proto.urn)?;
    }
    for spec in &plan.graph.stages {
        writeln!(text, "{} {}{}", spec.id, kind(plan, spec), marks(spec))?;
        for transform in &plan.stages[spec.id.index()].transforms {
            let name = plan.components.transforms.get(transform.as_str()).map(|it| it.unique_name.as_str());
            writeln!(text, "     {}", name.unwrap_or(transform.as_str()))?;
        }
        for output in &spec.upstream {
            let partitioning = plan.graph.output(*output).consumers.iter().find(|it| it.stage == spec.id);
            let how = partitioning.map_or("", |consumer| partitioned(consumer.partitioning));
            writeln!(text, "  <- {output}{how}")?;
        }
        for side in &plan.stages[spec.id.index()].sides {
            writeln!(text, "  <- {} as {}", side.side, side.local_name)?;
        }
        for output in &spec.outputs {
            let output = plan.graph.output(*output);
            let bounded = if output.bounded { "" } else { ", unbounded" };
            writeln!(text, "  -> {} {}: {}{bounded}", output.id, output.name, output.coder)?;
        }
    }
    Ok(())
}

fn kind(plan: &StageGraph, spec: &StageSpec) -> String {
    let environment = spec.env.map_or(String::new(), |env| format!(" in {env}"));
    match &spec.kind {
        StageKind::Impulse => "impulse".to_owned(),
        StageKind::Worker => format!("worker{environment}"),
        StageKind::Group { grouping, strategy, merge } => {
            let merge = merge.map_or(String::new(), |stage| format!(", windows merged by {stage}"));
            format!("group ({grouping:?}, {:?}, {:?}{merge})", strategy.window_fn, strategy.trigger)
        }
        StageKind::SortByTime => "sort by time".to_owned(),
        StageKind::Materialize(side) => {
            let access = match plan.graph.side(*side).access {
                SideAccess::Iterable => "iterable",
                SideAccess::Multimap => "multimap",
            };
            format!("{side}, kept as {access}")
        }
    }
}

fn marks(spec: &StageSpec) -> String {
    let marks = [(spec.splittable, "splittable"), (spec.unbounded, "unbounded"), (spec.finalizes, "finalizes")];
    marks.iter().filter(|(is, _)| *is).fold(String::new(), |text, (_, mark)| text + ", " + mark)
}

fn partitioned(partitioning: Partitioning) -> &'static str {
    match partitioning {
        Partitioning::Any => "",
        Partitioning::AnyByWindow => " by window",
        Partitioning::ByKey => " by key",
        Partitioning::ByKeyAndWindow => " by key and window",
    }
}

/// The same as a graph for Graphviz: stages as boxes, PCollections as arrows, side inputs dashed.
pub fn dot(plan: &StageGraph) -> String {
    let mut text = String::new();
    write_dot(plan, &mut text).expect("writing to a string cannot fail");
    text
}

fn write_dot(plan: &StageGraph, text: &mut String) -> fmt::Result {
    writeln!(text, "digraph plan {{\n  node [shape=box];")?;
    for spec in &plan.graph.stages {
        let transforms = plan.stages[spec.id.index()].transforms.iter();
        let names = transforms.filter_map(|it| Some(plan.components.transforms.get(it.as_str())?.unique_name.as_str()));
        let label = names.fold(format!("{} {}", spec.id, kind(plan, spec)), |label, name| label + "\n" + name);
        // Debug quotes as dot does: backslashes, quotes and line ends.
        writeln!(text, "  {} [label={label:?}];", spec.id)?;
    }
    for output in &plan.graph.outputs {
        for consumer in &output.consumers {
            let label = edge(plan, output.id);
            writeln!(text, "  {} -> {} [label={label:?}];", output.producer, consumer.stage)?;
        }
    }
    for spec in &plan.graph.stages {
        for gate in &spec.gates {
            let keeper = plan.graph.side(gate.side).materialize;
            writeln!(text, "  {keeper} -> {} [style=dashed, label=\"{}\"];", spec.id, gate.side)?;
        }
    }
    writeln!(text, "}}")
}

fn edge(plan: &StageGraph, output: OutputId) -> String {
    let output = plan.graph.output(output);
    format!("{} {}", output.id, output.coder)
}
