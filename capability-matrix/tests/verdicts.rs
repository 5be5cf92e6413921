//! Verdicts: the texts that users read, and the laws behind them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use purlin_capability_matrix::circumstance::Circumstance::{MergingWindows, Unbounded};
use purlin_capability_matrix::requirements::Requirements;
use purlin_capability_matrix::row::Row;
use purlin_capability_matrix::sheet::{CapabilitySheet, Support, own};
use purlin_capability_matrix::verdict::{Verdict, first_that_can, verdict};

/// A sheet that declares everything `yes`, but for these rows.
fn sheet(runner: &str, but: &[(Row, &str)]) -> CapabilitySheet {
    let cell = |row: &Row| match but.iter().find(|(other, _)| other == row) {
        None => r#"{ support = "yes" }"#.to_owned(),
        Some((_, "no")) => r#"{ support = "no" }"#.to_owned(),
        Some((_, cell)) if cell.starts_with('{') => (*cell).to_owned(),
        Some((_, limit)) => format!("{{ support = \"partial\", limit = \"{limit}\" }}"),
    };
    let rows: String = Row::ALL.iter().map(|row| format!("{row} = {}\n", cell(row))).collect();
    let text = format!("runner = \"{runner}\"\ntitle = \"T\"\n[rows]\n{rows}");
    CapabilitySheet::parse(&format!("sheets/{runner}.toml"), &text).unwrap()
}

fn small() -> CapabilitySheet {
    let pane = "one pane when the input is complete";
    sheet("small", &[(Row::TestStream, "no"), (Row::UnboundedSdfBase, "no"), (Row::CountTriggers, pane)])
}

fn stream() -> CapabilitySheet {
    sheet("stream", &[(Row::UnboundedSdfBase, "a single worker")])
}

fn needs(rows: &[(Row, &str)]) -> Requirements {
    let mut needs = Requirements::new();
    for &(row, transform) in rows {
        needs.add(row, transform, []);
    }
    needs
}

fn judged(needs: &Requirements) -> Verdict {
    let (small, stream, whole) = (small(), stream(), sheet("whole", &[]));
    verdict(needs, &small, [&small, &stream, &whole])
}

