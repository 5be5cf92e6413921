//! All structural problems of a pipeline, at once.
//!
//! ```text
//!   pb::Pipeline ─parse─► Graph ─references, coders, windowings, environments─► ValidatedPipeline | Problems
//! ```
//! Does not know what any runner can do: only whether the pipeline is one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use purlin_model::coder::Coder;
use purlin_model::ids::{CoderId, EnvironmentId, PCollectionId};
use purlin_model::window::WindowFn;
use purlin_model::windowing_strategy::MergeStatus;
use purlin_proto::convert::coder::from_components;
use purlin_proto::convert::problem::{Path, Problems as WireProblems};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_coders;
use purlin_proto::urns::standard_environments::environments;
use purlin_proto::urns::standard_requirements as requirements;

use crate::PlanOptions;
use crate::graph::{Graph, Leaf, LeafKind};
use crate::limits;
use crate::parse::{OWN, WHOLE, fix, parse};
use crate::payload;
use crate::problem::Problems;

/// A pipeline whose structure is sound: what was submitted, beside what it means.
#[derive(Clone, Debug)]
pub struct ValidatedPipeline {
    proto: Arc<pb::Pipeline>,
    pub(crate) graph: Graph,
    pub(crate) options: PlanOptions,
}

impl ValidatedPipeline {
    /// The pipeline as submitted.
    pub fn proto(&self) -> &Arc<pb::Pipeline> {
        &self.proto
    }

    /// The same pipeline, to be planned as these options say. Whoever asks for a plan need not know of them, so that no runner can forget any.
    #[must_use]
    pub fn planned_by(self, options: PlanOptions) -> Self {
        Self { options, ..self }
    }
}

const REQUIREMENTS: &[&str] = &[
    requirements::REQUIRES_STATEFUL_PROCESSING,
    requirements::REQUIRES_BUNDLE_FINALIZATION,
    requirements::REQUIRES_STABLE_INPUT,
    requirements::REQUIRES_TIME_SORTED_INPUT,
    requirements::REQUIRES_SPLITTABLE_DOFN,
    requirements::REQUIRES_ON_WINDOW_EXPIRATION,
];

const ENVIRONMENTS: &[&str] =
    &[environments::DOCKER, environments::PROCESS, environments::EXTERNAL, environments::DEFAULT, environments::ANYOF];

/// Reads and checks a pipeline.
///
/// # Errors
/// Everything that is wrong with its structure.
pub fn validate(pipeline: pb::Pipeline) -> Result<ValidatedPipeline, Problems> {
    limits::check(&pipeline)?;
    let mut problems = Problems::new();
    let graph = parse(&pipeline, &mut problems);
    for requirement in &pipeline.requirements {
        if !REQUIREMENTS.contains(&requirement.as_str()) {
            let fix = "use an SDK of Beam 2.77 or earlier, or leave out what needs it";
            problems.add("pipeline", format!("requires `{requirement}`, which Purlin does not know"), fix);
        }
    }
    check_ids(&graph.components, &mut problems);
    check_references(&graph.components, &mut problems);
    let coders = check_coders(&graph.components, &mut problems);
    check_environments(&graph, &mut problems);
    for leaf in &graph.leaves {
        check_leaf(&graph, &coders, leaf, &mut problems);
    }
    check_names(&graph, &mut problems);
    problems.into_result(())?;
    Ok(ValidatedPipeline { proto: Arc::new(pipeline), graph, options: PlanOptions::default() })
}

/// The name of a transform is the address of its state, so that two of one name would share it.
fn check_names(graph: &Graph, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for leaf in graph.leaves.iter().filter(|leaf| leaf.stateful) {
        if !seen.insert(&leaf.name) {
            let what = format!("is the name of two transforms with state or timers, `{}` among them", leaf.id);
            problems.add(&leaf.name, what, "give each its own `unique_name`: state is kept under it");
        }
    }
}

/// Ids that Purlin makes up must be free, and found to be at the first look.
fn check_ids(components: &pb::Components, problems: &mut Problems) {
    let mut check = |kind: &str, id: &String| {
        if id.starts_with(OWN) {
            let what = format!("has an id that begins with `{OWN}`, as only Purlin's own do");
            problems.add(format!("{kind} `{id}`"), what, "choose another id");
        }
    };
    components.pcollections.keys().for_each(|id| check("PCollection", id));
    components.coders.keys().for_each(|id| check("coder", id));
    components.windowing_strategies.keys().for_each(|id| check("windowing strategy", id));
    components.environments.keys().for_each(|id| check("environment", id));
}

