//! The profile of a job, for people and as JSON.
//!
//! ```text
//!   JobProfile ─► a row per stage: bundles, elements, bytes, runner, SDK      ─► text
//!              └► a few words for stages that say more: work, waits, hot keys
//! ```

use purlin_proto::inspect as inspectpb;
use serde_json::{Value, json};

use crate::terminal;

/// Longer names of stages are cut in the table; the words below have them whole.
const NAME_CHARS_MAX: usize = 40;

/// Waits shorter than this are not worth a word.
const WORTH_A_WORD_US: u64 = 1_000;

/// As text.
pub(crate) fn show(profile: &inspectpb::JobProfile) -> String {
    if profile.stages.is_empty() {
        return "This job has not begun to run.\n".to_owned();
    }
    let header =
        ["", "STAGE", "BUNDLES", "ELEMENTS IN", "OUT", "BYTES IN", "OUT", "SPILLED", "RUNNER", "SDK", "WAITED FOR"];
    let numbered = || profile.stages.iter().enumerate().map(|(index, stage)| (index + 1, stage));
    let rows: Vec<_> = numbered().map(|(number, stage)| row(number, stage)).collect();
    let mut text = terminal::table(&header, &rows);
    for (number, stage) in numbered() {
        let words = words(stage);
        if !words.is_empty() {
            text.push_str(&format!("\n{number} {}\n", stage.name));
            words.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    }
    let runner: u64 = profile.stages.iter().map(runner_us).sum();
    let sdk: u64 = profile.stages.iter().map(|stage| stage.sdk_us).sum();
    text.push_str(&format!(
        "\n{} by the clock; over all bundles, runner {}, SDK {}; ordering everything, {}\n",
        time(profile.elapsed_us),
        time(runner),
        time(sdk),
        time(profile.core_us)
    ));
    text
}

fn row(number: usize, stage: &inspectpb::StageProfile) -> Vec<String> {
    vec![
        number.to_string(),
        short(&stage.name),
        stage.bundles.to_string(),
        stage.elements_in.to_string(),
        stage.elements_out.to_string(),
        bytes(stage.bytes_in),
        bytes(stage.bytes_out),
        bytes(stage.bytes_spilled),
        time(runner_us(stage)),
        if stage.by_runner { "-".to_owned() } else { time(stage.sdk_us) },
        longest_wait(stage),
    ]
}

fn runner_us(stage: &inspectpb::StageProfile) -> u64 {
    let times = stage.runner.unwrap_or_default();
    times.read_us + times.encode_us + times.partition_us + times.group_us + times.state_us
}

/// What a stage waited for, by what it is called.
fn waits(stage: &inspectpb::StageProfile) -> Vec<(u64, &'static str)> {
    let waits = stage.waits.unwrap_or_default();
    let mut named = vec![
        (waits.worker_us, "a worker slot"),
        (waits.side_input_us, "a side input"),
        (waits.input_us, "the rest of its input"),
        (waits.clock_us, "the clock"),
        (waits.schedule_us, "its turn"),
        (waits.queued_us, "a thread or worker to take its bundles"),
        (waits.blocked_us, "workers to read what they were sent"),
    ];
    named.retain(|(us, _)| *us >= WORTH_A_WORD_US);
    named.sort_by_key(|(us, _)| std::cmp::Reverse(*us));
    named
}

fn longest_wait(stage: &inspectpb::StageProfile) -> String {
    waits(stage).first().map_or_else(|| "-".to_owned(), |(us, what)| format!("{} {what}", time(*us)))
}

/// What the row does not say.
fn words(stage: &inspectpb::StageProfile) -> Vec<String> {
    let mut lines = Vec::new();
    let listed = |parts: Vec<(u64, &str)>| {
        parts.into_iter().map(|(us, what)| format!("{what} {}", time(us))).collect::<Vec<_>>().join(", ")
    };
    let times = stage.runner.unwrap_or_default();
    let mut work = vec![
        (times.read_us, "reading"),
        (times.encode_us, "encoding"),
        (times.partition_us, "partitioning"),
        (times.group_us, "grouping"),
        (times.state_us, "state"),
    ];
    work.retain(|(us, _)| *us >= WORTH_A_WORD_US);
    if work.len() > 1 {
        lines.push(format!("runner: {}", listed(work)));
    }
    let waits = waits(stage);
    if waits.len() > 1 {
        lines.push(format!("waited for {}", listed(waits)));
    }
    let happened = [(stage.failed, "failed"), (stage.retried, "retried"), (stage.splits, "splits")];
    let happened: Vec<_> = happened.iter().filter(|(count, _)| *count > 0).collect();
    if !happened.is_empty() {
        let counts: Vec<_> = happened.iter().map(|(count, what)| format!("{count} {what}")).collect();
        lines.push(format!("bundles: {}", counts.join(", ")));
    }
    if stage.state_bytes_spilled > 0 {
        lines.push(format!("state: {} written to disk", bytes(stage.state_bytes_spilled)));
    }
    lines.extend(stage.hot_lanes.iter().map(hot));
    lines
}

fn hot(lane: &inspectpb::HotLane) -> String {
    let group = format!(
        "hot: key group {} has {:.0} % of the input, {} elements, {}",
        lane.key_group,
        lane.share * 100.0,
        lane.elements,
        bytes(lane.bytes)
    );
    if lane.key.is_empty() {
        return group;
    }
    format!("{group}; about {:.0} % of them have the key {}", lane.key_share * 100.0, lane.key)
}

/// As JSON, with the names of the interface definition.
pub(crate) fn to_json(profile: &inspectpb::JobProfile) -> Value {
    let stages: Vec<_> = profile.stages.iter().map(stage_json).collect();
    json!({ "elapsed_us": profile.elapsed_us, "core_us": profile.core_us, "stages": stages })
}

fn stage_json(stage: &inspectpb::StageProfile) -> Value {
    let (times, waits) = (stage.runner.unwrap_or_default(), stage.waits.unwrap_or_default());
    let hot: Vec<_> = stage
        .hot_lanes
        .iter()
        .map(|lane| {
            json!({
                "key_group": lane.key_group, "elements": lane.elements, "bytes": lane.bytes, "share": lane.share,
                "key": lane.key, "key_share": lane.key_share,
            })
        })
        .collect();
    json!({
        "name": stage.name, "by_runner": stage.by_runner,
        "bundles": stage.bundles, "failed": stage.failed, "retried": stage.retried, "splits": stage.splits,
        "elements_in": stage.elements_in, "elements_out": stage.elements_out,
        "bytes_in": stage.bytes_in, "bytes_out": stage.bytes_out, "bytes_spilled": stage.bytes_spilled,
        "state_bytes_spilled": stage.state_bytes_spilled,
        "bundle_us": stage.bundle_us, "sdk_us": stage.sdk_us,
        "runner": {
            "read_us": times.read_us, "encode_us": times.encode_us, "partition_us": times.partition_us,
            "group_us": times.group_us, "state_us": times.state_us,
        },
        "waits": {
            "queued_us": waits.queued_us, "blocked_us": waits.blocked_us, "worker_us": waits.worker_us,
            "side_input_us": waits.side_input_us, "input_us": waits.input_us, "clock_us": waits.clock_us,
            "schedule_us": waits.schedule_us,
        },
        "hot_lanes": hot,
    })
}

fn time(us: u64) -> String {
    let us = us as f64;
    if us < 1e3 {
        format!("{us:.0} µs")
    } else if us < 1e6 {
        format!("{:.1} ms", us / 1e3)
    } else {
        format!("{:.2} s", us / 1e6)
    }
}

fn bytes(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let power = (bytes.max(1).ilog10() / 3).min(units.len() as u32 - 1);
    let number = bytes as f64 / 1000f64.powi(power as i32);
    let digits = usize::from(power > 0);
    format!("{number:.digits$} {}", units[power as usize])
}

/// The end of a long name says more than its beginning.
pub(crate) fn short(name: &str) -> String {
    let length = name.chars().count();
    if length <= NAME_CHARS_MAX {
        return name.to_owned();
    }
    format!("…{}", name.chars().skip(length - (NAME_CHARS_MAX - 1)).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> inspectpb::JobProfile {
        let read = inspectpb::StageProfile {
            name: "Read/Create/Impulse+Read/Create/FlatMap+Read/ParDo(Split)".to_owned(),
            bundles: 4,
            retried: 1,
            failed: 1,
            elements_in: 1,
            elements_out: 1_000_000,
            bytes_in: 12,
            bytes_out: 105_000_000,
            bundle_us: 12_000_000,
            sdk_us: 10_300_000,
            runner: Some(inspectpb::RunnerTimes { encode_us: 2_000, partition_us: 900_000, ..Default::default() }),
            waits: Some(inspectpb::StageWaits { worker_us: 400_000, blocked_us: 3_000, ..Default::default() }),
            ..Default::default()
        };
        let group = inspectpb::StageProfile {
            name: "Group".to_owned(),
            by_runner: true,
            bundles: 2,
            elements_in: 1_000_000,
            elements_out: 1_000,
            bytes_in: 105_000_000,
            bytes_out: 96_000_000,
            bytes_spilled: 1_000_000,
            state_bytes_spilled: 400_000,
            runner: Some(inspectpb::RunnerTimes { group_us: 300_000, ..Default::default() }),
            hot_lanes: vec![inspectpb::HotLane {
                key_group: 17,
                elements: 410_000,
                bytes: 41_000_000,
                share: 0.41,
                key: "\"hot\"".to_owned(),
                key_share: 0.98,
            }],
            ..Default::default()
        };
        inspectpb::JobProfile { elapsed_us: 12_345_678, core_us: 950, stages: vec![read, group] }
    }

    #[test]
    fn a_profile_is_a_row_per_stage_and_a_few_words() {
        insta::assert_snapshot!(show(&profile()), @r#"
           STAGE                                     BUNDLES  ELEMENTS IN  OUT      BYTES IN  OUT       SPILLED  RUNNER    SDK      WAITED FOR
        1  …e+Read/Create/FlatMap+Read/ParDo(Split)  4        1            1000000  12 B      105.0 MB  0 B      902.0 ms  10.30 s  400.0 ms a worker slot
        2  Group                                     2        1000000      1000     105.0 MB  96.0 MB   1.0 MB   300.0 ms  -        -

        1 Read/Create/Impulse+Read/Create/FlatMap+Read/ParDo(Split)
          runner: encoding 2.0 ms, partitioning 900.0 ms
          waited for a worker slot 400.0 ms, workers to read what they were sent 3.0 ms
          bundles: 1 failed, 1 retried

        2 Group
          state: 400.0 kB written to disk
          hot: key group 17 has 41 % of the input, 410000 elements, 41.0 MB; about 98 % of them have the key "hot"

        12.35 s by the clock; over all bundles, runner 1.20 s, SDK 10.30 s; ordering everything, 950 µs
        "#);
    }

    #[test]
    fn json_has_the_names_of_the_interface() {
        let json = to_json(&profile());
        assert_eq!(json["stages"][0]["runner"]["partition_us"], json!(900_000));
        assert_eq!(json["stages"][1]["hot_lanes"][0]["key"], json!("\"hot\""));
    }

    #[test]
    fn amounts_have_units_that_fit() {
        assert_eq!([time(0), time(999), time(1_500), time(61_000_000)], ["0 µs", "999 µs", "1.5 ms", "61.00 s"]);
        assert_eq!([bytes(0), bytes(999), bytes(1_000), bytes(10_000_000_000)], ["0 B", "999 B", "1.0 kB", "10.0 GB"]);
    }

    #[test]
    fn a_job_that_has_not_begun_says_so() {
        assert_eq!(show(&inspectpb::JobProfile::default()), "This job has not begun to run.\n");
    }
}
