//! How long a worker may take for each step of its end: a while, a moment in haste, or nothing once somebody is in a hurry.
//!
//! ```text
//!   step ─┬─ done in time ──────► Some
//!         ├─ too long ──────────► None ─► the next, harsher step
//!         ├─ haste, a moment ───► None
//!         └─ hurry ─────────────► None, at once
//! ```
//! Does not know what the steps are.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long a step may take.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    /// For as long as nothing else is said.
    pub(crate) limit: Duration,
    /// Cancelled when the job is.
    pub(crate) haste: CancellationToken,
    /// From then on.
    pub(crate) haste_limit: Duration,
    /// Cancelled when the process itself must end now.
    pub(crate) hurry: CancellationToken,
}

impl Patience {
    /// Waits for a step; `None` if it takes too long, or may take no time at all.
    pub(crate) async fn with<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        let hasty = async {
            self.haste.cancelled().await;
            tokio::time::sleep(self.haste_limit).await;
        };
        tokio::select! {
            biased;
            done = step => Some(done),
            () = self.hurry.cancelled() => None,
            () = hasty => None,
            () = tokio::time::sleep(self.limit) => None,
        }
    }

    /// The limit where there is nothing harsher left to do, so that haste gains nothing.
    pub(crate) const fn limit(&self) -> Duration {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(limit: Duration) -> Patience {
        let [haste, hurry] = [(); 2].map(|()| CancellationToken::new());
        Patience { limit, haste, haste_limit: Duration::ZERO, hurry }
    }

    #[tokio::test]
    async fn haste_ends_waiting_that_has_begun() {
        let patience = patience(Duration::MAX);
        let haste = patience.haste.clone();
        let begun = async move { haste.cancel() };
        // The step is asked first, so that waiting for it has begun.
        let (waited, ()) = tokio::join!(patience.with(std::future::pending::<u8>()), begun);
        assert_eq!(waited, None);
        assert_eq!(patience.with(std::future::ready(2)).await, Some(2));
    }

    #[tokio::test]
    async fn a_hurry_ends_waiting_but_not_what_is_done() {
        let patience = patience(Duration::MAX);
        assert_eq!(patience.with(std::future::ready(1)).await, Some(1));
        patience.hurry.cancel();
        assert_eq!(patience.with(std::future::pending::<u8>()).await, None);
        assert_eq!(patience.with(std::future::ready(2)).await, Some(2));
    }

    #[tokio::test]
    async fn a_limit_ends_waiting() {
        let patience = patience(Duration::ZERO);
        assert_eq!(patience.with(std::future::pending::<u8>()).await, None);
    }
}
