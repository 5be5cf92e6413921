//! Replaying: the elements that an earlier job put aside are the input of a new one.
//!
//! ```text
//!   --dead_letter_replay=PATH ─► Replay ─points─► plan ─outputs─► ReplayInput ─► the job's one source
//!                                  └─claim, when it runs─► locked files ─done─► *.replayed.jsonl
//! ```
//! What was replayed is neither lost nor replayed again by accident: a file changes its name when the job has done all of it, and not before; as long
//! as the job runs, nobody else can have it.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use purlin_engine::core::stage::OutputId;
use purlin_engine::data::{LaneWriter, WriteError};
use purlin_model::coder::value::Value;
use purlin_model::coder::{Coder, Context};
use purlin_model::element::Header;
use purlin_model::time::EventTime;
use purlin_plan::{EntryPoint, StageGraph};
use thiserror::Error;

use crate::dead_letter::{
    DeadLetter, DeadLetterError, LetterFile, LetterFiles, io_error, is_replayed, read_dead_letters, read_letters,
    replayed_name,
};
use crate::options::{JobOptions, OptionError, OptionKind, OptionSpec};

/// What is replayed.
pub const DEAD_LETTER_REPLAY: OptionSpec = OptionSpec {
    name: "dead_letter_replay",
    kind: OptionKind::String,
    help: "A folder that --dead_letter_dir has filled, or a file of it. The elements in it are processed by the transforms that failed on \
           them, in the place of what sources would read; `purlin dead-letters replay` sets it. When the job is done, the files are renamed to \
           *.replayed.jsonl. SDKs that do not pass it on take it as an experiment: --experiments=dead_letter_replay=PATH.",
    default: None,
    least: None,
};

/// Why dead letters cannot be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The option is not what it takes.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// They cannot be read.
    #[error(transparent)]
    Read(#[from] DeadLetterError),
    /// There is no such file.
    #[error("there is no `{}`; name the folder that was given by --dead_letter_dir, or a file of it", .0.display())]
    Missing(PathBuf),
    /// There is nothing to replay.
    #[error("there are no dead letters to replay in `{}` (files *.jsonl that are not called *.replayed.jsonl)", .0.display())]
    Nothing(PathBuf),
    /// It is called as what was replayed.
    #[error("`{}` was replayed already; give it its old name if it is to be replayed again", .0.display())]
    Replayed(PathBuf),
    /// Some of them are not of the kind that can be.
    #[error("{} cannot be replayed:\n- {}", if .0.len() == 1 { "a dead letter" } else { "dead letters" }, .0.join("\n- "))]
    Letters(Vec<String>),
    /// Somebody else has the file.
    #[error("`{}` is in use: its job still runs, or another replays it; wait until that has ended", .0.display())]
    Busy(PathBuf),
    /// It was read when the job was prepared, and is not what it was.
    #[error("`{}` has changed since this job was prepared; start it again", .0.display())]
    Changed(PathBuf),
}

/// The dead letters that a job is to process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    files: Vec<LetterFile>,
}

impl Replay {
    /// What a job's options say; `None` if it replays nothing.
    ///
    /// # Errors
    /// If there is nothing to replay, or some of it cannot be.
    pub fn of(options: &JobOptions) -> Result<Option<Self>, ReplayError> {
        let name = DEAD_LETTER_REPLAY.name;
        let path = options.string(name)?.or_else(|| options.experiment(name)).filter(|path| !path.is_empty());
        path.map(|path| Self::read(Path::new(path))).transpose()
    }

    fn read(path: &Path) -> Result<Self, ReplayError> {
        if !path.exists() {
            return Err(ReplayError::Missing(path.to_owned()));
        }
        if is_replayed(path) {
            return Err(ReplayError::Replayed(path.to_owned()));
        }
        let mut files = read_dead_letters(path, LetterFiles::Left)?;
        files.retain(|file| !file.letters.is_empty());
        if files.is_empty() {
            return Err(ReplayError::Nothing(path.to_owned()));
        }
        let this = Self { files };
        let keyed = this.numbered().filter_map(|(place, letter)| {
            let key = letter.key.as_ref()?;
            Some(format!(
                "{place}: it failed in the stateful stage `{}`, at key {key}, and its job ended there: what the key had in its state is gone. \
                 Run the pipeline again, as a whole",
                letter.stage
            ))
        });
        let keyed: Vec<_> = keyed.collect();
        if keyed.is_empty() { Ok(this) } else { Err(ReplayError::Letters(keyed)) }
    }

