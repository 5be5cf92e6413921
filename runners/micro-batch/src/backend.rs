//! The backend that users name `micro-batch`.

use std::sync::Arc;

use purlin_backend::{Backend, BackendError, Job, JobOptions, OptionError, OptionKind, OptionSpec};
use purlin_engine::core::config::EngineConfig;
use purlin_plan::{ValidatedPipeline, plan};

use crate::schedule::{RoundOptions, RoundSchedule};

const BUNDLE_BYTES: &str = "micro_batch_bundle_bytes_max";

const OPTIONS: &[OptionSpec] = &[OptionSpec {
    name: BUNDLE_BYTES,
    kind: OptionKind::Integer,
    help: "Micro-batch runner: hand out at most about this many bytes in one bundle. At least 1; smaller bundles cost \
           more each, and less when a worker is lost.",
    default: Some("134217728"),
}];

/// The micro-batch runner.
#[derive(Clone, Copy, Debug, Default)]
pub struct MicroBatchBackend;

impl Backend for MicroBatchBackend {
    fn name(&self) -> &'static str {
        "micro-batch"
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn translate(&self, pipeline: &ValidatedPipeline, options: &JobOptions) -> Result<Job, BackendError> {
        let mut round = RoundOptions::default();
        if let Some(bytes) = options.integer(BUNDLE_BYTES)? {
            round.bundle_bytes_max = u64::try_from(bytes)
                .ok()
                .filter(|bytes| *bytes > 0)
                .ok_or_else(|| OptionError::new(BUNDLE_BYTES, "a whole number of at least 1", &bytes.into()))?;
        }
        let kernel_slots = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        Ok(Job {
            plan: Arc::new(plan(pipeline)?),
            schedule: Box::new(RoundSchedule::new(round)),
            config: EngineConfig { kernel_slots, ..EngineConfig::default() },
        })
    }
}
