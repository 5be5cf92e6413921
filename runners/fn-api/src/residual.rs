//! What a splittable DoFn left for later, as the engine keeps it.
//!
//! ```text
//!   BundleApplication { element, output_watermarks by local tag, is_bounded }, delay
//!     ──► Residual { batch in the store, holds by output of the stage, not before }
//! ```

use purlin_engine::core::event::{Failure, Residual};
use purlin_engine::data::{BatchRef, LaneWriter};
use purlin_model::time::{EventTime, Millis};
use purlin_proto::convert::timestamp::event_time_from_wire;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::pipeline::v1::is_bounded;

use crate::process_bundle::BundleRun;

/// The residual of a root of a response or a split.
pub(crate) fn of_root(
    run: &BundleRun,
    out: &mut LaneWriter,
    root: &fnpb::DelayedBundleApplication,
) -> Result<Residual, Failure> {
    let Some(application) = &root.application else {
        return Err(Failure::Garbage(format!("a worker left a residual without an element in `{}`", run.stage.name)));
    };
    let batch = keep(run, out, application)?;
    let delay = root.requested_time_delay.as_ref().map_or(0, |delay| {
        delay.seconds.saturating_mul(1000).saturating_add(i64::from(delay.nanos).div_euclid(1_000_000))
    });
    Ok(Residual {
        batch,
        to: run.stage.stage,
        not_before: (delay > 0).then(|| run.clock() + Millis(delay)),
        watermarks: watermarks(run, application),
        bounded: application.is_bounded() == is_bounded::Enum::Bounded,
    })
}

/// Keeps the element of an application, which must be one of the stage's own input.
pub(crate) fn keep(
    run: &BundleRun,
    out: &mut LaneWriter,
    application: &fnpb::BundleApplication,
) -> Result<BatchRef, Failure> {
    let transform = run.stage.unique_name(&application.transform_id).unwrap_or(&application.transform_id);
    if run.stage.residual_tags(&application.transform_id).is_none() {
        return Err(Failure::Garbage(format!(
            "a worker left a residual for `{transform}`, which does not read the input of stage `{}`",
            run.stage.name
        )));
    }
    let batch = out
        .put_residual(&application.element)
        .map_err(|error| Failure::Garbage(format!("a residual of `{transform}` cannot be kept: {error}")))?;
    if batch.count == 1 {
        return Ok(batch);
    }
    Err(Failure::Garbage(format!("a residual of `{transform}` holds {} elements instead of one", batch.count)))
}

/// Lower bounds for what it will still emit: for each output of the stage the least of those of the local outputs that
/// it comes from. What the SDK does not name may be as early as anything.
fn watermarks(
    run: &BundleRun,
    application: &fnpb::BundleApplication,
) -> Vec<(purlin_engine::core::stage::OutputId, EventTime)> {
    let told = &application.output_watermarks;
    let at = |tag: &String| told.get(tag).map_or(EventTime::MIN, event_time_from_wire);
    let outputs = run.stage.residual_tags(&application.transform_id).unwrap_or_default();
    let stage_outputs = run.stage.sinks.values().copied();
    stage_outputs
        .map(|output| {
            let tags = outputs.iter().find(|(of, _)| *of == output).map(|(_, tags)| tags);
            // Nothing of this transform reaches an output without tags.
            (output, tags.and_then(|tags| tags.iter().map(at).min()).unwrap_or(EventTime::MAX))
        })
        .collect()
}
