//! Sheets that are right are read, and all that is wrong with others is told at once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;

use purlin_capability_matrix::circumstance::Circumstance;
use purlin_capability_matrix::row::Row;
use purlin_capability_matrix::sheet::{CapabilitySheet, Support, all, of_runner, own};

/// A sheet that declares everything `yes`, but for what `change` makes of its lines.
fn changed(change: impl Fn(&str) -> String) -> Result<CapabilitySheet, String> {
    let rows: String = Row::ALL.iter().map(|row| change(&format!("{row} = {{ support = \"yes\" }}\n"))).collect();
    let text = format!("runner = \"mine\"\ntitle = \"Mine\"\n[rows]\n{rows}");
    CapabilitySheet::parse("mine.toml", &text).map_err(|error| error.to_string())
}

/// What is said of a sheet in which one row is declared like this.
fn said_of(row: Row, cell: &str) -> String {
    let line = format!("{row} = ");
    changed(|kept| if kept.starts_with(&line) { format!("{line}{cell}\n") } else { kept.to_owned() }).unwrap_err()
}

#[test]
fn every_sheet_in_the_folder_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sheets");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let mut known: Vec<_> = all().map(|sheet| format!("{}.toml", sheet.runner())).collect();
    known.sort();
    assert_eq!(files, known, "each sheet is named after its runner, and listed in src/sheet.rs");
    for sheet in all() {
        assert!(sheet.file().ends_with(&format!("sheets/{}.toml", sheet.runner())), "{}", sheet.file());
        assert!(Row::ALL.iter().all(|&row| sheet.support(row).limit() != Some("")));
    }
}

/// The truth of the day: whoever makes streaming work changes the sheets and this.
#[test]
fn our_runners_promise_no_more_of_streaming_than_they_do() {
    let unbounded = [Circumstance::Unbounded].into();
    for sheet in own() {
        assert!(!sheet.support(Row::Checkpoint).allows(&unbounded), "{}", sheet.runner());
        for row in [Row::Drain, Row::TriggeredSideInputs, Row::WindowedSideInputs, Row::TimeSortedInput] {
            assert_eq!(*sheet.support(row), Support::Yes, "{}: {row}", sheet.runner());
        }
        for row in [Row::EventTimeTriggers, Row::CountTriggers] {
            assert!(sheet.support(row).has_open_limit(), "{}: {row}", sheet.runner());
        }
    }
}

#[test]
fn a_sheet_is_found_by_its_runner() {
    assert!(all().all(|sheet| of_runner(sheet.runner()) == Some(sheet)));
    assert_eq!(of_runner("mine"), None);
}

#[test]
fn a_third_party_reads_its_own() {
    let sheet = changed(str::to_owned).unwrap();
    assert_eq!((sheet.runner(), sheet.title(), sheet.file()), ("mine", "Mine", "mine.toml"));
    assert!(Row::ALL.iter().all(|&row| *sheet.support(row) == Support::Yes));
}

