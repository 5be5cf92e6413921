//! A plan for people.

use std::fmt::Write;

use purlin_engine::core::stage::StageKind;

use crate::stage::StageGraph;

/// As text.
pub fn text(plan: &StageGraph) -> String {
    let mut text = String::new();
    for spec in &plan.graph.stages {
        let kind = match &spec.kind {
            StageKind::Impulse => "impulse".to_owned(),
            StageKind::Worker => "worker".to_owned(),
            StageKind::Group { grouping, .. } => format!("group {grouping:?}"),
            StageKind::Materialize(side) => format!("materialize {side}"),
        };
        let _ = writeln!(text, "{} {kind} `{}` <- {:?}", spec.id, spec.name, spec.upstream);
        for output in &spec.outputs {
            let output = plan.graph.output(*output);
            let _ = writeln!(text, "    {} {} {}", output.id, output.name, output.coder);
        }
    }
    text
}

/// In the dot language.
pub fn dot(plan: &StageGraph) -> String {
    let mut text = "digraph {\n".to_owned();
    for spec in &plan.graph.stages {
        let _ = writeln!(text, "  {} [label={:?}];", spec.id, &*spec.name);
    }
    for output in &plan.graph.outputs {
        for consumer in &output.consumers {
            let _ = writeln!(text, "  {} -> {};", output.producer, consumer.stage);
        }
    }
    text + "}\n"
}
