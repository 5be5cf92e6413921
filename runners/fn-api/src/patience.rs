//! How long a worker may take for each step of its end: a while, or nothing once somebody is in a hurry.
//!
//! ```text
//!   step ─┬─ done in time ──► Some
//!         ├─ too long ──────► None ─► the next, harsher step
//!         └─ hurry ─────────► None, at once
//! ```
//! Does not know what the steps are.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long a step may take.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    limit: Duration,
    hurry: CancellationToken,
}

impl Patience {
    pub(crate) const fn new(limit: Duration, hurry: CancellationToken) -> Self {
        Self { limit, hurry }
    }

    /// Waits for a step; `None` if it takes too long, or may take no time at all.
    pub(crate) async fn with<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = step => Some(done),
            () = self.hurry.cancelled() => None,
            () = tokio::time::sleep(self.limit) => None,
        }
    }

    /// The limit where there is nothing harsher left to do, so that a hurry gains nothing.
    pub(crate) const fn limit(&self) -> Duration {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hurry_ends_waiting_but_not_what_is_done() {
        let hurry = CancellationToken::new();
        let patience = Patience::new(Duration::MAX, hurry.clone());
        assert_eq!(patience.with(std::future::ready(1)).await, Some(1));
        hurry.cancel();
        assert_eq!(patience.with(std::future::pending::<u8>()).await, None);
        assert_eq!(patience.with(std::future::ready(2)).await, Some(2));
    }

    #[tokio::test]
    async fn a_limit_ends_waiting() {
        let patience = Patience::new(Duration::ZERO, CancellationToken::new());
        assert_eq!(patience.with(std::future::pending::<u8>()).await, None);
    }
}