#[test]
fn a_refusal_tells_everything() {
    let needs = needs(&[
        (Row::ParDo, "Read"),
        (Row::UnboundedSdfBase, "Read"),
        (Row::TestStream, "Events/TestStream"),
        (Row::TestStream, "Clicks/TestStream"),
        (Row::CountTriggers, "Group"),
    ]);
    let verdict = judged(&needs);
    assert!(!verdict.is_accepted());
    insta::assert_snapshot!(verdict, @r#"
    runner `small` cannot run this pipeline: it lacks 2 of the 4 features that it needs (see sheets/small.toml)
      Unbounded splittable DoFn: Base (`unbounded-sdf-base`): no
        needed by: `Read`
        would do: `whole`, `stream` in part (a single worker)
      TestStream (`test-stream`): no
        needed by: `Clicks/TestStream`, `Events/TestStream`
        would do: `stream`, `whole`
    all of it, limits aside, do: `whole`, `stream`
    limits beside these:
      Count triggers (`count-triggers`): one pane when the input is complete
        needed by: `Group`
    "#);
    insta::assert_snapshot!(verdict.refusals[0], @"`Read` needs Unbounded splittable DoFn: Base (`unbounded-sdf-base`), which runner `small` declares `no`; would do: `whole`, `stream` in part (a single worker)");
    insta::assert_snapshot!(verdict.warnings[0], @"`Group` needs Count triggers (`count-triggers`), which runner `small` does in part: one pane when the input is complete; would do: `stream`, `whole`");
    insta::assert_snapshot!(serde_json::to_string_pretty(&verdict.refusals[0]).unwrap(), @r#"
    {
      "row": "unbounded-sdf-base",
      "name": "Unbounded splittable DoFn: Base",
      "transforms": [
        "Read"
      ],
      "runner": "small",
      "declared": {
        "support": "no"
      },
      "alternatives": [
        {
          "runner": "whole",
          "support": "yes"
        },
        {
          "runner": "stream",
          "support": "partial",
          "limit": "a single worker"
        }
      ]
    }
    "#);
}

#[test]
fn nobody_may_do_all_of_it() {
    let (small, left) = (small(), sheet("left", &[(Row::TestStream, "no")]));
    let right = sheet("right", &[(Row::UnboundedSdfBase, "no")]);
    let needs = needs(&[(Row::TestStream, "Events"), (Row::UnboundedSdfBase, "Read")]);
    insta::assert_snapshot!(verdict(&needs, &small, [&left, &right]), @r#"
    runner `small` cannot run this pipeline: it lacks 2 of the 2 features that it needs (see sheets/small.toml)
      Unbounded splittable DoFn: Base (`unbounded-sdf-base`): no
        needed by: `Read`
        would do: `left`
      TestStream (`test-stream`): no
        needed by: `Events`
        would do: `right`
    no runner that is known here does all of it
    "#);
    insta::assert_snapshot!(verdict(&needs, &small, [&small]).refusals[0], @"`Read` needs Unbounded splittable DoFn: Base (`unbounded-sdf-base`), which runner `small` declares `no`; no other runner that is known here does it");
}

#[test]
fn limits_are_warnings() {
    let verdict = judged(&needs(&[(Row::CountTriggers, "Group"), (Row::ParDo, "Map")]));
    assert!(verdict.is_accepted());
    insta::assert_snapshot!(verdict, @r#"
    runner `small` runs this pipeline, with limits:
      Count triggers (`count-triggers`): one pane when the input is complete
        needed by: `Group`
    "#);
}

const BOUNDED: &str = r#"{ support = "partial", limit = "in bounded jobs", refuses = ["unbounded"] }"#;

#[test]
fn a_limit_that_can_be_seen_refuses_what_is_beyond_it_and_is_not_spoken_of_otherwise() {
    let batch = sheet("batch", &[(Row::Timers, BOUNDED)]);
    let merging = r#"{ support = "partial", limit = "no merging", refuses = ["merging-windows"] }"#;
    let (merging, whole) = (sheet("merging", &[(Row::Timers, merging)]), sheet("whole", &[]));
    let mut needs = Requirements::new();
    needs.add(Row::Timers, "Batch", [MergingWindows]);
    assert_eq!(verdict(&needs, &batch, []).to_string(), "runner `batch` runs this pipeline");
    needs.add(Row::Timers, "Stream", [Unbounded]);
    let refused = verdict(&needs, &batch, [&merging, &whole]);
    insta::assert_snapshot!(refused, @"
    runner `batch` cannot run this pipeline: it lacks 1 of the 1 feature that it needs (see sheets/batch.toml)
      Timers (`timers`) on unbounded data: partial: in bounded jobs
        needed by: `Stream`
        would do: `merging`, `whole`
    all of it, limits aside, do: `whole`
    ");
    insta::assert_snapshot!(refused.refusals[0], @"`Stream` needs Timers (`timers`) on unbounded data, which runner `batch` does in part: in bounded jobs; would do: `merging`, `whole`");
    insta::assert_snapshot!(serde_json::to_string(&refused.refusals[0]).unwrap(), @r#"{"row":"timers","name":"Timers","transforms":["Stream"],"runner":"batch","declared":{"support":"partial","limit":"in bounded jobs","refuses":["unbounded"]},"beyond":["unbounded"],"alternatives":[{"runner":"merging","support":"partial","limit":"no merging","refuses":["merging-windows"]},{"runner":"whole","support":"yes"}]}"#);
    // The other one is refused for the other transform.
    assert_eq!(verdict(&needs, &merging, []).refusals[0].transforms, ["Batch"]);
}

#[test]
fn a_reason_is_told() {
    let reasoned = sheet("reasoned", &[(Row::Drain, r#"{ support = "no", reason = "comes later" }"#)]);
    let verdict = verdict(&needs(&[(Row::Drain, "T")]), &reasoned, []);
    insta::assert_snapshot!(verdict, @"
    runner `reasoned` cannot run this pipeline: it lacks 1 of the 1 feature that it needs (see sheets/reasoned.toml)
      Drain (`drain`): no: comes later
        needed by: `T`
        no other runner that is known here does it
    no runner that is known here does all of it
    ");
    insta::assert_snapshot!(verdict.refusals[0], @"`T` needs Drain (`drain`), which runner `reasoned` declares `no` (comes later); no other runner that is known here does it");
}

#[test]
fn of_many_transforms_a_text_names_some_and_json_all() {
    let mut needs = Requirements::new();
    for number in 10..30 {
        needs.add(Row::TestStream, format!("T{number}"), []);
    }
    let verdict = judged(&needs);
    insta::assert_snapshot!(verdict.refusals[0].place(), @"`T10`, `T11`, `T12`, `T13`, `T14`, `T15`, `T16`, `T17` and 12 more");
    assert_eq!(verdict.refusals[0].transforms.len(), 20);
}

#[test]
fn the_first_runner_that_can_is_found() {
    let (batch, stream) =
        (sheet("batch", &[(Row::UnboundedPcollections, "no"), (Row::Timers, BOUNDED)]), sheet("stream", &[]));
    let first =
        |needs: &Requirements| first_that_can(needs, [&batch, &stream]).map(CapabilitySheet::runner).map(str::to_owned);
    let mut needs = Requirements::new();
    needs.add(Row::Timers, "T", []);
    assert_eq!(first(&needs).as_deref(), Some("batch"));
    needs.add(Row::Timers, "T", [Unbounded]);
    assert_eq!(first(&needs).as_deref(), Some("stream"));
    assert_eq!(first_that_can(&needs, [&batch]), None);
}

#[test]
fn what_is_declared_is_not_spoken_of() {
    let verdict = judged(&needs(&[(Row::ParDo, "Map"), (Row::Flatten, "Merge")]));
    assert!(verdict.is_accepted() && verdict.warnings.is_empty());
    insta::assert_snapshot!(verdict, @"runner `small` runs this pipeline");
    assert!(judged(&Requirements::new()).is_accepted());
}

#[test]
fn those_without_limits_come_first_and_oneself_never() {
    let (small, stream, whole) = (small(), stream(), sheet("whole", &[]));
    let needs = needs(&[(Row::UnboundedSdfBase, "Read")]);
    let verdict = verdict(&needs, &small, [&stream, &small, &whole]);
    assert_eq!(verdict.would_do, ["whole", "stream"]);
    let alternatives: Vec<_> = verdict.refusals[0].alternatives.iter().map(|it| it.runner.as_str()).collect();
    assert_eq!(alternatives, ["whole", "stream"]);
}

/// Each row alone, on each sheet: refused exactly if declared `no`, warned of exactly if partial.
#[test]
fn every_row_is_judged_by_its_cell() {
    for sheet in [small(), stream()] {
        for &row in Row::ALL {
            let verdict = verdict(&needs(&[(row, "T")]), &sheet, []);
            let found = (verdict.refusals.len(), verdict.warnings.len());
            let expected = match sheet.support(row) {
                Support::Yes => (0, 0),
                Support::Partial { .. } => (0, 1),
                Support::No { .. } => (1, 0),
            };
            assert_eq!(found, expected, "{row}");
        }
    }
}

#[test]
fn the_guide_shows_a_real_refusal() {
    let needs = needs(&[
        (Row::ParDo, "Sum"),
        (Row::GroupByKey, "Group"),
        (Row::FixedWindows, "Window"),
        (Row::SdkRust, "Parse"),
    ]);
    let refusal = verdict(&needs, &own()[0], own()).to_string();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/capability-matrix.md");
    let guide = std::fs::read_to_string(path).unwrap();
    assert!(
        guide.contains(&format!("```\n{refusal}\n```")),
        "docs/guide/capability-matrix.md does not show:\n{refusal}"
    );
}
