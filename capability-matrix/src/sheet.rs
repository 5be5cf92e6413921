//! What a runner declares, row by row.
//!
//! ```text
//!   sheets/direct.toml, or a third party's file ──parse──► CapabilitySheet: each Row ─► Cell | everything wrong with it
//! ```
//! Does not know whether what is declared is true: that is for conformance runs to show, whose results are the evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::circumstance::Circumstance;
use crate::row::Row;

/// How far a runner supports a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "support", rename_all = "kebab-case")]
pub enum Support {
    /// All of it.
    Yes,
    /// Up to a limit.
    Partial {
        /// In words; never empty.
        limit: String,
        /// The circumstances that are beyond the limit, if they can be seen in a pipeline: then all others are within
        /// it, and there is nothing to warn of. Empty if a pipeline does not show whether it keeps the limit.
        #[serde(skip_serializing_if = "BTreeSet::is_empty")]
        refuses: BTreeSet<Circumstance>,
    },
    /// Not at all: a pipeline that needs it is refused.
    No {
        /// In words, if there is more to say than that.
        #[serde(skip_serializing_if = "String::is_empty")]
        reason: String,
    },
}

/// What shows that a declaration is true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The conformance cases that passed; never empty.
    pub cases: Vec<String>,
    /// The version of the runner that passed them.
    pub version: String,
    /// The day, as `YYYY-MM-DD`.
    pub date: String,
}

/// One field of the matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// What is declared.
    #[serde(flatten)]
    pub support: Support,
    /// What shows it; nothing reads as `unverified`.
    pub evidence: Option<Evidence>,
}

/// What one runner declares, on every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapabilitySheet {
    file: String,
    runner: String,
    title: String,
    about: String,
    /// Has every row.
    cells: BTreeMap<Row, Cell>,
}

/// One thing that is wrong with a sheet.
#[derive(Clone, Debug, Error, PartialEq, Eq, PartialOrd, Ord)]
pub enum SheetProblem {
    /// The file is not TOML of the shape of a sheet.
    #[error("{file}: cannot be read as a capability sheet: {why}")]
    Unreadable {
        /// The file's name.
        file: String,
        /// What the parser says, with line and column.
        why: String,
    },
    /// The runner has no usable name.
    #[error("{file}: `runner = \"{name}\"` is no name for a runner; use lower-case letters, digits and `-`")]
    Runner {
        /// The file's name.
        file: String,
        /// What stands there.
        name: String,
    },
    /// A row that the matrix does not have.
    #[error("{file}: row `{row}` is not in the matrix; remove it, or use one of the ids in features.toml")]
    UnknownRow {
        /// The file's name.
        file: String,
        /// What stands there.
        row: String,
    },
    /// A row of the matrix that the sheet does not have.
    #[error("{file}: row `{row}` is missing; declare it `yes`, `partial` with a limit, or `no`")]
    MissingRow {
        /// The file's name.
        file: String,
        /// Which row.
        row: Row,
    },
    /// Support that is none of the three words.
    #[error("{file}: row `{row}` declares `{found}`; write `yes`, `partial` or `no`")]
    Support {
        /// The file's name.
        file: String,
        /// Which row.
        row: Row,
        /// What stands there.
        found: String,
    },
    /// Partial support that does not say what is missing.
    #[error("{file}: row `{row}` is `partial` without a limit; say in words what does not work, as `limit = \"…\"`")]
    NoLimit {
        /// The file's name.
        file: String,
        /// Which row.
        row: Row,
    },
    /// A field that another kind of support has.
    #[error("{file}: row `{row}` is `{support}` and has a `{field}`, which belongs to `{belongs_to}`")]
    Stray {
        /// The file's name.
        file: String,
        /// Which row.
        row: Row,
        /// What is declared.
        support: String,
        /// Which field.
        field: &'static str,
        /// To what it belongs.
        belongs_to: &'static str,
    },
    /// A circumstance that the matrix does not have.
    #[error("{file}: row `{row}` refuses `{found}`; a sheet can refuse {}", .known.join(", "))]
    Circumstance {
        /// The file's name.
        file: String,
        /// Which row.
        row: Row,
        /// What stands there.
        found: String,
        /// What could stand there.
        known: Vec<&'static str>,
    },
    /// Evidence of which a part is missing or malformed.
    #[error("{file}: row `{row}` has incomplete evidence; give `cases`, `version` and a `date` as YYYY-MM-DD, or none")]
    Evidence {
        /// The file's name.
        file: String,
        /// Which row.
        row: Row,
    },
}

