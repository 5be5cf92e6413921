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

pub use drops::of_drops;
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
            let is_full = self.values.len() >= merge::METRICS_MAX;
            match self.values.get_mut(key) {
                Some(value) => match merge::merge(key, value, payload) {
                    Ok(merged) => *value = merged,
                    Err(error) => errors.push(error),
                },
                None if is_full => {
                    errors.push(MetricMergeError::TooMany { key: Box::new(key.clone()) });
                }
                None => match merge::check(key, payload) {
                    Ok(()) => drop(self.values.insert(key.clone(), payload.clone())),
                    Err(error) => errors.push(error),
                },
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// All metrics, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&MetricKey, &Bytes)> {
        self.values.iter()
    }
}

#[cfg(test)]
mod tests {
    use purlin_proto::urns::monitoring_info_type_urns as kinds;

    use super::*;

    fn key(urn: &str, kind: &str) -> MetricKey {
        MetricKey { urn: urn.into(), kind: kind.into(), labels: Default::default() }
    }

    #[test]
    fn garbage_is_refused_when_it_is_seen_first() {
        let mut table = MetricTable::default();
        let garbage = (key("u", kinds::SUM_INT64_TYPE), Bytes::from_static(&[0xff; 12]));
        let good = (key("v", kinds::SUM_INT64_TYPE), Bytes::from_static(&[5]));
        let strange = (key("w", "a kind of its own"), Bytes::from_static(&[0xff]));
        let errors = table.merge(&vec![garbage, good, strange]).unwrap_err();
        assert_eq!(
            errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["a worker reported metric u with a payload that is no beam:metrics:sum_int64:v1"]
        );
        assert_eq!(table.iter().map(|(key, _)| &*key.urn).collect::<Vec<_>>(), ["v", "w"]);
    }

    #[test]
    fn a_table_and_its_values_are_bounded() {
        let mut table = MetricTable::default();
        let many = (0..=merge::METRICS_MAX).map(|number| (key(&number.to_string(), "k"), Bytes::new()));
        assert_eq!(table.merge(&many.collect()).unwrap_err().len(), 1);
        assert!(table.merge(&vec![(key("7", "k"), Bytes::new())]).is_err(), "kinds that do not merge say so");
        let mut table = MetricTable::default();
        let long = Bytes::from(vec![0; merge::METRIC_LENGTH_MAX]);
        let refused = table.merge(&vec![(key("long", "k"), long)]).unwrap_err();
        assert!(refused[0].to_string().contains("long") && table.iter().next().is_none(), "{refused:?}");
    }
}
