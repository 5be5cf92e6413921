//! Dead letters: the elements that user code could not take, in a file that people and programs read.
//!
//! ```text
//!   DIR/JOB.jsonl            one letter a line: what, where, why, and the element's own bytes
//!   DIR/JOB.replayed.jsonl   the same, when they have been processed after all
//! ```
//! The file appears when the job begins, so that a folder that cannot be written is told before any work is done, and goes with
//! the job if there was nothing to put into it. Whoever writes to it or replays it holds a lock on it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use purlin_engine::core::stage::{JobGraph, StageId};
use purlin_engine::data::BatchSlice;
use purlin_engine::store::{BatchStore, StoreError};
use purlin_model::element::Header;
use purlin_plan::{EntryPoint, StageGraph};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::text::{key_text, value_text};

/// How the files in a folder of dead letters end.
pub const DEAD_LETTER_FILE: &str = "jsonl";

/// What stands before that when they have been replayed.
const REPLAYED: &str = "replayed";

/// How much of an element is shown as text; its bytes are whole.
const TEXT_CHARS_MAX: usize = 1_000;

/// An element that was put aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The job's id.
    pub job: String,
    /// The job's name.
    pub job_name: String,
    /// When it was put aside (RFC 3339).
    pub time: String,
    /// The stage that could not process it.
    pub stage: String,
    /// The PCollection that it belongs to.
    pub pcollection: String,
    /// In a stage of keys: its key. Such a letter is the last of its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its timestamp, in milliseconds since the epoch, or Beam's name of it.
    pub timestamp: String,
    /// The windows that it stands in.
    pub windows: Vec<String>,
    /// Which firing it came from: its timing, and its index.
    pub pane: String,
    /// The element, as far as the runner can read it; long ones are cut.
    pub text: String,
    /// Where it goes in if it is replayed: the transforms that it was given to, the coder of `element`, and its windowing.
    #[serde(flatten)]
    pub entry: EntryPoint,
    /// Timestamp, windows and pane as they stand on the wire, in base 64.
    pub header: String,
    /// The element's nested encoding, in base 64. A group that is too large to be sent at once has a token of this job in the place of
    /// its values.
    pub element: String,
    /// What failed, and the SDK's own trace.
    pub error: String,
}

impl DeadLetter {
    /// The line of the SDK's trace that says what was wrong: in Python's the exception, with the transform behind it; in Java's what
    /// everything else was because of, which frames follow.
    pub fn cause(&self) -> &str {
        cause(&self.error)
    }
}

fn cause(trace: &str) -> &str {
    let lines = || trace.lines().map(str::trim).filter(|line| !line.is_empty());
    let named = || lines().find(|line| line.contains("[while running "));
    let first = || lines().filter_map(|line| line.strip_prefix("Caused by: ")).next_back();
    let is_frame = |line: &&str| line.starts_with("at ") || line.starts_with("... ");
    let last = || lines().rfind(|line| !is_frame(line));
    named().or_else(first).or_else(last).unwrap_or_default()
}

/// Why dead letters cannot be kept, or read.
#[derive(Debug, Error)]
pub enum DeadLetterError {
    /// The file system refuses.
    #[error("cannot {doing} `{}`: {why}; name a folder that the server can write by --dead_letter_dir", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// The element cannot be read back.
    #[error("cannot read an element that failed: {0}")]
    Store(#[from] StoreError),
    /// A line of a file is no dead letter.
    #[error("line {line} of `{}` is no dead letter: {why}", path.display())]
    Line {
        /// Counted from 1.
        line: usize,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: serde_json::Error,
    },
}

/// The file that takes the dead letters of one job.
#[derive(Debug)]
pub struct DeadLetterFile {
    path: PathBuf,
    file: File,
    job: String,
    job_name: String,
    /// By stage: the name of what it reads, and where elements enter it.
    inputs: Vec<(String, EntryPoint)>,
    count: u64,
}

impl DeadLetterFile {
    /// Makes the file of a job, and its folder if there is none.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn create(folder: &Path, job: &str, job_name: &str, plan: &StageGraph) -> Result<Self, DeadLetterError> {
        fs::create_dir_all(folder).map_err(|why| io_error("make the folder", folder, why))?;
        let path = folder.join(format!("{job}.{DEAD_LETTER_FILE}"));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|why| io_error("write", &path, why))?;
        file.lock().map_err(|why| io_error("lock", &path, why))?;
        let inputs = plan.stages.iter().map(|stage| {
            let read = stage.input.as_ref().and_then(|input| plan.components.pcollections.get(input.as_str()));
            let name = read.map(|read| read.unique_name.clone()).unwrap_or_default();
            (name, stage.entry.clone().unwrap_or_default())
        });
        let inputs = inputs.collect();
        Ok(Self { path, file, job: job.to_owned(), job_name: job_name.to_owned(), inputs, count: 0 })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many letters are in it.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds an element, and has it written when it returns.
    ///
    /// # Errors
    /// If the element cannot be read or written.
    pub(crate) fn keep(
        &mut self,
        graph: &JobGraph,
        batches: &dyn BatchStore,
        stage: StageId,
        element: &BatchSlice,
        error: &str,
    ) -> Result<DeadLetter, DeadLetterError> {
        let batch = batches.get(element.batch.id)?;
        let view = batch.get(element.first as usize);
        let spec = graph.stage(stage);
        let input = spec.upstream.first().map(|output| graph.output(*output));
        let header = input.and_then(|input| Header::decode(&mut &*view.header, input.windows).ok());
        let key = graph.keyed_input(stage).and_then(|coder| Some(key_text(coder, coder.key_of(view.value).ok()?)));
        let (pcollection, entry) = self.inputs.get(stage.index()).cloned().unwrap_or_default();
        let windows = header.as_ref().map(|header| header.windows.iter().map(|window| format!("{window:?}")).collect());
        let letter = DeadLetter {
            job: self.job.clone(),
            job_name: self.job_name.clone(),
            time: prost_types::Timestamp::from(SystemTime::now()).to_string(),
            stage: spec.name.to_string(),
            pcollection,
            key,
            timestamp: header.as_ref().map(|header| header.timestamp.to_string()).unwrap_or_default(),
            windows: windows.unwrap_or_default(),
            pane: header
                .as_ref()
                .map(|header| format!("{:?}, index {}", header.pane.timing, header.pane.index))
                .unwrap_or_default(),
            text: input.map(|input| value_text(&input.coder, view.value, TEXT_CHARS_MAX)).unwrap_or_default(),
            entry,
            header: BASE64.encode(view.header),
            element: BASE64.encode(view.value),
            error: error.to_owned(),
        };
        let mut line = serde_json::to_string(&letter).map_err(|why| io_error("write", &self.path, why.into()))?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(|why| io_error("write", &self.path, why))?;
        self.count += 1;
        Ok(letter)
    }
}

