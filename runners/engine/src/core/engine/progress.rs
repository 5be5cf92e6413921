//! How far each stage is, for people.

use purlin_model::time::EventTime;

use super::Engine;
use crate::core::stage::StageName;

/// How far one stage is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageStatus {
    /// Its name.
    pub name: StageName,
    /// Elements that wait, in any form.
    pub elements_pending: u64,
    /// Elements in committed bundles.
    pub elements_done: u64,
    /// Bytes of state of keys that it keeps; what it costs to keep them comes on top.
    pub state_bytes: u64,
    /// Bundles that run.
    pub bundles_running: u32,
    /// Bundles that are committed.
    pub bundles_done: u64,
    /// How far its input has come.
    pub input_watermark: EventTime,
    /// How far its outputs have come, the slowest of them; its input, if it has none.
    pub watermark: EventTime,
    /// Whether nothing more will come out of it.
    pub done: bool,
}

impl Engine {
    /// How far each stage is, in stage order. Costs time in proportion to what waits.
    pub fn status(&self) -> Vec<StageStatus> {
        self.graph
            .stages
            .iter()
            .map(|spec| {
                let state = &self.stages[spec.id.index()];
                StageStatus {
                    name: spec.name.clone(),
                    elements_pending: state.pending(),
                    elements_done: state.elements_done,
                    state_bytes: state.state_bytes(),
                    bundles_running: state.running,
                    bundles_done: state.committed,
                    input_watermark: state.input.at(),
                    watermark: state.outputs.iter().min().unwrap_or(&state.input).at(),
                    done: self.is_done(spec.id),
                }
            })
            .collect()
    }
}
