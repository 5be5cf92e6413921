//! The matrix as people and programs read it: a Markdown page, a table for terminals, JSON.
//!
//! ```text
//!   features, sheets ──► markdown (docs/capability-matrix.md) │ table (a terminal) │ json
//! ```
//! Does not print: the caller has the place for it. The same sheets give the same text.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::features::{Feature, Group, Origin, groups};
use crate::sheet::{CapabilitySheet, Cell};

/// The page of docs/capability-matrix.md.
pub fn markdown(sheets: &[&CapabilitySheet]) -> String {
    let mut page = String::from(
        "# Capability matrix\n\n\
         <!-- Written by the tests of capability-matrix from features.toml and sheets/; UPDATE_MATRIX=1 rewrites it. -->\n\n\
         What each runner declares. A pipeline that needs a *no* is refused before anything runs; a *partial* is run, and its limit\n\
         is told, or it is refused if it is seen to go beyond. What no conformance run has shown reads *unverified*. Whether a pipeline needs a row\n\
         with † only the run shows. More in [how to read it](guide/capability-matrix.md).\n\n",
    );
    for sheet in sheets {
        line(&mut page, &format!("- **{}**: {}. {}", sheet.runner(), sheet.title(), sheet.about()));
    }
    for group in groups() {
        line(&mut page, &format!("\n## {}\n", group.name));
        if group.origin == Origin::Purlin {
            line(&mut page, "Beam's published matrix does not have these rows.\n");
        }
        let names: Vec<_> = sheets.iter().map(|sheet| sheet.runner()).collect();
        line(&mut page, &format!("| | {} |", names.join(" | ")));
        line(&mut page, &format!("|---|{}", "---|".repeat(sheets.len())));
        for feature in &group.features {
            let cells: Vec<_> = sheets.iter().map(|sheet| markdown_cell(sheet.cell(feature.row))).collect();
            let Feature { row, name, means, checked } = feature;
            let unseen = if *checked { "" } else { " †" };
            line(&mut page, &format!("| **{name}** `{row}`{unseen}<br>{means} | {} |", cells.join(" | ")));
        }
    }
    page
}

fn markdown_cell(cell: &Cell) -> String {
    let mut text = format!("**{}**", cell.support.word());
    if let Some(remark) = cell.support.remark() {
        // A writer of sheets may use any character; within a table, two have a meaning.
        let remark = remark.replace('|', "\\|").replace('\n', " ");
        text.push_str(&format!(": {remark}"));
    }
    match &cell.evidence {
        Some(evidence) => {
            let cases = evidence.cases.join(", ").replace('|', "\\|");
            text.push_str(&format!("<br>{cases} ({}, {})", evidence.version, evidence.date));
        }
        None if cell.support.is_some() => text.push_str("<br>*unverified*"),
        // What is not promised needs no proof.
        None => {}
    }
    text
}

/// A table for terminals: one word per cell, `?` where no conformance run has shown it. Limits and reasons stand below by
/// number, or behind the word if there is only one runner.
pub fn table(sheets: &[&CapabilitySheet]) -> String {
    let mut remarks: Vec<&str> = Vec::new();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for group in groups() {
        rows.push(vec![group.name.clone()]);
        for feature in &group.features {
            let mut row = vec![format!("  {}", feature.row)];
            row.extend(sheets.iter().map(|sheet| match sheets.len() {
                1 => only_cell(sheet.cell(feature.row)),
                _ => table_cell(sheet.cell(feature.row), &mut remarks),
            }));
            rows.push(row);
        }
    }
    let mut header = vec![String::new()];
    header.extend(sheets.iter().map(|sheet| sheet.runner().to_owned()));
    rows.insert(0, header);
    let mut text = aligned(&rows);
    if !remarks.is_empty() {
        line(&mut text, "\nLimits and reasons");
    }
    for (position, remark) in remarks.iter().enumerate() {
        line(&mut text, &format!("  [{}] {remark}", position + 1));
    }
    line(&mut text, "\n? = unverified: no conformance run has shown it");
    text
}

fn only_cell(cell: &Cell) -> String {
    let remark = cell.support.remark().map_or_else(String::new, |remark| format!(": {remark}"));
    word(cell) + &remark
}

fn word(cell: &Cell) -> String {
    // What is not promised needs no proof.
    let mark = if cell.evidence.is_none() && cell.support.is_some() { "?" } else { "" };
    format!("{}{mark}", cell.support.word())
}

fn table_cell<'a>(cell: &'a Cell, remarks: &mut Vec<&'a str>) -> String {
    let mut text = word(cell);
    if let Some(remark) = cell.support.remark() {
        let position = remarks.iter().position(|known| *known == remark).unwrap_or_else(|| {
            remarks.push(remark);
            remarks.len() - 1
        });
        text.push_str(&format!(" [{}]", position + 1));
    }
    text
}

/// Columns as wide as their widest cell; a row of one cell is a heading and takes all the width that it wants.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| row.len() > 1).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        line(&mut text, cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

/// The whole matrix for programs: `groups`, each with `rows`, each with `runners` by name.
pub fn json(sheets: &[&CapabilitySheet]) -> Value {
    let row = |feature: &Feature| {
        let cells = sheets.iter().map(|sheet| (sheet.runner().to_owned(), json!(sheet.cell(feature.row))));
        let runners: serde_json::Map<String, Value> = cells.collect();
        json!({
            "id": feature.row,
            "name": feature.name,
            "means": feature.means,
            "checked": feature.checked,
            "runners": runners,
        })
    };
    let group = |group: &Group| {
        let rows: Vec<_> = group.features.iter().map(row).collect();
        let of_beam = group.origin == Origin::Beam;
        json!({"name": group.name, "in_beams_matrix": of_beam, "rows": rows})
    };
    let runner =
        |sheet: &&CapabilitySheet| json!({"name": sheet.runner(), "title": sheet.title(), "about": sheet.about()});
    json!({
        "runners": sheets.iter().map(runner).collect::<Vec<_>>(),
        "groups": groups().iter().map(group).collect::<Vec<_>>(),
    })
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}
