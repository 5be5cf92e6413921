//! How two payloads of the same metric become one, by the metric's kind (`MonitoringInfoTypeUrns`).
//!
//! *Law:* the order in which payloads come does not matter, and an empty one changes nothing. (What a bounded trie forgets is the exception: it
//! holds at least what it must, whatever the order.)

use std::collections::BTreeSet;

use bytes::Bytes;
use purlin_model::coder::varint::{read_varint, write_varint};
use purlin_proto::urns::monitoring_info_type_urns as kinds;
use thiserror::Error;

use super::{MetricKey, bounded_trie, histogram};

/// How many metrics a job has at most.
pub(super) const METRICS_MAX: usize = 100_000;

/// How long a value of a metric may be, with its names.
pub(super) const METRIC_LENGTH_MAX: usize = 4 << 20;

/// Two values of a metric that cannot be merged.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MetricMergeError {
    /// A payload is not what its kind says.
    #[error("a worker reported metric {} with a payload that is no {}", key.urn, key.kind)]
    Payload {
        /// Which metric.
        key: Box<MetricKey>,
    },
    /// Far more than people look at.
    #[error("a worker reported metric {} where {METRICS_MAX} are kept already; it is left out: report fewer of them, under fewer names", key.urn)]
    TooMany {
        /// Which metric.
        key: Box<MetricKey>,
    },
    /// Far more than people look at.
    #[error("the value of metric {}, of kind {}, exceeds {METRIC_LENGTH_MAX} bytes; what it was before is shown", key.urn, key.kind)]
    TooLong {
        /// Which metric.
        key: Box<MetricKey>,
    },
    /// Purlin does not know how values of this kind merge.
    #[error("metric {} is of kind {}, whose values cannot be merged; the value of one bundle is shown", key.urn, key.kind)]
    Kind {
        /// Which metric.
        key: Box<MetricKey>,
    },
}

/// Merges `more` into `so_far`.
pub(super) fn merge(key: &MetricKey, so_far: &Bytes, more: &Bytes) -> Result<Bytes, MetricMergeError> {
    let (a, b) = (&so_far[..], &more[..]);
    let merged = match &*key.kind {
        kinds::SUM_INT64_TYPE => sum_int64(a, b),
        kinds::SUM_DOUBLE_TYPE => sum_double(a, b),
        kinds::DISTRIBUTION_INT64_TYPE => distribution_int64(a, b),
        kinds::DISTRIBUTION_DOUBLE_TYPE => distribution_double(a, b),
        kinds::LATEST_INT64_TYPE | kinds::LATEST_DOUBLE_TYPE => latest(a, b),
        kinds::SET_STRING_TYPE => set_string(a, b),
        kinds::BOUNDED_TRIE_TYPE => bounded_trie::merge(a, b),
        kinds::HISTOGRAM => histogram::merge(a, b),
        kinds::TOP_N_INT64_TYPE => extremes(a, b, int, |x, y| y.cmp(x), |value, out| write_varint(*value, out)),
        kinds::BOTTOM_N_INT64_TYPE => extremes(a, b, int, i64::cmp, |value, out| write_varint(*value, out)),
        kinds::TOP_N_DOUBLE_TYPE => extremes(a, b, double, |x, y| y.total_cmp(x), write_double),
        kinds::BOTTOM_N_DOUBLE_TYPE => extremes(a, b, double, f64::total_cmp, write_double),
        // Progress belongs to one bundle; the latest report stands.
        kinds::PROGRESS_TYPE => Some(b.to_vec()),
        _ => return Err(MetricMergeError::Kind { key: Box::new(key.clone()) }),
    };
    match merged {
        Some(merged) if merged.len() > METRIC_LENGTH_MAX => {
            Err(MetricMergeError::TooLong { key: Box::new(key.clone()) })
        }
        Some(merged) => Ok(merged.into()),
        None => Err(MetricMergeError::Payload { key: Box::new(key.clone()) }),
    }
}

