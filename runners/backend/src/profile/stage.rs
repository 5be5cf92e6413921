//! What a profile says: plain numbers, by stage.

use std::sync::Arc;

use purlin_model::key_group::KeyGroup;

/// The profile of a job, from its start until it is asked for or has ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobProfile {
    /// By the clock.
    pub elapsed_us: u64,
    /// What the engine and its driver took for ordering everything.
    pub core_us: u64,
    /// In stage order.
    pub stages: Vec<StageProfile>,
}

/// The profile of one stage. Times add up over bundles, which may run side by side, so that they can exceed the elapsed time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageProfile {
    /// Its name.
    pub name: Arc<str>,
    /// Whether the runner executes it itself, so that there is no SDK in it.
    pub by_runner: bool,
    /// Bundles that were committed.
    pub bundles: u64,
    /// Bundles that failed or were aborted.
    pub failed: u64,
    /// Bundles that were handed out again, after a failure.
    pub retried: u64,
    /// Running bundles that gave work back.
    pub splits: u64,
    /// Elements of committed bundles' input.
    pub elements_in: u64,
    /// Elements that committed bundles emitted.
    pub elements_out: u64,
    /// Bytes of committed bundles' input.
    pub bytes_in: u64,
    /// Bytes that committed bundles emitted.
    pub bytes_out: u64,
    /// Bytes of its input and its state that were written to disk because memory was short.
    pub bytes_spilled: u64,
    /// What of this is state.
    pub state_bytes_spilled: u64,
    /// From start to end, of all bundles, failed and running ones included.
    pub bundle_us: u64,
    /// The runner's work for these bundles.
    pub runner: WorkTimes,
    /// The rest of their time, in which the SDK had them.
    pub sdk_us: u64,
    /// In what the stage and its bundles waited.
    pub waits: StageWaits,
    /// Lanes that bound how many cores the stage can use, the heaviest first.
    pub hot_lanes: Vec<HotLane>,
}

/// The runner's own work, by [kind](super::Work).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkTimes {
    /// Reading input.
    pub read_us: u64,
    /// Making messages of it.
    pub encode_us: u64,
    /// Putting output into lanes.
    pub partition_us: u64,
    /// Grouping, sorting, keeping side inputs.
    pub group_us: u64,
    /// State, timers and side inputs.
    pub state_us: u64,
}

impl WorkTimes {
    /// All together.
    pub fn total_us(&self) -> u64 {
        self.read_us + self.encode_us + self.partition_us + self.group_us + self.state_us
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.read_us += other.read_us;
        self.encode_us += other.encode_us;
        self.partition_us += other.partition_us;
        self.group_us += other.group_us;
        self.state_us += other.state_us;
    }
}

/// For what a stage waited. The first two add up over bundles; the others are by the clock, while input was there and no
/// bundle ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageWaits {
    /// Bundles, until a worker or a thread took them.
    pub queued_us: u64,
    /// Bundles, until their worker had read what it was sent before.
    pub blocked_us: u64,
    /// For a free worker slot.
    pub worker_us: u64,
    /// For a side input.
    pub side_input_us: u64,
    /// For the rest of the input, as groupings do.
    pub input_us: u64,
    /// For the clock, as residuals with a delay do.
    pub clock_us: u64,
    /// For the schedule, which had other stages run.
    pub schedule_us: u64,
}

/// A lane that holds so much of a stage's input that it bounds how many cores can share the work.
#[derive(Clone, Debug, PartialEq)]
pub struct HotLane {
    /// Which.
    pub group: KeyGroup,
    /// Elements in it.
    pub elements: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Which part of the stage's input this is, by bytes.
    pub share: f64,
    /// Its heaviest key, where samples tell.
    pub key: Option<HotKey>,
}

/// The heaviest key of a lane.
#[derive(Clone, Debug, PartialEq)]
pub struct HotKey {
    /// The key, as text, escaped and perhaps cut.
    pub text: String,
    /// About which part of the lane's elements have it.
    pub share: f64,
}
