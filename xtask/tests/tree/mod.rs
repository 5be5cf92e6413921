//! The files of the repository, as the tests of its order see them: all that are committed or would be.
//!
//! Asks git, so that what is built or installed in the tree does not count. Does not know what order is.
#![allow(dead_code, reason = "each test target uses its own part")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package stands in a folder of the repository")
}

/// A file of the repository.
#[derive(Debug)]
pub(crate) struct TreeFile {
    /// From the root, with slashes.
    pub(crate) path: String,
}

impl TreeFile {
    /// Where it stands.
    pub(crate) fn place(&self) -> PathBuf {
        root().join(&self.path)
    }

    /// Its text; empty if it is not text.
    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(self.place()).unwrap_or_default()
    }

    /// Whether its name ends like this.
    pub(crate) fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

/// Every file, in order of path.
pub(crate) fn files() -> Vec<TreeFile> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is installed, as the README asks");
    assert!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).expect("paths in the repository are UTF-8");
    let mut paths: Vec<String> = listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    // A file that was deleted and not committed is still listed.
    let files: Vec<_> = paths.into_iter().map(|path| TreeFile { path }).filter(|file| file.place().is_file()).collect();
    assert!(files.len() > 50, "git lists only {} files; is this the repository?", files.len());
    files
}

/// Fails with all complaints, if there are any.
pub(crate) fn assert_none(complaints: &[String], what: &str) {
    assert!(complaints.is_empty(), "{what}:\n  {}", complaints.join("\n  "));
}