impl Drop for DeadLetterFile {
    fn drop(&mut self) {
        if self.count == 0 && self.file.metadata().is_ok_and(|file| file.len() == 0) {
            // An empty file more or less does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A file of dead letters that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it, in the order in which it was put aside.
    pub letters: Vec<DeadLetter>,
}

/// Which files of a folder are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterFiles {
    /// Those that were not replayed.
    Left,
    /// All.
    All,
}

/// The letters in a file, or in files of a folder, by name.
///
/// # Errors
/// If one cannot be read.
pub fn read_dead_letters(path: &Path, which: LetterFiles) -> Result<Vec<LetterFile>, DeadLetterError> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(|why| io_error("read", path, why))?;
        files = entries.into_iter().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|it| it == DEAD_LETTER_FILE));
        files.retain(|file| which == LetterFiles::All || !is_replayed(file));
        files.sort();
    }
    files
        .into_iter()
        .map(|path| {
            let file = File::open(&path).map_err(|why| io_error("read", &path, why))?;
            let letters = read_letters(&file, &path)?;
            Ok(LetterFile { path, letters })
        })
        .collect()
}

/// The letters in a file that is open.
pub(crate) fn read_letters(file: &File, path: &Path) -> Result<Vec<DeadLetter>, DeadLetterError> {
    let line = |(index, line): (usize, io::Result<String>)| {
        let line = line.map_err(|why| io_error("read", path, why))?;
        let letter = serde_json::from_str(&line);
        letter.map_err(|why| DeadLetterError::Line { line: index + 1, path: path.to_owned(), why })
    };
    BufReader::new(file).lines().enumerate().map(line).collect()
}

/// Whether what a file holds has been replayed, by its name.
pub fn is_replayed(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| Path::new(stem).extension().is_some_and(|it| it == REPLAYED))
}

/// What a file is called when it has been replayed: nothing else is, so far.
pub(crate) fn replayed_name(path: &Path) -> PathBuf {
    let mut name = path.with_extension(format!("{REPLAYED}.{DEAD_LETTER_FILE}"));
    let mut count = 1;
    while name.exists() {
        count += 1;
        name = path.with_extension(format!("{count}.{REPLAYED}.{DEAD_LETTER_FILE}"));
    }
    name
}

pub(crate) fn io_error(doing: &'static str, path: &Path, why: io::Error) -> DeadLetterError {
    DeadLetterError::Io { doing, path: path.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrong_is_found_in_the_traces_of_each_sdk() {
        let check = |trace: &str, expected: &str| assert_eq!(cause(trace), expected, "{trace}");
        let python = "stage `Parse` failed: Traceback (most recent call last):\n  File \"p.py\", line 1, in parse\nValueError: no \
                      number [while running 'Parse']\n\nDuring handling of it\nRuntimeError: more\n";
        check(python, "ValueError: no number [while running 'Parse']");
        let java = "stage `Parse` failed: UserCodeException: NumberFormatException: no number\n\tat Fn.wrap(Fn.java:1)\n\t... 2 \
                    more\nCaused by: RuntimeException: why\n\tat Fn.process(Fn.java:2)\nCaused by: NumberFormatException: no \
                    number\n\tat java.base/Integer.parseInt(Integer.java:3)\n\t... 7 more\n";
        check(java, "NumberFormatException: no number");
        check("IOException: gone\n\tat Fn.read(Fn.java:4)\n", "IOException: gone");
        check("process bundle failed\n\tcaused by:\nno number\n", "no number");
        check("", "");
    }
}
