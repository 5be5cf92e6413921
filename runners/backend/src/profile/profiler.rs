//! Gathers the profile of a job from what its driver sees.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use purlin_engine::core::action::{BundleDraft, BundleId};
use purlin_engine::core::bundle::{BundleResult, BundleStats, Routed};
use purlin_engine::core::engine::Engine;
use purlin_engine::core::event::Split;
use purlin_engine::core::explain::Wait;
use purlin_engine::core::lane::Lane;
use purlin_engine::core::stage::{JobGraph, StageId};
use purlin_engine::data::BatchSlice;
use purlin_model::key_group::KeyGroup;
use purlin_model::time::ProcessingTime;

use super::key_samples::KeySamples;
use super::meter::BundleMeter;
use super::stage::{HotKey, HotLane, JobProfile, StageProfile, StageWaits};
use crate::text::key_text;

/// A lane is run by one thread at a time: one with this part of a stage's input bounds what so many cores can do.
const HOT_SHARE_MIN: f64 = 1.0 / 8.0;

/// Below this many elements no lane is worth a word.
const HOT_ELEMENTS_MIN: u64 = 1_000;

/// How many hot lanes a profile names per stage.
const HOT_LANES_MAX: usize = 3;

/// The driver's books of where time goes.
#[derive(Debug)]
pub struct Profiler {
    graph: Arc<JobGraph>,
    began: Instant,
    ended: Option<Instant>,
    core: Duration,
    tallies: Vec<Tally>,
    running: BTreeMap<BundleId, RunningTally>,
    /// What each stage waited for when it was last looked at, and when that was.
    waiting: Vec<Option<Waiting>>,
    looked: Instant,
}

/// What one stage has come to, running bundles apart.
#[derive(Debug, Default)]
struct Tally {
    profile: StageProfile,
    /// Elements and bytes of its input so far, by key group.
    lanes: BTreeMap<KeyGroup, (u64, u64)>,
    keys: KeySamples,
}

#[derive(Debug)]
struct RunningTally {
    stage: StageId,
    began: Instant,
    bytes_in: u64,
    meter: Arc<BundleMeter>,
    finished: Option<(BundleStats, Vec<Routed>)>,
    ended: Option<Instant>,
}

/// The first reason why a stage with input runs no bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Waiting {
    SideInput,
    Worker,
    Clock,
    Schedule,
    Input,
}

impl Profiler {
    /// Books for a job that starts now.
    pub fn new(graph: Arc<JobGraph>) -> Self {
        let tallies = graph.stages.iter().map(|stage| Tally {
            profile: StageProfile {
                name: stage.name.clone(),
                by_runner: stage.env.is_none(),
                ..StageProfile::default()
            },
            ..Tally::default()
        });
        let now = Instant::now();
        Self {
            tallies: tallies.collect(),
            waiting: vec![None; graph.stages.len()],
            graph,
            began: now,
            ended: None,
            core: Duration::ZERO,
            running: BTreeMap::new(),
            looked: now,
        }
    }

    /// A bundle starts; whoever runs it notes its times in this meter.
    pub fn started(&mut self, draft: &BundleDraft, meter: &Arc<BundleMeter>) {
        if draft.attempt > 0 {
            self.tallies[draft.stage.index()].profile.retried += 1;
        }
        let running = RunningTally {
            stage: draft.stage,
            began: Instant::now(),
            bytes_in: draft.input.iter().map(BatchSlice::bytes).sum(),
            meter: meter.clone(),
            finished: None,
            ended: None,
        };
        self.running.insert(draft.id, running);
    }

    /// A running bundle gave work back.
    pub fn split(&mut self, bundle: BundleId, split: &Split) {
        let Some(running) = self.running.get_mut(&bundle) else { return };
        running.bytes_in = split.primary.iter().map(BatchSlice::bytes).sum();
        self.tallies[running.stage.index()].profile.splits += 1;
    }

    /// A bundle has finished; whether it counts is not known yet.
    pub fn finished(&mut self, bundle: BundleId, result: &BundleResult) {
        let Some(running) = self.running.get_mut(&bundle) else { return };
        running.finished = Some((result.stats, result.outputs.clone()));
        running.ended = Some(Instant::now());
    }

    /// A bundle is committed or discarded: its part is over.
    pub fn settle(&mut self, bundle: BundleId, committed: bool) {
        let Some(running) = self.running.remove(&bundle) else { return };
        let tally = &mut self.tallies[running.stage.index()];
        tally.profile.add_times(&running);
        tally.keys.merge(running.meter.take_keys());
        let Some((stats, outputs)) = running.finished.filter(|_| committed) else {
            tally.profile.failed += 1;
            return;
        };
        tally.profile.bundles += 1;
        tally.profile.elements_in += stats.elements_in;
        tally.profile.elements_out += stats.elements_out;
        tally.profile.bytes_in += running.bytes_in;
        tally.profile.bytes_out += stats.bytes_out;
        for routed in outputs {
            if let Lane::Group(group) = routed.lane {
                let (elements, bytes) = self.tallies[routed.to.index()].lanes.entry(group).or_default();
                *elements += u64::from(routed.batch.count);
                *bytes += routed.batch.bytes;
            }
        }
    }

