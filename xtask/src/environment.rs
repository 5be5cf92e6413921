//! The project's own Python environment: `.env` in the root of the repository, made when it is first needed.
//!
//! ```text
//!   python3.13 … python3.10, python3 ─probe─► venv ─pip install─► .env ─stamp─► ready
//!                                                                  ▲
//!   every later call: stamp and package are as expected ───────────┘ (no network, a few hundredths of a second)
//! ```
//! The stamp says so until the environment is finished, so that one whose making was interrupted is made again. Does
//! not know what the environment is used for.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::cargo;

/// The release of Beam that Purlin is built for and tested with.
pub(crate) const BEAM_VERSION: &str = "2.77.0";

/// Names an interpreter to use instead of the project's own environment.
pub(crate) const PYTHON_VARIABLE: &str = "PURLIN_TEST_PYTHON";

/// The Python versions for which this release of Beam exists, in the order in which they are tried.
const MINOR_VERSIONS: [u32; 4] = [13, 12, 11, 10];

/// Behind this line in the stamp, everything is as this program makes it. Change it when the recipe changes.
const RECIPE: &str = "recipe 2";

/// What Beam's own tests need beside Beam.
const TEST_PACKAGES: [&str; 5] =
    ["parameterized==0.9.0", "pyhamcrest==2.1.0", "pytest==9.0.2", "pytest-timeout==2.4.0", "tenacity==9.1.2"];

const STAMP: &str = "purlin-stamp";

/// What the stamp holds while the environment is being made.
const UNFINISHED: &str = "unfinished\n";

/// Why there is no Python environment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvironmentError {
    #[error(
        "no usable Python on the PATH. Install Python 3.10, 3.11, 3.12 or 3.13 with its venv module \
         (Debian and Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.13; \
         Fedora: dnf install python3), then run this again. Tried:{tried}"
    )]
    NoPython { tried: String },
    #[error(
        "PURLIN_TEST_PYTHON is {}, {problem}; install apache-beam=={BEAM_VERSION} there, or unset the variable so that \
         the project makes its own environment in .env", python.display()
    )]
    Given { python: PathBuf, problem: String },
    #[error(
        "{} is a symbolic link to an environment {problem}; remove the link, and the project makes its own \
         environment in its place", link.display()
    )]
    Linked { link: PathBuf, problem: String },
    #[error(
        "`{command}` ended with {status}; what it said stands above. It needs the network; run this again when that is there"
    )]
    Pip { command: String, status: ExitStatus },
    #[error("the new environment is not as expected: its interpreter is one {problem}")]
    Unusable { problem: String },
    #[error("{} is needed for the project's Python environment, but holds something else; move it away", folder.display())]
    Occupied { folder: PathBuf },
    #[error("cannot {what} {}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

/// The interpreter of an environment that holds Beam, which is made if it is not there.
///
/// Takes minutes and the network the first time, and almost nothing after that. Several processes may call it at
/// once: one makes the environment and the others wait.
///
/// # Errors
/// See [`EnvironmentError`].
pub(crate) fn ensure() -> Result<PathBuf, EnvironmentError> {
    if let Some(python) = std::env::var_os(PYTHON_VARIABLE).filter(|python| !python.is_empty()) {
        let python = PathBuf::from(python);
        return match beam_problem(&python) {
            None => Ok(python),
            Some(problem) => Err(EnvironmentError::Given { python, problem }),
        };
    }
    let root = cargo::repository();
    let _one_at_a_time = lock(&root.join("Cargo.toml"))?;
    let folder = root.join(".env");
    let python = folder.join("bin/python");
    if folder.is_symlink() {
        // Somebody chose this environment; it is not ours to change.
        return match beam_problem(&python) {
            None => Ok(python),
            Some(problem) => Err(EnvironmentError::Linked { link: folder, problem }),
        };
    }
    if fs::read_to_string(folder.join(STAMP)).is_ok_and(|stamp| stamp == stamp_text())
        && beam_problem(&python).is_none()
    {
        return Ok(python);
    }
    make(&folder, &python)?;
    Ok(python)
}

fn stamp_text() -> String {
    format!("apache-beam=={BEAM_VERSION}\n{RECIPE}\n")
}

/// Held until it is dropped. The manifest stands for the lock, so that no file appears just to be locked.
fn lock(manifest: &Path) -> Result<File, EnvironmentError> {
    let failed = |source| EnvironmentError::Io { what: "lock", path: manifest.to_owned(), source };
    let file = File::open(manifest).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// Says what is wrong with an interpreter, as the rest of a sentence, unless it has the right Beam.
fn beam_problem(python: &Path) -> Option<String> {
    let ask = "from importlib.metadata import version; print(version('apache-beam'))";
    let output = match Command::new(python).args(["-c", ask]).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => return Some(format!("whose interpreter cannot be started ({error})")),
    };
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.success() {
        true if version == BEAM_VERSION => None,
        true => Some(format!("that has apache-beam {version}, not {BEAM_VERSION}")),
        false => Some("without apache-beam".to_owned()),
    }
}

fn make(folder: &Path, python: &Path) -> Result<(), EnvironmentError> {
    let base = choose(&candidates(), probe)?;
    eprintln!("Making the Python environment in .env with {base} and apache-beam=={BEAM_VERSION}; this is done once.");
    clear(folder)?;
    loud(clean(&base).args(["-m", "venv"]).arg(folder))?;
    let package = format!("apache-beam=={BEAM_VERSION}");
    let install = ["-m", "pip", "install", "--disable-pip-version-check", "--quiet", &package];
    loud(clean(python).args(install).args(TEST_PACKAGES))?;
    if let Some(problem) = beam_problem(python) {
        return Err(EnvironmentError::Unusable { problem });
    }
    write_stamp(folder, &stamp_text())
}

