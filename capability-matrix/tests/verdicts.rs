//! Verdicts: the texts that users read, and the laws behind them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use purlin_capability_matrix::row::Row;
use purlin_capability_matrix::sheet::{CapabilitySheet, Support, own};
use purlin_capability_matrix::verdict::{Requirements, Verdict, verdict};

/// A sheet that declares everything `yes`, but for these rows.
fn sheet(runner: &str, but: &[(Row, &str)]) -> CapabilitySheet {
    let cell = |row: &Row| match but.iter().find(|(other, _)| other == row) {
        None => r#"{ support = "yes" }"#.to_owned(),
        Some((_, "no")) => r#"{ support = "no" }"#.to_owned(),
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
        needs.add(row, transform);
    }
    needs
}

fn judged(needs: &Requirements) -> Verdict {
    let (small, stream, whole) = (small(), stream(), sheet("whole", &[]));
    verdict(needs, &small, &[&small, &stream, &whole])
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
    insta::assert_snapshot!(verdict(&needs, &small, &[&left, &right]), @r#"
    runner `small` cannot run this pipeline: it lacks 2 of the 2 features that it needs (see sheets/small.toml)
      Unbounded splittable DoFn: Base (`unbounded-sdf-base`): no
        needed by: `Read`
        would do: `left`
      TestStream (`test-stream`): no
        needed by: `Events`
        would do: `right`
    no runner that is known here does all of it
    "#);
    insta::assert_snapshot!(verdict(&needs, &small, &[&small]).refusals[0], @"`Read` needs Unbounded splittable DoFn: Base (`unbounded-sdf-base`), which runner `small` declares `no`; no other runner that is known here does it");
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
    let verdict = verdict(&needs, &small, &[&stream, &small, &whole]);
    assert_eq!(verdict.would_do, ["whole", "stream"]);
    let alternatives: Vec<_> = verdict.refusals[0].alternatives.iter().map(|it| it.runner.as_str()).collect();
    assert_eq!(alternatives, ["whole", "stream"]);
}

/// Each row alone, on each sheet: refused exactly if declared `no`, warned of exactly if partial.
#[test]
fn every_row_is_judged_by_its_cell() {
    for sheet in [small(), stream()] {
        for &row in Row::ALL {
            let verdict = verdict(&needs(&[(row, "T")]), &sheet, &[]);
            let found = (verdict.refusals.len(), verdict.warnings.len());
            let expected = match sheet.support(row) {
                Support::Yes => (0, 0),
                Support::Partial(_) => (0, 1),
                Support::No => (1, 0),
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
        (Row::TestStream, "Events/TestStream"),
    ]);
    let sheets: Vec<_> = own().iter().collect();
    let refusal = verdict(&needs, sheets[0], &sheets).to_string();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/capability-matrix.md");
    let guide = std::fs::read_to_string(path).unwrap();
    assert!(
        guide.contains(&format!("```\n{refusal}\n```")),
        "docs/guide/capability-matrix.md does not show:\n{refusal}"
    );
}
