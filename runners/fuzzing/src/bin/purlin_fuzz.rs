//! Runs the fuzzer: over many seeds on all cores, or over one that broke something.
//!
//! ```text
//!   purlin-fuzz run ─► shares of seeds ─► purlin-fuzz share, a process each ─► counts
//!                           └─ ended early? once more, saying each seed first ─► the seed, and how to replay it
//! ```
//! A process of its own for each share, because some faults leave no process behind: a stack that runs over, memory
//! that is refused. In it an allocator refuses what no input may need, and a thread watches that each input ends.

#![allow(clippy::print_stdout, reason = "a command for people")]

use std::alloc::System;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cap::Cap;
use clap::{Parser, Subcommand};
use prost::Message;
use purlin_fuzzing::{Fuzzer, Target};
use purlin_proto::pipeline::v1 as pb;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// How much memory one input may take beyond what stood before it.
const INPUT_BYTES_MAX: usize = 256 << 20;

/// How long one input may take before it counts as one that never ends. Thousands of times what one needs, for a busy
/// machine is no fault.
const INPUT_TIME_MAX: Duration = Duration::from_secs(30);

/// How many seeds a process tries.
const SHARE: u64 = 20_000;

/// How many faults are looked for before the run is given up.
const FAULTS_MAX: usize = 20;

#[derive(Debug, Parser)]
#[command(about = "Tries mutated input, by seed, on everything that reads bytes from outside")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Tries many inputs.
    Run(Run),
    /// Tries the inputs of some seeds in this process.
    Share(Share),
}

#[derive(Debug, clap::Args)]
struct Run {
    /// How many mutated pipelines.
    #[arg(long, default_value_t = 1_000_000)]
    pipelines: u64,
    /// How many inputs of the data plane: a worker's messages, values, frames of elements and metrics.
    #[arg(long, default_value_t = 10_000_000)]
    data: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many processes at once; as many as there are cores if this is not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// A folder of serialized pipelines, which are mutated beside those that the fuzzer brings.
    #[arg(long)]
    corpus: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Share {
    /// What is tried.
    #[arg(long)]
    target: Target,
    /// The first seed.
    #[arg(long)]
    seed: u64,
    /// How many.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// A folder of serialized pipelines, which are mutated beside those that the fuzzer brings.
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Says each seed before it is tried.
    #[arg(long)]
    aloud: bool,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Task::Run(run) => run_all(&run),
        Task::Share(share) => run_share(&share),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

// One process for many seeds.

/// Where the process is: which input it tries.
#[derive(Debug, Default)]
struct Place(AtomicU64);

fn run_share(share: &Share) -> Result<(), String> {
    let fuzzer = Fuzzer::new(corpus(share.corpus.as_ref())?)?;
    let place = Arc::new(Place::default());
    watch(place.clone(), share);
    let mut slowest = (Duration::ZERO, share.seed);
    for seed in share.seed..share.seed.saturating_add(share.count) {
        place.0.fetch_add(1, Ordering::Relaxed);
        if share.aloud {
            println!("seed {seed}");
            io::stdout().flush().map_err(|error| error.to_string())?;
        }
        // What is freed by another thread meanwhile can only make room.
        let limit = ALLOCATOR.allocated().saturating_add(INPUT_BYTES_MAX);
        ALLOCATOR.set_limit(limit).map_err(|()| "the limit of memory cannot be set".to_owned())?;
        let began = Instant::now();
        fuzzer.run(share.target, seed).map_err(|broken| format!("target {}, seed {seed}: {broken}", share.target))?;
        slowest = slowest.max((began.elapsed(), seed));
    }
    println!("slowest {} {}", slowest.0.as_micros(), slowest.1);
    Ok(())
}

/// Ends the process if an input does not end.
fn watch(place: Arc<Place>, share: &Share) {
    let (target, first) = (share.target, share.seed);
    thread::spawn(move || {
        let mut seen = (place.0.load(Ordering::Relaxed), Instant::now());
        loop {
            thread::park_timeout(INPUT_TIME_MAX / 30);
            let now = place.0.load(Ordering::Relaxed);
            if now != seen.0 {
                seen = (now, Instant::now());
            } else if seen.1.elapsed() > INPUT_TIME_MAX {
                let seed = first + now.saturating_sub(1);
                eprintln!("error: target {target}, seed {seed}: no end after {INPUT_TIME_MAX:?}");
                std::process::exit(2);
            }
        }
    });
}

/// All pipelines in a folder, by name.
fn corpus(folder: Option<&PathBuf>) -> Result<Vec<pb::Pipeline>, String> {
    let Some(folder) = folder else { return Ok(Vec::new()) };
    let failed = |error: io::Error| format!("cannot read {}: {error}", folder.display());
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|it| it.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    files.sort();
    let read = |file: &PathBuf| {
        let bytes = std::fs::read(file).map_err(failed)?;
        pb::Pipeline::decode(&bytes[..]).map_err(|error| format!("{} holds no pipeline: {error}", file.display()))
    };
    files.iter().map(read).collect()
}

// Many processes.

fn run_all(run: &Run) -> Result<(), String> {
    let jobs = run.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1);
    let shares = shares(run);
    let total = shares.len();
    let began = Instant::now();
    println!(
        "{} pipelines and {} inputs of the data plane, from seed {}, on {jobs} processes",
        run.pipelines, run.data, run.seed
    );
    let next = AtomicU64::new(0);
    let (sender, results) = mpsc::channel();
    let mut tally = Tally::default();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next, shares) = (sender.clone(), &next, &shares);
            scope.spawn(move || {
                while let Some(share) = shares.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    if sender.send((share, run_child(share))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut done = 0;
        for (share, result) in results {
            done += 1;
            tally.add(share, result);
            if done % 20 == 0 || done == total {
                println!(
                    "{done} of {total} shares, {} faults, {:.0} s",
                    tally.faults.len(),
                    began.elapsed().as_secs_f32()
                );
            }
            if tally.faults.len() >= FAULTS_MAX {
                next.store(u64::MAX / 2, Ordering::Relaxed);
            }
        }
    });
    tally.tell(began.elapsed())
}

/// The seeds of each target, in pieces. A bundle's life costs more than a value, and is tried less often.
fn shares(run: &Run) -> Vec<Share> {
    let data = [(Target::Bundle, 20), (Target::Value, 35), (Target::Frame, 35), (Target::Metric, 10)];
    let mut wanted = vec![(Target::Pipeline, run.pipelines)];
    wanted.extend(data.map(|(target, percent)| (target, run.data.saturating_mul(percent) / 100)));
    let mut shares = Vec::new();
    for (target, count) in wanted {
        let mut from = 0;
        while from < count {
            let length = SHARE.min(count - from);
            let seed = run.seed.saturating_add(from);
            shares.push(Share { target, seed, count: length, corpus: run.corpus.clone(), aloud: false });
            from += length;
        }
    }
    shares
}

/// What became of a share.
enum Outcome {
    /// All is well: the slowest input took so many microseconds.
    Well(u64, u64),
    /// This seed broke something, and what was said of it. There may be more behind it.
    Fault(u64, String),
    /// It could not be tried.
    Trouble(String),
}

#[derive(Debug, Default)]
struct Tally {
    inputs: std::collections::BTreeMap<&'static str, (u64, u64, u64)>,
    faults: Vec<String>,
}

impl Tally {
    fn add(&mut self, share: &Share, outcome: Outcome) {
        match outcome {
            Outcome::Well(micros, seed) => {
                let entry = self.inputs.entry(share.target.name()).or_default();
                entry.0 += share.count;
                if micros > entry.1 {
                    (entry.1, entry.2) = (micros, seed);
                }
            }
            Outcome::Fault(seed, said) => {
                let corpus = share.corpus.as_ref().map_or(String::new(), |it| format!(" --corpus {}", it.display()));
                let replay = format!(
                    "cargo run --profile ci -p purlin-fuzzing -- share --target {} --seed {seed}{corpus}",
                    share.target
                );
                println!("FAULT in {}, seed {seed}:\n{}\nreplay: {replay}", share.target, said.trim_end());
                self.faults.push(replay);
            }
            Outcome::Trouble(what) => self.faults.push(what),
        }
    }

