//! What the core knows of one stage while the job runs: its queues, its holds, its watermarks.
//!
//! ```text
//!   routed ─► blocked by side inputs ─► lanes ─► take ─► running (ledger) ─► released
//!                                        ▲  residuals, retries ─┘
//! ```
//! Law (I1): each slice that came in is in exactly one of blocked, lanes, retries, residuals, running, released, and
//! has a hold in all but the last.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use purlin_model::key_group::KeyGroup;
use purlin_model::time::{EventTime, ProcessingTime};

use crate::core::bundle::{BundleHold, GroupSummary, ResidualHolds};
use crate::core::event::Residual;
use crate::core::lane::{Joined, Lane, LaneQueue};
use crate::core::stage::{OutputId, StageId, StageSpec};
use crate::core::watermark::{HoldTracker, Watermark};
use crate::data::BatchSlice;
use crate::store::{DueBound, TimerDomain};

/// One stage of a running job.
#[derive(Clone, Debug, Default)]
pub(crate) struct StageState {
    /// Input that may run, by lane. Empty lanes are not kept.
    pub(crate) lanes: BTreeMap<Lane, LaneQueue>,
    /// Lanes of running bundles; only lanes of key groups are ever locked.
    locked: BTreeSet<Lane>,
    /// Input that waits for side inputs, by the last instant of its window.
    pub(crate) blocked: BTreeMap<EventTime, BTreeMap<Lane, LaneQueue>>,
    /// Input of bundles that failed, to be handed out again as it was.
    pub(crate) retries: VecDeque<Take>,
    /// Residuals that may run now.
    pub(crate) residuals: VecDeque<Leftover>,
    /// Residuals that wait for the clock.
    pub(crate) delayed: BTreeMap<ProcessingTime, Vec<Leftover>>,
    /// Timestamps of all input that is not released, residuals apart.
    holds: HoldTracker,
    /// Per output, what residuals may still emit; one entry per residual that is not released.
    residual_holds: BTreeMap<OutputId, HoldTracker>,
    residual_count: u64,
    /// Where the input stood when each bundle that runs on keys was handed out.
    running_holds: HoldTracker,
    /// Summaries of state, by key group.
    summaries: BTreeMap<KeyGroup, GroupSummary>,
    /// How far the input has come.
    pub(crate) input: Watermark,
    /// How far each output has come, in the order of the spec's outputs.
    pub(crate) outputs: Vec<Watermark>,
    /// How many bundles run.
    pub(crate) running: u32,
    /// How many bundles are committed.
    pub(crate) committed: u64,
    /// Elements in committed bundles.
    pub(crate) elements_done: u64,
    /// Whether an impulse has been handed out.
    pub(crate) begun: bool,
    /// Whether its clock ends with its input, because the job is drained.
    pub(crate) clock_ends: bool,
}

/// A residual, as it waits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leftover {
    /// What is to be processed again.
    pub(crate) slice: BatchSlice,
    /// Not before this instant.
    pub(crate) not_before: Option<ProcessingTime>,
    /// Lower bounds for the timestamps of what it will emit.
    pub(crate) watermarks: ResidualHolds,
    /// Whether it will end by itself.
    pub(crate) bounded: bool,
    /// Whether it has been truncated, because the job takes no more input.
    pub(crate) truncated: bool,
}

/// Input taken for a bundle.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Take {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) input: Vec<BatchSlice>,
    /// What follows in the same lanes: the rest of a bundle that failed, and is being narrowed down.
    pub(crate) behind: Vec<BatchSlice>,
    pub(crate) residual: Option<ResidualHolds>,
    /// What an SDK said of windows that must merge.
    pub(crate) merged: Vec<BatchSlice>,
    /// If its input is a question: who asked, and what he had taken.
    pub(crate) asked_by: Option<Box<(StageId, Self)>>,
    /// If it was handed out before and its state must look the same again: the hold that still stands.
    pub(crate) hold: Option<BundleHold>,
    /// Whether it is known to end by itself.
    pub(crate) bounded: bool,
    /// Whether it has been truncated, because the job takes no more input.
    pub(crate) truncated: bool,
    pub(crate) attempt: u32,
}

impl Take {
    /// Nothing but these lanes.
    pub(crate) fn of_lanes(lanes: Vec<Lane>) -> Self {
        Self {
            lanes,
            input: Vec::new(),
            behind: Vec::new(),
            residual: None,
            merged: Vec::new(),
            asked_by: None,
            hold: None,
            bounded: false,
            truncated: false,
            attempt: 0,
        }
    }

    /// A question about windows, or input that is to be truncated, and who asked.
    pub(crate) fn question(input: Vec<BatchSlice>, stage: StageId, asker: Self) -> Self {
        Self { input, asked_by: Some(Box::new((stage, asker))), ..Self::of_lanes(vec![Lane::Any]) }
    }
}

