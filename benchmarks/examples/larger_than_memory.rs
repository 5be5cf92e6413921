//! GroupByKey over more than memory holds: a native source, the direct runner, a memory budget.
//!
//! ```text
//!   larger_than_memory [--bytes 10GB] [--hot-bytes 1GB] [--keys 1000] [--value-bytes 10000] [--budget 256MiB] [--folder DIR]
//!   larger_than_memory --generate …        the same bytes on standard output, to pipe through `lz4 -1`
//! ```
//! Checks count, sum of positions and XOR of hashes of every key, and prints time, peak of memory and what went to disk as
//! one line of figures, for `benchmarks/larger.py`. Large groups are read page by page.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use purlin_direct::{EagerOptions, EagerSchedule};
use purlin_engine::core::action::Outcome;
use purlin_model::coder::Coder;
use purlin_model::ids::CoderId;
use purlin_model::key_group::hash_key;
use purlin_model::time::Millis;
use purlin_model::window::WindowCoder;
use purlin_model::windowing_strategy::WindowingStrategy;
use purlin_native::{
    Chunk, Codec, Int, NativeBundle, NativeError, NativeJob, NativeStage, Pair, SyntheticSource, Text, typed,
};
use purlin_store::{MemoryBroker, SpillFolder, Storage};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the process takes beside data.
const PROGRAM_BYTES: u64 = 24 << 20;

/// Bytes that values are cut from, so that they compress as text does.
const TABLE_BYTES: usize = 1 << 16;

#[derive(Clone, Debug)]
struct Load {
    elements: i64,
    /// Every so many positions belong to the hot key.
    hot_every: i64,
    hot: i64,
    keys: u64,
    value_bytes: usize,
    table: Arc<Vec<u8>>,
}

/// What a key's values come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    count: u64,
    positions: u64,
    hashes: u64,
}

impl Sums {
    fn add(&mut self, value: &[u8]) {
        let position = value.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        self.count += 1;
        self.positions = self.positions.wrapping_add(position);
        self.hashes ^= hash_key(value);
    }
}

impl Load {
    fn key(&self, position: i64) -> u64 {
        let hot = position % self.hot_every == 0 && position / self.hot_every < self.hot;
        if hot { 0 } else { 1 + hash_key(&position.to_le_bytes()) % self.keys }
    }

    /// Appends the position and pieces of the table.
    fn value(&self, position: i64, out: &mut Vec<u8>) {
        let end = out.len() + self.value_bytes.max(8);
        out.extend_from_slice(&position.to_be_bytes());
        let mut random = hash_key(&position.to_be_bytes());
        while out.len() < end {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let length = (16 + (random >> 58) as usize).min(end - out.len());
            let start = (random >> 20) as usize % (TABLE_BYTES - 128);
            out.extend_from_slice(&self.table[start..start + length]);
        }
    }

    fn expected(&self) -> BTreeMap<u64, Sums> {
        let mut sums = BTreeMap::<u64, Sums>::new();
        let mut value = Vec::new();
        for position in 0..self.elements {
            value.clear();
            self.value(position, &mut value);
            sums.entry(self.key(position)).or_default().add(&value);
        }
        sums
    }
}

type Found = Arc<Mutex<BTreeMap<u64, Sums>>>;

/// Takes groups, and keeps what they come to.
#[derive(Debug)]
struct Sum {
    found: Found,
}

impl NativeStage for Sum {
    fn run(&self, bundle: &mut NativeBundle<'_>) -> Result<(), NativeError> {
        while let Some((batch, slice)) = bundle.next_batch()? {
            for element in batch.iter(slice.first as usize, slice.last as usize) {
                let mut rest = element.value;
                let key = Int::decode(&mut rest)?;
                let mut sums = Sums::default();
                // Page by page: the values of one key alone may be more than memory holds.
                bundle.values_of::<Text>(rest, |value| {
                    sums.add(&value);
                    Ok(())
                })?;
                self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(key as u64, sums);
            }
        }
        Ok(())
    }
}