    /// The engine and its driver worked for so long.
    pub fn core_worked(&mut self, time: Duration) {
        self.core += time;
    }

    /// Looks at what stages wait for; the time since the last look counts for what was seen then.
    pub fn look(&mut self, engine: &Engine, now: ProcessingTime) {
        let at = Instant::now();
        let passed_us = (at - self.looked).as_micros() as u64;
        self.looked = at;
        for (index, waiting) in self.waiting.iter_mut().enumerate() {
            let waits = &mut self.tallies[index].profile.waits;
            if let Some(counted) = waiting.map(|waiting| waits.of(waiting)) {
                *counted += passed_us;
            }
            *waiting = reason(engine, StageId(index as u32), now);
        }
    }

    /// So many bytes of each stage's input, and of its state, were written to disk so far.
    pub fn spilled(&mut self, mut input: BTreeMap<StageId, u64>, state: &BTreeMap<StageId, u64>) {
        for (stage, bytes) in state {
            *input.entry(*stage).or_default() += bytes;
            self.tallies[stage.index()].profile.state_bytes_spilled = *bytes;
        }
        for (stage, bytes) in input {
            self.tallies[stage.index()].profile.bytes_spilled = bytes;
        }
    }

    /// The job has ended.
    pub fn ended(&mut self) {
        self.ended = Some(Instant::now());
    }

    /// What is known so far, running bundles included.
    pub fn profile(&self) -> JobProfile {
        let mut stages: Vec<_> = self.tallies.iter().map(|tally| tally.profile.clone()).collect();
        for running in self.running.values() {
            stages[running.stage.index()].add_times(running);
        }
        for (stage, tally) in self.tallies.iter().enumerate() {
            stages[stage].hot_lanes = self.hot_lanes(StageId(stage as u32), tally);
        }
        let elapsed = self.ended.unwrap_or_else(Instant::now) - self.began;
        JobProfile { elapsed_us: elapsed.as_micros() as u64, core_us: self.core.as_micros() as u64, stages }
    }

    fn hot_lanes(&self, stage: StageId, tally: &Tally) -> Vec<HotLane> {
        let total: u64 = tally.lanes.values().map(|(_, bytes)| *bytes).sum();
        let mut lanes: Vec<_> = tally
            .lanes
            .iter()
            .map(|(group, (elements, bytes))| (*bytes as f64 / total.max(1) as f64, *group, *elements, *bytes))
            .filter(|(share, _, elements, _)| *share >= HOT_SHARE_MIN && *elements >= HOT_ELEMENTS_MIN)
            .collect();
        lanes.sort_by_key(|(_, group, _, bytes)| (std::cmp::Reverse(*bytes), *group));
        lanes.truncate(HOT_LANES_MAX);
        let key = |group| {
            let (key, share) = tally.keys.heaviest(group)?;
            Some(HotKey { text: key_text(self.graph.keyed_input(stage)?, key), share })
        };
        let hot = |(share, group, elements, bytes)| HotLane { group, elements, bytes, share, key: key(group) };
        lanes.into_iter().map(hot).collect()
    }
}

impl StageProfile {
    fn add_times(&mut self, running: &RunningTally) {
        let total = running.ended.unwrap_or_else(Instant::now) - running.began;
        let total_us = total.as_micros() as u64;
        let (work, queued_us) = (running.meter.work_times(), running.meter.queued_us());
        self.bundle_us += total_us;
        self.runner.add(&work);
        self.waits.queued_us += queued_us;
        self.waits.blocked_us += running.meter.blocked_us();
        if !self.by_runner {
            // Feeding and taking go on beside the SDK's work, so that this is the least that it had.
            self.sdk_us += total_us.saturating_sub(queued_us).saturating_sub(work.total_us());
        }
    }
}

impl StageWaits {
    fn of(&mut self, waiting: Waiting) -> &mut u64 {
        match waiting {
            Waiting::SideInput => &mut self.side_input_us,
            Waiting::Worker => &mut self.worker_us,
            Waiting::Clock => &mut self.clock_us,
            Waiting::Schedule => &mut self.schedule_us,
            Waiting::Input => &mut self.input_us,
        }
    }
}

/// Why a stage that has input runs no bundle; `None` if it has none, or runs some.
fn reason(engine: &Engine, stage: StageId, now: ProcessingTime) -> Option<Waiting> {
    let waits = engine.waits_with_input(stage, now)?;
    let reasons = waits.iter().filter_map(|wait| match wait {
        Wait::Side { .. } => Some(Waiting::SideInput),
        Wait::Workers { .. } => Some(Waiting::Worker),
        Wait::Clock { .. } => Some(Waiting::Clock),
        Wait::Schedule { .. } => Some(Waiting::Schedule),
        Wait::Upstream { .. } => Some(Waiting::Input),
        // Timers and scripts are no reason for elements to wait.
        Wait::Running { .. } | Wait::State { .. } | Wait::Script => None,
    });
    reasons.min()
}