/// Everything that is wrong with a sheet, sorted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct SheetError {
    /// Never empty.
    pub problems: Vec<SheetProblem>,
}

impl CapabilitySheet {
    /// Reads a sheet; `file` is only named in errors and verdicts.
    ///
    /// # Errors
    /// Everything that is wrong with it: not TOML, unknown or missing rows, partial support without a limit, incomplete
    /// evidence.
    pub fn parse(file: &str, text: &str) -> Result<Self, SheetError> {
        let sheet: SheetText = toml::from_str(text).map_err(|error| SheetError {
            problems: vec![SheetProblem::Unreadable {
                file: file.to_owned(),
                why: error.to_string().trim().to_owned(),
            }],
        })?;
        let mut problems = Vec::new();
        if !is_name(&sheet.runner) {
            problems.push(SheetProblem::Runner { file: file.to_owned(), name: sheet.runner.clone() });
        }
        let mut cells = BTreeMap::new();
        let mut declared: Vec<Row> = Vec::new();
        for (id, cell) in sheet.rows {
            let Some(row) = Row::from_id(&id) else {
                problems.push(SheetProblem::UnknownRow { file: file.to_owned(), row: id });
                continue;
            };
            declared.push(row);
            match read_cell(file, row, cell) {
                Ok(cell) => {
                    cells.insert(row, cell);
                }
                Err(wrong) => problems.extend(wrong),
            }
        }
        let missing = Row::ALL.iter().filter(|row| !declared.contains(row));
        problems.extend(missing.map(|&row| SheetProblem::MissingRow { file: file.to_owned(), row }));
        if !problems.is_empty() {
            problems.sort();
            return Err(SheetError { problems });
        }
        Ok(Self { file: file.to_owned(), runner: sheet.runner, title: sheet.title, about: sheet.about, cells })
    }

    /// Where it was read from.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The runner's name, as users choose it.
    pub fn runner(&self) -> &str {
        &self.runner
    }

    /// The runner's name for people.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// One sentence on the runner, or on where the sheet's knowledge comes from.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// What it declares of a row.
    pub fn cell(&self, row: Row) -> &Cell {
        self.cells.get(&row).expect("a sheet without a row is refused when it is read")
    }

    /// How far it supports a row.
    pub fn support(&self, row: Row) -> &Support {
        &self.cell(row).support
    }
}

impl Support {
    /// The word that stands in a sheet.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Partial { .. } => "partial",
            Self::No { .. } => "no",
        }
    }

    /// The limit of partial support.
    pub fn limit(&self) -> Option<&str> {
        match self {
            Self::Partial { limit, .. } => Some(limit),
            Self::Yes | Self::No { .. } => None,
        }
    }

    /// What is said beside the word: a limit, or a reason.
    pub fn remark(&self) -> Option<&str> {
        match self {
            Self::Partial { limit: remark, .. } | Self::No { reason: remark } => {
                Some(remark.as_str()).filter(|remark| !remark.is_empty())
            }
            Self::Yes => None,
        }
    }

    /// Whether it is more than nothing.
    pub const fn is_some(&self) -> bool {
        !matches!(self, Self::No { .. })
    }

    /// Whether what is needed under these circumstances is done: all of it, or as far as a pipeline can show.
    pub fn allows(&self, circumstances: &BTreeSet<Circumstance>) -> bool {
        match self {
            Self::Yes => true,
            Self::Partial { refuses, .. } => refuses.is_disjoint(circumstances),
            Self::No { .. } => false,
        }
    }

    /// Whether it has a limit of which only the run shows whether it is kept.
    pub fn has_open_limit(&self) -> bool {
        match self {
            Self::Partial { refuses, .. } => refuses.is_empty(),
            Self::Yes | Self::No { .. } => false,
        }
    }
}

/// The sheets that come with Purlin: of its own runners, then of those of others.
pub fn all() -> impl Iterator<Item = &'static CapabilitySheet> {
    own().iter().chain(others())
}

/// The sheet of a runner, if it comes with Purlin.
pub fn of_runner(runner: &str) -> Option<&'static CapabilitySheet> {
    all().find(|sheet| sheet.runner() == runner)
}

/// The sheets of Purlin's own runners: direct, micro-batch, continuous.
pub fn own() -> &'static [CapabilitySheet] {
    own_in_order()
}

/// What the direct runner declares.
pub fn direct() -> &'static CapabilitySheet {
    &own_in_order()[0]
}

/// What the micro-batch runner declares.
pub fn micro_batch() -> &'static CapabilitySheet {
    &own_in_order()[1]
}

/// What the continuous runner declares.
pub fn continuous() -> &'static CapabilitySheet {
    &own_in_order()[2]
}

