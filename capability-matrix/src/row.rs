//! The rows of the matrix, as a closed set.
//!
//! features.toml says what each one is; this list makes the compiler know them. A test holds the two together.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! rows {
    ($($name:ident = $id:literal,)*) => {
        /// One thing that a pipeline can need of a runner. Ordered as in the matrix.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Row {
            $(#[doc = concat!("`", $id, "`")] $name,)*
        }

        impl Row {
            /// Every row, in the order of the matrix.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name by which sheets and verdicts call it.
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                }
            }
        }
    };
}

rows! {
    // What is being computed?
    ParDo = "par-do",
    GroupByKey = "group-by-key",
    Flatten = "flatten",
    Combine = "combine",
    CompositeTransforms = "composite-transforms",
    SideInputs = "side-inputs",
    SourceApi = "source-api",
    Metrics = "metrics",
    StatefulProcessing = "stateful-processing",
    // Bounded Splittable DoFn Support Status
    BoundedSdfBase = "bounded-sdf-base",
    BoundedSdfSideInputs = "bounded-sdf-side-inputs",
    BoundedSdfCheckpointing = "bounded-sdf-checkpointing",
    BoundedSdfDynamicSplitting = "bounded-sdf-dynamic-splitting",
    BoundedSdfBundleFinalization = "bounded-sdf-bundle-finalization",
    // Unbounded Splittable DoFn Support Status
    UnboundedSdfBase = "unbounded-sdf-base",
    UnboundedSdfSideInputs = "unbounded-sdf-side-inputs",
    UnboundedSdfCheckpointing = "unbounded-sdf-checkpointing",
    UnboundedSdfDynamicSplitting = "unbounded-sdf-dynamic-splitting",
    UnboundedSdfBundleFinalization = "unbounded-sdf-bundle-finalization",
    // Where in event time?
    GlobalWindows = "global-windows",
    FixedWindows = "fixed-windows",
    SlidingWindows = "sliding-windows",
    SessionWindows = "session-windows",
    CustomWindows = "custom-windows",
    CustomMergingWindows = "custom-merging-windows",
    TimestampControl = "timestamp-control",
    // When in processing time?
    ConfigurableTriggering = "configurable-triggering",
    EventTimeTriggers = "event-time-triggers",
    ProcessingTimeTriggers = "processing-time-triggers",
    CountTriggers = "count-triggers",
    CompositeTriggers = "composite-triggers",
    AllowedLateness = "allowed-lateness",
    Timers = "timers",
    // How do refinements relate?
    Discarding = "discarding",
    Accumulating = "accumulating",
    // Additional common features not yet part of the Beam model
    Drain = "drain",
    Checkpoint = "checkpoint",
    KeyOrderedDelivery = "key-ordered-delivery",
    // Unbounded data
    UnboundedPcollections = "unbounded-pcollections",
    TestStream = "test-stream",
    // Side inputs by kind
    IterableSideInputs = "iterable-side-inputs",
    MultimapSideInputs = "multimap-side-inputs",
    WindowedSideInputs = "windowed-side-inputs",
    TriggeredSideInputs = "triggered-side-inputs",
    // State by type
    StateBag = "state-bag",
    StateValue = "state-value",
    StateCombining = "state-combining",
    StateMap = "state-map",
    StateSet = "state-set",
    StateMultimap = "state-multimap",
    StateOrderedList = "state-ordered-list",
    // Timers and order
    EventTimeTimers = "event-time-timers",
    ProcessingTimeTimers = "processing-time-timers",
    OnWindowExpiration = "on-window-expiration",
    TimeSortedInput = "time-sorted-input",
    // Guarantees
    StableInput = "stable-input",
    BundleFinalization = "bundle-finalization",
    ExactlyOnceSinks = "exactly-once-sinks",
    GroupsLargerThanMemory = "groups-larger-than-memory",
    // SDKs and environments
    SdkPython = "sdk-python",
    SdkJava = "sdk-java",
    SdkGo = "sdk-go",
    SdkRust = "sdk-rust",
    SeveralEnvironments = "several-environments",
    CrossLanguage = "cross-language",
    EnvironmentLoopback = "environment-loopback",
    EnvironmentExternal = "environment-external",
    EnvironmentProcess = "environment-process",
    EnvironmentDocker = "environment-docker",
    EnvironmentAnyOf = "environment-any-of",
    ArtifactStaging = "artifact-staging",
    // Metrics by type
    MetricCounter = "metric-counter",
    MetricDistribution = "metric-distribution",
    MetricGauge = "metric-gauge",
    MetricStringSet = "metric-string-set",
    MetricBoundedTrie = "metric-bounded-trie",
    MetricHistogram = "metric-histogram",
    MetricTopN = "metric-top-n",
}

impl Row {
    /// The row of this id, if there is one.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|row| row.id() == id)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}
