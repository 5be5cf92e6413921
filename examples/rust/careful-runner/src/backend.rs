//! What users choose by the name `careful`.

use std::sync::{Arc, OnceLock};

use purlin_backend::{Backend, BackendError, Job, JobOptions, OptionKind, OptionSpec};
use purlin_capability_matrix::sheet::CapabilitySheet;
use purlin_engine::core::config::EngineConfig;
use purlin_plan::{ValidatedPipeline, plan};

use crate::schedule::CarefulSchedule;

const ELEMENTS: OptionSpec = OptionSpec {
    name: "careful_elements_max",
    kind: OptionKind::Integer,
    help: "Careful runner: how many elements a bundle holds at most.",
    default: Some("1"),
    least: Some(1),
};

const OPTIONS: &[OptionSpec] = &[ELEMENTS];

/// The careful runner.
#[derive(Clone, Copy, Debug, Default)]
pub struct CarefulBackend;

impl Backend for CarefulBackend {
    fn name(&self) -> &'static str {
        "careful"
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn sheet(&self) -> &CapabilitySheet {
        static SHEET: OnceLock<CapabilitySheet> = OnceLock::new();
        SHEET.get_or_init(|| {
            let text = include_str!("../careful.toml");
            CapabilitySheet::parse("careful.toml", text)
                .expect("the sheet is part of this crate, and its test reads it")
        })
    }

    fn translate(&self, pipeline: &ValidatedPipeline, options: &JobOptions) -> Result<Job, BackendError> {
        let elements_max = ELEMENTS.integer(options)?.map_or(1, i64::unsigned_abs);
        Ok(Job {
            plan: Arc::new(plan(pipeline)?),
            schedule: Box::new(CarefulSchedule::new(elements_max)),
            // Nobody gets a part of what somebody else has begun: bundles are tiny.
            config: EngineConfig { share_after_ms: None, ..EngineConfig::default() },
        })
    }
}