/// Whether a payload is what its kind says, and not too long. Kinds that do not merge may be anything.
pub(super) fn check(key: &MetricKey, payload: &Bytes) -> Result<(), MetricMergeError> {
    let names = key.labels.iter().map(|(label, value)| label.len() + value.len()).sum::<usize>();
    if payload.len() + names + key.urn.len() + key.kind.len() > METRIC_LENGTH_MAX {
        return Err(MetricMergeError::TooLong { key: Box::new(key.clone()) });
    }
    // Whatever merges with itself can be read.
    match merge(key, payload, payload) {
        Ok(_) | Err(MetricMergeError::Kind { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn int(bytes: &mut &[u8]) -> Option<i64> {
    read_varint(bytes).ok()
}

fn double(bytes: &mut &[u8]) -> Option<f64> {
    let (first, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(f64::from_be_bytes(*first))
}

fn sum_int64(mut a: &[u8], mut b: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write_varint(int(&mut a)?.wrapping_add(int(&mut b)?), &mut out);
    Some(out)
}

fn sum_double(mut a: &[u8], mut b: &[u8]) -> Option<Vec<u8>> {
    Some((double(&mut a)? + double(&mut b)?).to_be_bytes().to_vec())
}

fn distribution_int64(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let read = |mut bytes: &[u8]| -> Option<[i64; 4]> {
        let bytes = &mut bytes;
        let count = int(bytes)?;
        // An empty distribution may end here, or carry sentinels for its bounds.
        if count == 0 {
            return Some([0; 4]);
        }
        Some([count, int(bytes)?, int(bytes)?, int(bytes)?])
    };
    let (a, b) = (read(a)?, read(b)?);
    let merged = match (a[0], b[0]) {
        (0, _) => b,
        (_, 0) => a,
        _ => [a[0].wrapping_add(b[0]), a[1].wrapping_add(b[1]), a[2].min(b[2]), a[3].max(b[3])],
    };
    let mut out = Vec::new();
    for value in merged {
        write_varint(value, &mut out);
    }
    Some(out)
}

fn distribution_double(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let read = |mut bytes: &[u8]| -> Option<(i64, [f64; 3])> {
        let bytes = &mut bytes;
        let count = int(bytes)?;
        if count == 0 {
            return Some((0, [0.0; 3]));
        }
        Some((count, [double(bytes)?, double(bytes)?, double(bytes)?]))
    };
    let (a, b) = (read(a)?, read(b)?);
    let (count, values) = match (a.0, b.0) {
        (0, _) => b,
        (_, 0) => a,
        _ => (a.0.wrapping_add(b.0), [a.1[0] + b.1[0], a.1[1].min(b.1[1]), a.1[2].max(b.1[2])]),
    };
    let mut out = Vec::new();
    write_varint(count, &mut out);
    for value in values {
        out.extend_from_slice(&value.to_be_bytes());
    }
    Some(out)
}

/// Timestamp first: the later one stands.
fn latest(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let at = |mut bytes: &[u8]| int(&mut bytes);
    Some(if at(b)? >= at(a)? { b.to_vec() } else { a.to_vec() })
}

fn set_string(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let mut strings = BTreeSet::new();
    for bytes in [a, b] {
        strings.extend(iterable(bytes, |bytes| {
            let length = usize::try_from(int(bytes)?).ok()?;
            let (string, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Some(string.to_vec())
        })?);
    }
    write_iterable(strings.iter(), |string, out| {
        write_varint(string.len() as i64, out);
        out.extend_from_slice(string);
    })
}

/// The first values of both in the given order, as many as the longer has.
///
/// Nothing on the wire says how many a metric keeps. A bundle that saw enough reports that many, so that the longest report is the best there is.
fn extremes<T>(
    a: &[u8],
    b: &[u8],
    read: impl Fn(&mut &[u8]) -> Option<T>,
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
    write: impl Fn(&T, &mut Vec<u8>),
) -> Option<Vec<u8>> {
    let (mut values, more) = (iterable(a, &read)?, iterable(b, &read)?);
    let keep = values.len().max(more.len());
    values.extend(more);
    values.sort_by(order);
    write_iterable(values.iter().take(keep), write)
}

/// A `beam:coder:iterable:v1` whose length is known; an empty payload is an empty iterable.
fn iterable<T>(mut bytes: &[u8], read: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    bytes = rest;
    // Collected one by one: the count comes from outside, and each element takes a byte at least.
    (0..u32::try_from(i32::from_be_bytes(*count)).ok()?).map(|_| read(&mut bytes)).collect()
}

fn write_iterable<T>(values: impl ExactSizeIterator<Item = T>, write: impl Fn(T, &mut Vec<u8>)) -> Option<Vec<u8>> {
    let mut out = i32::try_from(values.len()).ok()?.to_be_bytes().to_vec();
    values.for_each(|value| write(value, &mut out));
    Some(out)
}

fn write_double(value: &f64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, a: &[u8], b: &[u8], expected: &[u8]) {
        let key =
            MetricKey { urn: "u".into(), kind: format!("beam:metrics:{kind}:v1").into(), labels: Default::default() };
        let merged = merge(&key, &Bytes::copy_from_slice(a), &Bytes::copy_from_slice(b)).unwrap();
        assert_eq!(&merged[..], expected, "{kind}");
    }

    #[test]
    fn each_kind_merges_in_its_own_way() {
        check("sum_int64", &[5], &[7], &[12]);
        check("sum_double", &1.5f64.to_be_bytes(), &2.0f64.to_be_bytes(), &3.5f64.to_be_bytes());
        check("distribution_int64", &[2, 10, 3, 7], &[1, 1, 1, 1], &[3, 11, 1, 7]);
        check("distribution_int64", &[0], &[1, 4, 4, 4], &[1, 4, 4, 4]);
        check("distribution_int64", &[1, 4, 4, 4], &[0, 9, 9, 9], &[1, 4, 4, 4]);
        check("latest_int64", &[9, 1], &[3, 2], &[9, 1]);
        check("top_n_int64", &[0, 0, 0, 2, 9, 3], &[0, 0, 0, 1, 5], &[0, 0, 0, 2, 9, 5]);
        check("bottom_n_int64", &[0, 0, 0, 2, 3, 9], &[0, 0, 0, 1, 5], &[0, 0, 0, 2, 3, 5]);
        check("top_n_int64", &[], &[0, 0, 0, 1, 5], &[0, 0, 0, 1, 5]);
        let one = |value: f64| [&[0, 0, 0, 1][..], &value.to_be_bytes()[..]].concat();
        check("top_n_double", &one(1.5), &one(2.5), &one(2.5));
        check("bottom_n_double", &one(1.5), &one(2.5), &one(1.5));
        check("set_string", &[0, 0, 0, 1, 1, b'b'], &[0, 0, 0, 2, 1, b'a', 1, b'b'], &[0, 0, 0, 2, 1, b'a', 1, b'b']);
    }

    #[test]
    fn broken_payloads_and_unknown_kinds_are_told_apart() {
        let key = |kind: &str| MetricKey { urn: "u".into(), kind: kind.into(), labels: Default::default() };
        let empty = Bytes::new();
        assert!(matches!(
            merge(&key("beam:metrics:sum_int64:v1"), &empty, &empty),
            Err(MetricMergeError::Payload { .. })
        ));
        assert!(matches!(merge(&key("beam:metrics:new:v1"), &empty, &empty), Err(MetricMergeError::Kind { .. })));
        let huge = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
        assert!(matches!(
            merge(&key("beam:metrics:set_string:v1"), &huge, &huge),
            Err(MetricMergeError::Payload { .. })
        ));
    }
}
