//! The page of the matrix is fresh, and what is rendered of it says what the sheets say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::{Path, PathBuf};

use purlin_capability_matrix::features::groups;
use purlin_capability_matrix::render;
use purlin_capability_matrix::row::Row;
use purlin_capability_matrix::sheet::{self, CapabilitySheet, own};

fn all() -> Vec<&'static CapabilitySheet> {
    sheet::all().collect()
}

fn page() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate stands in a folder of the repository");
    root.join("docs/capability-matrix.md")
}

#[test]
fn the_page_is_fresh() {
    let fresh = render::markdown(&all());
    if std::env::var_os("UPDATE_MATRIX").is_some() {
        std::fs::write(page(), &fresh).unwrap();
    }
    let kept = std::fs::read_to_string(page()).unwrap_or_default();
    let differs = fresh.lines().zip(kept.lines()).find(|(fresh, kept)| fresh != kept);
    assert!(
        fresh == kept,
        "docs/capability-matrix.md is stale; UPDATE_MATRIX=1 cargo test -p purlin-capability-matrix rewrites it\nfirst: {differs:#?}"
    );
}

#[test]
fn every_row_stands_in_every_form_for_every_runner() {
    let (page, table, json) = (render::markdown(&all()), render::table(&all()), render::json(&all()));
    for &row in Row::ALL {
        let line = page.lines().find(|line| line.contains(&format!("`{row}`"))).unwrap_or_else(|| panic!("{row}"));
        // A cell that breaks out of its column would shift the others.
        let columns = line.trim_matches('|').split(" | ").count();
        assert_eq!(columns, 1 + all().len(), "{line}");
        assert!(table.lines().any(|line| line.split_whitespace().next() == Some(row.id())), "{row}");
    }
    let rows: Vec<_> =
        json["groups"].as_array().unwrap().iter().flat_map(|group| group["rows"].as_array().unwrap()).collect();
    assert_eq!(rows.len(), Row::ALL.len());
    assert!(rows.iter().all(|row| row["runners"].as_object().unwrap().len() == all().len()));
    assert_eq!(groups().len(), json["groups"].as_array().unwrap().len());
}

/// A sheet of our own making that declares `cell` everywhere.
fn sheet_of(cell: &str) -> CapabilitySheet {
    let rows: String = Row::ALL.iter().map(|row| format!("{row} = {cell}\n")).collect();
    let text = format!("runner = \"mine\"\ntitle = \"Mine\"\n[rows]\n{rows}");
    CapabilitySheet::parse("mine.toml", &text).unwrap()
}

#[test]
fn evidence_takes_the_place_of_unverified() {
    let bare = sheet_of(r#"{ support = "yes" }"#);
    let shown = sheet_of(r#"{ support = "yes", cases = ["words"], version = "0.1.0", date = "2026-01-31" }"#);
    let count = |text: &str, what: &str| text.matches(what).count();
    assert_eq!(count(&render::markdown(&[&bare]), "**yes**<br>*unverified*"), Row::ALL.len());
    assert_eq!(count(&render::markdown(&[&shown]), "**yes**<br>words (0.1.0, 2026-01-31)"), Row::ALL.len());
    assert_eq!(count(&render::table(&[&bare]), "yes?"), Row::ALL.len());
    assert_eq!(count(&render::table(&[&shown]), "yes?"), 0);
    let first = &render::json(&[&shown])["groups"][0]["rows"][0];
    insta::assert_snapshot!(first, @r#"{"checked":true,"id":"par-do","means":"User code sees each element of a PCollection and emits any number of others.","name":"ParDo","runners":{"mine":{"evidence":{"cases":["words"],"date":"2026-01-31","version":"0.1.0"},"support":"yes"}}}"#);
}

#[test]
fn limits_are_numbered_once_and_cannot_break_the_page() {
    let sheet = sheet_of(r#"{ support = "partial", limit = "a | b" }"#);
    let table = render::table(&[&sheet, &sheet]);
    assert_eq!(table.matches("[1] a | b").count(), 1, "{table}");
    assert!(!table.contains("[2]"), "{table}");
    assert_eq!(render::markdown(&[&sheet]).matches(r"**partial**: a \| b").count(), Row::ALL.len());
}

#[test]
fn what_is_not_promised_needs_no_proof() {
    let sheet = sheet_of(r#"{ support = "no", reason = "later" }"#);
    assert_eq!(render::markdown(&[&sheet]).matches("| **no**: later |").count(), Row::ALL.len());
    let table = render::table(&[&sheet, &sheet]);
    let rows = 2 * Row::ALL.len();
    assert_eq!((table.matches("no [1]").count(), table.matches("[1] later").count()), (rows, 1), "{table}");
    assert_eq!(render::table(&[&sheet]).matches("no: later").count(), Row::ALL.len());
}

#[test]
fn the_table_lines_up() {
    let table = render::table(&own().iter().collect::<Vec<_>>());
    let head: String = table.lines().take(12).map(|line| format!("{line}\n")).collect();
    insta::assert_snapshot!(head, @"
                                         direct         micro-batch    continuous
    What is being computed?
      par-do                             yes?           yes?           yes?
      group-by-key                       yes?           yes?           yes?
      flatten                            yes?           yes?           yes?
      combine                            yes?           yes?           yes?
      composite-transforms               yes?           yes?           yes?
      side-inputs                        yes?           yes?           yes?
      source-api                         partial? [1]   partial? [1]   partial? [1]
      metrics                            yes?           yes?           yes?
      stateful-processing                partial? [2]   partial? [2]   partial? [2]
    Bounded Splittable DoFn Support Status
    ");
}
