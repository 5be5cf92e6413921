//! The backend that users name `continuous`.

use std::sync::Arc;

use purlin_backend::{Backend, BackendError, Job, JobOptions, OptionError, OptionKind, OptionSpec};
use purlin_engine::core::config::EngineConfig;
use purlin_plan::{ValidatedPipeline, plan};

use crate::schedule::{FlowOptions, FlowSchedule};

const BUNDLE_AGE: &str = "continuous_bundle_age_ms";

const OPTIONS: &[OptionSpec] = &[OptionSpec {
    name: BUNDLE_AGE,
    kind: OptionKind::Integer,
    help: "Continuous runner: how long a bundle should take, in milliseconds, unless that is too short for what a bundle \
           costs anyway. At least 1; smaller answers sooner, larger does more.",
    default: Some("100"),
}];

/// The continuous runner.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContinuousBackend;

impl Backend for ContinuousBackend {
    fn name(&self) -> &'static str {
        "continuous"
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn translate(&self, pipeline: &ValidatedPipeline, options: &JobOptions) -> Result<Job, BackendError> {
        let mut flow = FlowOptions::default();
        if let Some(age) = options.integer(BUNDLE_AGE)? {
            flow.bundle_age_ms = u64::try_from(age)
                .ok()
                .filter(|age| *age > 0)
                .ok_or_else(|| OptionError::new(BUNDLE_AGE, "a whole number of at least 1", &age.into()))?;
        }
        let kernel_slots = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        Ok(Job {
            plan: Arc::new(plan(pipeline)?),
            schedule: Box::new(FlowSchedule::new(flow)),
            config: EngineConfig { kernel_slots, ..EngineConfig::default() },
        })
    }
}
