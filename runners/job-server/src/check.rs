//! Whether a pipeline can run, and where: everything that speaks against it, at once.
//!
//! ```text
//!   options ─► runner, or auto ─┐
//!   pipeline ─► validate ─► requirements ─► verdict by the sheet ─┬─► Checked: the runner, why, its limits, the job
//!                                      └──► translate ────────────┴─► Refusal: options, pipeline, verdicts
//! ```
//! Never a fallback: what the chosen runner does not declare is refused.

use std::fmt;
use std::sync::Arc;

use purlin_backend::{AUTO, Backend, BackendError, DeadLetterOptions, JobOptions, Registry, Translated};
use purlin_capability_matrix::requirements::Requirements;
use purlin_capability_matrix::row::Row;
use purlin_capability_matrix::sheet::{self, CapabilitySheet};
use purlin_capability_matrix::verdict::{Verdict, verdict};
use purlin_plan::{Problems, ValidatedPipeline, requirements};
use purlin_proto::pipeline::v1 as pb;

use crate::config::ServerConfig;
use crate::options::{RUNNER_OPTION, chosen_runner, from_wire};

/// In this order `auto` looks at runners, where data comes to an end: the one that says least of bundles first.
const BOUNDED_ORDER: [&str; 3] = ["direct", "micro-batch", "continuous"];

/// And where it may not: the one that is made for it first.
const UNBOUNDED_ORDER: [&str; 3] = ["continuous", "direct", "micro-batch"];

/// A pipeline that can run, and as what.
#[derive(Debug)]
pub struct Checked {
    /// The name of the runner that it chose.
    pub runner: &'static str,
    /// Why this one, if the choice was left to the server.
    pub chosen_because: Option<String>,
    /// What its sheet says of what the pipeline needs: limits at most.
    pub verdict: Verdict,
    /// What the runner makes of it.
    pub translated: Translated,
    /// The pipeline as it was given.
    pub pipeline: Arc<pb::Pipeline>,
}

/// Everything that keeps a pipeline from running.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// What is wrong with its options.
    pub options: Vec<String>,
    /// What is wrong with the pipeline, whoever runs it.
    pub invalid: Option<Problems>,
    /// What the runner lacks, by its sheet; of several runners if the choice was left to the server.
    pub verdicts: Vec<Verdict>,
    /// What Purlin cannot run and no row of the matrix speaks of.
    pub unsupported: Option<Problems>,
}

