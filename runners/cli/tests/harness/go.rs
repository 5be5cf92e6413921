//! Programs with Beam's Go SDK.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{finish, root};

/// The module that pins the SDK for tests.
const TESTS: &str = "benchmarks/go";

/// Builds one of the programs in `tests/go`, into this folder.
pub(crate) fn program(name: &str, into: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go").join(format!("{name}.go"));
    go(&["build"], source.as_os_str(), TESTS, into.join(name))
}

/// Builds one of the examples, into this folder.
pub(crate) fn example(name: &str, into: &Path) -> PathBuf {
    go(&["build"], format!("./{name}").as_ref(), "examples/go", into.join(name))
}

/// Builds the tests of one of the SDK's own packages, into this folder.
pub(crate) fn tests_of(package: &str, into: &Path) -> PathBuf {
    let name = package.rsplit('/').next().expect("it has a name");
    go(&["test", "-c"], format!("github.com/apache/beam/sdks/v2/{package}").as_ref(), TESTS, into.join(name))
}

fn go(verb: &[&str], what: &OsStr, module: &str, program: PathBuf) -> PathBuf {
    let mut build = Command::new("go");
    build.args(verb).arg("-o").arg(&program).arg(what);
    build.current_dir(root().join(module)).stdin(Stdio::null());
    finish(build).well();
    program
}
