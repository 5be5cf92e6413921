//! What a pipeline needs, and which of its transforms need it.
//!
//! ```text
//!   planner ──add(row, transform, circumstances)──► Requirements: Row ─► transforms ─► circumstances ──► verdict
//! ```
//! Does not know how needs are found, nor what any runner declares.

use std::collections::{BTreeMap, BTreeSet};

use crate::circumstance::Circumstance;
use crate::row::Row;

/// The transforms that need a row, by unique name, each with the circumstances under which it does.
pub type Uses = BTreeMap<String, BTreeSet<Circumstance>>;

/// What a pipeline needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    rows: BTreeMap<Row, Uses>,
}

impl Requirements {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that a transform, by its unique name, needs a row, under circumstances that limits may speak of.
    pub fn add(
        &mut self,
        row: Row,
        transform: impl Into<String>,
        circumstances: impl IntoIterator<Item = Circumstance>,
    ) {
        self.rows.entry(row).or_default().entry(transform.into()).or_default().extend(circumstances);
    }

    /// Whether nothing is needed.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many rows are needed.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether a row is needed.
    pub fn contains(&self, row: Row) -> bool {
        self.rows.contains_key(&row)
    }

    /// The rows in the order of the matrix, each with its transforms by name.
    pub fn iter(&self) -> impl Iterator<Item = (Row, &Uses)> {
        self.rows.iter().map(|(&row, uses)| (row, uses))
    }
}
