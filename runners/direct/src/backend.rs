//! The backend that users name `direct`.

use std::sync::Arc;

use purlin_backend::{Backend, BackendError, Job, JobOptions, OptionKind, OptionSpec};
use purlin_capability_matrix::sheet::{self, CapabilitySheet};
use purlin_engine::core::config::EngineConfig;
use purlin_plan::{ValidatedPipeline, plan};

use crate::schedule::{EagerOptions, EagerSchedule};

const BUNDLE_ELEMENTS: OptionSpec = OptionSpec {
    name: "direct_bundle_elements_max",
    kind: OptionKind::Integer,
    help: "Direct runner: hand out at most this many elements in one bundle, to expose code that depends on how \
           elements are bundled. Without it, bundles are as large as is fast.",
    default: None,
    least: Some(1),
};

const SHUFFLE_SEED: OptionSpec = OptionSpec {
    name: "direct_shuffle_seed",
    kind: OptionKind::Integer,
    help: "Direct runner: choose among ready stages at random, repeatably for each seed, to expose code that depends \
           on their order.",
    default: None,
    least: None,
};

const OPTIONS: &[OptionSpec] = &[BUNDLE_ELEMENTS, SHUFFLE_SEED];

/// The direct runner.
#[derive(Clone, Copy, Debug, Default)]
pub struct DirectBackend;

impl Backend for DirectBackend {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn sheet(&self) -> &CapabilitySheet {
        sheet::direct()
    }

    fn translate(&self, pipeline: &ValidatedPipeline, options: &JobOptions) -> Result<Job, BackendError> {
        let mut eager = EagerOptions::default();
        if let Some(elements) = BUNDLE_ELEMENTS.integer(options)? {
            eager.bundle_elements_max = elements.unsigned_abs();
        }
        eager.shuffle_seed = SHUFFLE_SEED.integer(options)?.map(|seed| seed as u64);
        let kernel_slots = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        Ok(Job {
            plan: Arc::new(plan(pipeline)?),
            schedule: Box::new(EagerSchedule::new(eager)),
            config: EngineConfig { kernel_slots, ..EngineConfig::default() },
        })
    }
}
