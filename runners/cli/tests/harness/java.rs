//! What is written in Java: built here, against the SDK that the examples pin.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::{finish, purlin, root};

/// What `java` is told to find the examples and the SDK.
static EXAMPLES: LazyLock<String> = LazyLock::new(|| {
    let project = root().join("examples/java");
    let mut build = Command::new("mvn");
    build.args(["--quiet", "--batch-mode", "package"]).current_dir(&project).stdin(Stdio::null());
    finish(build).well();
    format!("{0}/wordcount-1.jar:{0}/lib/*", project.join("target").display())
});

/// The class path of the examples.
pub(crate) fn examples() -> &'static str {
    &EXAMPLES
}

/// `purlin run` with these words of its own, of a program in this class path. Java's client leaves an archive of its classes in
/// the temporary folder for each pipeline, which goes with this one.
pub(crate) fn run(words: &[&str], class_path: &str, folder: &Path, program: &[&str]) -> Command {
    let mut command = purlin();
    command.arg("run").args(words);
    behind(command, class_path, folder, program)
}

/// The same behind words of Purlin that run a program.
pub(crate) fn behind(mut command: Command, class_path: &str, folder: &Path, program: &[&str]) -> Command {
    command.args(["--", "java"]).arg(format!("-Djava.io.tmpdir={}", folder.display()));
    command.args(["-cp", class_path]).args(program);
    command
}

/// Compiles one of the programs in `tests/java` into a folder; the class path of it.
pub(crate) fn compiled(name: &str, folder: &Path) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java").join(name);
    let mut build = Command::new("javac");
    build.args(["-Xlint:-options", "-proc:none", "--release", "11", "-cp", examples(), "-d"]).arg(folder).arg(source);
    build.stdin(Stdio::null());
    finish(build).well();
    format!("{}:{}", folder.display(), examples())
}

/// Compiles one of the programs in `tests/java`, and tries it on each of our runners at once, for Java's client mostly waits: with the
/// runner's name, the class path, and a temporary folder that they share.
pub(crate) fn on_each_runner(name: &str, tried: impl Fn(&str, &str, &Path) + Sync) {
    // Apart from one another: the client archives all of a folder of classes, into its temporary folder.
    let [classes, folder] = std::array::from_fn(|_| tempfile::tempdir().expect("a temporary folder"));
    let class_path = compiled(name, classes.path());
    super::on_each_runner(|runner| tried(runner, &class_path, folder.path()));
}