impl Refusal {
    #[expect(clippy::needless_pass_by_value, reason = "it stands in map_err, which passes by value")]
    fn option(fault: impl ToString) -> Self {
        Self { options: vec![fault.to_string()], ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        let Self { options, invalid, verdicts, unsupported } = self;
        options.is_empty() && invalid.is_none() && verdicts.is_empty() && unsupported.is_none()
    }

    /// Whether it is the submitter's fault, rather than something that is not there.
    pub fn is_invalid(&self) -> bool {
        !self.options.is_empty() || self.invalid.is_some()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, invalid, verdicts, unsupported } = self;
        let parts = options
            .iter()
            .cloned()
            .chain(invalid.iter().map(ToString::to_string))
            .chain(verdicts.iter().map(ToString::to_string))
            .chain(unsupported.iter().map(ToString::to_string));
        f.write_str(&parts.collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for Refusal {}

/// Checks a pipeline as Prepare does, for anyone who wants to know without a server.
///
/// # Errors
/// Everything that keeps it from running.
pub fn check(
    config: &ServerConfig,
    pipeline: pb::Pipeline,
    options: &prost_types::Struct,
) -> Result<Checked, Box<Refusal>> {
    let options = from_wire(options);
    let registry = &config.registry;
    let wanted = chosen_runner(&options).map(|chosen| chosen.unwrap_or(&config.runner));
    let wanted = wanted.map_err(Refusal::option).and_then(|wanted| {
        registry.offers(wanted).map_err(Refusal::option)?;
        Ok(wanted)
    });
    let validated = purlin_plan::validate(pipeline);
    match (wanted, validated) {
        (Ok(AUTO), Ok(pipeline)) => choose(registry, &pipeline, &options),
        (Ok(name), Ok(pipeline)) => {
            let backend = registry.get(name).map_err(Refusal::option)?;
            let judged = judge(registry, backend.as_ref(), &requirements(&pipeline));
            translate(registry, backend.as_ref(), judged, None, &pipeline, &options)
        }
        (wanted, validated) => {
            let mut refusal = wanted.as_ref().err().cloned().unwrap_or_default();
            refusal.invalid = validated.err();
            if let Ok(backend) = wanted.and_then(|name| registry.get(name).map_err(Refusal::option)) {
                refusal.options.extend(option_faults(registry, backend.as_ref(), &options));
            }
            Err(Box::new(refusal))
        }
    }
}

/// What a runner's sheet says of a pipeline.
fn judge(registry: &Registry, backend: &dyn Backend, needs: &Requirements) -> Verdict {
    let offered: Vec<&CapabilitySheet> = registry.iter().map(|backend| backend.sheet()).collect();
    verdict(needs, backend.sheet(), offered.into_iter().chain(sheet::others()))
}

fn translate(
    registry: &Registry,
    backend: &dyn Backend,
    verdict: Verdict,
    chosen_because: Option<String>,
    pipeline: &ValidatedPipeline,
    options: &JobOptions,
) -> Result<Checked, Box<Refusal>> {
    let mut refusal = Refusal { options: option_faults(registry, backend, options), ..Refusal::default() };
    let translated = purlin_backend::translate(backend, pipeline, options);
    let translated = match translated {
        Ok(translated) => Some(translated),
        Err(BackendError::Pipeline(problems)) => {
            refusal.unsupported = Some(problems);
            None
        }
        Err(error @ (BackendError::Option(_) | BackendError::Replay(_))) => {
            let text = error.to_string();
            if !refusal.options.contains(&text) {
                refusal.options.push(text);
            }
            None
        }
    };
    if !verdict.is_accepted() {
        refusal.verdicts.push(verdict);
        return Err(Box::new(refusal));
    }
    match translated {
        Some(translated) if refusal.is_empty() => {
            let pipeline = pipeline.proto().clone();
            Ok(Checked { runner: backend.name(), chosen_because, verdict, translated, pipeline })
        }
        _ => Err(Box::new(refusal)),
    }
}

/// The first runner that does all that is needed, and takes all options that were given.
fn choose(registry: &Registry, pipeline: &ValidatedPipeline, options: &JobOptions) -> Result<Checked, Box<Refusal>> {
    let needs = requirements(pipeline);
    let order = if needs.contains(Row::UnboundedPcollections) { UNBOUNDED_ORDER } else { BOUNDED_ORDER };
    let known = order.iter().filter_map(|name| registry.get(name).ok());
    let others = registry.iter().filter(|backend| !order.contains(&backend.name()));
    let mut passed_over = Vec::new();
    let mut refusal = Refusal::default();
    for backend in known.chain(others) {
        let backend = backend.as_ref();
        let foreign = foreign_options(registry, backend, options);
        let judged = judge(registry, backend, &needs);
        if judged.is_accepted() && foreign.is_empty() {
            let because = because(backend.name(), &passed_over);
            return translate(registry, backend, judged, Some(because), pipeline, options);
        }
        let lacks: Vec<_> = judged.refusals.iter().map(|finding| finding.name.as_str()).collect();
        passed_over.push(match lacks[..] {
            [] => format!("`{}` does not take the options that were given", backend.name()),
            [..] => format!("`{}` lacks {}", backend.name(), lacks.join(", ")),
        });
        if judged.is_accepted() {
            refusal.options.extend(foreign);
        } else {
            refusal.verdicts.push(judged);
        }
    }
    Err(Box::new(refusal))
}

fn because(runner: &str, passed_over: &[String]) -> String {
    let chose = format!("auto chose runner `{runner}`, the first whose sheet has all that this pipeline needs");
    if passed_over.is_empty() { chose } else { format!("{chose}; {}", passed_over.join("; ")) }
}

/// What is wrong with the options of runners: values, and options of another runner than this one.
fn option_faults(registry: &Registry, backend: &dyn Backend, options: &JobOptions) -> Vec<String> {
    let values = backend.options().iter().filter_map(|spec| spec.check(options).err());
    values
        .chain(DeadLetterOptions::of(options).err())
        .map(|error| error.to_string())
        .chain(foreign_options(registry, backend, options))
        .collect()
}

fn foreign_options(registry: &Registry, backend: &dyn Backend, options: &JobOptions) -> Vec<String> {
    let own = |name: &str| backend.options().iter().any(|spec| spec.name == name);
    let others = registry.iter().filter(|other| other.name() != backend.name());
    let specs = others.flat_map(|other| other.options().iter().map(|spec| (other.name(), spec)));
    specs
        .filter(|(_, spec)| !own(spec.name) && spec.is_set(options))
        .map(|(owner, spec)| {
            format!(
                "pipeline option --{} is an option of runner `{owner}`, and this job is for `{}`; leave it out, or choose \
                 --{RUNNER_OPTION}={owner}",
                spec.name,
                backend.name()
            )
        })
        .collect()
}
