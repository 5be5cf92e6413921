//! What bundles report of themselves. How reports add up is the business of the crate above (`purlin_backend::metrics`).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

/// What is measured: a `MonitoringInfo` without its payload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricKey {
    /// For example `beam:metric:user:sum_int64:v1`.
    pub urn: Arc<str>,
    /// For example `beam:metrics:sum_int64:v1`: decides how values merge.
    pub kind: Arc<str>,
    /// For example PTRANSFORM, NAMESPACE, NAME.
    pub labels: Arc<BTreeMap<String, String>>,
}

/// What one bundle measured, as payloads that are cumulative within the bundle.
pub type MetricDelta = Vec<(MetricKey, Bytes)>;
