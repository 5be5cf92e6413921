//! Metrics of kind `beam:metrics:histogram_int64:v1`: counts per bucket (`HistogramValue`).

use prost::Message;
use purlin_proto::pipeline::v1 as pb;

/// Adds the counts of two histograms over the same buckets, or `None` where their buckets differ or a payload is no histogram.
pub(super) fn merge(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let (a, b) = (pb::HistogramValue::decode(a).ok()?, pb::HistogramValue::decode(b).ok()?);
    let bucket_options = match (a.bucket_options, b.bucket_options) {
        (Some(a), Some(b)) if a != b => return None,
        (a, b) => a.or(b),
    };
    // Counts past the end are zeros that were not sent.
    let (mut counts, other) = if a.bucket_counts.len() >= b.bucket_counts.len() {
        (a.bucket_counts, b.bucket_counts)
    } else {
        (b.bucket_counts, a.bucket_counts)
    };
    for (count, more) in counts.iter_mut().zip(other) {
        *count = count.wrapping_add(more);
    }
    let count = match (a.count, b.count) {
        (Some(a), Some(b)) => Some(a.wrapping_add(b)),
        (a, b) => a.or(b),
    };
    Some(pb::HistogramValue { count, bucket_options, bucket_counts: counts }.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use pb::histogram_value::BucketOptions;
    use pb::histogram_value::bucket_options::{BucketType, Linear};

    use super::*;

    fn histogram(width: f64, counts: &[i64]) -> Vec<u8> {
        let linear = Linear { number_of_buckets: Some(3), width: Some(width), start: Some(0.0) };
        let value = pb::HistogramValue {
            count: Some(counts.iter().sum()),
            bucket_options: Some(BucketOptions { bucket_type: Some(BucketType::Linear(linear)) }),
            bucket_counts: counts.to_vec(),
        };
        value.encode_to_vec()
    }

    #[test]
    fn counts_of_equal_buckets_add_up() {
        let (a, b) = (histogram(2.0, &[1, 2]), histogram(2.0, &[10, 20, 30]));
        assert_eq!(merge(&a, &b), Some(histogram(2.0, &[11, 22, 30])));
        assert_eq!(merge(&b, &a), merge(&a, &b));
        assert_eq!(merge(&a, &[]), Some(a));
    }

    #[test]
    fn other_buckets_do_not_merge() {
        assert_eq!(merge(&histogram(2.0, &[1]), &histogram(3.0, &[1])), None);
        assert_eq!(merge(&histogram(2.0, &[1]), &[0xff]), None);
    }
}