fn own_in_order() -> &'static [CapabilitySheet; 3] {
    static SHEETS: OnceLock<[CapabilitySheet; 3]> = OnceLock::new();
    SHEETS.get_or_init(|| {
        [
            ("capability-matrix/sheets/direct.toml", include_str!("../sheets/direct.toml")),
            ("capability-matrix/sheets/micro-batch.toml", include_str!("../sheets/micro-batch.toml")),
            ("capability-matrix/sheets/continuous.toml", include_str!("../sheets/continuous.toml")),
        ]
        .map(|(file, text)| read(file, text))
    })
}

/// The sheets of runners of others, from what they document: flink, spark. Purlin cannot run jobs on them.
pub fn others() -> &'static [CapabilitySheet] {
    static SHEETS: OnceLock<Vec<CapabilitySheet>> = OnceLock::new();
    SHEETS.get_or_init(|| {
        read_all(&[
            ("capability-matrix/sheets/flink.toml", include_str!("../sheets/flink.toml")),
            ("capability-matrix/sheets/spark.toml", include_str!("../sheets/spark.toml")),
        ])
    })
}

fn read_all(files: &[(&str, &str)]) -> Vec<CapabilitySheet> {
    files.iter().map(|(file, text)| read(file, text)).collect()
}

fn read(file: &str, text: &str) -> CapabilitySheet {
    CapabilitySheet::parse(file, text).expect("these sheets are part of this crate, and its tests read them")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SheetText {
    runner: String,
    title: String,
    #[serde(default)]
    about: String,
    rows: BTreeMap<String, CellText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CellText {
    support: String,
    #[serde(default)]
    limit: String,
    #[serde(default)]
    refuses: Vec<String>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    cases: Vec<String>,
    #[serde(default)]
    version: String,
    #[serde(default)]
    date: String,
}

fn read_cell(file: &str, row: Row, text: CellText) -> Result<Cell, Vec<SheetProblem>> {
    let file = file.to_owned();
    let mut problems = Vec::new();
    let (limit, reason) = (text.limit.trim().to_owned(), text.reason.trim().to_owned());
    let stray = [
        (!limit.is_empty() && text.support != "partial", "limit", "partial"),
        (!text.refuses.is_empty() && text.support != "partial", "refuses", "partial"),
        (!reason.is_empty() && text.support != "no", "reason", "no"),
    ];
    let support = match text.support.as_str() {
        "yes" => Some(Support::Yes),
        "no" => Some(Support::No { reason }),
        "partial" if limit.is_empty() => {
            problems.push(SheetProblem::NoLimit { file: file.clone(), row });
            None
        }
        "partial" => {
            let mut refuses = BTreeSet::new();
            for id in &text.refuses {
                match Circumstance::from_id(id) {
                    Some(circumstance) => {
                        refuses.insert(circumstance);
                    }
                    None => {
                        let known = Circumstance::ALL.map(Circumstance::id).to_vec();
                        problems.push(SheetProblem::Circumstance { file: file.clone(), row, found: id.clone(), known });
                    }
                }
            }
            Some(Support::Partial { limit, refuses })
        }
        found => {
            problems.push(SheetProblem::Support { file: file.clone(), row, found: found.to_owned() });
            None
        }
    };
    if support.is_some() {
        for (_, field, belongs_to) in stray.into_iter().filter(|(stands, ..)| *stands) {
            let support = text.support.clone();
            problems.push(SheetProblem::Stray { file: file.clone(), row, support, field, belongs_to });
        }
    }
    let given = [!text.cases.is_empty(), !text.version.is_empty(), !text.date.is_empty()];
    let evidence =
        given.contains(&true).then_some(Evidence { cases: text.cases, version: text.version, date: text.date });
    if evidence.as_ref().is_some_and(|evidence| given.contains(&false) || !is_date(&evidence.date)) {
        problems.push(SheetProblem::Evidence { file, row });
    }
    match support {
        Some(support) if problems.is_empty() => Ok(Cell { support, evidence }),
        Some(_) | None => Err(problems),
    }
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits)
}

/// Whether this looks like a day: four digits, two of a month, two of a day.
fn is_date(date: &str) -> bool {
    let parts: Vec<&str> = date.split('-').collect();
    let number = |text: &str, digits: usize| {
        let fits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| text.parse::<u32>().ok()).flatten()
    };
    let [year, month, day] = parts[..] else { return false };
    let month = number(month, 2).is_some_and(|month| (1..=12).contains(&month));
    number(year, 4).is_some() && month && number(day, 2).is_some_and(|day| (1..=31).contains(&day))
}