impl StageState {
    pub(crate) fn new(spec: &StageSpec) -> Self {
        Self {
            outputs: vec![Watermark::default(); spec.outputs.len()],
            residual_holds: spec.outputs.iter().map(|output| (*output, HoldTracker::default())).collect(),
            ..Self::default()
        }
    }

    /// Adds input that may run; tells if it became part of what was there.
    pub(crate) fn push(&mut self, lane: Lane, slice: BatchSlice, join_behind: usize) -> Option<Joined> {
        let joined = self.lanes.entry(lane).or_default().push_or_join(slice, join_behind);
        self.hold(&slice, joined);
        joined
    }

    /// Adds input that waits for side inputs of this window; tells if it became part of what was there.
    pub(crate) fn push_blocked(
        &mut self,
        window_max: EventTime,
        lane: Lane,
        slice: BatchSlice,
        join_behind: usize,
    ) -> Option<Joined> {
        let lanes = self.blocked.entry(window_max).or_default();
        let joined = lanes.entry(lane).or_default().push_or_join(slice, join_behind);
        self.hold(&slice, joined);
        joined
    }

    /// Holds what came in: a batch that has grown has one hold, as before.
    fn hold(&mut self, slice: &BatchSlice, joined: Option<Joined>) {
        let mut least = slice.min_timestamp();
        if let Some(Joined { into, .. }) = joined {
            self.holds.drop_one(into.min_timestamp);
            least = least.min(into.min_timestamp);
        }
        self.holds.add(least);
    }

    /// Lets input run whose side inputs have become ready.
    pub(crate) fn unblock(&mut self, ready: impl Fn(EventTime) -> bool) {
        let windows: Vec<_> = self.blocked.keys().copied().filter(|window_max| ready(*window_max)).collect();
        for window_max in windows {
            for (lane, mut queue) in self.blocked.remove(&window_max).into_iter().flatten() {
                let free = self.lanes.entry(lane).or_default();
                queue.drain().into_iter().for_each(|slice| free.push(slice));
            }
        }
    }

    /// A bundle is handed out: what it may set, on keys, is not known until it is over.
    pub(crate) fn begin(&mut self, keyed: bool) -> BundleHold {
        let watermark = self.input.at();
        if keyed {
            self.running_holds.add(watermark);
        }
        BundleHold { watermark, holds: keyed }
    }

    /// A bundle is over.
    pub(crate) fn end(&mut self, hold: BundleHold) {
        if hold.holds {
            self.running_holds.drop_one(hold.watermark);
        }
    }

    /// Adds a residual; it waits for the clock if it asked to.
    pub(crate) fn push_residual(&mut self, residual: Leftover, now: ProcessingTime) {
        self.residual_count += 1;
        for (output, holds) in &mut self.residual_holds {
            holds.add(estimate(&residual.watermarks, *output));
        }
        match residual.not_before.filter(|at| *at > now) {
            Some(at) => self.delayed.entry(at).or_default().push(residual),
            None => self.residuals.push_back(residual),
        }
    }

    /// Lets residuals run whose time has come.
    pub(crate) fn wake(&mut self, now: ProcessingTime) {
        while let Some(entry) = self.delayed.first_entry().filter(|entry| *entry.key() <= now) {
            self.residuals.extend(entry.remove());
        }
    }

    /// Lanes that hold input and are not in a running bundle.
    pub(crate) fn free_lanes(&self) -> impl Iterator<Item = (Lane, &LaneQueue)> {
        self.lanes.iter().filter(|(lane, _)| !self.locked.contains(lane)).map(|(lane, queue)| (*lane, queue))
    }

    /// Takes a retry, if there is one.
    pub(crate) fn take_retry(&mut self) -> Option<Take> {
        self.retries.pop_front()
    }

    /// Takes a residual that may run now, if there is one.
    pub(crate) fn take_residual(&mut self) -> Option<Take> {
        self.residuals.pop_front().map(Leftover::take)
    }

    /// Takes all that waits to be processed and has not been truncated: residuals, those that wait for the clock too, what
    /// is to be handed out again, and, as one, what has not been begun.
    pub(crate) fn take_untruncated(&mut self) -> Vec<Take> {
        let delayed = std::mem::take(&mut self.delayed).into_values().flatten();
        let (kept, residuals) = self.residuals.drain(..).chain(delayed).partition(|residual| residual.truncated);
        self.residuals = kept;
        let (kept, retries) = self.retries.drain(..).partition(|take| take.truncated);
        self.retries = kept;
        let mut takes: Vec<Take> = Vec::from(retries);
        takes.extend(VecDeque::into_iter(residuals).map(Leftover::take));
        if let Some(mut queue) = self.lanes.remove(&Lane::Any) {
            takes.push(Take { input: queue.drain(), ..Take::of_lanes(vec![Lane::Any]) });
        }
        takes
    }

