//! The state service over a real stream: side inputs by page, the state of keys, and an answer to everything.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use bytes::Bytes;
use purlin_engine::core::bundle::GroupSummary;
use purlin_engine::core::lane::Lane;
use purlin_engine::data::{BatchSlice, ElementBatchBuilder};
use purlin_engine::store::{BatchPlace, BatchStore, SideStore};
use purlin_model::element::{Header, encode_window};
use purlin_model::pane::PaneInfo;
use purlin_model::time::EventTime;
use purlin_model::window::BoundedWindow;
use purlin_proto::fn_execution::v1::process_bundle_request::cache_token;
use purlin_proto::fn_execution::v1::state_key::{
    BagUserState, IterableSideInput, MultimapEntriesUserState, MultimapKeysSideInput, MultimapKeysUserState,
    MultimapKeysValuesSideInput, MultimapSideInput, MultimapUserState, OrderedListUserState, Runner, Type,
};
use purlin_proto::fn_execution::v1::{OrderedListRange, ProcessBundleRequest};
use support::harness::{DataStream, Harness, StateStream, append, clear, get};
use support::job::{Job, header, kv};
use support::plan::{ALLOWED_LATENESS, external};
use support::server::Server;
use support::worker_pool::WorkerPool;

struct Scene {
    server: Server,
    job: Job,
    worker: Harness,
    data: DataStream,
    state: StateStream,
    instruction: String,
    _pool: WorkerPool,
}

impl Scene {
    /// A bundle that runs, and side inputs with these elements.
    async fn set(elements: &[Vec<u8>]) -> Self {
        let server = Server::start().await;
        let mut pool = WorkerPool::start().await;
        let mut job = Job::open(&server, external(&pool.endpoint));
        let mut batch = ElementBatchBuilder::new();
        elements.iter().for_each(|element| batch.push(&header(), EventTime::MIN, element));
        let batch = batch.finish();
        let place = BatchPlace { stage: job.plan.work, lane: Lane::Any, window_max: None, soon: false };
        let slice = BatchSlice::whole(job.batches.put(&[place], batch.clone()).unwrap()[0]);
        job.sides.append(job.plan.list, &batch, &slice, EventTime::MIN).unwrap();
        job.sides.append(job.plan.map, &batch, &slice, EventTime::MIN).unwrap();
        let mut worker = Harness::connect(&server.endpoint, &pool.asked().await.worker_id).await;
        assert_eq!(job.slots().await, 1);
        job.start(&[kv("a", "1")]);
        let (instruction, _) = worker.bundle().await;
        let (data, state) = (worker.open_data().await, worker.open_state().await);
        Self { server, job, worker, data, state, instruction, _pool: pool }
    }

    async fn ask(
        &mut self,
        key: Type,
        operation: purlin_proto::fn_execution::v1::state_request::Request,
    ) -> Result<(Vec<u8>, Vec<u8>), String> {
        self.state.ask(&self.instruction, key, operation).await
    }

    async fn value(&mut self, key: Type) -> Vec<u8> {
        let (data, token) = self.ask(key, get(b"")).await.unwrap();
        assert_eq!(token, b"");
        data
    }

    /// Ends the bundle well, lets its state count, and begins the next one.
    async fn commit(&mut self) -> ProcessBundleRequest {
        self.data.end(&self.instruction, &self.job.sinks());
        self.worker.done(&self.instruction);
        let result = self.job.finished().await;
        let seq = purlin_engine::core::action::LedgerSeq(0);
        purlin_engine::store::StateStore::apply(&*self.job.state, result.delta.unwrap(), seq);
        self.job.start(&[kv("a", "2")]);
        let (instruction, request) = self.worker.process_bundle().await;
        self.instruction = instruction;
        request
    }
}

fn list() -> Type {
    Type::IterableSideInput(IterableSideInput {
        transform_id: "work".to_owned(),
        side_input_id: "list".to_owned(),
        window: Bytes::new(),
    })
}

fn map(key: &[u8]) -> Type {
    Type::MultimapSideInput(MultimapSideInput {
        transform_id: "work".to_owned(),
        side_input_id: "map".to_owned(),
        window: Bytes::new(),
        key: Bytes::copy_from_slice(key),
    })
}

fn bag(key: &str) -> Type {
    Type::BagUserState(BagUserState {
        transform_id: "work".to_owned(),
        user_state_id: "bag".to_owned(),
        window: Bytes::new(),
        key: Bytes::copy_from_slice(key.as_bytes()),
    })
}

