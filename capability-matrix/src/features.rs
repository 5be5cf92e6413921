//! What the rows are: their groups, their names, and a sentence on what using each means.
//!
//! ```text
//!   features.toml ──features()──► groups of features, one for each Row
//! ```
//! Does not know who supports them.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::row::Row;

const TEXT: &str = include_str!("../features.toml");

/// Whose the rows of a group are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Beam's published capability matrix has them, by these names.
    Beam,
    /// Beam's matrix lacks them.
    Purlin,
}

/// Rows that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Beam's own name where the group is Beam's.
    pub name: String,
    /// Whose the rows are.
    pub origin: Origin,
    /// In order.
    pub features: Vec<Feature>,
}

/// What a row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Which row.
    pub row: Row,
    /// Its name for people; two groups may use the same.
    pub name: String,
    /// One sentence on what using it means.
    pub means: String,
    /// Whether a check can see in a pipeline that it is needed; if not, only the run shows it.
    pub checked: bool,
}

/// All groups, in the order of the matrix.
pub fn groups() -> &'static [Group] {
    static GROUPS: OnceLock<Vec<Group>> = OnceLock::new();
    GROUPS.get_or_init(|| parse(TEXT).expect("features.toml is part of this crate, and its tests read it"))
}

impl Row {
    /// What this row is.
    pub fn feature(self) -> &'static Feature {
        let mut features = groups().iter().flat_map(|group| &group.features);
        features.find(|feature| feature.row == self).expect("features.toml has every row: a test compares them")
    }

    /// The group that it stands in.
    pub fn group(self) -> &'static Group {
        let has = |group: &&Group| group.features.iter().any(|feature| feature.row == self);
        groups().iter().find(has).expect("features.toml has every row: a test compares them")
    }

    /// A name that tells it from all other rows: rows on splittable DoFns say which kind they speak of.
    pub fn full_name(self) -> String {
        let name = &self.feature().name;
        match self.id().split_once("-sdf-") {
            Some(("bounded", _)) => format!("Bounded splittable DoFn: {name}"),
            Some(("unbounded", _)) => format!("Unbounded splittable DoFn: {name}"),
            Some(_) | None => name.clone(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    group: Vec<GroupText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupText {
    name: String,
    origin: Origin,
    row: Vec<RowText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowText {
    id: String,
    name: String,
    means: String,
    #[serde(default = "yes")]
    checked: bool,
}

fn yes() -> bool {
    true
}

fn parse(text: &str) -> Result<Vec<Group>, String> {
    let file: FileText = toml::from_str(text).map_err(|error| error.to_string())?;
    let feature = |row: RowText| {
        let known =
            Row::from_id(&row.id).ok_or_else(|| format!("features.toml: src/row.rs has no row `{}`", row.id))?;
        Ok(Feature { row: known, name: row.name, means: row.means, checked: row.checked })
    };
    let group = |group: GroupText| {
        let features = group.row.into_iter().map(feature).collect::<Result<_, String>>()?;
        Ok(Group { name: group.name, origin: group.origin, features })
    };
    file.group.into_iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_file_and_the_list_of_rows_are_the_same() {
        let groups = parse(TEXT).unwrap();
        let listed: Vec<Row> = groups.iter().flat_map(|group| &group.features).map(|feature| feature.row).collect();
        assert_eq!(listed, Row::ALL, "features.toml and src/row.rs differ, or their order does");
    }

    #[test]
    fn beams_rows_are_all_there_by_beams_names() {
        let beams: Vec<_> = groups().iter().filter(|group| group.origin == Origin::Beam).collect();
        let sizes: Vec<_> = beams.iter().map(|group| (group.name.as_str(), group.features.len())).collect();
        let expected = [
            ("What is being computed?", 9),
            ("Bounded Splittable DoFn Support Status", 5),
            ("Unbounded Splittable DoFn Support Status", 5),
            ("Where in event time?", 7),
            ("When in processing time?", 7),
            ("How do refinements relate?", 2),
            ("Additional common features not yet part of the Beam model", 3),
        ];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn every_row_says_what_it_means_in_one_sentence() {
        for &row in Row::ALL {
            let feature = row.feature();
            assert!(feature.means.ends_with('.') && !feature.means.contains(". "), "{row}: {}", feature.means);
            assert!(!feature.means.contains('|') && !feature.name.contains('|'), "{row} would break a table");
            assert!(row.id().chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{row} is not in kebab-case");
        }
    }

    #[test]
    fn full_names_tell_rows_apart() {
        let names: BTreeSet<_> = Row::ALL.iter().map(|row| row.full_name()).collect();
        assert_eq!(names.len(), Row::ALL.len());
    }

    #[test]
    fn a_file_with_an_unknown_row_is_refused() {
        let text = "[[group]]\nname = \"G\"\norigin = \"purlin\"\n[[group.row]]\nid = \"flying\"\nname = \"F\"\nmeans = \"It flies.\"\n";
        assert_eq!(parse(text).unwrap_err(), "features.toml: src/row.rs has no row `flying`");
    }
}