#[test]
fn everything_wrong_is_told_at_once() {
    let wrong = changed(|line| match line.split(' ').next() {
        Some("par-do") => "par-dough = { support = \"yes\" }\n".to_owned(),
        Some("flatten") => "flatten = { support = \"partial\" }\n".to_owned(),
        Some("combine") => "combine = { support = \"maybe\" }\n".to_owned(),
        _ => line.to_owned(),
    });
    insta::assert_snapshot!(wrong.unwrap_err(), @r#"
    mine.toml: row `par-dough` is not in the matrix; remove it, or use one of the ids in features.toml
    mine.toml: row `par-do` is missing; declare it `yes`, `partial` with a limit, or `no`
    mine.toml: row `combine` declares `maybe`; write `yes`, `partial` or `no`
    mine.toml: row `flatten` is `partial` without a limit; say in words what does not work, as `limit = "…"`
    "#);
}

#[test]
fn a_limit_belongs_to_partial_support() {
    insta::assert_snapshot!(said_of(Row::Flatten, r#"{ support = "partial", limit = "  " }"#), @r#"mine.toml: row `flatten` is `partial` without a limit; say in words what does not work, as `limit = "…"`"#);
    insta::assert_snapshot!(said_of(Row::Flatten, r#"{ support = "no", limit = "not yet" }"#), @"mine.toml: row `flatten` is `no` and has a `limit`, which belongs to `partial`");
}

#[test]
fn reasons_and_circumstances_belong_to_their_words() {
    insta::assert_snapshot!(said_of(Row::Flatten, r#"{ support = "yes", reason = "why not" }"#), @"mine.toml: row `flatten` is `yes` and has a `reason`, which belongs to `no`");
    insta::assert_snapshot!(said_of(Row::Flatten, r#"{ support = "no", refuses = ["unbounded"] }"#), @"mine.toml: row `flatten` is `no` and has a `refuses`, which belongs to `partial`");
    insta::assert_snapshot!(said_of(Row::Flatten, r#"{ support = "partial", limit = "small", refuses = ["large"] }"#), @"mine.toml: row `flatten` refuses `large`; a sheet can refuse unbounded, merging-windows");
    let cell = r#"{ support = "partial", limit = "small", refuses = ["unbounded", "merging-windows"] }"#;
    let line = format!("{} = ", Row::Flatten);
    let sheet = changed(|kept| if kept.starts_with(&line) { format!("{line}{cell}\n") } else { kept.to_owned() });
    let refuses = Circumstance::ALL.into();
    assert_eq!(*sheet.unwrap().support(Row::Flatten), Support::Partial { limit: "small".to_owned(), refuses });
}

#[test]
fn evidence_is_whole_or_not_there() {
    let expected = said_of(Row::Flatten, r#"{ support = "yes", cases = ["a"], version = "1" }"#);
    insta::assert_snapshot!(expected, @"mine.toml: row `flatten` has incomplete evidence; give `cases`, `version` and a `date` as YYYY-MM-DD, or none");
    for cell in [
        r#"{ support = "yes", version = "1", date = "2026-01-31" }"#,
        r#"{ support = "yes", cases = ["a"], date = "2026-01-31" }"#,
        r#"{ support = "yes", cases = ["a"], version = "1", date = "31.1.2026" }"#,
        r#"{ support = "yes", cases = ["a"], version = "1", date = "2026-13-01" }"#,
    ] {
        assert_eq!(said_of(Row::Flatten, cell), expected, "{cell}");
    }
}

#[test]
fn what_is_no_sheet_says_where() {
    insta::assert_snapshot!(said_of(Row::Flatten, r#"{ supports = "yes" }"#), @r#"
    mine.toml: cannot be read as a capability sheet: TOML parse error at line 6, column 13
      |
    6 | flatten = { supports = "yes" }
      |             ^^^^^^^^
    unknown field `supports`, expected one of `support`, `limit`, `refuses`, `reason`, `cases`, `version`, `date`
    "#);
    insta::assert_snapshot!(CapabilitySheet::parse("mine.toml", "runner = ").unwrap_err(), @r#"
    mine.toml: cannot be read as a capability sheet: TOML parse error at line 1, column 10
      |
    1 | runner = 
      |          ^
    string values must be quoted, expected literal string
    "#);
    let twice = format!("{{ support = \"yes\" }}\n{} = {{ support = \"no\" }}", Row::Flatten);
    insta::assert_snapshot!(said_of(Row::Flatten, &twice), @r#"
    mine.toml: cannot be read as a capability sheet: TOML parse error at line 7, column 1
      |
    7 | flatten = { support = "no" }
      | ^^^^^^^
    duplicate key
    "#);
}

#[test]
fn runners_have_names_that_can_be_typed() {
    for name in ["", "Mine", "my runner", "-mine", "1"] {
        let text = format!("runner = \"{name}\"\ntitle = \"Mine\"\n[rows]\n");
        let error = CapabilitySheet::parse("mine.toml", &text).unwrap_err().to_string();
        assert!(error.contains(&format!("`runner = \"{name}\"` is no name for a runner")), "{error}");
    }
}
