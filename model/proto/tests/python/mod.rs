//! Runs the project's own Python for a test, and hands back what it wrote.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter with `apache-beam`: named by the environment, else the one that the project makes itself.
fn interpreter() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.env/bin/python");
    std::env::var_os("PURLIN_TEST_PYTHON").filter(|path| !path.is_empty()).map_or(own, PathBuf::from)
}

/// What `script` writes to stdout.
///
/// # Panics
/// When there is no interpreter, or when the script fails: a test that needs Python never passes without it.
pub(crate) fn run(script: &str) -> Vec<u8> {
    let python = interpreter();
    let output = Command::new(&python).args(["-c", script]).output().unwrap_or_else(|error| {
        panic!(
            "cannot start {}: {error}\nThis test needs Python with apache-beam. Run `cargo xtask test`, which installs \
             both, or set PURLIN_TEST_PYTHON.",
            python.display()
        )
    });
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} failed:\n{stderr}", python.display());
    output.stdout
}