    /// Key groups whose timers are due, or where a window has expired, and that no bundle owns. At the end of the input
    /// every event timer is due, and nothing is collected; those of the clock hold the job until it has come that far, unless
    /// it is drained.
    pub(crate) fn due_lanes(&self, now: ProcessingTime) -> impl Iterator<Item = Lane> {
        let bound = self.due(now);
        self.summaries.iter().filter_map(move |(group, summary)| {
            let event = summary.next_event.is_some_and(|at| bound.is_due(TimerDomain::EventTime, at.millis()));
            let processing = summary.next_processing.is_some_and(|at| bound.is_due(TimerDomain::ProcessingTime, at.0));
            let expired = summary.next_expiry.is_some_and(|at| bound.is_expired(at));
            let lane = Lane::Group(*group);
            ((event || processing || expired) && !self.locked.contains(&lane)).then_some(lane)
        })
    }

    fn due(&self, now: ProcessingTime) -> DueBound {
        DueBound::of_bundle(self.input.at(), now, self.clock_ends, usize::MAX)
    }

    /// The earliest timer of the clock that waits for it. One that is due waits for its lane.
    pub(crate) fn next_processing(&self, now: ProcessingTime) -> Option<ProcessingTime> {
        let bound = self.due(now);
        let of_clock = self.summaries.values().filter_map(|summary| summary.next_processing);
        of_clock.filter(|at| !bound.is_due(TimerDomain::ProcessingTime, at.0)).min()
    }

    /// Whether a timer of the clock is due.
    pub(crate) fn has_due_clock(&self, now: ProcessingTime) -> bool {
        let bound = self.due(now);
        let mut of_clock = self.summaries.values().filter_map(|summary| summary.next_processing);
        of_clock.any(|at| bound.is_due(TimerDomain::ProcessingTime, at.0))
    }

    /// What timers and state wait for: the least hold, the next timers of both kinds; `None` without timers.
    pub(crate) fn waits(&self) -> Option<GroupSummary> {
        let of = |a: &GroupSummary, b: &GroupSummary| GroupSummary {
            next_event: [a.next_event, b.next_event].into_iter().flatten().min(),
            next_processing: [a.next_processing, b.next_processing].into_iter().flatten().min(),
            min_hold: [a.min_hold, b.min_hold].into_iter().flatten().min(),
            next_expiry: [a.next_expiry, b.next_expiry].into_iter().flatten().min(),
            bytes: a.bytes + b.bytes,
        };
        let all = self.summaries.values().fold(GroupSummary::default(), |all, summary| of(&all, summary));
        self.has_timers().then_some(all)
    }

    /// Whether parts of elements wait or run.
    pub(crate) fn has_residuals(&self) -> bool {
        self.residual_count > 0
    }

    /// Whether any timer will fire.
    fn has_timers(&self) -> bool {
        self.summaries.values().any(|summary| summary.next_event.is_some() || summary.next_processing.is_some())
    }

    /// Takes from free lanes up to the bounds, locking the lanes of key groups. `whole_lanes` takes all of a lane or
    /// nothing of it. Timers that are due go first, in bundles of their own: they stand before all pending elements.
    pub(crate) fn take_lanes(
        &mut self,
        lanes_max: usize,
        elements_max: u64,
        bytes_max: u64,
        whole_lanes: bool,
        now: ProcessingTime,
    ) -> Option<Take> {
        let due: Vec<Lane> = self.due_lanes(now).take(lanes_max.max(1)).collect();
        if !due.is_empty() {
            self.locked.extend(&due);
            return Some(Take::of_lanes(due));
        }
        let free: Vec<Lane> = self.free_lanes().map(|(lane, _)| lane).take(lanes_max.max(1)).collect();
        let mut take = Take::of_lanes(Vec::new());
        let (mut elements, mut bytes) = (0, 0);
        for lane in free {
            if !take.lanes.is_empty() && (elements >= elements_max || bytes >= bytes_max) {
                break;
            }
            if lane != Lane::Any {
                self.locked.insert(lane);
            }
            take.lanes.push(lane);
            let queue = self.lanes.get_mut(&lane).expect("free lanes are kept lanes");
            let slices = if whole_lanes {
                queue.drain()
            } else {
                let (slices, cut) = queue.take(elements_max.saturating_sub(elements), bytes_max.saturating_sub(bytes));
                if let Some(last) = slices.last().filter(|_| cut) {
                    // What was one slice is two now, with a hold each.
                    self.holds.add(last.min_timestamp());
                }
                slices
            };
            if queue.is_empty() {
                self.lanes.remove(&lane);
            }
            elements += slices.iter().map(|slice| u64::from(slice.len())).sum::<u64>();
            bytes += slices.iter().map(BatchSlice::bytes).sum::<u64>();
            take.input.extend(slices);
        }
        (!take.lanes.is_empty()).then_some(take)
    }

