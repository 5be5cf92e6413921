//! Simulation: random pipelines run by an engine in a world where workers crash, bundles are cut and split, and nothing
//! completes in the order in which it was begun. What comes out must equal what an oracle says that knows no bundles.
//!
//! ```text
//!   seed ─► Program ─┬─► JobGraph ─► engine + schedule + real kernels and stores ─► elements ─┐
//!                    └─► oracle: lists ────────────────────────────────────────► elements ─┴─ equal
//! ```
//! No clock, no threads: a seed says everything, and the same seed always does the same.
#![warn(missing_docs)]

mod oracle;
mod plan;
mod program;
mod random;
mod worker;
mod world;

use std::fmt::Write;

use purlin_engine::core::schedule::Schedule;

pub use program::{Element, Program};
pub use random::Random;

/// Runs these seeds, or the one that `PURLIN_SEED` names, aloud. `replay` is the command that runs one again.
///
/// # Panics
/// If what comes out is not what the oracle says, or the engine breaks one of its laws.
pub fn run(seeds: std::ops::Range<u64>, replay: &str, schedule: impl Fn(u64) -> Box<dyn Schedule>) {
    let one = std::env::var("PURLIN_SEED").ok();
    let seeds: Vec<u64> = match &one {
        Some(seed) => vec![seed.parse().expect("PURLIN_SEED is a number")],
        None => seeds.collect(),
    };
    for seed in seeds {
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run_one(seed, schedule(seed))));
        let problem = match ran {
            Ok(None) => continue,
            Ok(Some(problem)) => problem,
            Err(panicked) => match panicked.downcast::<String>() {
                Ok(text) => *text,
                Err(_) => "it panicked; what it said stands above".to_owned(),
            },
        };
        panic!("seed {seed}: {problem}\nreplay it with\n  PURLIN_SEED={seed} {replay}");
    }
}

/// What is wrong with what comes out of one seed, if anything is.
fn run_one(seed: u64, schedule: Box<dyn Schedule>) -> Option<String> {
    let program = Program::random(&mut Random::new(seed));
    let expected = oracle::evaluate(&program);
    let found = world::World::new(&program, seed, schedule).run();
    let mut problem = String::new();
    for (sink, expected) in &expected {
        let found = found.get(sink).map_or(&[][..], Vec::as_slice);
        if found != expected.as_slice() {
            let _ = writeln!(problem, "node {sink} gave what it should not, or did not give what it should:");
            for (sign, these, those) in [('+', found, expected.as_slice()), ('-', expected.as_slice(), found)] {
                for element in surplus(these, those) {
                    let Element { timestamp, windows, key, values } = element;
                    let _ = writeln!(problem, "  {sign} {key}: {values:?} {timestamp:?} {windows:?}");
                }
            }
        }
    }
    (!problem.is_empty()).then(|| format!("{problem}in\n{program}"))
}

/// What stands in one sorted list more often than in another.
fn surplus<'a>(these: &'a [Element], those: &[Element]) -> Vec<&'a Element> {
    let mut left = those.to_vec();
    these
        .iter()
        .filter(|element| match left.iter().position(|other| other == *element) {
            Some(position) => {
                left.swap_remove(position);
                false
            }
            None => true,
        })
        .collect()
}
