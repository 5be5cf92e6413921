//! How two payloads of the same metric become one, by the metric's kind (`MonitoringInfoTypeUrns`).

use std::collections::BTreeSet;

use bytes::Bytes;
use purlin_model::coder::varint::{read_varint, write_varint};
use thiserror::Error;

use super::MetricKey;

/// Two values of a metric that cannot be merged.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MetricMergeError {
    /// A payload is not what its kind says.
    #[error("a worker reported metric {} with a payload that is no {}", key.urn, key.kind)]
    Payload {
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
    let kind = key.kind.strip_prefix("beam:metrics:").and_then(|kind| kind.strip_suffix(":v1")).unwrap_or(&key.kind);
    let (a, b) = (&so_far[..], &more[..]);
    let merged = match kind {
        "sum_int64" => sum_int64(a, b),
        "sum_double" => sum_double(a, b),
        "distribution_int64" => distribution_int64(a, b),
        "distribution_double" => distribution_double(a, b),
        "latest_int64" | "latest_double" => latest(a, b),
        "set_string" => set_string(a, b),
        // Progress belongs to one bundle; the latest report stands.
        "progress" => Some(b.to_vec()),
        _ => return Err(MetricMergeError::Kind { key: Box::new(key.clone()) }),
    };
    merged.map(Bytes::from).ok_or_else(|| MetricMergeError::Payload { key: Box::new(key.clone()) })
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
    for mut bytes in [a, b] {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        bytes = rest;
        for _ in 0..i32::from_be_bytes(*count) {
            let length = usize::try_from(int(&mut bytes)?).ok()?;
            let (string, rest) = bytes.split_at_checked(length)?;
            bytes = rest;
            strings.insert(string.to_vec());
        }
    }
    let mut out = i32::try_from(strings.len()).ok()?.to_be_bytes().to_vec();
    for string in strings {
        write_varint(string.len() as i64, &mut out);
        out.extend_from_slice(&string);
    }
    Some(out)
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
