//! All structural problems of a pipeline, at once.

use std::sync::Arc;

use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_requirements as requirements;

use crate::graph::Graph;
use crate::parse::parse;
use crate::problem::Problems;

/// A pipeline whose structure is sound: what was submitted, beside what it means.
#[derive(Clone, Debug)]
pub struct ValidatedPipeline {
    proto: Arc<pb::Pipeline>,
    pub(crate) graph: Graph,
}

impl ValidatedPipeline {
    /// The pipeline as submitted.
    pub fn proto(&self) -> &Arc<pb::Pipeline> {
        &self.proto
    }
}

const KNOWN: &[&str] = &[
    requirements::REQUIRES_STATEFUL_PROCESSING,
    requirements::REQUIRES_BUNDLE_FINALIZATION,
    requirements::REQUIRES_STABLE_INPUT,
    requirements::REQUIRES_TIME_SORTED_INPUT,
    requirements::REQUIRES_SPLITTABLE_DOFN,
    requirements::REQUIRES_ON_WINDOW_EXPIRATION,
];

/// Reads and checks a pipeline.
///
/// # Errors
/// Everything that is wrong with its structure.
pub fn validate(pipeline: pb::Pipeline) -> Result<ValidatedPipeline, Problems> {
    let mut problems = Problems::new();
    let graph = parse(&pipeline, &mut problems);
    for requirement in &pipeline.requirements {
        if !KNOWN.contains(&requirement.as_str()) {
            problems.add("pipeline", format!("requires `{requirement}`, which Purlin does not know"), "");
        }
    }
    check_components(&graph.components, &mut problems);
    problems.into_result(())?;
    Ok(ValidatedPipeline { proto: Arc::new(pipeline), graph })
}

fn check_components(components: &pb::Components, problems: &mut Problems) {
    for (id, pcollection) in &components.pcollections {
        let place = format!("PCollection `{id}`");
        if !components.coders.contains_key(&pcollection.coder_id) {
            problems.add(&place, format!("names coder `{}`, which does not exist", pcollection.coder_id), "");
        }
        if !components.windowing_strategies.contains_key(&pcollection.windowing_strategy_id) {
            let strategy = &pcollection.windowing_strategy_id;
            problems.add(&place, format!("names windowing strategy `{strategy}`, which does not exist"), "");
        }
    }
    for (id, coder) in &components.coders {
        for part in &coder.component_coder_ids {
            if !components.coders.contains_key(part) {
                problems.add(format!("coder `{id}`"), format!("names coder `{part}`, which does not exist"), "");
            }
        }
    }
    for (id, strategy) in &components.windowing_strategies {
        if !components.coders.contains_key(&strategy.window_coder_id) {
            let coder = &strategy.window_coder_id;
            problems.add(
                format!("windowing strategy `{id}`"),
                format!("names coder `{coder}`, which does not exist"),
                "",
            );
        }
    }
}
