//! Bytes that are no messages, and messages that nobody meant, to every method: an answer always, harm never.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use purlin_proto::job_management::v1::job_state::Enum as State;
use support::pool::Pool;
use support::raw::{Nonsense, call, methods};
use support::{await_state, cancel, channel, config, impulse, jobs, on_runner, serve, states, submit, with_worker};
use tonic::Code;

/// What a client may be told of its own nonsense. INTERNAL is how tonic says that bytes cannot be read.
const TOLD: [Code; 9] = [
    Code::Ok,
    Code::InvalidArgument,
    Code::NotFound,
    Code::FailedPrecondition,
    Code::AlreadyExists,
    Code::Unimplemented,
    Code::DataLoss,
    Code::Internal,
    Code::Cancelled,
];

#[tokio::test]
async fn every_method_answers_whatever_it_is_sent() {
    let (server, mut client) = serve(config()).await;
    let channel = channel(server.endpoint()).await;
    let other = submit(&mut client, impulse(), on_runner("idle")).await;
    await_state(&mut client, &other, State::Running).await;
    let methods = methods();
    assert!(methods.len() > 20, "{methods:?}");
    let mut nonsense = Nonsense::new(3);
    for path in &methods {
        for _ in 0..40 {
            let code = call(&channel, path, None, nonsense.messages()).await;
            assert!(TOLD.contains(&code), "{path}: {code:?}");
        }
        let nothing = call(&channel, path, None, Vec::new()).await;
        assert!(TOLD.contains(&nothing), "{path}: {nothing:?}");
    }
    let job = submit(&mut client, impulse(), on_runner("direct")).await;
    assert_eq!(states(&mut client, &job).await.last(), Some(&State::Done));
    assert!(jobs(&mut client).await.contains(&(other, State::Running)));
}

#[tokio::test]
async fn a_worker_that_talks_nonsense_ends_its_own_job_at_most() {
    let (server, mut client) = serve(config()).await;
    let other = submit(&mut client, impulse(), on_runner("idle")).await;
    let mut nonsense = Nonsense::new(5);
    let of_workers = methods().into_iter().filter(|path| path.contains("fn_execution") || path.contains("Retrieval"));
    for path in of_workers {
        for _ in 0..4 {
            // Of its own, for a worker that is lost is asked for again.
            let mut pool = Pool::start().await;
            let job = submit(&mut client, with_worker(&pool.endpoint, Vec::new()), on_runner("direct")).await;
            let worker = pool.asked.recv().await.unwrap();
            // Its control stream makes it a worker; it is the one that begins with nonsense in some rounds.
            let own = channel(server.endpoint()).await;
            let control = "/org.apache.beam.model.fn_execution.v1.BeamFnControl/Control";
            let said = (nonsense.messages(), nonsense.messages());
            let calls = (call(&own, control, Some(&worker), said.0), call(&own, &path, Some(&worker), said.1));
            let (first, second) = tokio::join!(calls.0, calls.1);
            assert!(TOLD.contains(&first) && TOLD.contains(&second), "{path}: {first:?}, {second:?}");
            cancel(&mut client, &job).await.unwrap();
            let last = states(&mut client, &job).await.pop();
            assert!(matches!(last, Some(State::Failed | State::Cancelled)), "{last:?}");
        }
    }
    assert!(jobs(&mut client).await.contains(&(other, State::Running)));
    let job = submit(&mut client, impulse(), on_runner("direct")).await;
    assert_eq!(states(&mut client, &job).await.last(), Some(&State::Done));
}
