//! The backend that users name `micro-batch`.

use std::sync::Arc;

use purlin_backend::{Backend, BackendError, Job, JobOptions, OptionKind, OptionSpec};
use purlin_capability_matrix::sheet::{self, CapabilitySheet};
use purlin_engine::core::config::EngineConfig;
use purlin_plan::{ValidatedPipeline, plan};

use crate::schedule::{RoundOptions, RoundSchedule};

const BUNDLE_BYTES: OptionSpec = OptionSpec {
    name: "micro_batch_bundle_bytes_max",
    kind: OptionKind::Integer,
    help: "Micro-batch runner: hand out at most about this many bytes in one bundle. Smaller bundles cost more each, \
           and less when a worker is lost.",
    default: Some("134217728"),
    least: Some(1),
};

const OPTIONS: &[OptionSpec] = &[BUNDLE_BYTES];

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

    fn sheet(&self) -> &CapabilitySheet {
        sheet::micro_batch()
    }

    fn translate(&self, pipeline: &ValidatedPipeline, options: &JobOptions) -> Result<Job, BackendError> {
        let mut round = RoundOptions::default();
        if let Some(bytes) = BUNDLE_BYTES.integer(options)? {
            round.bundle_bytes_max = bytes.unsigned_abs();
        }
        let kernel_slots = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        Ok(Job {
            plan: Arc::new(plan(pipeline)?),
            schedule: Box::new(RoundSchedule::new(round)),
            config: EngineConfig { kernel_slots, ..EngineConfig::default() },
        })
    }
}
