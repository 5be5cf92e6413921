//! Where elements enter a stage, in words that hold across submissions: so that an element which one job put aside finds its place in
//! another.
//!
//! ```text
//!   stage { A, B read P; C reads what A emits }  ─►  EntryPoint { transforms: A, B; coder of P; windows of P }
//! ```

use std::collections::BTreeSet;
use std::fmt;

use purlin_model::window::WindowFn;
use serde::{Deserialize, Serialize};

/// Where elements enter a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryPoint {
    /// The unique names of the transforms that are given each element, all of one stage.
    pub transforms: BTreeSet<String>,
    /// How elements stand on the wire.
    pub coder: String,
    /// What assigns their windows.
    pub window_fn: String,
}

impl fmt::Display for EntryPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.transforms.iter().map(String::as_str).collect();
        f.write_str(&names.join(" + "))
    }
}

/// A window function in words. Of one that only its SDK knows the payload is left out, which may differ from one submission to the next.
pub(crate) fn windows_text(window_fn: &WindowFn) -> String {
    match window_fn {
        WindowFn::Global => "global".to_owned(),
        WindowFn::Fixed { size, offset } => format!("fixed, {} ms from {} ms", size.0, offset.0),
        WindowFn::Sliding { size, period, offset } => {
            format!("sliding, {} ms every {} ms from {} ms", size.0, period.0, offset.0)
        }
        WindowFn::Session { gap } => format!("sessions, {} ms apart", gap.0),
        WindowFn::Custom { urn, payload: _ } => format!("of the SDK, {urn}"),
    }
}