/// An empty folder, but for a stamp: removes an environment that was here, and nothing else.
fn clear(folder: &Path) -> Result<(), EnvironmentError> {
    let failed = |what| move |source| EnvironmentError::Io { what, path: folder.to_owned(), source };
    if folder.exists() {
        let empty = folder.read_dir().map_err(failed("read"))?.next().is_none();
        if !empty && !folder.join(STAMP).exists() && !folder.join("pyvenv.cfg").exists() {
            return Err(EnvironmentError::Occupied { folder: folder.to_owned() });
        }
        fs::remove_dir_all(folder).map_err(failed("remove"))?;
    }
    fs::create_dir(folder).map_err(failed("make"))?;
    write_stamp(folder, UNFINISHED)
}

fn write_stamp(folder: &Path, text: &str) -> Result<(), EnvironmentError> {
    let path = folder.join(STAMP);
    fs::write(&path, text).map_err(|source| EnvironmentError::Io { what: "write", path, source })
}

/// An interpreter that does not hear of another environment by way of variables.
fn clean(python: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(python);
    command.env_remove("PYTHONHOME").env_remove("PYTHONPATH");
    command
}

/// Runs a command whose words go to the terminal: to stderr, since the task's own result goes to stdout.
fn loud(command: &mut Command) -> Result<(), EnvironmentError> {
    let words = || {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    };
    let words = words();
    let status = command.stdin(Stdio::null()).stdout(io::stderr()).status().map_err(|source| EnvironmentError::Io {
        what: "start",
        path: PathBuf::from(command.get_program()),
        source,
    })?;
    if status.success() { Ok(()) } else { Err(EnvironmentError::Pip { command: words, status }) }
}

fn candidates() -> Vec<String> {
    let named = MINOR_VERSIONS.iter().map(|minor| format!("python3.{minor}"));
    named.chain(["python3".to_owned(), "python".to_owned()]).collect()
}

/// The first candidate that the probe lets pass.
fn choose(
    candidates: &[String],
    mut probe: impl FnMut(&str) -> Result<(), String>,
) -> Result<String, EnvironmentError> {
    let mut tried = String::new();
    for candidate in candidates {
        match probe(candidate) {
            Ok(()) => return Ok(candidate.clone()),
            Err(problem) => tried.push_str(&format!("\n  {candidate}: {problem}")),
        }
    }
    Err(EnvironmentError::NoPython { tried })
}

/// Whether an interpreter has a version that Beam supports and can make environments; what is wrong if not.
fn probe(python: &str) -> Result<(), String> {
    // The version comes first, so that it is told even if the imports fail.
    let ask = "import sys; print(*sys.version_info[:2], flush=True); import venv, ensurepip";
    let output = clean(python).args(["-c", ask]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "not on the PATH".to_owned(),
        _ => error.to_string(),
    })?;
    judge(output.status.success(), &String::from_utf8_lossy(&output.stdout))
}

/// Reads what the probe printed.
fn judge(success: bool, stdout: &str) -> Result<(), String> {
    let version: Vec<u32> = stdout.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    match version[..] {
        [3, minor] if MINOR_VERSIONS.contains(&minor) => match success {
            true => Ok(()),
            false => Err(format!(
                "Python 3.{minor} without the venv or ensurepip module (Debian and Ubuntu: apt-get install \
                 python3.{minor}-venv)"
            )),
        },
        [major, minor] => Err(format!("Python {major}.{minor}, for which there is no apache-beam {BEAM_VERSION}")),
        // A shim of a version manager stands on the PATH whether or not the version is installed.
        _ => Err("does not run".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_usable_candidate_is_taken() {
        let names: Vec<String> = ["python3.13", "python3.12", "python3"].map(str::to_owned).into();
        let chosen = choose(&names, |name| if name == "python3.13" { Err("no".to_owned()) } else { Ok(()) });
        assert_eq!(chosen.expect("two of them are usable"), "python3.12");
    }

    #[test]
    fn if_none_is_usable_each_is_named_with_its_reason_and_the_remedy() {
        let names: Vec<String> = ["python3.13", "python3"].map(str::to_owned).into();
        let error = choose(&names, |name| Err(format!("{name} is a snake"))).expect_err("none is usable").to_string();
        for part in ["python3-venv", "\n  python3.13: python3.13 is a snake", "\n  python3: python3 is a snake"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }

    #[test]
    fn versions_and_modules_are_told_apart() {
        assert_eq!(judge(true, "3 11\n"), Ok(()));
        assert!(judge(true, "3 9\n").expect_err("too old").contains("Python 3.9"));
        assert!(judge(true, "3 14\n").expect_err("too new").contains("Python 3.14"));
        assert!(judge(false, "3 12\n").expect_err("no venv").contains("python3.12-venv"));
        assert_eq!(judge(false, ""), Err("does not run".to_owned()));
    }

    #[test]
    fn only_environments_are_removed() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let folder = parent.path().join(".env");
        clear(&folder).expect("nothing was there");
        fs::write(folder.join("half"), "").expect("a file");
        clear(&folder).expect("an environment that was not finished was there");
        assert!(!folder.join("half").exists());

        let other = parent.path().join("other");
        fs::create_dir(&other).expect("a folder");
        fs::write(other.join("letter"), "").expect("a file");
        assert!(matches!(clear(&other), Err(EnvironmentError::Occupied { .. })));
        assert!(other.join("letter").exists());
    }

    #[test]
    fn an_interpreter_that_is_not_there_is_a_problem() {
        assert!(beam_problem(Path::new("no/such/python")).is_some());
    }
}
