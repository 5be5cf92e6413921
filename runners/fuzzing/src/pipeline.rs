//! Pipelines: what Prepare does with one, and all that is made of it before anything runs.

use crate::chance::Chance;
use prost::Message;
use purlin_job_server::{Refusal, ServerConfig, check};
use purlin_plan::{Problem, explain};
use purlin_proto::json;
use purlin_proto::pipeline::v1 as pb;
use std::sync::{Arc, LazyLock};

use crate::mutate_bytes::mutate_bytes;
use crate::mutate_pipeline::mutate_pipeline;
use crate::target::Broken;

static CONFIG: LazyLock<ServerConfig> = LazyLock::new(|| {
    let registry = purlin_backend::Registry::new()
        .with(Arc::new(purlin_direct::DirectBackend))
        .with(Arc::new(purlin_micro_batch::MicroBatchBackend))
        .with(Arc::new(purlin_continuous::ContinuousBackend));
    ServerConfig::new(registry, purlin_backend::AUTO)
});

/// Where a problem may stand that is none of a transform.
const PLACES: [&str; 9] = [
    "pipeline",
    "the pipeline",
    "coders",
    "transforms",
    "root_transform_ids",
    "PCollection `",
    "coder `",
    "windowing strategy `",
    "environment `",
];

/// A mutated pipeline.
pub fn pipeline_of_seed(of: &[pb::Pipeline], random: &mut Chance) -> pb::Pipeline {
    let mut pipeline = random.pick(of).cloned().unwrap_or_default();
    mutate_pipeline(&mut pipeline, random);
    pipeline
}

pub(crate) fn run(of: &[pb::Pipeline], random: &mut Chance) -> Result<(), Broken> {
    let pipeline = pipeline_of_seed(of, random);
    if random.percent(2) {
        // What people hand to the command line as text.
        let mut text = json::encode(&pipeline).unwrap_or_default().into_bytes();
        mutate_bytes(&mut text, random);
        if let Ok(read) = json::decode::<pb::Pipeline>(&String::from_utf8_lossy(&text)) {
            return check_pipeline(read, &options(random));
        }
        return Ok(());
    }
    check_pipeline(pipeline, &options(random))
}

/// Checks a pipeline, plans it, and prints all that can be printed.
///
/// # Errors
/// If it is refused without saying where.
pub fn check_pipeline(pipeline: pb::Pipeline, options: &prost_types::Struct) -> Result<(), Broken> {
    let components = pipeline.components.clone().unwrap_or_default();
    match check(&CONFIG, pipeline, options) {
        Ok(checked) => {
            let plan = &checked.translated.job.plan;
            std::hint::black_box((explain::text(plan), explain::dot(plan), checked.verdict.to_string()));
            for stage in &plan.graph.stages {
                std::hint::black_box(plan.descriptor(stage.id, "d", "localhost:1"));
            }
            Ok(())
        }
        Err(refusal) => check_refusal(&refusal, &components),
    }
}

fn check_refusal(refusal: &Refusal, components: &pb::Components) -> Result<(), Broken> {
    let Refusal { options, invalid, verdicts, unsupported } = refusal;
    if options.is_empty() && invalid.is_none() && verdicts.is_empty() && unsupported.is_none() {
        return Err(Broken("a refusal without a reason".to_owned()));
    }
    for problem in invalid.iter().chain(unsupported).flat_map(|problems| problems.iter()) {
        check_problem(problem, components)?;
    }
    std::hint::black_box(refusal.to_string());
    Ok(())
}

/// Each says where, in words of the pipeline, and what.
fn check_problem(problem: &Problem, components: &pb::Components) -> Result<(), Broken> {
    let place = problem.place.as_str();
    let is_transform =
        components.transforms.iter().any(|(id, transform)| id == place || transform.unique_name == place);
    if problem.what.is_empty() || !(is_transform || PLACES.iter().any(|known| place.starts_with(known))) {
        return Err(Broken(format!("a refusal that names nothing of the pipeline: {problem:?}")));
    }
    Ok(())
}

/// Mostly none; sometimes such as SDKs send, damaged.
fn options(random: &mut Chance) -> prost_types::Struct {
    use prost_types::value::Kind;
    if !random.percent(10) {
        return prost_types::Struct::default();
    }
    let value = |kind| prost_types::Value { kind: Some(kind) };
    let text = |text: &str| value(Kind::StringValue(text.to_owned()));
    let kinds = [
        text("purlin_runner=direct"),
        text("-1"),
        text(""),
        value(Kind::NumberValue(f64::from_bits(random.number()))),
        value(Kind::BoolValue(true)),
        value(Kind::NullValue(7)),
        prost_types::Value { kind: None },
    ];
    let list = value(Kind::ListValue(prost_types::ListValue { values: kinds.to_vec() }));
    let names = ["beam:option:experiments:v1", "beam:option:purlin_runner:v1", "experiments", "beam:option::v1", ""];
    let kinds = [&kinds[..], &[list]].concat();
    let fields =
        (0..random.below(4)).filter_map(|_| Some(((*random.pick(&names)?).to_owned(), random.pick(&kinds)?.clone())));
    let mut bytes = prost_types::Struct { fields: fields.collect() }.encode_to_vec();
    if random.percent(50) {
        mutate_bytes(&mut bytes, random);
    }
    prost_types::Struct::decode(&bytes[..]).unwrap_or_default()
}