    fn tell(&self, took: Duration) -> Result<(), String> {
        for (target, (count, micros, seed)) in &self.inputs {
            println!("{target}: {count} inputs, the slowest {micros} µs (seed {seed})");
        }
        println!("{:.0} s", took.as_secs_f32());
        match self.faults.len() {
            0 => Ok(()),
            several => Err(format!("{several} faults:\n{}", self.faults.join("\n"))),
        }
    }
}

/// Tries a share in a process of its own.
fn run_child(share: &Share) -> Outcome {
    match child(share, false) {
        Err(error) => Outcome::Trouble(format!("cannot run a share: {error}")),
        Ok((true, said, _)) => {
            let mut words = said.lines().last().unwrap_or_default().split(' ').skip(1).map(str::parse::<u64>);
            match (words.next(), words.next()) {
                (Some(Ok(micros)), Some(Ok(seed))) => Outcome::Well(micros, seed),
                _ => Outcome::Trouble(format!("a share says `{said}`")),
            }
        }
        Ok((false, ..)) => match child(share, true) {
            Err(error) => Outcome::Trouble(format!("cannot run a share: {error}")),
            Ok((true, ..)) => Outcome::Trouble(format!(
                "a share of {} from seed {} failed once, and not the second time",
                share.target, share.seed
            )),
            Ok((false, said, complaint)) => {
                let seed = said.lines().rev().find_map(|line| line.strip_prefix("seed ")?.parse().ok());
                Outcome::Fault(seed.unwrap_or(share.seed), complaint)
            }
        },
    }
}

/// Whether it ended well, its last line, and what it complained of.
fn child(share: &Share, aloud: bool) -> io::Result<(bool, String, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["share", "--target", share.target.name()]);
    command.args(["--seed", &share.seed.to_string(), "--count", &share.count.to_string()]);
    if let Some(corpus) = &share.corpus {
        command.arg("--corpus").arg(corpus);
    }
    if aloud {
        command.arg("--aloud");
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take();
    let complaints =
        thread::spawn(move || stderr.map_or_else(String::new, |stderr| io::read_to_string(stderr).unwrap_or_default()));
    let mut last = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            last = line?;
        }
    }
    let well = child.wait()?.success();
    Ok((well, last, complaints.join().unwrap_or_default()))
}
