//! Pipelines that Beam's Python SDK wrote, damaged.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter with `apache-beam`: named by the environment, else the one that the project makes itself.
fn interpreter() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.env/bin/python");
    std::env::var_os("PURLIN_TEST_PYTHON").filter(|path| !path.is_empty()).map_or(own, PathBuf::from)
}

#[test]
fn what_python_submits_breaks_nothing_when_it_is_damaged() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pipelines");
    std::fs::create_dir_all(&folder).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/pipelines.py");
    let written = Command::new(interpreter()).arg(script).arg(&folder).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 6);
    let run = Command::new(env!("CARGO_BIN_EXE_purlin-fuzz"))
        .args(["run", "--pipelines", "1000", "--data", "0", "--corpus"])
        .arg(&folder)
        .output()
        .unwrap();
    let (said, complaints) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}\n{complaints}");
    assert!(said.contains("pipeline: 1000 inputs"), "{said}");
}
