//! Whether a runner does what a pipeline needs: every problem at once, and who would do instead.
//!
//! ```text
//!   Requirements of the pipeline ─────┐
//!   CapabilitySheet of the runner ────┼──verdict──► Verdict: refusals, warnings, who would do
//!   sheets of others ─────────────────┘
//! ```
//! Does not know how requirements were found, nor who asks. What a runner does not declare is a refusal and never a
//! fallback.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::circumstance::Circumstance;
use crate::requirements::{Requirements, Uses};
use crate::row::Row;
use crate::sheet::{CapabilitySheet, Support};

/// How many names a text gives; JSON gives all.
const NAMES_MAX: usize = 8;

/// A runner that does what is needed of a row.
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
    /// The transforms of which this is so, by unique name.
    pub transforms: Vec<String>,
    /// The runner that was asked.
    pub runner: String,
    /// What it declares: not [`Support::Yes`].
    pub declared: Support,
    /// In refusals of what is declared `partial`: the circumstances that are beyond the limit.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub beyond: BTreeSet<Circumstance>,
    /// Other runners that do what these transforms need, those without limits first.
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
    /// What it does up to a limit of which only the run shows whether it is kept.
    pub warnings: Vec<Finding>,
    /// Other runners that would accept the pipeline, those with fewer such limits first.
    pub would_do: Vec<String>,
}

/// Compares what a pipeline needs with what a runner declares; `others` are the sheets among which alternatives are
/// sought, where the runner's own does no harm.
///
/// `no` refuses. `partial` refuses what is used under a circumstance that the sheet refuses; if it refuses none, it warns.
/// Costs a look-up per needed row and sheet. The order of findings is that of the matrix, the order of alternatives
/// that of `others`.
pub fn verdict<'a>(
    needs: &Requirements,
    sheet: &CapabilitySheet,
    others: impl IntoIterator<Item = &'a CapabilitySheet>,
) -> Verdict {
    let others: Vec<_> = others.into_iter().filter(|other| other.runner() != sheet.runner()).collect();
    let mut refusals = Vec::new();
    let mut warnings = Vec::new();
    for (row, uses) in needs.iter() {
        let declared = sheet.support(row);
        let (within, refused): (Vec<_>, Vec<_>) = uses.iter().partition(|(_, under)| declared.allows(under));
        let finding = |uses: &[(&String, &BTreeSet<Circumstance>)]| Finding {
            row,
            name: row.full_name(),
            transforms: uses.iter().map(|(transform, _)| (*transform).clone()).collect(),
            runner: sheet.runner().to_owned(),
            declared: declared.clone(),
            beyond: match declared {
                Support::Partial { refuses, .. } => {
                    uses.iter().flat_map(|(_, under)| under.intersection(refuses)).copied().collect()
                }
                Support::Yes | Support::No { .. } => BTreeSet::new(),
            },
            alternatives: alternatives(row, uses, &others),
        };
        if !refused.is_empty() {
            refusals.push(finding(&refused));
        }
        if !within.is_empty() && declared.has_open_limit() {
            warnings.push(finding(&within));
        }
    }
    Verdict {
        runner: sheet.runner().to_owned(),
        sheet: sheet.file().to_owned(),
        needed: needs.len(),
        refusals,
        warnings,
        would_do: would_do(needs, &others),
    }
}

/// The first of these runners that accepts what a pipeline needs; those before it lack something.
pub fn first_that_can<'a>(
    needs: &Requirements,
    sheets: impl IntoIterator<Item = &'a CapabilitySheet>,
) -> Option<&'a CapabilitySheet> {
    sheets.into_iter().find(|sheet| accepts(needs, sheet))
}

fn accepts(needs: &Requirements, sheet: &CapabilitySheet) -> bool {
    let all_allowed = |row: Row, uses: &Uses| uses.values().all(|under| sheet.support(row).allows(under));
    needs.iter().all(|(row, uses)| all_allowed(row, uses))
}

fn alternatives(
    row: Row,
    uses: &[(&String, &BTreeSet<Circumstance>)],
    others: &[&CapabilitySheet],
) -> Vec<Alternative> {
    let does = |other: &&&CapabilitySheet| uses.iter().all(|(_, under)| other.support(row).allows(under));
    let offer = |other: &&CapabilitySheet| Alternative {
        runner: other.runner().to_owned(),
        support: other.support(row).clone(),
    };
    let mut offers: Vec<_> = others.iter().filter(does).map(offer).collect();
    offers.sort_by_key(|offer| offer.support.has_open_limit());
    offers
}

fn would_do(needs: &Requirements, others: &[&CapabilitySheet]) -> Vec<String> {
    let mut accepting: Vec<_> = others.iter().filter(|other| accepts(needs, other)).collect();
    accepting.sort_by_key(|other| needs.iter().filter(|(row, _)| other.support(*row).has_open_limit()).count());
    accepting.into_iter().map(|other| other.runner().to_owned()).collect()
}

impl Verdict {
    /// Whether the runner may run the pipeline.
    pub fn is_accepted(&self) -> bool {
        self.refusals.is_empty()
    }
}

impl Finding {
    /// The transforms of which this is so; of many, the first.
    pub fn place(&self) -> String {
        quoted(&self.transforms)
    }

    /// What is wrong, without the transforms: for a report that has a place of its own for those.
    pub fn what(&self) -> String {
        let Self { row, name, runner, declared, .. } = self;
        let under = self.under();
        match declared {
            Support::Partial { limit, .. } => {
                format!("needs {name} (`{row}`){under}, which runner `{runner}` does in part: {limit}")
            }
            Support::No { .. } | Support::Yes => {
                let word = declared.word();
                let reason = declared.remark().map_or_else(String::new, |reason| format!(" ({reason})"));
                format!("needs {name} (`{row}`), which runner `{runner}` declares `{word}`{reason}")
            }
        }
    }

    /// How to fix it: the runners that would do.
    pub fn fix(&self) -> String {
        if self.alternatives.is_empty() {
            return "no other runner that is known here does it".to_owned();
        }
        let offers: Vec<_> = self.alternatives.iter().map(ToString::to_string).collect();
        format!("would do: {}", offers.join(", "))
    }

    fn under(&self) -> String {
        self.beyond.iter().map(|circumstance| format!(" {}", circumstance.phrase())).collect()
    }
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.support.limit().filter(|_| self.support.has_open_limit()) {
            Some(limit) => write!(f, "`{}` in part ({limit})", self.runner),
            None => write!(f, "`{}`", self.runner),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; {}", self.place(), self.what(), self.fix())
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
            let Finding { name, row, declared, .. } = refusal;
            let remark = declared.remark().map_or_else(String::new, |remark| format!(": {remark}"));
            write!(f, "\n  {name} (`{row}`){}: {}{remark}", refusal.under(), declared.word())?;
            write!(f, "\n    needed by: {}", refusal.place())?;
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
            write!(f, "\n    needed by: {}", warning.place())?;
        }
        Ok(())
    }
}

/// Names in backticks; of many, the first, and how many more there are.
fn quoted(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
