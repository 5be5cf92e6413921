//! BeamFnState: side inputs and the state of keys, page by page.
//!
//! ```text
//!   worker ══StateRequest══► by instruction: BundleRun ─► SideView, StateView or groups ─► StateResponse ══► worker
//! ```
//! The stream of answers is made of the stream of requests, so that each is answered on the stream's own task and in
//! order. Every request is answered, with an error if need be: a silent runner blocks a worker's thread for ever.

mod group;
mod side_input;
mod user_state;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use purlin_backend::profile::Work;
use purlin_engine::data::GroupError;
use purlin_engine::store::{StateError, StoreError};
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::beam_fn_state_server::BeamFnState;
use purlin_proto::fn_execution::v1::state_key::Type;
use purlin_proto::fn_execution::v1::state_request::Request as Operation;
use purlin_proto::fn_execution::v1::state_response::Response as Answer;
use thiserror::Error;
use tonic::{Request, Response, Status, Streaming};

use crate::hub::FnApi;
use crate::process_bundle::BundleRun;
use crate::worker::Worker;

#[derive(Debug)]
pub(crate) struct StateApi(pub(crate) Arc<FnApi>);

#[tonic::async_trait]
impl BeamFnState for StateApi {
    type StateStream = BoxStream<'static, Result<fnpb::StateResponse, Status>>;

    async fn state(
        &self,
        request: Request<Streaming<fnpb::StateRequest>>,
    ) -> Result<Response<Self::StateStream>, Status> {
        let worker = self.0.caller(request.metadata())?;
        let gone = worker.gone().clone().cancelled_owned();
        let open = worker.stream();
        let answers = request.into_inner().then(move |request| {
            let _open = &open;
            let worker = worker.clone();
            async move { Ok(answer(&worker, request?).await) }
        });
        Ok(Response::new(Box::pin(answers.take_until(gone))))
    }
}

/// Why a state request cannot be answered. The text reaches the user as the SDK's exception.
#[derive(Debug, Error)]
pub(crate) enum StateFault {
    #[error("no bundle with instruction id `{0}` runs; it has ended, or was never begun")]
    NoBundle(String),
    #[error("the state request has no {0}")]
    Missing(&'static str),
    #[error("the server stopped while it read the values of a group")]
    Interrupted,
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("state of kind {kind} cannot be {done}")]
    Operation { kind: &'static str, done: &'static str },
    #[error("transform `{transform}` has no side input `{side_input}` in stage `{stage}`")]
    NoSideInput { transform: String, side_input: String, stage: Arc<str> },
    #[error("stage `{stage}` has no transform `{transform}`")]
    NoTransform { transform: String, stage: Arc<str> },
    #[error("the window of the state key cannot be read: {0}")]
    Window(String),
    #[error("state `{state}` is not declared as a map, so that its entries cannot be read")]
    NoMap { state: String },
    #[error(
        "a request for state `{state}` of transform `{transform}` leaves out whose it is; Beam's Java SDK did so for maps and sets \
         before 2.68: use that version or a later one, or state of another kind"
    )]
    NoKey { state: String, transform: String },
    #[error("values of the map `{state}` are not of their coder, {coder}")]
    Values { state: String, coder: String },
    #[error("an entry of an ordered list cannot be read")]
    Entry,
    #[error("the continuation token is not one that this server gave out")]
    Token,
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(crate) async fn answer(worker: &Worker, request: fnpb::StateRequest) -> fnpb::StateResponse {
    let fnpb::StateRequest { id, instruction_id, state_key, request } = request;
    let answer = match worker.bundle(&instruction_id) {
        Some(run) => {
            let started = Instant::now();
            let answer = serve(&run, state_key.and_then(|key| key.r#type), request).await;
            run.meter.worked(Work::State, started.elapsed());
            answer
        }
        None => Err(StateFault::NoBundle(instruction_id)),
    };
    match answer {
        Ok(answer) => fnpb::StateResponse { id, error: String::new(), response: Some(answer) },
        Err(fault) => fnpb::StateResponse { id, error: fault.to_string(), response: None },
    }
}

async fn serve(run: &BundleRun, key: Option<Type>, operation: Option<Operation>) -> Result<Answer, StateFault> {
    let key = key.ok_or(StateFault::Missing("state key"))?;
    let operation = operation.ok_or(StateFault::Missing("operation"))?;
    match key {
        Type::IterableSideInput(key) => side_input::iterable(run, &key, &operation),
        Type::MultimapSideInput(key) => side_input::multimap(run, &key, &operation),
        Type::MultimapKeysSideInput(key) => side_input::multimap_keys(run, &key, &operation),
        Type::BagUserState(key) => user_state::bag(run, key, operation),
        Type::MultimapUserState(key) => user_state::multimap(run, key, operation),
        Type::MultimapKeysUserState(key) => user_state::multimap_keys(run, key, &operation),
        Type::Runner(key) => {
            let groups = run.groups.clone();
            let read = tokio::task::spawn_blocking(move || group::values(&groups, &key, &operation));
            read.await.unwrap_or_else(|_| Err(StateFault::Interrupted))
        }
        Type::MultimapKeysValuesSideInput(key) => side_input::multimap_entries(run, &key, &operation),
        Type::MultimapEntriesUserState(key) => user_state::multimap_entries(run, key, &operation),
        Type::OrderedListUserState(key) => user_state::ordered_list(run, key, operation),
    }
}

/// A page, and the token of the next one; an empty token is the end.
fn page(data: Bytes, next: Option<u64>) -> Answer {
    let continuation_token = next.map(|next| Bytes::copy_from_slice(&next.to_be_bytes())).unwrap_or_default();
    Answer::Get(fnpb::StateGetResponse { continuation_token, data })
}

/// Where the page begins that a token stands for.
fn position(token: &[u8]) -> Result<u64, StateFault> {
    match token {
        [] => Ok(0),
        token => token.try_into().map(u64::from_be_bytes).map_err(|_| StateFault::Token),
    }
}
