//! The backend that users name `direct`.

use std::sync::Arc;

use purlin_backend::{Backend, BackendError, Job, JobOptions, OptionError, OptionKind, OptionSpec};
use purlin_engine::core::config::EngineConfig;
use purlin_plan::{ValidatedPipeline, plan};

use crate::schedule::{EagerOptions, EagerSchedule};

const BUNDLE_ELEMENTS: &str = "direct_bundle_elements_max";
const SHUFFLE_SEED: &str = "direct_shuffle_seed";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: BUNDLE_ELEMENTS,
        kind: OptionKind::Integer,
        help: "Direct runner: hand out at most this many elements in one bundle, to expose code that depends on how \
               elements are bundled. At least 1; without it, bundles are as large as is fast.",
        default: None,
    },
    OptionSpec {
        name: SHUFFLE_SEED,
        kind: OptionKind::Integer,
        help: "Direct runner: choose among ready stages at random, repeatably for each seed, to expose code that \
               depends on their order.",
        default: None,
    },
];

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

    fn translate(&self, pipeline: &ValidatedPipeline, options: &JobOptions) -> Result<Job, BackendError> {
        let mut eager = EagerOptions::default();
        if let Some(elements) = options.integer(BUNDLE_ELEMENTS)? {
            eager.bundle_elements_max = u64::try_from(elements)
                .ok()
                .filter(|elements| *elements > 0)
                .ok_or_else(|| OptionError::new(BUNDLE_ELEMENTS, "a whole number of at least 1", &elements.into()))?;
        }
        if let Some(seed) = options.integer(SHUFFLE_SEED)? {
            eager.shuffle_seed = Some(seed as u64);
        }
        let kernel_slots = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        Ok(Job {
            plan: Arc::new(plan(pipeline)?),
            schedule: Box::new(EagerSchedule::new(eager)),
            config: EngineConfig { kernel_slots, ..EngineConfig::default() },
        })
    }
}
