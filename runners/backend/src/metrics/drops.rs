//! Elements that a stage has dropped, as counters that users see beside their own.
//!
//! ```text
//!   DropCounts ─► purlin:droppedDueToLateness, purlin:droppedDueToClosedWindow, of the transform
//! ```
//! The names are those that Java's runners use.

use std::collections::BTreeMap;
use std::sync::Arc;

use purlin_engine::core::bundle::DropCounts;
use purlin_model::coder::varint::write_varint;
use purlin_proto::urns::monitoring_info::monitoring_info_labels as labels;
use purlin_proto::urns::{monitoring_info_specs, monitoring_info_type_urns as kinds};

use super::{MetricDelta, MetricKey};

/// Of all counters that the runner itself keeps.
const NAMESPACE: &str = "purlin";

/// What a bundle has dropped, as counters of a transform.
pub fn of_drops(transform: &str, dropped: DropCounts) -> MetricDelta {
    let counts = [("droppedDueToLateness", dropped.late), ("droppedDueToClosedWindow", dropped.closed)];
    counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| counter(transform, name, count)).collect()
}

fn counter(transform: &str, name: &str, count: u64) -> (MetricKey, bytes::Bytes) {
    let labels = [(labels::TRANSFORM, transform), (labels::NAMESPACE, NAMESPACE), (labels::NAME, name)];
    let labels: BTreeMap<String, String> =
        labels.into_iter().map(|(label, value)| (label.to_owned(), value.to_owned())).collect();
    let key = MetricKey {
        urn: monitoring_info_specs::USER_SUM_INT64.urn.into(),
        kind: kinds::SUM_INT64_TYPE.into(),
        labels: Arc::new(labels),
    };
    let mut payload = Vec::new();
    write_varint(count as i64, &mut payload);
    (key, payload.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_dropped_is_told() {
        assert_eq!(of_drops("t", DropCounts::default()), []);
        let told = of_drops("t", DropCounts { late: 300, closed: 0 });
        let [(key, payload)] = &told[..] else { panic!("one counter, not {told:?}") };
        assert_eq!((&payload[..], &*key.urn), (&[0xac, 2][..], "beam:metric:user:sum_int64:v1"));
        assert_eq!(key.labels["NAME"], "droppedDueToLateness");
        assert_eq!((&*key.labels["PTRANSFORM"], &*key.labels["NAMESPACE"]), ("t", "purlin"));
    }
}