    /// All of them, in order.
    pub fn letters(&self) -> impl Iterator<Item = &DeadLetter> {
        self.files.iter().flat_map(|file| &file.letters)
    }

    /// The files that they are in.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// Where they go in.
    pub fn points(&self) -> BTreeSet<EntryPoint> {
        self.letters().map(|letter| letter.entry.clone()).collect()
    }

    /// The letters as a job takes them, whose plan was made with their [`points`](Self::points).
    ///
    /// # Errors
    /// All that are not what their file says, or hold less than the element.
    pub fn input(&self, plan: &StageGraph) -> Result<ReplayInput, ReplayError> {
        let points = self.points();
        let (mut elements, mut faults) = (Vec::new(), Vec::new());
        for (place, letter) in self.numbered() {
            let point = points.iter().position(|point| *point == letter.entry);
            let Some(output) = point.and_then(|point| plan.letters.get(point)).copied() else { continue };
            let spec = plan.graph.output(output);
            let decoded = BASE64.decode(&letter.header).ok().zip(BASE64.decode(&letter.element).ok());
            let Some((header, value)) = decoded else {
                faults.push(format!("{place}: its bytes are not in base 64"));
                continue;
            };
            let mut rest = header.as_slice();
            let read = Header::decode(&mut rest, spec.windows).ok().filter(|_| rest.is_empty());
            match (read, whole(&spec.coder, &value)) {
                (Some(read), Ok(())) => {
                    elements.push((output, read.timestamp, Bytes::from(header), Bytes::from(value)));
                }
                (None, _) => faults.push(format!("{place}: its header cannot be read")),
                (Some(_), Err(what)) => faults.push(format!("{place}: {what}")),
            }
        }
        if faults.is_empty() { Ok(ReplayInput(elements)) } else { Err(ReplayError::Letters(faults)) }
    }

    /// Takes the files for a job that begins, so that nobody else replays them meanwhile.
    ///
    /// # Errors
    /// If somebody else has one of them, or they are not what they were.
    pub fn claim(&self) -> Result<ReplayClaim, ReplayError> {
        let mut files = Vec::new();
        for LetterFile { path, letters } in &self.files {
            let opened = File::options().read(true).write(true).open(path);
            let file = opened.map_err(|_| ReplayError::Changed(path.clone()))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(ReplayError::Busy(path.clone())),
                Err(TryLockError::Error(why)) => return Err(io_error("lock", path, why).into()),
            }
            // Whoever had the lock may have given the file another name.
            if !path.exists() || read_letters(&file, path)? != *letters {
                return Err(ReplayError::Changed(path.clone()));
            }
            files.push((path.clone(), file));
        }
        Ok(ReplayClaim { files, letters: self.letters().count() })
    }

    /// Each letter, with its place for messages.
    fn numbered(&self) -> impl Iterator<Item = (String, &DeadLetter)> {
        self.files.iter().flat_map(|file| {
            let place = |line: usize| format!("line {} of `{}`", line + 1, file.path.display());
            file.letters.iter().enumerate().map(move |(line, letter)| (place(line), letter))
        })
    }
}

/// Whether these bytes are one element of this coder, with all that belongs to it.
fn whole(coder: &Coder, element: &[u8]) -> Result<(), String> {
    let mut rest = element;
    match coder.decode(&mut rest, Context::Nested) {
        Ok(Value::Kv(pair)) if matches!(pair.1, Value::StateBacked(_)) => {
            Err("it is a group that was too large to be written with its values".to_owned())
        }
        Ok(_) if rest.is_empty() => Ok(()),
        Ok(_) => Err(format!("{} bytes follow behind what its coder `{coder}` reads", rest.len())),
        Err(error) => Err(format!("its coder `{coder}` cannot read it: {error}")),
    }
}

/// Dead letters, as a job takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayInput(Vec<(OutputId, EventTime, Bytes, Bytes)>);

