//! What test runs say of themselves, summed up.
//!
//! Reads the lines that Rust's test harness prints; knows nothing else of them.

use std::collections::BTreeSet;
use std::fmt;

/// How many tests passed, failed and were skipped, over several runs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
    /// What the reader should know before the sum.
    pub(super) remarks: Vec<String>,
}

impl Tally {
    /// Takes in one line of output, whatever it is.
    pub(super) fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, "passed");
            self.failed += count(counts, "failed");
            self.skipped += count(counts, "ignored");
        } else if let Some((name, _)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ignored")) {
            self.remarks.push(format!("Ignored: {name}"));
        }
    }

    /// Notes targets that cannot run here. Where they are required, each is a failure.
    pub(super) fn leave_out(&mut self, targets: &BTreeSet<String>, reason: &str, required: bool) {
        let names = targets.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let number = targets.len() as u64;
        if required {
            self.failed += number;
            self.remarks.push(format!("Did not run, which is a failure because CI=true: {names}: {reason}"));
        } else {
            self.skipped += number;
            self.remarks.push(format!("Did not run: {names}: {reason}"));
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The number in front of a word, as in `ok. 3 passed; 0 failed`.
fn count(text: &str, word: &str) -> u64 {
    let mut before = "";
    for part in text.split([' ', ';']).filter(|part| !part.is_empty()) {
        if part == word {
            return before.parse().unwrap_or(0);
        }
        before = part;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_summed_and_ignored_tests_named() {
        let mut tally = Tally::default();
        for line in [
            "running 4 tests",
            "test a::b ... ok",
            "test c::d ... ignored, needs a quiet machine",
            "test src/lib.rs - f (line 3) ... ignored",
            "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 5 filtered out; finished in 0.00s",
            "test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        ] {
            tally.read(line);
        }
        assert_eq!(tally.to_string(), "43 passed, 1 failed, 2 skipped");
        assert_eq!(tally.remarks, ["Ignored: c::d", "Ignored: src/lib.rs - f (line 3)"]);
    }

    #[test]
    fn a_missing_toolchain_skips_or_fails() {
        let targets = BTreeSet::from(["go_examples".to_owned(), "go_errors".to_owned()]);
        let mut here = Tally::default();
        here.leave_out(&targets, "no Go", false);
        assert_eq!(here.to_string(), "0 passed, 0 failed, 2 skipped");
        assert_eq!(here.remarks, ["Did not run: go_errors, go_examples: no Go"]);
        let mut in_ci = Tally::default();
        in_ci.leave_out(&targets, "no Go", true);
        assert_eq!(in_ci.to_string(), "0 passed, 2 failed, 0 skipped");
    }
}
