//! Key-major grouping: everything of each key and window is kept, so that any trigger can be asked at any time.
//!
//! ```text
//!   elements of a lane ─sort─► key ─► (windows merge) ─► window ─► values appended, trigger asked ─► pane?
//!   timers that are due ─────► key ─────────────────────► window ─► trigger asked, or expired ─────► pane?
//! ```
//! A bundle has either elements or timers; the core hands out timers first. A trigger that tells elements apart is asked
//! behind each of them, if its SDK has it so, all others once per key and window of a bundle. Elements behind the expiry of their window, or in
//! one whose trigger has finished, are dropped and counted.
//! Values are copied once into an extent, and once into each pane.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use purlin_model::element::Header;
use purlin_model::time::{EventTime, ProcessingTime};
use purlin_model::window::{BoundedWindow, WindowFn};
use purlin_model::windowing_strategy::{MergeStatus, WindowingStrategy};

use super::GROUP_BYTES_MAX;
use super::arrivals::{self, Arrival, Value};
use super::cells::{Cells, Wake, window_bytes};
use super::merge::{self, Answers, Becomes, Questions};
use crate::core::bundle::DropCounts;
use crate::core::stage::{Grouping, OutputId, OutputSpec, StageKind, StageSpec};
use crate::data::LaneWriter;
use crate::kernel::trigger::At;
use crate::kernel::window::{Contents, Pane, is_expired};
use crate::kernel::{KernelDone, KernelError, KernelIo};
use crate::store::DueBound;

/// Groups the elements of a bundle, or fires its timers. `input` is the collection that they came from.
///
/// # Errors
/// If an element's key or windows cannot be read, a group is too large, an answer is wrong, or state fails.
pub(crate) fn group(
    spec: &StageSpec,
    input: &OutputSpec,
    strategy: &WindowingStrategy,
    io: &mut KernelIo<'_>,
    output: OutputId,
) -> Result<KernelDone, KernelError> {
    let kept = io.kept.as_mut().ok_or(KernelError::NoState(spec.id))?;
    let cells = Cells::new(&mut *kept.view, &spec.name, strategy, input.windows);
    let (watermark, now, dropped) = (io.watermark, kept.now, &mut io.dropped);
    let one_key = matches!(spec.kind, StageKind::Group { grouping: Grouping::OneKey, .. });
    let merging = strategy.merge_status == MergeStatus::NeedsMerge;
    let mut groups = Groups {
        cells,
        strategy,
        output,
        out: &mut *io.out,
        watermark,
        now,
        merging,
        one_key,
        value: Vec::new(),
        dropped,
    };
    if io.input.slices().is_empty() {
        groups.fire_due()?;
        return Ok(KernelDone::Whole);
    }
    let mut late = 0;
    let batches = io.input.load()?;
    let of_keys = arrivals::by_key(input, one_key, &batches, |window| {
        let expired = is_expired(window, strategy, watermark);
        late += u64::from(expired);
        !expired
    })?;
    groups.dropped.late += late;
    let answers = match &io.merged.load()?[..] {
        [] => None,
        answers => Some(Answers::read(answers, input.windows).map_err(|problem| wrong(strategy, &[], &problem))?),
    };
    let mut questions = Questions::default();
    for (nonce, (key, arrivals)) in (0..).zip(of_keys) {
        if merging {
            groups.add_merging(&key, arrivals, nonce, answers.as_ref(), &mut questions)?;
        } else {
            groups.add(&key, arrivals)?;
        }
    }
    match questions.finish() {
        Some(questions) => Ok(KernelDone::NeedMerge(groups.out.put_aside(questions)?)),
        None => Ok(KernelDone::Whole),
    }
}

struct Groups<'a> {
    cells: Cells<'a>,
    strategy: &'a WindowingStrategy,
    output: OutputId,
    out: &'a mut LaneWriter,
    watermark: EventTime,
    now: ProcessingTime,
    merging: bool,
    /// Whether there are no keys, so that the panes are those of a side input.
    one_key: bool,
    value: Vec<u8>,
    dropped: &'a mut DropCounts,
}