impl ReplayInput {
    /// Emits all of them.
    pub(crate) fn emit(&self, out: &mut LaneWriter) -> Result<(), WriteError> {
        self.0.iter().try_for_each(|(output, timestamp, header, value)| out.push(*output, header, *timestamp, value))
    }
}

/// The files that a running job replays. As long as it is there, they are locked.
#[derive(Debug)]
pub struct ReplayClaim {
    files: Vec<(PathBuf, File)>,
    letters: usize,
}

impl ReplayClaim {
    /// How many letters there are.
    pub fn letters(&self) -> usize {
        self.letters
    }

    /// All of them have been processed: gives the files their new names, and tells them.
    ///
    /// # Errors
    /// If one cannot be renamed; the others are.
    pub fn done(self) -> Result<Vec<PathBuf>, DeadLetterError> {
        let rename = |(path, _lock): &(PathBuf, File)| {
            let name = replayed_name(path);
            fs::rename(path, &name).map_err(|why| io_error("rename", path, why)).map(|()| name)
        };
        let renamed: Vec<_> = self.files.iter().map(rename).collect();
        renamed.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn letter(element: &str) -> String {
        let letter = json!({
            "job": "job-1", "job_name": "numbers", "time": "2026-01-01T00:00:00Z", "stage": "Parse", "pcollection": "lines",
            "transforms": ["Parse"], "coder": "string_utf8", "window_fn": "global", "timestamp": "MIN", "windows": ["global"],
            "pane": "Unknown, index 0", "text": element, "header": "", "element": "", "error": "ValueError",
        });
        format!("{letter}\n")
    }

    fn told<T>(result: Result<T, impl ToString>) -> String {
        result.map_or_else(|error| error.to_string(), |_| "nothing".to_owned())
    }

    #[test]
    fn a_file_is_one_jobs_until_it_ends_and_has_another_name_when_that_is_done() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("job-1.jsonl");
        let read = || Replay::read(folder.path());
        for count in 1..3 {
            fs::write(&file, letter("a") + &letter("b")).expect("a file");
            let replay = read().expect("two letters");
            assert_eq!((replay.letters().count(), replay.points().len()), (2, 1));
            let claim = replay.claim().expect("nobody has it");
            assert!(told(read().expect("they are there").claim()).ends_with("wait until that has ended"));
            drop(claim);
            assert!(file.exists(), "a job that is not done leaves it as it was");
            let claim = replay.claim().expect("the other has ended");
            assert_eq!(claim.letters(), 2);
            let name = if count == 1 { "job-1.replayed.jsonl" } else { "job-1.2.replayed.jsonl" };
            assert_eq!(claim.done().expect("it is renamed"), [folder.path().join(name)]);
            assert!(told(replay.claim()).ends_with("has changed since this job was prepared; start it again"));
            assert!(told(read()).starts_with("there are no dead letters to replay in"));
            assert!(told(Replay::read(&folder.path().join(name))).contains("was replayed already"));
        }
        let all = read_dead_letters(folder.path(), LetterFiles::All).expect("two files");
        assert_eq!(all.iter().map(|file| file.letters.len()).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn what_was_added_meanwhile_is_not_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("job-1.jsonl");
        fs::write(&file, letter("a")).expect("a file");
        let replay = Replay::read(&file).expect("a letter");
        fs::write(&file, letter("a") + &letter("b")).expect("a file");
        assert!(told(replay.claim()).ends_with("has changed since this job was prepared; start it again"));
    }

    #[test]
    fn only_whole_elements_are_replayed() {
        let groups = Coder::kv(Coder::StringUtf8, Coder::StateBackedIterable(Arc::new(Coder::VarInt)));
        let check = |element: &[u8]| whole(&groups, element).err().unwrap_or_default();
        assert_eq!(check(b"\x01k\0\0\0\x02\x05\x06"), "");
        assert!(check(b"\x01k\0\0\0\x02\x05").contains("cannot read it"));
        assert!(check(b"\x01k\0\0\0\x01\x05\x06").starts_with("1 bytes follow behind"));
        let token = b"\x01k\xff\xff\xff\xff\x01\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01t";
        assert_eq!(check(token), "it is a group that was too large to be written with its values");
    }
}
