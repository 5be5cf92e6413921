//! The example with late data prints in each language what the guide says.

use std::process::Command;

use super::{finish, root};

/// Where the guide's table has a language.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    Python = 2,
    Java = 3,
    Go = 4,
}

/// Runs the example and compares its panes with the guide's, in any order: lines of one moment may come in either.
pub(crate) fn prints_what_the_guide_says(command: Command, column: Column) {
    let finished = finish(command).well().says(&["purlin:droppedDueToLateness = 1"]);
    let mut panes: Vec<_> = finished.stdout.lines().filter(|line| line.contains(" pane ")).collect();
    let guide = std::fs::read_to_string(root().join("docs/guide/late-data.md")).expect("the guide");
    let mut expected: Vec<_> = guide
        .lines()
        .filter_map(|row| row.split('|').nth(column as usize)?.trim().strip_prefix('`')?.strip_suffix('`'))
        .collect();
    assert!(expected.len() >= 5, "the guide has a table: {expected:?}");
    panes.sort_unstable();
    expected.sort_unstable();
    assert_eq!(panes, expected);
}
