//! A plan for people: as text, and as a graph in the dot language.
//!
//! ```text
//!   s2 worker in env0   Read/ProcessSized + Split            splittable
//!      <- o1
//!      -> o2 words: string_utf8
//! ```
//! Tests of the planner compare the same text that `purlin explain` prints.

use std::fmt::{self, Write};

use purlin_engine::core::stage::{OutputId, Partitioning, SideAccess, SideContents, StageKind, StageSpec};

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
            // A name of several lines would look like several transforms.
            let name = name.unwrap_or(transform.as_str()).replace(char::is_control, " ");
            writeln!(text, "     {name}")?;
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
        StageKind::Replay => "dead letters".to_owned(),
        StageKind::TestStream => "test stream".to_owned(),
        StageKind::Worker => {
            let truncated =
                spec.truncated_by.map_or(String::new(), |stage| format!(", truncated by {stage} in a drain"));
            format!("worker{environment}{truncated}")
        }
        StageKind::Group { grouping, strategy, merge, slices } => {
            let merge = merge.map_or(String::new(), |stage| format!(", windows merged by {stage}"));
            let slices = slices.map_or(String::new(), |it| format!(", combined in slices of {} ms", it.slice().0));
            format!("group ({grouping:?}, {:?}, {:?}{merge}{slices})", strategy.window_fn, strategy.trigger)
        }
        StageKind::SortByTime { as_it_comes: None } => "sort by time".to_owned(),
        StageKind::SortByTime { as_it_comes: Some(lateness) } => {
            format!("sort by time, as it comes, late by {} ms at most", lateness.0)
        }
        StageKind::Materialize(side) => {
            let access = match plan.graph.side(*side).access {
                SideAccess::Iterable => "iterable",
                SideAccess::Multimap => "multimap",
            };
            let contents = match plan.graph.side(*side).contents {
                SideContents::All => "",
                SideContents::InTime => ", by window",
                SideContents::LatestPane => ", the latest pane of each window",
            };
            format!("{side}, kept as {access}{contents}")
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
        Partitioning::OneLaneByWindow => " in one lane, by window",
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

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::testing::TestPipeline;

    /// Something of everything.
    fn plan() -> StageGraph {
        TestPipeline::new()
            .windowed("words", "string_utf8", "fixed")
            .windowed("pairs", "kv<string_utf8, any>", "fixed")
            .windowed("groups", "kv<string_utf8, iterable<any>>", "fixed")
            .collection("numbered", "string_utf8")
            .impulse("start")
            .par_do("Read", "start", &["lines"])
            .splittable("range")
            .payload(|payload| payload.requests_finalization = true)
            .par_do("Stop", "start", &["stops"])
            .par_do("Split", "lines", &["words"])
            .sides(&[("stops", "iterable")])
            .par_do("Pair", "words", &["pairs"])
            .group("Group", "pairs", "groups")
            .par_do("Say \"hi\"\n\\o/", "groups", &["said"])
            .par_do("Number", "pairs", &["numbered"])
            .stateful()
            .unbounded("numbered")
            .reshuffle("Shuffle", "numbered", "shuffled")
            .collection("shuffled", "string_utf8")
            .par_do("Print", "shuffled", &["printed"])
            .plan()
    }

    #[test]
    fn a_plan_as_text() {
        assert_snapshot!(text(&plan()), @r#"
        env0 py (beam:env:external:v1)
        s0 impulse
             Impulse start
          -> o0 start: bytes
        s1 worker in env0
             Read/PairWithRestriction
             Read/SplitAndSize
             Stop
          <- o0
          -> o1 read/SplitAndSize.out: kv<kv<bytes, length_prefix<range>>, double>
          -> o2 stops: bytes
        s2 worker in env0, splittable, finalizes
             Read/ProcessSized
          <- o1
          -> o3 lines: bytes
        s3 side0, kept as iterable
          <- o2
        s4 worker in env0
             Split
             Pair
          <- o3 by window
          <- side0 as side0
          -> o4 pairs: kv<string_utf8, length_prefix<any>>
        s5 group (AppendOnce, Fixed { size: 10000ms, offset: 0ms }, Default)
             Group
          <- o4 by key
          -> o5 groups: kv<string_utf8, state_backed_iterable<length_prefix<any>>>
        s6 worker in env0
             Say "hi" \o/
          <- o5
        s7 worker in env0, unbounded
             Number
          <- o4 by key
          -> o6 numbered: string_utf8, unbounded
        s8 worker in env0
             Print
          <- o6
        "#);
    }

    #[test]
    fn a_plan_as_a_graph() {
        assert_snapshot!(dot(&plan()), @r#"
        digraph plan {
          node [shape=box];
          s0 [label="s0 impulse\nImpulse start"];
          s1 [label="s1 worker in env0\nRead/PairWithRestriction\nRead/SplitAndSize\nStop"];
          s2 [label="s2 worker in env0\nRead/ProcessSized"];
          s3 [label="s3 side0, kept as iterable"];
          s4 [label="s4 worker in env0\nSplit\nPair"];
          s5 [label="s5 group (AppendOnce, Fixed { size: 10000ms, offset: 0ms }, Default)\nGroup"];
          s6 [label="s6 worker in env0\nSay \"hi\"\n\\o/"];
          s7 [label="s7 worker in env0\nNumber"];
          s8 [label="s8 worker in env0\nPrint"];
          s0 -> s1 [label="o0 bytes"];
          s1 -> s2 [label="o1 kv<kv<bytes, length_prefix<range>>, double>"];
          s1 -> s3 [label="o2 bytes"];
          s2 -> s4 [label="o3 bytes"];
          s4 -> s5 [label="o4 kv<string_utf8, length_prefix<any>>"];
          s4 -> s7 [label="o4 kv<string_utf8, length_prefix<any>>"];
          s5 -> s6 [label="o5 kv<string_utf8, state_backed_iterable<length_prefix<any>>>"];
          s7 -> s8 [label="o6 string_utf8"];
          s3 -> s4 [style=dashed, label="side0"];
        }
        "#);
    }
}