fn entry(map_key: &str) -> Type {
    Type::MultimapUserState(MultimapUserState {
        transform_id: "work".to_owned(),
        user_state_id: "map".to_owned(),
        window: Bytes::new(),
        key: Bytes::from_static(b"key"),
        map_key: Bytes::copy_from_slice(map_key.as_bytes()),
    })
}

fn entries() -> Type {
    Type::MultimapKeysUserState(MultimapKeysUserState {
        transform_id: "work".to_owned(),
        user_state_id: "map".to_owned(),
        window: Bytes::new(),
        key: Bytes::from_static(b"key"),
    })
}

fn pairs(user_state: &str) -> Type {
    Type::MultimapEntriesUserState(MultimapEntriesUserState {
        transform_id: "work".to_owned(),
        user_state_id: user_state.to_owned(),
        window: Bytes::new(),
        key: Bytes::from_static(b"key"),
    })
}

fn ordered(range: Option<(i64, i64)>) -> Type {
    Type::OrderedListUserState(OrderedListUserState {
        transform_id: "work".to_owned(),
        user_state_id: "list".to_owned(),
        window: Bytes::new(),
        key: Bytes::from_static(b"key"),
        range: range.map(|(start, end)| OrderedListRange { start, end }),
    })
}

#[tokio::test]
async fn ordered_lists_are_read_in_order_by_range() {
    let mut scene = Scene::set(&[]).await;
    scene.ask(ordered(None), append(b"\x07\x01c\x02\x01a\x05\x01b")).await.unwrap();
    scene.ask(ordered(None), append(b"\x02\x01A")).await.unwrap();
    assert_eq!(scene.value(ordered(None)).await, b"\x02\x01a\x02\x01A\x05\x01b\x07\x01c");
    assert_eq!(scene.value(ordered(Some((2, 7)))).await, b"\x02\x01a\x02\x01A\x05\x01b");
    scene.commit().await;
    scene.ask(ordered(Some((-1, 5))), clear()).await.unwrap();
    assert_eq!(scene.value(ordered(Some((i64::MIN, i64::MAX)))).await, b"\x05\x01b\x07\x01c");
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn side_inputs_are_read_by_page_and_by_key() {
    let large = [vec![1, b'a', 0x80, 0x80, 0x40], vec![7; 1 << 20]].concat();
    let elements = [large.clone(), kv("b", "2"), kv("a", "3")];
    let mut scene = Scene::set(&elements).await;
    let (first, token) = scene.ask(list(), get(b"")).await.unwrap();
    assert_eq!(first, large);
    let (second, end) = scene.ask(list(), get(&token)).await.unwrap();
    assert_eq!((second, end), ([kv("b", "2"), kv("a", "3")].concat(), Vec::new()));
    assert_eq!(scene.value(map(b"\x01b")).await, b"\x012");
    assert_eq!(scene.value(map(b"\x01z")).await, b"");
    let keys = Type::MultimapKeysSideInput(MultimapKeysSideInput {
        transform_id: "work".to_owned(),
        side_input_id: "map".to_owned(),
        window: Bytes::new(),
    });
    assert_eq!(scene.value(keys).await, b"\x01a\x01b");
    let whole = Type::MultimapKeysValuesSideInput(MultimapKeysValuesSideInput {
        transform_id: "work".to_owned(),
        side_input_id: "map".to_owned(),
        window: Bytes::new(),
    });
    let (first, token) = scene.ask(whole.clone(), get(b"")).await.unwrap();
    assert!(first.starts_with(b"\x01a\0\0\0\x02") && first.ends_with(b"\x013"), "{}", first.len());
    let (second, end) = scene.ask(whole, get(&token)).await.unwrap();
    assert_eq!((second, end), (b"\x01b\0\0\0\x01\x012".to_vec(), Vec::new()));
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn what_was_read_of_side_inputs_and_state_may_be_kept_for_the_next_bundle() {
    let mut scene = Scene::set(&[]).await;
    let tokens = scene.commit().await.cache_tokens;
    // The same worker has the same lanes again.
    assert_eq!(tokens, scene.commit().await.cache_tokens);
    let tokens = tokens.iter().map(|token| match &token.r#type {
        Some(cache_token::Type::SideInput(side)) if !token.token.is_empty() => side.side_input_id.as_str(),
        Some(cache_token::Type::UserState(_)) if !token.token.is_empty() => "state",
        other => panic!("{other:?}"),
    });
    assert_eq!(tokens.collect::<Vec<_>>(), ["list", "map", "state"]);
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn a_worker_is_told_that_its_keys_have_no_state_as_long_as_they_have_none() {
    let mut scene = Scene::set(&[]).await;
    assert!(scene.commit().await.has_no_state);
    scene.ask(bag("a"), append(b"one")).await.unwrap();
    assert!(!scene.commit().await.has_no_state);
    scene.ask(bag("a"), clear()).await.unwrap();
    assert!(scene.commit().await.has_no_state);
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn state_is_seen_at_once_and_kept_by_commit() {
    let mut scene = Scene::set(&[]).await;
    assert_eq!(scene.value(bag("key")).await, b"");
    scene.ask(bag("key"), append(b"one")).await.unwrap();
    scene.ask(bag("key"), append(b"two")).await.unwrap();
    scene.ask(entry("m"), append(b"x")).await.unwrap();
    scene.ask(entry("n"), append(b"y")).await.unwrap();
    assert_eq!(scene.value(bag("key")).await, b"onetwo");
    assert_eq!(scene.value(bag("other")).await, b"");
    scene.commit().await;
    assert_eq!(scene.value(bag("key")).await, b"onetwo");
    assert_eq!(scene.value(entries()).await, b"mn");
    scene.ask(bag("key"), clear()).await.unwrap();
    scene.ask(bag("key"), append(b"three")).await.unwrap();
    assert_eq!(scene.value(bag("key")).await, b"three");
    scene.ask(entry("m"), clear()).await.unwrap();
    assert_eq!(scene.value(entries()).await, b"n");
    scene.ask(entries(), clear()).await.unwrap();
    assert_eq!(scene.value(entry("n")).await, b"");
    scene.job.end(&scene.server).await;
}

/// The state of a window is there as long as its elements may come. Behind that they do not reach the worker, but are counted;
/// and what it has left behind is collected without a word to it.
#[tokio::test]
async fn state_goes_with_its_window() {
    let server = Server::start().await;
    let mut pool = WorkerPool::start().await;
    let mut job = Job::open_in_windows(&server, external(&pool.endpoint));
    let mut worker = Harness::connect(&server.endpoint, &pool.asked().await.worker_id).await;
    assert_eq!(job.slots().await, 1);
    let window = BoundedWindow::Interval { start: EventTime::from_millis(0), end: EventTime::from_millis(10) };
    let next = BoundedWindow::Interval { start: EventTime::from_millis(10), end: EventTime::from_millis(20) };
    let header = |windows: &[&BoundedWindow]| {
        let windows = windows.iter().map(|window| (*window).clone()).collect();
        let mut header = Vec::new();
        Header { timestamp: EventTime::from_millis(7), windows, pane: PaneInfo::NO_FIRING }.encode(&mut header);
        header
    };
    let expiry = window.max_timestamp() + ALLOWED_LATENESS;
    let sinks = job.sinks();
    let seq = purlin_engine::core::action::LedgerSeq(0);
    // At its expiry an element may come, and keeps something.
    job.watermark = expiry;
    job.start_under(&header(&[&window]), &[kv("a", "1")]);
    let (instruction, _) = worker.bundle().await;
    let (mut data, mut state) = (worker.open_data().await, worker.open_state().await);
    let input = [&header(&[&window])[..], &kv("a", "1")].concat();
    assert_eq!(data.input(&instruction).await, input);
    let mut encoded = Vec::new();
    encode_window(&window, &mut encoded);
    let Type::BagUserState(kept) = bag("kept") else { panic!("a bag is a bag") };
    let kept = Type::BagUserState(BagUserState { window: encoded.into(), ..kept });
    state.ask(&instruction, kept, append(b"seen")).await.unwrap();
    data.end(&instruction, &sinks);
    worker.done(&instruction);
    let result = job.finished().await;
    purlin_engine::store::StateStore::apply(&*job.state, result.delta.unwrap(), seq);
    let expiries = |summaries: &[(_, GroupSummary)]| summaries.iter().filter_map(|it| it.1.next_expiry).min();
    assert_eq!(expiries(&result.summaries), Some(EventTime::from_millis(expiry.millis() + 1)));
    assert_eq!(job.state.size().bytes, 4);
    // Behind it elements are in the other windows that they came in, and in no window, for the worker.
    job.watermark = EventTime::from_millis(expiry.millis() + 2);
    job.start_under(&header(&[&window, &next]), &[kv("a", "2")]);
    let instruction = worker.process_bundle().await.0;
    let input = [&header(&[&next])[..], &kv("a", "2")].concat();
    assert_eq!(data.input(&instruction).await, input);
    data.end(&instruction, &sinks);
    worker.done(&instruction);
    let result = job.finished().await;
    purlin_engine::store::StateStore::apply(&*job.state, result.delta.unwrap(), seq);
    let metrics = job.metrics.values().flatten();
    let dropped: Vec<_> = metrics
        .filter(|(key, _)| key.labels.values().any(|label| &**label == "droppedDueToLateness"))
        .map(|(_, count)| count.to_vec())
        .collect();
    assert_eq!(dropped, [[1]]);
    // What is left behind goes in a bundle without elements, of which no worker hears.
    assert_eq!(job.state.size().bytes, 4);
    job.start_under(&[], &[]);
    let result = job.finished().await;
    purlin_engine::store::StateStore::apply(&*job.state, result.delta.unwrap(), seq);
    assert_eq!(expiries(&result.summaries), None);
    assert_eq!(job.state.size(), purlin_store::StateSize::default());
    job.start_under(&header(&[&next]), &[kv("a", "3")]);
    let instruction = worker.process_bundle().await.0;
    assert_eq!(data.input(&instruction).await, [&header(&[&next])[..], &kv("a", "3")].concat());
    data.end(&instruction, &sinks);
    worker.done(&instruction);
    job.finished().await;
    job.end(&server).await;
}

#[tokio::test]
async fn a_map_is_read_with_its_values_counted() {
    let mut scene = Scene::set(&[]).await;
    assert_eq!(scene.value(pairs("map")).await, b"");
    scene.ask(entry("m"), append(b"\x01x\x02yz")).await.unwrap();
    scene.ask(entry("n"), append(b"\x00")).await.unwrap();
    assert_eq!(scene.value(pairs("map")).await, b"m\0\0\0\x02\x01x\x02yzn\0\0\0\x01\x00");
    scene.commit().await;
    scene.ask(entry("m"), append(b"\x01w")).await.unwrap();
    assert_eq!(scene.value(pairs("map")).await, b"m\0\0\0\x03\x01x\x02yz\x01wn\0\0\0\x01\x00");
    scene.ask(pairs("map"), clear()).await.unwrap();
    assert_eq!(scene.value(pairs("map")).await, b"");
    assert_eq!(scene.value(entries()).await, b"");
    scene.job.end(&scene.server).await;
}

#[tokio::test]
async fn whatever_cannot_be_answered_is_answered_with_the_reason() {
    let mut scene = Scene::set(&[]).await;
    let mut check = async |key: Type, operation, expected: &str| {
        let error = scene.state.ask(&scene.instruction, key, operation).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    check(list(), append(b"x"), "iterable_side_input cannot be appended to").await;
    check(map(b""), clear(), "multimap_side_input cannot be cleared").await;
    check(list(), get(b"token"), "continuation token").await;
    check(entries(), append(b"x"), "multimap_keys_user_state cannot be appended to").await;
    check(pairs("map"), append(b"x"), "multimap_entries_user_state cannot be appended to").await;
    check(pairs("bag"), get(b""), "`bag` is not declared as a map").await;
    let Type::MultimapKeysUserState(of_nobody) = entries() else { unreachable!() };
    let of_nobody = MultimapKeysUserState { key: Bytes::new(), ..of_nobody };
    check(Type::MultimapKeysUserState(of_nobody), get(b""), "`map` of transform `Pipeline/Work` leaves out whose")
        .await;
    check(Type::Runner(Runner::default()), get(b""), "the token of a group of 0 bytes").await;
    check(Type::Runner(Runner::default()), append(b"x"), "runner cannot be appended to").await;
    check(ordered(None), append(b"\x05\x02a"), "an entry of an ordered list cannot be read").await;
    let stranger = BagUserState { transform_id: "stranger".to_owned(), ..Default::default() };
    check(Type::BagUserState(stranger), get(b""), "no transform `stranger`").await;
    let stranger =
        IterableSideInput { transform_id: "work".to_owned(), side_input_id: "no".to_owned(), window: Bytes::new() };
    check(Type::IterableSideInput(stranger), get(b""), "`Pipeline/Work` has no side input `no`").await;
    let window = IterableSideInput {
        transform_id: "work".to_owned(),
        side_input_id: "list".to_owned(),
        window: Bytes::from_static(b"window"),
    };
    check(Type::IterableSideInput(window), get(b""), "6 bytes follow").await;
    scene.ask(entry("m"), append(b"\x05cut")).await.unwrap();
    let error = scene.ask(pairs("map"), get(b"")).await.unwrap_err();
    assert!(error.contains("values of the map `map` are not of their coder"), "{error}");
    let error = scene.state.ask("nobody", list(), get(b"")).await.unwrap_err();
    assert!(error.contains("`nobody`"), "{error}");
    scene.job.end(&scene.server).await;
}