impl Groups<'_> {
    fn at(&self, window: &BoundedWindow) -> At {
        let window_max = window.max_timestamp();
        At { watermark: self.watermark, window_max, now: self.now, merging: self.merging, more: false }
    }

    /// Takes in what came for a key whose windows do not merge.
    fn add(&mut self, key: &Bytes, arrivals: Vec<Arrival<'_>>) -> Result<(), KernelError> {
        for arrival in arrivals {
            let at = self.at(&arrival.window);
            let encoded = window_bytes(&arrival.window);
            let kept = self.cells.read_window(key, &encoded)?;
            let mut contents = kept.unwrap_or_else(|| Contents::new(self.strategy, encoded.clone(), &at));
            if self.take_in(key, &arrival.window, &mut contents, &arrival.values, &at)? {
                self.keep(key, &arrival.window, &encoded, &contents, &at)?;
            }
        }
        Ok(())
    }

    /// Takes in what came for a key whose windows merge, or asks what they become.
    fn add_merging(
        &mut self,
        key: &Bytes,
        arrivals: Vec<Arrival<'_>>,
        nonce: u64,
        answers: Option<&Answers>,
        questions: &mut Questions,
    ) -> Result<(), KernelError> {
        let mut active = self.cells.read_windows(key)?;
        let known: BTreeSet<&BoundedWindow> = active.windows().collect();
        let new = arrivals.iter().any(|arrival| !known.contains(&arrival.window));
        let all: BTreeSet<&BoundedWindow> = known.into_iter().chain(arrivals.iter().map(|it| &it.window)).collect();
        let becomes = match (&self.strategy.window_fn, answers) {
            // Nothing new, or nothing that it could merge with.
            _ if !new || all.len() < 2 => Becomes::new(),
            (WindowFn::Session { .. }, _) => merge::sessions(all),
            (_, Some(answers)) => answers.of(nonce, &all).map_err(|problem| wrong(self.strategy, key, &problem))?,
            (_, None) => {
                questions.ask(nonce, &all);
                return Ok(());
            }
        };
        let (watermark, now, merging) = (self.watermark, self.now, self.merging);
        let at =
            |window: &BoundedWindow| At { watermark, window_max: window.max_timestamp(), now, merging, more: false };
        let merged = active.merge(&becomes, self.strategy, at);
        self.dropped.closed += merged.dropped;
        for window in &merged.gone {
            self.cells.set_wake(key, &window_bytes(window), None)?;
        }
        let mut into = BTreeMap::<BoundedWindow, Vec<Value<'_>>>::new();
        for arrival in arrivals {
            let window = becomes.get(&arrival.window).unwrap_or(&arrival.window).clone();
            into.entry(window).or_default().extend(arrival.values);
        }
        let mut grown: BTreeSet<BoundedWindow> = merged.grown.into_iter().collect();
        for (window, values) in &into {
            let at = self.at(window);
            let mut contents = match active.remove(window) {
                Some(contents) => contents,
                None => Contents::new(self.strategy, active.new_buffer(), &at),
            };
            if self.take_in(key, window, &mut contents, values, &at)? {
                grown.remove(window);
                self.wake(key, window, &window_bytes(window), &contents, &at)?;
            }
            active.insert(window.clone(), contents);
        }
        for window in grown {
            let at = self.at(&window);
            let Some(mut contents) = active.remove(&window) else { continue };
            self.poll(key, &window, &mut contents, &at, false)?;
            self.wake(key, &window, &window_bytes(&window), &contents, &at)?;
            active.insert(window, contents);
        }
        self.cells.write_windows(key, &active)
    }

    /// Adds values to a window, and emits the panes that they make; tells whether it took any.
    fn take_in(
        &mut self,
        key: &Bytes,
        window: &BoundedWindow,
        contents: &mut Contents,
        values: &[Value<'_>],
        at: &At,
    ) -> Result<bool, KernelError> {
        let mut rest = values;
        while !rest.is_empty() && !contents.is_closed() {
            let taken = contents.add(self.strategy, rest.iter().map(|value| value.timestamp), at);
            let (extent, behind) = rest.split_at(taken);
            rest = behind;
            let mut bytes = Vec::with_capacity(extent.iter().map(|value| value.bytes.len()).sum());
            extent.iter().for_each(|value| bytes.extend_from_slice(value.bytes));
            self.cells.append_values(key, contents.buffer(), bytes.into())?;
            self.poll(key, window, contents, &At { more: !rest.is_empty(), ..*at }, false)?;
        }
        self.dropped.closed += rest.len() as u64;
        Ok(rest.len() < values.len())
    }

    /// Fires the timers of the bundle's lanes.
    fn fire_due(&mut self) -> Result<(), KernelError> {
        // At the end of the input every window expires, whatever its trigger waits for.
        let bound = DueBound::of_kernel(self.watermark, self.now);
        let due = self.cells.take_due(&bound)?;
        for of_key in due.chunk_by(|a, b| a.0 == b.0) {
            let key = &of_key[0].0;
            let windows = of_key.iter().map(|(_, window)| window);
            if self.merging {
                let mut active = self.cells.read_windows(key)?;
                for window in windows {
                    if let Some(contents) = active.remove(window)
                        && let Some(contents) = self.fire(key, window, contents)?
                    {
                        active.insert(window.clone(), contents);
                    }
                }
                self.cells.write_windows(key, &active)?;
            } else {
                for window in windows {
                    let encoded = window_bytes(window);
                    if let Some(contents) = self.cells.read_window(key, &encoded)? {
                        let kept = self.fire(key, window, contents)?;
                        self.cells.write_window(key, &encoded, kept.as_ref())?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks at a window whose time has come. What is left of it is `None` when it has expired.
    fn fire(
        &mut self,
        key: &Bytes,
        window: &BoundedWindow,
        mut contents: Contents,
    ) -> Result<Option<Contents>, KernelError> {
        let at = self.at(window);
        let expired = is_expired(window, self.strategy, self.watermark);
        self.poll(key, window, &mut contents, &at, expired)?;
        let encoded = window_bytes(window);
        if expired {
            contents.buffers().iter().try_for_each(|buffer| self.cells.clear_values(key, buffer))?;
            self.cells.set_wake(key, &encoded, None)?;
            return Ok(None);
        }
        self.wake(key, window, &encoded, &contents, &at)?;
        Ok(Some(contents))
    }

    /// Keeps a window that does not merge, and says when to look at it again.
    fn keep(
        &mut self,
        key: &Bytes,
        window: &BoundedWindow,
        encoded: &Bytes,
        contents: &Contents,
        at: &At,
    ) -> Result<(), KernelError> {
        self.cells.write_window(key, encoded, Some(contents))?;
        self.wake(key, window, encoded, contents, at)
    }

    fn wake(
        &mut self,
        key: &Bytes,
        window: &BoundedWindow,
        encoded: &Bytes,
        contents: &Contents,
        at: &At,
    ) -> Result<(), KernelError> {
        let wake = Wake {
            event: contents.wake(self.strategy, window, at),
            clock: contents.wake_clock(at),
            hold: contents.hold(self.strategy, window, at),
        };
        self.cells.set_wake(key, encoded, Some(wake))
    }

    /// Emits a pane, if there is one to emit.
    fn poll(
        &mut self,
        key: &Bytes,
        window: &BoundedWindow,
        contents: &mut Contents,
        at: &At,
        expired: bool,
    ) -> Result<(), KernelError> {
        let Some(pane) = contents.poll_pane(self.strategy, at, expired) else { return Ok(()) };
        self.emit(key, window, contents.buffers(), pane)?;
        if !pane.keeps {
            contents.buffers().iter().try_for_each(|buffer| self.cells.clear_values(key, buffer))?;
            contents.forget_buffers();
        }
        Ok(())
    }

    /// Key, count, values: the encoding of `KV<K, Iterable<V>>` with a known count. Without keys, of `Iterable<V>`.
    fn emit(&mut self, key: &Bytes, window: &BoundedWindow, buffers: &[Bytes], pane: Pane) -> Result<(), KernelError> {
        self.value.clear();
        self.value.extend_from_slice(key);
        let one_key = self.one_key;
        let too_large = |bytes| {
            let (window, values, max) = (format!("{window:?}"), pane.values, GROUP_BYTES_MAX);
            if one_key {
                return KernelError::PaneTooLarge { window, values, bytes, max };
            }
            KernelError::GroupTooLarge { key: key.escape_ascii().to_string(), window, values, bytes, max }
        };
        let count = i32::try_from(pane.values).map_err(|_| too_large(u64::MAX))?;
        self.value.extend_from_slice(&count.to_be_bytes());
        if count > 0 {
            for buffer in buffers {
                self.cells.read_values(key, buffer, &mut self.value)?;
            }
        }
        if self.value.len() as u64 > GROUP_BYTES_MAX {
            return Err(too_large(self.value.len() as u64));
        }
        let mut header = Vec::new();
        Header::new(pane.timestamp, window.clone(), pane.info).encode(&mut header);
        self.out.push(self.output, &header, pane.timestamp, &self.value)?;
        Ok(())
    }
}

fn wrong(strategy: &WindowingStrategy, key: &[u8], problem: &str) -> KernelError {
    KernelError::Merge {
        window_fn: strategy.window_fn.urn().to_owned(),
        problem: format!("key {}: {problem}", key.escape_ascii()),
    }
}
