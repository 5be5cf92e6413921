//! Metrics of a job: what bundles report, merged by urn and labels.
//!
//! ```text
//!   bundle ──MetricDelta──► committed (its bundle counted)   ──► Job API, command line
//!                       └─► attempted (whatever was tried)
//! ```
//! Knows how values of each kind merge (`MonitoringInfoTypeUrns`); does not know what they measure.

use std::collections::BTreeMap;

use bytes::Bytes;
pub use purlin_engine::metrics::{MetricDelta, MetricKey};

mod bounded_trie;
mod drops;
mod histogram;
mod merge;

pub(crate) use drops::of_drops;
pub use merge::MetricMergeError;

/// Merged metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricTable {
    values: BTreeMap<MetricKey, Bytes>,
}

impl MetricTable {
    /// Merges what a bundle measured into what is there.
    ///
    /// # Errors
    /// All metrics whose payloads cannot be read; the others are merged.
    pub fn merge(&mut self, delta: &MetricDelta) -> Result<(), Vec<MetricMergeError>> {
        let mut errors = Vec::new();
        for (key, payload) in delta {
            match self.values.get_mut(key) {
                Some(value) => match merge::merge(key, value, payload) {
                    Ok(merged) => *value = merged,
                    Err(error) => errors.push(error),
                },
                None => {
                    self.values.insert(key.clone(), payload.clone());
                }
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// All metrics, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&MetricKey, &Bytes)> {
        self.values.iter()
    }
}
