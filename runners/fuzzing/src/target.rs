//! What can be fuzzed, by name, and what it keeps between inputs.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use crate::chance::Chance;
use purlin_proto::pipeline::v1 as pb;

use crate::bundle::Bundles;
use crate::{frame, metric, pipeline, sketches, value};

/// Something that reads bytes from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Pipelines, up to a plan and what is printed of it.
    Pipeline,
    /// The messages of a worker that runs a bundle.
    Bundle,
    /// Values of all coders.
    Value,
    /// Elements as they stand on the wire, by all coders and windows.
    Frame,
    /// Metrics.
    Metric,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pipeline, Self::Bundle, Self::Value, Self::Frame, Self::Metric];

    /// How it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Bundle => "bundle",
            Self::Value => "value",
            Self::Frame => "frame",
            Self::Metric => "metric",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|it| it.name() == name)
            .ok_or_else(|| format!("no target `{name}`; there are {known}"))
    }
}

/// What an input broke, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tries inputs, one after another.
#[derive(Debug)]
pub struct Fuzzer {
    /// The pipelines that are mutated.
    pipelines: Vec<pb::Pipeline>,
    bundles: Bundles,
}

impl Fuzzer {
    /// Mutates these pipelines beside its own.
    ///
    /// # Errors
    /// If it cannot set up what it tries.
    pub fn new(more: Vec<pb::Pipeline>) -> Result<Self, String> {
        let mut pipelines = sketches::all();
        pipelines.extend(more);
        Ok(Self { pipelines, bundles: Bundles::new()? })
    }

    /// Tries one input.
    ///
    /// # Errors
    /// What it broke.
    pub fn run(&self, target: Target, seed: u64) -> Result<(), Broken> {
        self.run_chance(target, &mut Chance::of_seed(seed))
    }

    fn run_chance(&self, target: Target, chance: &mut Chance<'_>) -> Result<(), Broken> {
        match target {
            Target::Pipeline => pipeline::run(&self.pipelines, chance),
            Target::Bundle => self.bundles.run(chance),
            Target::Value => value::run(chance),
            Target::Frame => frame::run(chance),
            Target::Metric => metric::run(chance),
        }
    }
}

/// Tries the input that these bytes choose: for fuzzers that are guided by coverage.
///
/// # Panics
/// With what it broke.
pub fn run_bytes(target: Target, bytes: &[u8]) {
    static FUZZER: LazyLock<Result<Fuzzer, String>> = LazyLock::new(|| Fuzzer::new(Vec::new()));
    let done = match &*FUZZER {
        Ok(fuzzer) => fuzzer.run_chance(target, &mut Chance::of_bytes(bytes)),
        Err(error) => Err(Broken(error.clone())),
    };
    assert!(done.is_ok(), "{target}: {}", done.err().map_or_else(String::new, |broken| broken.0));
}
