//! What a native job costs at a size: one line of figures, for `benchmarks/scale.py`.
//!
//! ```text
//!   scale group 1000000     source ─► key ─► group ─► count          the same work several times over, so that the clock of
//!   scale stages 100 20000  source ─► 100 stages that pass it on     CPU time, which ticks coarsely, has enough to count
//! ```

use std::sync::Arc;

use purlin_direct::{EagerOptions, EagerSchedule};
use purlin_engine::core::action::Outcome;
use purlin_engine::core::stage::OutputHandle;
use purlin_model::coder::Coder;
use purlin_model::ids::CoderId;
use purlin_model::time::Millis;
use purlin_model::window::WindowCoder;
use purlin_model::windowing_strategy::WindowingStrategy;
use purlin_native::{
    Chunk, Codec, Int, NativeJob, Pair, Repeated, SyntheticSource, Text, count_per_key, identity, key_by_prefix, typed,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The source is cut into as many pieces.
const PIECES: i64 = 16;

/// So many elements through so many stages are processed at least, by as many jobs as it takes.
const WORK_MIN: i64 = 10_000_000;

/// Elements of 100 bytes, with 1,000 different keys in front.
fn source(job: &mut NativeJob, elements: i64) -> OutputHandle {
    let impulse = job.graph.impulse("Impulse");
    let pieces = typed::<Text, Pair<Int, Int>, _>(move |_: Chunk<'_, Vec<u8>>, out: &mut Vec<(i64, i64)>| {
        out.extend((0..PIECES).map(|piece| (elements * piece / PIECES, elements * (piece + 1) / PIECES)));
        Ok(())
    });
    let pieces = job.stage::<Pair<Int, Int>>("Split", &[impulse], WindowCoder::Global, pieces);
    let read = SyntheticSource {
        positions_max: i64::MAX,
        step: Millis(0),
        resume_delay: None,
        element: |position: i64, out: &mut Vec<u8>| {
            let mut text =
                *b"0000000000 and eighty-nine bytes more, which no stage of this job looks at, for all it does is coun";
            for (digit, power) in text.iter_mut().take(10).rev().zip(0u32..4) {
                *digit += (position * 7_919 % 1_000 / 10i64.pow(power) % 10) as u8;
            }
            Text::encode(&text.to_vec(), out);
        },
    };
    let read = job.stage::<Text>("Read", &[pieces], WindowCoder::Global, read);
    let stage = job.graph.producer(read);
    job.graph.stage_mut(stage).splittable = true;
    read
}

fn group(elements: i64) -> NativeJob {
    let mut job = NativeJob::new();
    let read = source(&mut job, elements);
    let keyed = job.stage::<Pair<Text, Text>>("Key", &[read], WindowCoder::Global, key_by_prefix(10));
    let coder = Coder::kv(Coder::Bytes, Repeated::<Text>::coder());
    let grouped = job.graph.group("Group", &[keyed], &WindowingStrategy::global(CoderId::new("global")), coder);
    job.stage::<Pair<Text, Int>>("Count", &[grouped], WindowCoder::Global, count_per_key());
    job
}

fn stages(count: i64, elements: i64) -> NativeJob {
    let mut job = NativeJob::new();
    let mut last = source(&mut job, elements);
    for number in 0..count {
        last = job.stage::<Text>(&format!("Pass {number}"), &[last], WindowCoder::Global, identity());
    }
    job
}

/// User and system time of this process, in seconds, and the most memory that it had, in bytes; Linux only.
fn used() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has /proc");
    // The name of the program, in brackets, may hold anything; what follows it does not.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .expect("the name stands in brackets")
        .1
        .split_whitespace()
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    ((fields[11] + fields[12]) as f64 / 100.0, kilobytes * 1024)
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &String| text.parse::<i64>().unwrap_or_else(|_| panic!("`{text}` is no number"));
    let (elements, passes, make): (i64, i64, Box<dyn Fn() -> NativeJob>) =
        match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["group", _] => {
                let elements = number(&words[1]);
                (elements, 1, Box::new(move || group(elements)))
            }
            ["stages", _, _] => {
                let (count, elements) = (number(&words[1]), number(&words[2]));
                (elements, count, Box::new(move || stages(count, elements)))
            }
            _ => panic!("say `group ELEMENTS` or `stages COUNT ELEMENTS`"),
        };
    let threads = Arc::new(rayon::ThreadPoolBuilder::new().build().expect("threads start"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let jobs = (WORK_MIN / (elements * passes.max(1))).max(1);
    let (before, _) = used();
    let began = std::time::Instant::now();
    for _ in 0..jobs {
        let schedule = Box::new(EagerSchedule::new(EagerOptions::default()));
        let ended = runtime.block_on(make().run(schedule, threads.clone()));
        assert_eq!(ended.outcome, Outcome::Done);
        let read = ended.control.profile().stages.iter().map(|stage| stage.elements_out).max();
        assert_eq!(read, Some(elements as u64), "no element may be lost");
    }
    let wall = began.elapsed().as_secs_f64();
    let (after, peak) = used();
    let ns_per_element = (after - before) * 1e9 / (jobs * elements) as f64;
    #[allow(clippy::print_stdout, reason = "its result is this line")]
    {
        println!(
            "{{\"elements\": {elements}, \"passes\": {passes}, \"jobs\": {jobs}, \"cpu_ns_per_element\": {ns_per_element:.1}, \
             \"wall_s\": {wall:.3}, \"peak_bytes\": {peak}}}"
        );
    }
}
