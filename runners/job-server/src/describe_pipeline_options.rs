//! DescribePipelineOptions: the options that a job can give beside Beam's own. Python takes those it hears of here on its
//! command line.

use std::sync::Arc;

use purlin_backend::{DEAD_LETTER_DIR, DEAD_LETTER_MAX, DEAD_LETTER_REPLAY, OptionKind, OptionSpec};
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::pipeline_option_type::Enum as Kind;

use crate::options::RUNNER_SPEC;
use crate::shared::Shared;

pub(crate) fn describe_pipeline_options(shared: &Arc<Shared>) -> jobpb::DescribePipelineOptionsResponse {
    let config = &shared.config;
    let mut runner = descriptor("purlin", &RUNNER_SPEC);
    runner.default_value.clone_from(&config.runner);
    let of_runners = config
        .registry
        .iter()
        .flat_map(|backend| backend.options().iter().map(|option| descriptor(backend.name(), option)));
    let of_all = [&DEAD_LETTER_DIR, &DEAD_LETTER_MAX, &DEAD_LETTER_REPLAY]
        .into_iter()
        .map(|option| descriptor("purlin", option));
    jobpb::DescribePipelineOptionsResponse {
        options: std::iter::once(runner).chain(of_all).chain(of_runners).collect(),
    }
}

fn descriptor(group: &str, option: &OptionSpec) -> jobpb::PipelineOptionDescriptor {
    let kind = match option.kind {
        OptionKind::String => Kind::String,
        OptionKind::Boolean => Kind::Boolean,
        OptionKind::Integer => Kind::Integer,
        OptionKind::Number => Kind::Number,
        OptionKind::Array => Kind::Array,
    };
    jobpb::PipelineOptionDescriptor {
        name: option.name.to_owned(),
        r#type: kind.into(),
        description: match option.least {
            Some(least) => format!("{} At least {least}.", option.help),
            None => option.help.to_owned(),
        },
        default_value: option.default.unwrap_or_default().to_owned(),
        group: group.to_owned(),
    }
}
