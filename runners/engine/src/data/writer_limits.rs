//! How much a writer holds back before it makes batches of it.
//!
//! ```text
//!   memory for data, routes of the writer ─► bytes per route, per batch, between two looks at the books
//! ```
//! Large batches are cheap to move and to keep, and small budgets have no room for them.

/// A batch is closed when it holds about this much, so that lanes can be cut and freed in useful pieces.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Smaller batches would cost more to keep track of than to hold.
const BATCH_BYTES_MIN: usize = 16 << 10;

/// Elements on their way to the lanes of key groups are distributed when there are about this many bytes of them:
/// enough for each of the 128 lanes to get a useful batch.
const ROUTE_BYTES_MAX: usize = 4 << 20;

/// With less, each of 128 lanes would get a handful of elements.
const ROUTE_BYTES_MIN: usize = 64 << 10;

/// All of a writer's routes together hold back this share of the memory, for there are as many writers as bundles.
const WRITER_SHARE: u64 = 32;

/// How often a writer's books are brought up to date.
const ACCOUNT_BYTES: usize = 64 << 10;

/// The bounds of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WriterLimits {
    pub(super) route_bytes: usize,
    pub(super) batch_bytes: usize,
    pub(super) account_bytes: usize,
}

impl WriterLimits {
    pub(super) fn new(routes: usize, budget: u64) -> Self {
        let share = usize::try_from(budget / WRITER_SHARE).unwrap_or(usize::MAX) / routes.max(1);
        let route_bytes = share.clamp(ROUTE_BYTES_MIN, ROUTE_BYTES_MAX);
        let batch_bytes = route_bytes.clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX);
        Self { route_bytes, batch_bytes, account_bytes: ACCOUNT_BYTES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_routes_share_what_one_would_have() {
        let one = WriterLimits::new(1, u64::MAX);
        assert_eq!((one.route_bytes, one.batch_bytes), (4 << 20, 1 << 20));
        let many = WriterLimits::new(50, 256 << 20);
        assert!(many.route_bytes * 50 <= 8 << 20, "{many:?}");
        assert_eq!(WriterLimits::new(1_000, 1 << 20).route_bytes, 64 << 10);
    }
}
