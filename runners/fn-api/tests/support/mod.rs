//! What the tests share: a server, a job without an engine, a worker pool and an SDK harness, all made by hand.
//!
//! ```text
//!   test (as the driver) ─start─► executor under test ══gRPC══ Harness (as the SDK) ◄─ test
//!                                            └══StartWorker══► WorkerPool ─► test
//! ```
//! Nothing here sleeps: everything waits for an event, and fails when it does not come.
#![allow(dead_code, reason = "each test target uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

pub(crate) mod harness;
pub(crate) mod job;
pub(crate) mod plan;
pub(crate) mod scene;
pub(crate) mod server;
pub(crate) mod worker_pool;

use std::future::Future;
use std::time::Duration;

/// What takes longer hangs. Generous, because tests run beside each other on small machines.
const EVENT_MAX: Duration = Duration::from_secs(30);

/// Waits for something that must come.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(EVENT_MAX, event).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}
