//! docs/guide/options.md lists the options that there are. `UPDATE_OPTIONS=1` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::sync::Arc;

use purlin_backend::{DEAD_LETTER_DIR, DEAD_LETTER_MAX, DEAD_LETTER_REPLAY, OptionKind, OptionSpec, Registry};
use purlin_continuous::ContinuousBackend;
use purlin_direct::DirectBackend;
use purlin_job_server::RUNNER_SPEC;
use purlin_micro_batch::MicroBatchBackend;

/// What stands above the rows.
const HEAD: &str = "|---|---|---|---|\n";

fn row(option: &OptionSpec, default: &str) -> String {
    let kind = match (option.kind, option.least) {
        (OptionKind::Integer, Some(least)) => format!("a whole number of at least {least}"),
        (OptionKind::Integer, None) => "a whole number".to_owned(),
        (OptionKind::Number, _) => "a number".to_owned(),
        (OptionKind::Boolean, _) => "`true` or `false`".to_owned(),
        (OptionKind::String, _) => "a text".to_owned(),
        (OptionKind::Array, _) => "a list of texts".to_owned(),
    };
    format!("| `--{}` | {kind} | {default} | {} |\n", option.name, option.help)
}

#[test]
fn the_page_is_fresh() {
    let registry = Registry::new()
        .with(Arc::new(DirectBackend))
        .with(Arc::new(MicroBatchBackend))
        .with(Arc::new(ContinuousBackend));
    let mut rows = row(&RUNNER_SPEC, "`--runner` of the server");
    let of_all = [&DEAD_LETTER_DIR, &DEAD_LETTER_MAX, &DEAD_LETTER_REPLAY];
    for option in of_all.into_iter().chain(registry.iter().flat_map(|backend| backend.options())) {
        rows += &row(option, &option.default.map(|text| format!("`{text}`")).unwrap_or_default());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/options.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (intro, _) = page.split_once(HEAD).unwrap();
    let expected = format!("{intro}{HEAD}{rows}");
    if std::env::var_os("UPDATE_OPTIONS").is_some() {
        std::fs::write(&path, expected).unwrap();
    } else {
        assert_eq!(page, expected, "run this test with UPDATE_OPTIONS=1");
    }
}
