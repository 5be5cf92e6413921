//! `cargo xtask wordcount`: from a fresh clone to counted words.
//!
//! ```text
//!   release purlin ┐
//!   .env           ├─► purlin run -- python examples/python/wordcount.py ─► target/wordcount/counts-… ─► top ten
//!   examples/data  ┘
//! ```
//! Knows the format of the counts that the example writes; does not know how they come about.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use crate::cargo::{self, CargoError};
use crate::environment::{self, EnvironmentError};

/// How many words are printed.
const WORDS_SHOWN: usize = 10;

/// Counts the words of the texts in examples/data, with Purlin and Beam's Python SDK.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Why the words could not be counted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WordcountError {
    #[error(transparent)]
    Cargo(#[from] CargoError),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error("cannot start {}", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("the pipeline ended with {status}; what it said stands above")]
    Pipeline { status: ExitStatus },
    #[error("the pipeline ended well, but there are no counts in {}", folder.display())]
    NoCounts { folder: PathBuf },
    #[error("{} holds a line that is not `word: count`: {line}", file.display())]
    Line { file: PathBuf, line: String },
    #[error("cannot {what} {}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

/// Runs the task.
///
/// # Errors
/// If something cannot be built or made, or if the pipeline fails.
pub(crate) fn run(_: &Args) -> Result<(), WordcountError> {
    let root = cargo::repository();
    let purlin = cargo::build_purlin()?;
    let python = environment::ensure()?;
    let folder = purlin.ancestors().nth(2).unwrap_or(root).join("wordcount");
    empty(&folder)?;

    let mut command = Command::new(&purlin);
    command.current_dir(root).args(["run", "--"]).arg(relative(&python));
    command.args(["examples/python/wordcount.py", "--input", "examples/data/*.txt", "--output"]);
    command.arg(relative(&folder).join("counts"));
    let words = std::iter::once(relative(&purlin).as_os_str()).chain(command.get_args());
    eprintln!("$ {}", words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "));
    let status = command.status().map_err(|source| WordcountError::Start { program: purlin.clone(), source })?;
    if !status.success() {
        return Err(WordcountError::Pipeline { status });
    }

    let counts = read(&folder)?;
    let report = counts.report();
    io::stdout().write_all(report.as_bytes()).map_err(|source| WordcountError::Io {
        what: "write to",
        path: PathBuf::from("the terminal"),
        source,
    })
}

/// As seen from the root of the repository, if it lies there.
fn relative(path: &Path) -> &Path {
    path.strip_prefix(cargo::repository()).unwrap_or(path)
}

/// A folder that holds no counts of an earlier run.
fn empty(folder: &Path) -> Result<(), WordcountError> {
    let failed = |what| move |source| WordcountError::Io { what, path: folder.to_owned(), source };
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed("remove"))?;
    }
    fs::create_dir_all(folder).map_err(failed("make"))
}

#[derive(Debug, Default)]
struct Counts {
    files: Vec<PathBuf>,
    /// The most frequent first; words that are equally frequent in order of the alphabet.
    words: Vec<(u64, String)>,
}

fn read(folder: &Path) -> Result<Counts, WordcountError> {
    let failed = |path: &Path, source| WordcountError::Io { what: "read", path: path.to_owned(), source };
    let mut counts = Counts::default();
    for entry in fs::read_dir(folder).map_err(|source| failed(folder, source))? {
        counts.files.push(entry.map_err(|source| failed(folder, source))?.path());
    }
    counts.files.sort();
    for file in &counts.files {
        for line in fs::read_to_string(file).map_err(|source| failed(file, source))?.lines() {
            let word = parse(line).ok_or_else(|| WordcountError::Line { file: file.clone(), line: line.to_owned() })?;
            counts.words.push(word);
        }
    }
    if counts.words.is_empty() {
        return Err(WordcountError::NoCounts { folder: folder.to_owned() });
    }
    counts.words.sort_by(|(count, word), (other_count, other)| other_count.cmp(count).then_with(|| word.cmp(other)));
    Ok(counts)
}

fn parse(line: &str) -> Option<(u64, String)> {
    let (word, count) = line.rsplit_once(": ")?;
    Some((count.parse().ok()?, word.to_owned()))
}

impl Counts {
    fn report(&self) -> String {
        let total: u64 = self.words.iter().map(|(count, _)| count).sum();
        let mut text = format!("\n{total} words, {} different ones. The counts stand in:\n", self.words.len());
        for file in &self.files {
            text.push_str(&format!("  {}\n", relative(file).display()));
        }
        text.push_str("The most frequent:\n");
        for (count, word) in self.words.iter().take(WORDS_SHOWN) {
            text.push_str(&format!("{count:>7}  {word}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_several_files_are_read_and_ordered() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("counts-00000-of-00002"), "beam: 3\nriver: 1\n").expect("a file");
        fs::write(folder.path().join("counts-00001-of-00002"), "o'clock: 1\nroof: 12\n").expect("a file");
        let counts = read(folder.path()).expect("they are counts");
        let words: Vec<_> = counts.words.iter().map(|(count, word)| (*count, word.as_str())).collect();
        assert_eq!(words, [(12, "roof"), (3, "beam"), (1, "o'clock"), (1, "river")]);
        assert!(counts.report().contains("17 words, 4 different ones"));
    }

    #[test]
    fn no_counts_and_other_lines_are_errors() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(matches!(read(folder.path()), Err(WordcountError::NoCounts { .. })));
        fs::write(folder.path().join("counts"), "beam: many\n").expect("a file");
        assert!(matches!(read(folder.path()), Err(WordcountError::Line { .. })));
    }
}
