//! The Python program that submitted a pipeline with LOOPBACK, seen from outside: what it takes to start more of it.
//!
//! ```text
//!   port of its worker pool ─listeners─► process ─sysinfo─► arguments, environment, working directory
//!                                                  └─► interpreter, and where modules are looked for first
//! ```
//! Sees what the program was started with. What it did to itself since then (`sys.path`, `os.environ`) is not seen.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use listeners::Protocol;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

/// The long option of the interpreter whose value is the next argument.
const OPTION_WITH_VALUE: &str = "--check-hash-based-pycs";

/// What a running Python program was started as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PythonProgram {
    pub(super) interpreter: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) env: BTreeMap<OsString, OsString>,
}

impl PythonProgram {
    /// The program that listens on a port of this machine, or why it cannot be told. Looks at all processes: for a thread
    /// that may block.
    pub(super) fn listening_on(port: u16) -> Result<Self, String> {
        let listener = listeners::get_process_by_port(port, Protocol::TCP)
            .map_err(|error| format!("the process that listens on port {port} cannot be found: {error}"))?;
        let pid = Pid::from_u32(listener.pid);
        let mut system = System::new();
        let wanted = ProcessRefreshKind::nothing()
            .with_cmd(UpdateKind::Always)
            .with_cwd(UpdateKind::Always)
            .with_environ(UpdateKind::Always)
            .with_exe(UpdateKind::Always);
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, wanted);
        let process = system.process(pid).ok_or_else(|| format!("process {pid} is gone"))?;
        let folder = process.cwd().ok_or_else(|| format!("the working directory of process {pid} cannot be read"))?;
        let env = process.environ().iter().filter_map(|entry| variable(entry)).collect();
        Self::from_parts(process.cmd(), process.exe(), folder, env)
    }

    fn from_parts(
        arguments: &[OsString],
        executable: Option<&Path>,
        folder: &Path,
        mut env: BTreeMap<OsString, OsString>,
    ) -> Result<Self, String> {
        let [name, arguments @ ..] = arguments else { return Err("its arguments cannot be read".to_owned()) };
        let file_name = Path::new(name).file_name().and_then(OsStr::to_str).unwrap_or_default();
        if !["python", "Python", "pypy"].iter().any(|python| file_name.starts_with(python)) {
            return Err(format!("it runs in `{}`, which is no Python interpreter", name.to_string_lossy()));
        }
        // The name it was called by leads to its virtual environment; the file that runs may be a shared interpreter.
        let interpreter = find(name, folder, env.get(OsStr::new("PATH")))
            .or_else(|| executable.map(Path::to_owned))
            .ok_or_else(|| format!("the interpreter `{}` cannot be found", name.to_string_lossy()))?;
        if let Some(first) = first_on_path(arguments, folder) {
            let path = env.entry("PYTHONPATH".into()).or_default();
            let rest = std::mem::take(path);
            let parts =
                std::iter::once(first).chain(std::env::split_paths(&rest).filter(|part| *part != Path::new("")));
            // An entry with the separator in it cannot be said; the rest can.
            *path = std::env::join_paths(parts).unwrap_or(rest);
        }
        Ok(Self { interpreter, folder: folder.to_owned(), env })
    }
}

fn variable(entry: &OsStr) -> Option<(OsString, OsString)> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = entry.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    (at > 0).then(|| (OsStr::from_bytes(&bytes[..at]).to_owned(), OsStr::from_bytes(&bytes[at + 1..]).to_owned()))
}

/// The file that a process means by a name, as a shell would find it.
fn find(name: &OsStr, folder: &Path, path: Option<&OsString>) -> Option<PathBuf> {
    let file = |candidate: PathBuf| candidate.is_file().then_some(candidate);
    if Path::new(name).components().count() > 1 {
        return file(folder.join(name));
    }
    std::env::split_paths(path?).find_map(|part| file(folder.join(part).join(name)))
}

/// Where the interpreter looks for modules first (`sys.path[0]`), if it is not the working directory, which a worker's
/// interpreter looks in by itself.
fn first_on_path(arguments: &[OsString], folder: &Path) -> Option<PathBuf> {
    let mut arguments = arguments.iter();
    let script = loop {
        let argument = arguments.next()?;
        match argument.to_str() {
            Some("-") => return None,
            Some(option) if option.starts_with("--") => {
                if option == OPTION_WITH_VALUE {
                    arguments.next();
                }
            }
            Some(option) if option.starts_with('-') => match short_options(&option[1..]) {
                Short::Program => return None,
                Short::ValueFollows => drop(arguments.next()),
                Short::Complete => {}
            },
            Some(_) | None => break folder.join(argument),
        }
    };
    let script = script.canonicalize().unwrap_or(script);
    // A folder, or an archive, that is run as a program holds its modules itself.
    let holds_modules = script.is_dir() || script.extension().is_some_and(|it| it == "pyz" || it == "zip");
    if holds_modules { Some(script) } else { script.parent().map(Path::to_owned) }
}

