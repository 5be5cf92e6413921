//! `cargo xtask protos`: prints Beam's interface definitions as `.proto` text.
//!
//! ```text
//!   installed apache-beam ──Python──► FileDescriptorSet ──print──► model/proto/proto/**/*.proto
//! ```
//!
//! Only what is visible on the wire is printed: packages, messages, fields, enums, methods, and the options that
//! carry URNs. Comments are not in the descriptors; language options (`java_package`, `ctype`) are left out on purpose.
//! Knows no message by name: whatever the installed package holds is printed.

mod print;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use prost_reflect::{DescriptorError, DescriptorPool};

use crate::cargo::repository;
use crate::environment;

/// Imports every generated module of the installed package, and writes one line with the version of Beam followed by
/// the serialized set, imports first (the order that `descriptor.proto` asks for).
const DUMP: &str = r#"
import importlib, pkgutil, sys
import apache_beam
import apache_beam.portability.api.org as root
from google.protobuf import descriptor_pb2

seen, ordered = set(), []
def visit(file):
    if file.name in seen:
        return
    seen.add(file.name)
    for dependency in file.dependencies:
        visit(dependency)
    ordered.append(file)

for module in sorted(m.name for m in pkgutil.walk_packages(root.__path__, root.__name__ + ".")):
    if module.endswith("_pb2"):
        visit(importlib.import_module(module).DESCRIPTOR)

files = descriptor_pb2.FileDescriptorSet()
for file in ordered:
    if not file.name.startswith("google/"):
        files.file.add().ParseFromString(file.serialized_pb)
sys.stdout.buffer.write(apache_beam.__version__.encode() + b"\n" + files.SerializeToString())
"#;

/// Prints Beam's interface definitions from the installed apache-beam package.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the text goes; files there that Beam no longer has are removed.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write nothing, and fail if the text on disk is not what would be written.
    #[arg(long)]
    check: bool,
}

/// Why the interface definitions could not be printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProtosError {
    #[error(
        "cannot start Python at {}: run `cargo xtask test` to make the project's environment, or set PURLIN_TEST_PYTHON \
         to an interpreter with apache-beam",
        python.display()
    )]
    Start { python: PathBuf, source: io::Error },
    #[error(
        "{} could not read the descriptors of apache-beam; is the package installed there? It said:\n{stderr}",
        python.display()
    )]
    Dump { python: PathBuf, stderr: String },
    #[error("what Python printed does not begin with a line that holds Beam's version")]
    NoVersion,
    #[error("the descriptors of the installed apache-beam do not fit together")]
    Descriptors(#[from] DescriptorError),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("these files are not what `cargo xtask protos` prints; run it and commit the result: {}", list(files))]
    Stale { files: Vec<PathBuf> },
}

/// Runs the task.
///
/// # Errors
/// When Python or the package is missing, when the descriptors contradict themselves, or when a file cannot be written.
pub(crate) fn run(args: &Args) -> Result<(), ProtosError> {
    let out = args.out.clone().unwrap_or_else(|| repository().join("model/proto/proto"));
    let dump = dump(&python())?;
    let mut pool = DescriptorPool::global();
    pool.decode_file_descriptor_set(dump.files.as_slice())?;
    let texts: BTreeMap<PathBuf, String> = pool
        .files()
        .filter(|file| !file.name().starts_with("google/"))
        .map(|file| (out.join(file.name()), print::file(&file, &dump.beam_version)))
        .collect();
    if args.check { check(&out, &texts) } else { write(&out, &texts) }
}

/// The interpreter with `apache-beam`: named by the environment, else the one that the project makes itself.
fn python() -> PathBuf {
    std::env::var_os(environment::PYTHON_VARIABLE)
        .filter(|path: &OsString| !path.is_empty())
        .map_or_else(|| repository().join(".env/bin/python"), PathBuf::from)
}

struct Dump {
    beam_version: String,
    files: Vec<u8>,
}

fn dump(python: &Path) -> Result<Dump, ProtosError> {
    let output = Command::new(python)
        .args(["-c", DUMP])
        .output()
        .map_err(|source| ProtosError::Start { python: python.to_owned(), source })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(ProtosError::Dump { python: python.to_owned(), stderr });
    }
    let line_end = output.stdout.iter().position(|byte| *byte == b'\n').ok_or(ProtosError::NoVersion)?;
    let (version, files) = output.stdout.split_at(line_end);
    Ok(Dump { beam_version: String::from_utf8_lossy(version).into_owned(), files: files[1..].to_vec() })
}

fn write(out: &Path, texts: &BTreeMap<PathBuf, String>) -> Result<(), ProtosError> {
    for path in printed_before(out) {
        if !texts.contains_key(&path) {
            fs::remove_file(&path).map_err(|source| ProtosError::Write { path, source })?;
        }
    }
    let mut stdout = io::stdout().lock();
    for (path, text) in texts {
        let folder = path.parent().unwrap_or(out);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(path, text))
            .and_then(|()| writeln!(stdout, "{}", path.strip_prefix(out).unwrap_or(path).display()))
            .map_err(|source| ProtosError::Write { path: path.clone(), source })?;
    }
    Ok(())
}

fn check(out: &Path, texts: &BTreeMap<PathBuf, String>) -> Result<(), ProtosError> {
    let changed = texts.iter().filter(|(path, text)| fs::read_to_string(path).ok().as_ref() != Some(*text));
    let mut files: Vec<PathBuf> = changed.map(|(path, _)| path.clone()).collect();
    files.extend(printed_before(out).into_iter().filter(|path| !texts.contains_key(path)));
    if files.is_empty() { Ok(()) } else { Err(ProtosError::Stale { files }) }
}

/// Every `.proto` file under `folder`, in order of name; a folder that cannot be read holds none.
fn printed_before(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(printed_before(&path));
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn list(files: &[PathBuf]) -> String {
    files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
