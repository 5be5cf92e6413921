//! Simulation: random pipelines run by an engine in a world where workers crash, bundles are cut and split, and nothing
//! completes in the order in which it was begun. What comes out must equal what an oracle says that knows no bundles.
//!
//! ```text
//!   seed ─► Program ─┬─► JobGraph ─► engine + schedule + real kernels and stores ─► elements ─┐
//!                    └─► oracle: lists ────────────────────────────────────────► elements ─┴─ equal
//! ```
//! No clock, no threads: a seed says everything, and the same seed always does the same. Half of the programs are streams, with elements that come
//! late: which of them are too late is chance, so that the world says what was dropped, and the oracle leaves just that out. Nothing that came in
//! time may ever be dropped. Half of the jobs are drained: their restrictions are given back whole, so that nothing else comes out, and timers of the
//! clock that are set far ahead are not waited for.
#![warn(missing_docs)]

mod oracle;
mod plan;
mod program;
mod random;
mod seen;
mod worker;
mod world;

use std::fmt::Write;

use purlin_engine::core::schedule::Schedule;

use seen::Seen;
use world::Ran;

pub use program::{Element, Program};
pub use random::Random;

/// How many seeds are run if nobody says otherwise.
const SEEDS: u64 = 1_000;

/// In so many seeds there is everything that can be seen.
const TELLING_SEEDS: u64 = 500;

/// Runs as many seeds as `PURLIN_SEEDS` says, or the one that `PURLIN_SEED` names. `replay` is the command that runs one again.
///
/// # Panics
/// If what comes out is not what the oracle says, or the engine breaks one of its laws; or if the programs of many seeds are so tame that some of
/// what is simulated never happens.
pub fn run(replay: &str, schedule: impl Fn(u64) -> Box<dyn Schedule>) {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number, and not {text:?}")))
    };
    let seeds = match number("PURLIN_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PURLIN_SEEDS").unwrap_or(SEEDS),
    };
    let mut all = Seen::default();
    for seed in seeds.clone() {
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run_one(seed, schedule(seed))));
        let problem = match ran {
            Ok(Ok(seen)) => {
                all.add(&seen);
                continue;
            }
            Ok(Err(problem)) => problem,
            Err(panicked) => match panicked.downcast::<String>() {
                Ok(text) => *text,
                Err(_) => "it panicked; what it said stands above".to_owned(),
            },
        };
        panic!("seed {seed}: {problem}\nreplay it with\n  PURLIN_SEED={seed} {replay}");
    }
    if seeds.end - seeds.start >= TELLING_SEEDS {
        assert_eq!(all.missing(), Vec::<&str>::new(), "what never happens is not tested: {all:?}");
    }
}

/// Runs one seed: what was seen, or what is wrong with what comes out of it.
fn run_one(seed: u64, schedule: Box<dyn Schedule>) -> Result<Seen, String> {
    let program = Program::random(&mut Random::new(seed));
    let Ran { found, dropped, seen } = world::World::new(&program, seed, schedule).run();
    let expected = oracle::evaluate(&program, &dropped).map_err(|problem| format!("{problem}in\n{program}"))?;
    let mut problem = String::new();
    for (sink, expected) in &expected {
        let found = found.get(sink).map_or(&[][..], Vec::as_slice);
        if found != expected.as_slice() {
            let _ = writeln!(problem, "node {sink} gave what it should not, or did not give what it should:");
            for (sign, these, those) in [('+', found, expected.as_slice()), ('-', expected.as_slice(), found)] {
                for element in surplus(these, those) {
                    let Element { timestamp, windows, key, values, late: _ } = element;
                    let _ = writeln!(problem, "  {sign} {key}: {values:?} {timestamp:?} {windows:?}");
                }
            }
        }
    }
    if problem.is_empty() { Ok(seen) } else { Err(format!("{problem}in\n{program}")) }
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