/// What comes behind some options of one letter each.
enum Short {
    /// A module or code is the program.
    Program,
    /// The next argument belongs to them.
    ValueFollows,
    Complete,
}

fn short_options(letters: &str) -> Short {
    for (at, letter) in letters.char_indices() {
        match letter {
            'm' | 'c' => return Short::Program,
            'W' | 'X' if at + 1 == letters.len() => return Short::ValueFollows,
            'W' | 'X' => return Short::Complete,
            _ => {}
        }
    }
    Short::Complete
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use super::*;

    /// A folder with an interpreter, a script and an archive in it.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for place in ["venv/bin", "jobs/package"] {
            std::fs::create_dir_all(folder.path().join(place)).unwrap();
        }
        for file in ["venv/bin/python3", "venv/bin/pytest", "jobs/main.py", "jobs/app.pyz"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        folder
    }

    /// What a command line in that folder leads to: the interpreter and `PYTHONPATH`, relative to it.
    fn check(line: &str, env: &[(&str, &str)], expected: Result<(&str, &str), &str>) {
        let folder = folder();
        let root = folder.path().canonicalize().unwrap();
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let full = |value: &str| value.replace("ROOT", root.to_str().unwrap());
        let env = env.iter().map(|(name, value)| (name.into(), full(value).into())).collect();
        let found = PythonProgram::from_parts(&arguments, None, &root, env).map(|program| {
            let path = program.env.get(OsStr::new("PYTHONPATH")).cloned().unwrap_or_default();
            let short = |text: &OsStr| text.to_string_lossy().replace(root.to_str().unwrap(), "ROOT");
            (short(program.interpreter.as_os_str()), short(&path))
        });
        let expected = expected.map(|(left, right)| (left.to_owned(), right.to_owned())).map_err(str::to_owned);
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn a_script_finds_the_modules_beside_it_and_a_module_those_of_the_working_directory() {
        let python = "ROOT/venv/bin/python3";
        check("venv/bin/python3 jobs/main.py --input x", &[], Ok((python, "ROOT/jobs")));
        check("venv/bin/python3 -X dev -uW ignore -Werror -u jobs/main.py", &[], Ok((python, "ROOT/jobs")));
        check("venv/bin/python3 -m jobs.main", &[], Ok((python, "")));
        check("venv/bin/python3 -uBm jobs.main", &[("PYTHONPATH", "/lib/one")], Ok((python, "/lib/one")));
        check("venv/bin/python3 -c pass", &[], Ok((python, "")));
        check("venv/bin/python3 -", &[], Ok((python, "")));
        check("venv/bin/python3 jobs/package", &[], Ok((python, "ROOT/jobs/package")));
        check("venv/bin/python3 jobs/app.pyz", &[], Ok((python, "ROOT/jobs/app.pyz")));
        let path = [("PYTHONPATH", "/lib/one:/lib/two")];
        check("venv/bin/python3 venv/bin/pytest", &path, Ok((python, "ROOT/venv/bin:/lib/one:/lib/two")));
    }

    #[test]
    fn a_bare_name_is_looked_for_on_the_programs_own_path() {
        let path = [("PATH", "/nowhere:ROOT/venv/bin")];
        check("python3 -m x", &path, Ok(("ROOT/venv/bin/python3", "")));
        check("python3 -m x", &[], Err("the interpreter `python3` cannot be found"));
    }

    #[test]
    fn what_is_no_python_is_told() {
        check("java -jar x.jar", &[], Err("it runs in `java`, which is no Python interpreter"));
        check("", &[], Err("its arguments cannot be read"));
    }

    #[test]
    fn variables_are_split_at_their_first_sign() {
        assert_eq!(variable(OsStr::new("A=b=c")), Some(("A".into(), "b=c".into())));
        assert_eq!(variable(OsStr::new("A=")), Some(("A".into(), "".into())));
        assert_eq!(variable(OsStr::new("=x")), None);
        assert_eq!(variable(OsStr::new("none")), None);
    }

    #[test]
    fn this_process_is_found_by_a_port_of_its_own_and_is_no_python() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = PythonProgram::listening_on(listener.local_addr().unwrap().port());
        assert!(found.unwrap_err().contains("which is no Python interpreter"));
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert!(PythonProgram::listening_on(port).is_err());
    }
}