    /// Rewrites the holds of a running bundle's input after a split.
    pub(crate) fn rewrite(&mut self, old: &[BatchSlice], new: &[BatchSlice]) {
        for slice in old {
            self.holds.drop_one(slice.min_timestamp());
        }
        for slice in new {
            self.holds.add(slice.min_timestamp());
        }
    }

    /// Ends a bundle for good: its lanes are free, its input holds nothing any more.
    pub(crate) fn release(&mut self, lanes: &[Lane], input: &[BatchSlice], residual: Option<&ResidualHolds>) {
        for lane in lanes {
            self.locked.remove(lane);
        }
        match residual {
            Some(watermarks) => {
                self.residual_count -= 1;
                for (output, holds) in &mut self.residual_holds {
                    holds.drop_one(estimate(watermarks, *output));
                }
            }
            None => {
                for slice in input {
                    self.holds.drop_one(slice.min_timestamp());
                }
            }
        }
    }

    /// Puts whole elements that a running bundle gave back in front of their lane. Only lanes without keys are split.
    pub(crate) fn give_back(&mut self, slices: Vec<BatchSlice>) {
        if !slices.is_empty() {
            self.lanes.entry(Lane::Any).or_default().push_front_all(slices);
        }
    }

    /// Replaces what is known of a key group's state.
    pub(crate) fn summarise(&mut self, group: KeyGroup, summary: GroupSummary) {
        if summary == GroupSummary::default() {
            self.summaries.remove(&group);
        } else {
            self.summaries.insert(group, summary);
        }
    }

    /// The least timestamp of input that is not released.
    pub(crate) fn least_input_hold(&self) -> Option<EventTime> {
        self.holds.least()
    }

    /// The least timestamp that residuals and state may still emit into an output; never after the end of the global window.
    pub(crate) fn least_output_hold(&self, output: OutputId) -> Option<EventTime> {
        // A timer that wants no hold can emit all the same, so that the output is not complete while there is any.
        let timers = self.has_timers().then_some(EventTime::GLOBAL_WINDOW_MAX);
        let state = self.summaries.values().filter_map(|summary| summary.min_hold).chain(timers).min();
        let residuals = self.residual_holds.get(&output).and_then(HoldTracker::least);
        [state, residuals, self.running_holds.least()].into_iter().flatten().min()
    }

    /// The least timestamp that any residual may still emit; `None` if there are no residuals.
    pub(crate) fn least_residual_hold(&self) -> Option<EventTime> {
        self.residual_holds.values().filter_map(HoldTracker::least).min()
    }

    /// Whether nothing is pending, running or left.
    pub(crate) fn is_idle(&self) -> bool {
        self.holds.is_empty()
            && self.residual_count == 0
            && self.running == 0
            && !self.has_timers()
            && self.retries.is_empty()
    }

    /// How many bytes of state are kept.
    pub(crate) fn state_bytes(&self) -> u64 {
        self.summaries.values().map(|summary| summary.bytes).sum()
    }

    /// How many elements wait in any form.
    pub(crate) fn pending(&self) -> u64 {
        let lanes: u64 = self.lanes.values().map(LaneQueue::elements).sum();
        let blocked: u64 = self.blocked.values().flat_map(BTreeMap::values).map(LaneQueue::elements).sum();
        let retries: u64 = self.retries.iter().flat_map(|take| &take.input).map(|slice| u64::from(slice.len())).sum();
        let delayed: usize = self.delayed.values().map(Vec::len).sum();
        lanes + blocked + retries + (self.residuals.len() + delayed) as u64
    }
}

impl Leftover {
    /// What an executor left.
    pub(crate) fn new(residual: Residual, truncated: bool) -> Self {
        let Residual { batch, to: _, not_before, watermarks, bounded } = residual;
        Self { slice: BatchSlice::whole(batch), not_before, watermarks, bounded, truncated }
    }

    fn take(self) -> Take {
        let Self { slice, not_before: _, watermarks, bounded, truncated } = self;
        Take { input: vec![slice], residual: Some(watermarks), bounded, truncated, ..Take::of_lanes(vec![Lane::Any]) }
    }
}

fn estimate(watermarks: &ResidualHolds, output: OutputId) -> EventTime {
    watermarks.iter().find(|(of, _)| *of == output).map_or(EventTime::MIN, |(_, at)| *at)
}