fn check_references(components: &pb::Components, problems: &mut Problems) {
    for (id, pcollection) in &components.pcollections {
        let place = format!("PCollection `{id}`");
        if !components.coders.contains_key(&pcollection.coder_id) {
            problems.add(&place, format!("names coder `{}`, which does not exist", pcollection.coder_id), WHOLE);
        }
        if !components.windowing_strategies.contains_key(&pcollection.windowing_strategy_id) {
            let strategy = &pcollection.windowing_strategy_id;
            problems.add(&place, format!("names windowing strategy `{strategy}`, which does not exist"), WHOLE);
        }
    }
    for (id, strategy) in &components.windowing_strategies {
        let mut missing = |what: &str, id_of_it: &str| {
            let what = format!("names {what} `{id_of_it}`, which does not exist");
            problems.add(format!("windowing strategy `{id}`"), what, WHOLE);
        };
        if !components.coders.contains_key(&strategy.window_coder_id) {
            missing("coder", &strategy.window_coder_id);
        }
        let env = &strategy.environment_id;
        if !env.is_empty() && !components.environments.contains_key(env) {
            missing("environment", env);
        }
    }
}

fn check_coders(components: &pb::Components, problems: &mut Problems) -> BTreeMap<CoderId, Arc<Coder>> {
    let mut wire = WireProblems::new();
    let coders = from_components(&components.coders, &Path::root("coders"), &mut wire);
    for problem in wire.iter() {
        problems.add("coders", problem.to_string(), fix(&problem.fault));
    }
    coders
}

fn check_environments(graph: &Graph, problems: &mut Problems) {
    let of_leaves = graph.leaves.iter().filter_map(|leaf| leaf.env.as_ref());
    // Windows that only an SDK merges are merged where they were made.
    let merged = graph.strategies.values().filter(|strategy| {
        strategy.merge_status == MergeStatus::NeedsMerge && matches!(strategy.window_fn, WindowFn::Custom { .. })
    });
    let of_windows = merged.filter_map(|strategy| strategy.environment_id.as_ref());
    let used: BTreeSet<&str> = of_leaves.chain(of_windows).map(EnvironmentId::as_str).collect();
    for id in used {
        let Some(environment) = graph.components.environments.get(id) else { continue };
        let urn = environment.urn.as_str();
        if ENVIRONMENTS.contains(&urn) {
            continue;
        }
        let place = format!("environment `{id}`");
        if urn.starts_with("beam:env:embedded_python") || urn == "EMBEDDED" {
            let what = format!("is of kind `{urn}`, which lives inside the SDK's own runners");
            problems.add(place, what, "submit with --environment_type=LOOPBACK");
        } else {
            let fix = "use an EXTERNAL, PROCESS or DOCKER environment, or LOOPBACK";
            problems.add(place, format!("is of kind `{urn}`, which Purlin does not know"), fix);
        }
    }
}