fn job(load: &Load, found: &Found) -> NativeJob {
    let mut job = NativeJob::new();
    let impulse = job.graph.impulse("Impulse");
    let elements = load.elements;
    let pieces = typed::<Text, Pair<Int, Int>, _>(move |_: Chunk<'_, Vec<u8>>, out: &mut Vec<(i64, i64)>| {
        out.extend((0..32).map(|piece| (elements * piece / 32, elements * (piece + 1) / 32)));
        Ok(())
    });
    let pieces = job.stage::<Pair<Int, Int>>("Split", &[impulse], WindowCoder::Global, pieces);
    let load = load.clone();
    let source = SyntheticSource {
        positions_max: i64::MAX,
        step: Millis(0),
        resume_delay: None,
        element: move |position: i64, out: &mut Vec<u8>| {
            Int::encode(&(load.key(position) as i64), out);
            let length = load.value_bytes.max(8) as i64;
            Int::encode(&length, out);
            load.value(position, out);
        },
    };
    let read = job.stage::<Pair<Int, Text>>("Read", &[pieces], WindowCoder::Global, source);
    let stage = job.graph.producer(read);
    job.graph.stage_mut(stage).splittable = true;
    let strategy = WindowingStrategy::global(CoderId::new("global"));
    let values = Coder::StateBackedIterable(Arc::new(Text::coder()));
    let grouped = job.graph.group("Group", &[read], &strategy, Coder::kv(Int::coder(), values));
    job.sink("Sum", &[grouped], Sum { found: found.clone() });
    job
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = BTreeMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value =
            if name == "--generate" { String::new() } else { arguments.next().ok_or("an option has no value")? };
        options.insert(name, value);
    }
    let size = |name: &str, default: u64| options.get(name).map_or(Ok(default), |text| read_size(text));
    let (bytes, hot_bytes) = (size("--bytes", 10_000_000_000)?, size("--hot-bytes", 1_000_000_000)?);
    let value_bytes = size("--value-bytes", 10_000)?.max(8);
    let elements = (bytes / value_bytes).max(1) as i64;
    let hot = (hot_bytes / value_bytes) as i64;
    let mut random = 7u64;
    let table = (0..TABLE_BYTES).map(|_| {
        random = hash_key(&random.to_le_bytes());
        b' ' + (random % 64) as u8
    });
    let load = Load {
        elements,
        hot_every: (elements / hot.max(1)).max(1),
        hot,
        keys: size("--keys", 1_000)?.max(1),
        value_bytes: value_bytes as usize,
        table: Arc::new(table.collect()),
    };
    if options.contains_key("--generate") {
        let mut out = std::io::BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
        let mut value = Vec::new();
        for position in 0..load.elements {
            value.clear();
            load.value(position, &mut value);
            out.write_all(&value)?;
        }
        return Ok(out.flush()?);
    }
    let broker = MemoryBroker::new(size("--budget", 256 << 20)?, &[("the program", PROGRAM_BYTES)])?;
    let folder = match options.get("--folder") {
        Some(folder) => SpillFolder::open(folder.as_ref())?,
        None => SpillFolder::temporary()?,
    };
    let storage = Storage::new(broker.clone(), folder);
    let threads = Arc::new(rayon::ThreadPoolBuilder::new().build()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let found = Found::default();
    let job = job(&load, &found).storage(&storage);
    let began = Instant::now();
    let ended = runtime.block_on(job.run(Box::new(EagerSchedule::new(EagerOptions::default())), threads));
    let seconds = began.elapsed().as_secs_f64();
    if ended.outcome != Outcome::Done {
        return Err(format!("the job did not end well: {:?}", ended.outcome).into());
    }
    let (cpu_s, peak_bytes) = used();
    let right = *found.lock().unwrap_or_else(PoisonError::into_inner) == load.expected();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{{\"bytes\": {bytes}, \"hot_bytes\": {hot_bytes}, \"wall_s\": {seconds:.2}, \"cpu_s\": {cpu_s:.2}, \"peak_bytes\": \
         {peak_bytes}, \"reserved_bytes\": {}, \"for_data_bytes\": {}, \"spilled_bytes\": {}, \"right\": {right}}}",
        broker.peak(),
        broker.budget(),
        broker.spilled(),
    )?;
    if right { Ok(()) } else { Err("the results are wrong".into()) }
}

fn read_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: f64 = match &text[digits.len()..] {
        "" | "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "MiB" => f64::from(1 << 20),
        "GiB" => f64::from(1 << 30),
        unit => return Err(format!("`{unit}` is no unit of size")),
    };
    digits.parse::<f64>().map(|number| (number * unit) as u64).map_err(|_| format!("`{text}` is no size"))
}

/// User and system time of this process, in seconds, and the most memory that it had, in bytes; Linux only.
fn used() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in brackets, may hold anything; what follows it does not.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let field = |at: usize| fields.split_whitespace().nth(at).and_then(|field| field.parse().ok()).unwrap_or(0.0);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0);
    ((field(11) + field(12)) / 100.0, kib << 10)
}
