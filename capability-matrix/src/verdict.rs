//! Whether a runner does what a pipeline needs: every problem at once, and who would do instead.
//!
//! ```text
//!   Requirements: Row ─► transforms ──┐
//!   CapabilitySheet of the runner ────┼──verdict──► Verdict: refusals (`no`), warnings (`partial`), who would do
//!   all sheets ───────────────────────┘
//! ```
//! Does not know how requirements were found, nor who asks. A `no` is a refusal and never a fallback.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::row::Row;
use crate::sheet::{CapabilitySheet, Support};

/// What a pipeline needs, and which of its transforms need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    rows: BTreeMap<Row, BTreeSet<String>>,
}

impl Requirements {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that a transform, by its unique name, needs a row.
    pub fn add(&mut self, row: Row, transform: impl Into<String>) {
        self.rows.entry(row).or_default().insert(transform.into());
    }

    /// Whether nothing is needed.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether a row is needed.
    pub fn contains(&self, row: Row) -> bool {
        self.rows.contains_key(&row)
    }

    /// The rows in the order of the matrix, each with its transforms by name.
    pub fn iter(&self) -> impl Iterator<Item = (Row, &BTreeSet<String>)> {
        self.rows.iter().map(|(&row, transforms)| (row, transforms))
    }
}

/// A runner that does a row, at least in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alternative {
    /// Its name.
    pub runner: String,
    /// Never [`Support::No`].
    #[serde(flatten)]
    pub support: Support,
}

/// A row that a pipeline needs and a runner does not do, or not all of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The row.
    pub row: Row,
    /// Its name for people.
    pub name: String,
    /// The transforms that need it, by name.
    pub transforms: Vec<String>,
    /// The runner that was asked.
    pub runner: String,
    /// What it declares: [`Support::No`] in refusals, [`Support::Partial`] in warnings.
    pub declared: Support,
    /// Other runners that do it, those that do all of it first.
    pub alternatives: Vec<Alternative>,
}

/// What comes of comparing a pipeline's needs with a runner's sheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The runner that was asked.
    pub runner: String,
    /// The file of its sheet.
    pub sheet: String,
    /// How many rows the pipeline needs.
    pub needed: usize,
    /// What the runner does not do; if there is any, it must not run the pipeline.
    pub refusals: Vec<Finding>,
    /// What it does up to a limit that the user should know of.
    pub warnings: Vec<Finding>,
    /// Other runners that would accept the pipeline, those without limits first.
    pub would_do: Vec<String>,
}

/// Compares what a pipeline needs with what a runner declares; `all` are the sheets among which alternatives are sought.
///
/// Costs one look-up per needed row and sheet. The order of findings is that of the matrix, the order of alternatives
/// that of `all`.
pub fn verdict(needs: &Requirements, sheet: &CapabilitySheet, all: &[&CapabilitySheet]) -> Verdict {
    let others: Vec<_> = all.iter().copied().filter(|other| other.runner() != sheet.runner()).collect();
    let mut refusals = Vec::new();
    let mut warnings = Vec::new();
    for (row, transforms) in needs.iter() {
        let declared = sheet.support(row).clone();
        let list = match declared {
            Support::Yes => continue,
            Support::Partial(_) => &mut warnings,
            Support::No => &mut refusals,
        };
        list.push(Finding {
            row,
            name: row.full_name(),
            transforms: transforms.iter().cloned().collect(),
            runner: sheet.runner().to_owned(),
            declared,
            alternatives: alternatives(row, &others),
        });
    }
    Verdict {
        runner: sheet.runner().to_owned(),
        sheet: sheet.file().to_owned(),
        needed: needs.rows.len(),
        refusals,
        warnings,
        would_do: would_do(needs, &others),
    }
}

fn alternatives(row: Row, others: &[&CapabilitySheet]) -> Vec<Alternative> {
    let offer = |other: &&CapabilitySheet| Alternative {
        runner: other.runner().to_owned(),
        support: other.support(row).clone(),
    };
    let mut offers: Vec<_> = others.iter().map(offer).filter(|offer| offer.support != Support::No).collect();
    offers.sort_by_key(|offer| offer.support != Support::Yes);
    offers
}

fn would_do(needs: &Requirements, others: &[&CapabilitySheet]) -> Vec<String> {
    let accepts = |other: &&&CapabilitySheet| needs.rows.keys().all(|&row| *other.support(row) != Support::No);
    let limits =
        |other: &&CapabilitySheet| needs.rows.keys().filter(|&&row| *other.support(row) != Support::Yes).count();
    let mut accepting: Vec<&CapabilitySheet> = others.iter().filter(accepts).copied().collect();
    accepting.sort_by_key(limits);
    accepting.into_iter().map(|other| other.runner().to_owned()).collect()
}

impl Verdict {
    /// Whether the runner may run the pipeline.
    pub fn is_accepted(&self) -> bool {
        self.refusals.is_empty()
    }
}

impl Finding {
    /// What is wrong, without the transforms: for a report that has a place of its own for those.
    pub fn what(&self) -> String {
        let Self { row, name, runner, declared, .. } = self;
        match declared.limit() {
            Some(limit) => format!("needs {name} (`{row}`), which runner `{runner}` does in part: {limit}"),
            None => format!("needs {name} (`{row}`), which runner `{runner}` declares `{}`", declared.word()),
        }
    }

    /// How to fix it: the runners that would do.
    pub fn fix(&self) -> String {
        if self.alternatives.is_empty() {
            return "no other runner that is known here does it".to_owned();
        }
        format!("would do: {}", listed(&self.alternatives))
    }
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.support.limit() {
            Some(limit) => write!(f, "`{}` in part ({limit})", self.runner),
            None => write!(f, "`{}`", self.runner),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; {}", quoted(&self.transforms), self.what(), self.fix())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runner, sheet, needed, refusals, warnings, would_do } = self;
        if refusals.is_empty() {
            write!(f, "runner `{runner}` runs this pipeline")?;
        } else {
            let count = refusals.len();
            let features = if *needed == 1 { "feature" } else { "features" };
            write!(
                f,
                "runner `{runner}` cannot run this pipeline: it lacks {count} of the {needed} {features} that it needs"
            )?;
            write!(f, " (see {sheet})")?;
        }
        for refusal in refusals {
            write!(f, "\n  {} (`{}`): {}", refusal.name, refusal.row, refusal.declared.word())?;
            write!(f, "\n    needed by: {}", quoted(&refusal.transforms))?;
            write!(f, "\n    {}", refusal.fix())?;
        }
        if !refusals.is_empty() {
            match would_do[..] {
                [] => write!(f, "\nno runner that is known here does all of it")?,
                [..] => write!(f, "\nall of it, limits aside, do: {}", quoted(would_do))?,
            }
        }
        if !warnings.is_empty() {
            f.write_str(if refusals.is_empty() { ", with limits:" } else { "\nlimits beside these:" })?;
        }
        for warning in warnings {
            write!(f, "\n  {} (`{}`): {}", warning.name, warning.row, warning.declared.limit().unwrap_or_default())?;
            write!(f, "\n    needed by: {}", quoted(&warning.transforms))?;
        }
        Ok(())
    }
}

fn listed(items: &[impl fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