fn check_leaf(graph: &Graph, coders: &BTreeMap<CoderId, Arc<Coder>>, leaf: &Leaf, problems: &mut Problems) {
    let pcollection = |id: &str| graph.components.pcollections.get(id);
    let coder = |id: &str| coders.get(pcollection(id)?.coder_id.as_str());
    let strategy = |id: &str| {
        let strategy = graph.strategies.get(pcollection(id)?.windowing_strategy_id.as_str())?;
        let windows = Some(graph.urn_of_coder(strategy.window_coder_id.as_str())).filter(|urn| !urn.is_empty())?;
        Some((&strategy.window_fn, windows))
    };
    let output = leaf.outputs.values().next();
    let keyed = |id: &str| coder(id).is_none_or(|coder| matches!(&**coder, Coder::Kv(..)));
    if leaf.stateful {
        for id in leaf.inputs.iter().filter(|id| !keyed(id.as_str())) {
            let found = coder(id.as_str()).map_or_else(String::new, ToString::to_string);
            let what = format!(
                "has state or timers, and reads PCollection `{id}`, whose coder `{found}` is not one of keys and values"
            );
            problems.add(&leaf.name, what, "make its elements pairs: state belongs to a key");
        }
    }
    if matches!(leaf.kind, LeafKind::GroupByKey | LeafKind::CombinePerKey) {
        for id in leaf.inputs.iter().filter(|id| !keyed(id.as_str())) {
            let found = coder(id.as_str()).map_or_else(String::new, ToString::to_string);
            let what = format!("groups PCollection `{id}`, whose coder `{found}` is not one of keys and values");
            problems.add(&leaf.name, what, "make its elements pairs before grouping");
        }
    }
    match leaf.kind {
        LeafKind::GroupByKey => {
            for id in leaf.outputs.values() {
                let grouped = coder(id.as_str()).is_none_or(|coder| match &**coder {
                    Coder::Kv(_, values) => matches!(&**values, Coder::Iterable(_) | Coder::StateBackedIterable(_)),
                    _ => false,
                });
                if !grouped {
                    let what =
                        format!("emits PCollection `{id}`, whose coder is not one of keys and iterables of values");
                    problems.add(&leaf.name, what, WHOLE);
                }
            }
        }
        // Elements keep the windows that they came in, as Python has it; what comes behind goes by the output's
        // windowing. So all that must be alike is how windows are encoded.
        LeafKind::Flatten => {
            let expected = output.and_then(|output| strategy(output.as_str()));
            let known = [standard_coders::GLOBAL_WINDOW, standard_coders::INTERVAL_WINDOW];
            for input in &leaf.inputs {
                if let (Some(found), Some(expected)) = (strategy(input.as_str()), expected)
                    && found != expected
                    && !(found.1 == expected.1 && known.contains(&found.1))
                {
                    let what = format!(
                        "flattens PCollection `{input}`, whose windows are encoded in another way than those of its output"
                    );
                    problems.add(&leaf.name, what, "window all inputs of a flatten alike");
                }
            }
        }
        LeafKind::Impulse => {
            let windows = output.and_then(|output| strategy(output.as_str())).map(|(_, windows)| windows);
            if let Some(windows) = windows.filter(|windows| *windows != standard_coders::GLOBAL_WINDOW) {
                let what = format!("emits into the global window, and windows encoded as `{windows}` are declared");
                problems.add(&leaf.name, what, "assign windows behind it");
            }
        }
        LeafKind::Worker => payload::check(graph, coders, leaf, problems),
        LeafKind::CombinePerKey => payload::check_combine(graph, leaf, problems),
        LeafKind::Replay | LeafKind::TestStream | LeafKind::Barrier | LeafKind::SortByTime | LeafKind::Panes => {}
    }
    // The runner hands windows on as they came. What SDKs execute is their own affair: Python's Reshuffle declares its
    // inner functions global, whatever they are given.
    let keeps = matches!(leaf.kind, LeafKind::GroupByKey | LeafKind::Barrier | LeafKind::CombinePerKey);
    let came = leaf.inputs.first().filter(|_| keeps).and_then(|input| strategy(input.as_str()));
    for id in leaf.outputs.values() {
        if let (Some((came, from)), Some((go, to))) = (came, strategy(id.as_str())) {
            check_kept(leaf, id, (came, from), (go, to), problems);
        }
    }
}

/// Windows that a transform hands on, and what its output says of them. Functions that only an SDK knows are not
/// compared: two ways to write one may differ.
fn check_kept(
    leaf: &Leaf,
    output: &PCollectionId,
    (came, from): (&WindowFn, &str),
    (go, to): (&WindowFn, &str),
    problems: &mut Problems,
) {
    let custom = |windows: &WindowFn| matches!(windows, WindowFn::Custom { .. });
    let what = if from != to {
        format!("takes windows encoded as `{from}` and emits them into PCollection `{output}` as `{to}`")
    } else if came != go && !custom(came) && !custom(go) {
        format!("takes windows of {came:?} and emits them into PCollection `{output}`, which says {go:?}")
    } else {
        return;
    };
    problems.add(
        &leaf.name,
        what,
        "its input and output must have the same windowing; windows are assigned by a WindowInto",
    );
}

#[cfg(test)]
mod tests;
