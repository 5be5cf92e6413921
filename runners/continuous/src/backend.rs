//! The backend that users name `continuous`.

use std::sync::Arc;

use purlin_backend::{Backend, BackendError, Job, JobOptions, OptionKind, OptionSpec};
use purlin_capability_matrix::sheet::{self, CapabilitySheet};
use purlin_engine::core::config::EngineConfig;
use purlin_plan::{ValidatedPipeline, plan};

use crate::schedule::{FlowOptions, FlowSchedule};

const BUNDLE_AGE: OptionSpec = OptionSpec {
    name: "continuous_bundle_age_ms",
    kind: OptionKind::Integer,
    help: "Continuous runner: how long a bundle should take, in milliseconds, unless that is too short for what a bundle \
           costs anyway. Smaller answers sooner, larger does more.",
    default: Some("100"),
    least: Some(1),
};

const OPTIONS: &[OptionSpec] = &[BUNDLE_AGE];

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

    fn sheet(&self) -> &CapabilitySheet {
        sheet::continuous()
    }

    fn translate(&self, pipeline: &ValidatedPipeline, options: &JobOptions) -> Result<Job, BackendError> {
        let mut flow = FlowOptions::default();
        if let Some(age) = BUNDLE_AGE.integer(options)? {
            flow.bundle_age_ms = age.unsigned_abs();
        }
        let kernel_slots = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        Ok(Job {
            plan: Arc::new(plan(pipeline)?),
            schedule: Box::new(FlowSchedule::new(flow)),
            config: EngineConfig { kernel_slots, ..EngineConfig::default() },
        })
    }
}
