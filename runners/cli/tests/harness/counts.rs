//! Texts, what is right to count in them, and what a pipeline counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// How often each word stands there.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Beside the example texts: other scripts, words that differ in case, a line without words, no newline at the end.
const ODD_TEXT: &str = "Beam beam BEAM\n\n  -- 12 --\nFüße señal naïve 梁 梁 o'clock 'tis\nlast_line";

/// A folder with texts.
pub(crate) fn texts() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for entry in fs::read_dir(super::root().join("examples/data")).expect("there are texts") {
        let entry = entry.expect("a text");
        fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("texts can be copied");
    }
    fs::write(folder.path().join("odd.txt"), ODD_TEXT).expect("a file");
    folder
}

/// What a folder of texts should give, by a way to find the words of a line.
pub(crate) fn expected(folder: &Path, words: fn(&str) -> Vec<String>) -> Counts {
    let mut counts = Counts::new();
    for entry in fs::read_dir(folder).expect("the folder of texts") {
        let text = fs::read_to_string(entry.expect("a text").path()).expect("texts are UTF-8");
        for word in text.lines().flat_map(words) {
            *counts.entry(word).or_default() += 1;
        }
    }
    assert!(counts.len() > 1000, "there are texts with many words");
    counts
}

/// What a pipeline wrote into a folder: lines `word: count`.
pub(crate) fn read(folder: &Path) -> Counts {
    let mut counts = Counts::new();
    for entry in fs::read_dir(folder).expect("the folder of counts") {
        let file = entry.expect("a file").path();
        for line in fs::read_to_string(&file).expect("counts are UTF-8").lines() {
            let (word, count) = line.rsplit_once(": ").unwrap_or_else(|| panic!("{}: {line}", file.display()));
            let count = count.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
            let twice = counts.insert(word.to_owned(), count);
            assert_eq!(twice, None, "{word} is counted twice");
        }
    }
    counts
}

/// As the examples in Go and Java have it: runs of letters and apostrophes, in lower case.
pub(crate) fn runs_of_letters(line: &str) -> Vec<String> {
    let runs = line.split(|c: char| !(c.is_alphabetic() || c == '\''));
    runs.filter(|run| !run.is_empty()).map(str::to_lowercase).collect()
}
