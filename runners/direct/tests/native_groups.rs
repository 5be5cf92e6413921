//! Groups that are larger than what a grouping may hold in memory, read by reference, page by page.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use purlin_engine::core::action::Outcome;
use purlin_engine::core::stage::OutputHandle;
use purlin_model::coder::Coder;
use purlin_model::element::Header;
use purlin_model::ids::CoderId;
use purlin_model::key_group::hash_key;
use purlin_model::pane::PaneInfo;
use purlin_model::time::Millis;
use purlin_model::window::{BoundedWindow, WindowCoder, WindowFn};
use purlin_model::windowing_strategy::{MergeStatus, WindowingStrategy};
use purlin_native::{Codec, NativeBundle, NativeError, NativeJob, NativeStage, Pair, SyntheticSource, Text, identity};

/// Values of this many bytes.
const VALUE_BYTES: usize = 10_000;

/// All but every eighth value belong to one key.
fn key(position: i64) -> Vec<u8> {
    if position % 8 == 0 { format!("k{}", position % 100).into_bytes() } else { b"hot".to_vec() }
}

fn value(position: i64) -> Vec<u8> {
    let mut value = vec![position as u8; VALUE_BYTES];
    value[..8].copy_from_slice(&position.to_be_bytes());
    value
}

/// What is known of a group: how many values, and all of them in one number that depends on each and not on order.
type Sums = BTreeMap<Vec<u8>, (u64, u64)>;

fn add(sums: &mut Sums, key: Vec<u8>, value: &[u8]) {
    let sum = sums.entry(key).or_default();
    sum.0 += 1;
    sum.1 = sum.1.wrapping_add(hash_key(value));
}

fn expected(count: i64) -> Sums {
    let mut sums = Sums::new();
    (0..count).for_each(|position| add(&mut sums, key(position), &value(position)));
    sums
}

/// Reads groups by reference, and checks that values come in their order.
#[derive(Debug)]
struct Sum {
    sums: Arc<Mutex<Sums>>,
    groups: Arc<AtomicUsize>,
    /// Stops reading a group after this many values.
    values_max: u64,
}

impl NativeStage for Sum {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let mut rest = element.value;
                let key = Text::decode(&mut rest)?;
                let (mut sums, mut read) = (Sums::new(), 0);
                bundle.values_of::<Text>(rest, |value| {
                    read += 1;
                    if read <= self.values_max {
                        add(&mut sums, key.clone(), &value);
                    }
                    Ok(())
                })?;
                self.groups.fetch_add(1, Ordering::Relaxed);
                for (key, (values, sum)) in sums {
                    let mut all = self.sums.lock().unwrap();
                    let of_key = all.entry(key).or_default();
                    *of_key = (of_key.0 + values, of_key.1.wrapping_add(sum));
                }
            }
        }
        Ok(())
    }
}

fn pairs(job: &mut NativeJob, count: i64) -> OutputHandle {
    let read = SyntheticSource {
        positions_max: 1_000,
        step: Millis(1),
        resume_delay: None,
        element: |position: i64, out: &mut Vec<u8>| {
            Pair::<Text, Text>::encode(&(key(position), value(position)), out);
        },
    };
    support::read::<Pair<Text, Text>>(job, vec![(0, count)], read)
}

fn by_reference() -> Coder {
    Coder::kv(Text::coder(), Coder::StateBackedIterable(Arc::new(Text::coder())))
}

async fn run(job: NativeJob) -> Outcome {
    job.run(support::schedule(), support::threads()).await.outcome
}

/// Puts each element into a window of its own, 20 ms long.
#[derive(Debug)]
struct Windows;

impl NativeStage for Windows {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let timestamp = Header::decode(&mut &element.header[..], WindowCoder::Global).unwrap().timestamp;
                let window = BoundedWindow::Interval { start: timestamp, end: timestamp + Millis(20) };
                let mut header = Vec::new();
                Header::new(timestamp, window, PaneInfo::NO_FIRING).encode(&mut header);
                bundle.emit(0, &header, timestamp, element.value)?;
            }
        }
        Ok(())
    }
}

/// Groups so many values where so many bytes may be held, and reads them twice: all of them, and the first ten of each
/// group. Returns how many groups there were.
async fn check(count: i64, share_bytes: u64, strategy: &WindowingStrategy) -> usize {
    let mut job = NativeJob::new();
    job.config.kernel_share_bytes = share_bytes;
    let mut pairs = pairs(&mut job, count);
    if strategy.merge_status == MergeStatus::NeedsMerge {
        pairs = job.stage::<Pair<Text, Text>>("Windows", &[pairs], WindowCoder::Interval, Windows);
    }
    let grouped = job.graph.group("Group", &[pairs], strategy, by_reference());
    let sum = |values_max| Sum { sums: Arc::default(), groups: Arc::default(), values_max };
    let (all, some) = (sum(u64::MAX), sum(10));
    let ((sums, groups), (few, _)) = ((all.sums.clone(), all.groups.clone()), (some.sums.clone(), ()));
    job.sink("All", &[grouped], all);
    job.sink("Some", &[grouped], some);
    assert_eq!(run(job).await, Outcome::Done);
    let expected = expected(count);
    assert_eq!(*sums.lock().unwrap(), expected);
    assert_eq!(few.lock().unwrap().keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    groups.load(Ordering::Relaxed)
}

fn global() -> WindowingStrategy {
    WindowingStrategy::global(CoderId::new("global"))
}

#[tokio::test]
async fn a_key_larger_than_memory_is_read_page_by_page() {
    assert_eq!(check(3_000, 1 << 20, &global()).await, expected(3_000).len());
}

#[tokio::test]
async fn a_key_that_fits_into_memory_is_read_page_by_page() {
    assert_eq!(check(600, 64 << 20, &global()).await, expected(600).len());
}

#[tokio::test]
async fn windows_that_merge_do_so_for_a_key_larger_than_memory() {
    let mut strategy = global();
    strategy.window_fn = WindowFn::Session { gap: Millis(20) };
    strategy.merge_status = MergeStatus::NeedsMerge;
    // One session of the key that has most values; those of the others lie too far apart.
    for share_bytes in [1 << 18, 64 << 20] {
        assert_eq!(check(600, share_bytes, &strategy).await, 1 + 600 / 8);
    }
}

/// Where references are not understood, a group must fit into an element.
#[tokio::test]
async fn groups_without_references_are_whole_however_little_memory_there_is() {
    let mut job = NativeJob::new();
    job.config.kernel_share_bytes = 1 << 18;
    let pairs = pairs(&mut job, 600);
    let coder = Coder::kv(Text::coder(), Coder::iterable(Text::coder()));
    let grouped = job.graph.group("Group", &[pairs], &global(), coder);
    let passed =
        job.stage::<Pair<Text, purlin_native::Repeated<Text>>>("Pass", &[grouped], WindowCoder::Global, identity());
    let sums = Arc::new(Mutex::new(Sums::new()));
    job.sink("Sum", &[passed], Sum { sums: sums.clone(), groups: Arc::default(), values_max: u64::MAX });
    assert_eq!(run(job).await, Outcome::Done);
    assert_eq!(*sums.lock().unwrap(), expected(600));
}

/// Values of a key stay in their order of arrival, whichever way they take.
#[tokio::test]
async fn values_stay_in_their_order() {
    #[derive(Debug)]
    struct InOrder;
    impl NativeStage for InOrder {
        fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
            while let Some((batch, slice)) = bundle.next_batch()? {
                for element in batch.iter(slice.first as usize, slice.last as usize) {
                    let mut rest = element.value;
                    Text::decode(&mut rest)?;
                    let mut last = -1;
                    bundle.values_of::<Text>(rest, |value| {
                        let next = i64::from_be_bytes(value[..8].try_into().expect("eight bytes of position"));
                        if next <= last {
                            return Err(NativeError::User(format!("{next} came behind {last}")));
                        }
                        last = next;
                        Ok(())
                    })?;
                }
            }
            Ok(())
        }
    }
    for share_bytes in [1 << 18, 64 << 20] {
        let mut job = NativeJob::new();
        job.config.kernel_share_bytes = share_bytes;
        let pairs = pairs(&mut job, 1_000);
        let grouped = job.graph.group("Group", &[pairs], &global(), by_reference());
        job.sink("InOrder", &[grouped], InOrder);
        assert_eq!(run(job).await, Outcome::Done);
    }
}
