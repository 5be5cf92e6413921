//! Which SDK a program uses, and the flags that lead its pipeline to a job server.
//!
//! ```text
//!   COMMAND… ─► told by its first word, or by the file behind it ─► flags appended, or put where {purlin} stands
//! ```

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::exit::Failure;

/// Stands in a command where the flags belong.
pub(crate) const PLACE: &str = "{purlin}";

/// Whose flags a program takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sdk {
    /// Beam's Python SDK.
    Python,
    /// Beam's Go SDK.
    Go,
    /// Beam's Java SDK.
    Java,
    /// No SDK's: the program reads PURLIN_JOB_ENDPOINT itself.
    None,
}

/// Tells the SDK from a command; `None` if it cannot be told.
pub(crate) fn detect(command: &[String]) -> Option<Sdk> {
    let program = command.first()?;
    let name = Path::new(program).file_name()?.to_str()?;
    let stem = name.strip_suffix(".exe").unwrap_or(name);
    if stem.starts_with("python") || stem.starts_with("pypy") || stem.ends_with(".py") {
        return Some(Sdk::Python);
    }
    match stem {
        "uv" | "uvx" | "pytest" | "poetry" | "pipenv" | "hatch" => Some(Sdk::Python),
        "go" => Some(Sdk::Go),
        "java" | "mvn" | "mvnw" | "gradle" | "gradlew" => Some(Sdk::Java),
        _ => find(program).filter(|path| has_go_build_information(path)).map(|_| Sdk::Go),
    }
}

/// The SDK that the user names, or else the one that the command tells.
pub(crate) fn choose(named: Option<Sdk>, command: &[String]) -> Result<Sdk, Failure> {
    if let Some(sdk) = named.or_else(|| detect(command)) {
        return Ok(sdk);
    }
    let program = command.first().map_or("", String::as_str);
    Err(Failure::Usage(match find(program) {
        None => no_such_program(program),
        Some(_) => format!(
            "cannot tell which SDK `{program}` uses; say so with --sdk python, go or java, or --sdk none if the program \
             reads PURLIN_JOB_ENDPOINT itself"
        ),
    }))
}

/// What is said of a program that is not there.
pub(crate) fn no_such_program(name: &str) -> String {
    let place = if name.contains('/') { "" } else { " on the PATH" };
    format!("there is no program `{name}`{place}; check the first word of the command")
}

/// The file that a shell would run for this word.
fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Whether a file holds the mark with which the Go linker begins its build information, which it aligns to 16 bytes.
fn has_go_build_information(path: &Path) -> bool {
    const MARK: &[u8] = b"\xff Go buildinf:";
    const ALIGNMENT: usize = 16;
    let Ok(mut file) = std::fs::File::open(path) else { return false };
    let mut chunk = Vec::with_capacity(1 << 20);
    loop {
        chunk.clear();
        match file.by_ref().take(1 << 20).read_to_end(&mut chunk) {
            Ok(0) | Err(_) => return false,
            Ok(_) if chunk.chunks_exact(ALIGNMENT).any(|bytes| bytes.starts_with(MARK)) => return true,
            Ok(_) => {}
        }
    }
}

/// A flag: its name without dashes, and its value.
type Flag = (&'static str, String);

/// The flags that an SDK needs to submit to this endpoint with a worker inside the program (LOOPBACK).
fn flags(sdk: Sdk, endpoint: &str) -> Vec<Flag> {
    let endpoint = endpoint.to_owned();
    match sdk {
        Sdk::Python => vec![
            ("runner", "PortableRunner".to_owned()),
            ("job_endpoint", endpoint),
            ("environment_type", "LOOPBACK".to_owned()),
            // Half a second of the client's time that no runner needs.
            ("experiments", "disable_logging_submission_environment".to_owned()),
        ],
        Sdk::Go => vec![
            ("runner", "universal".to_owned()),
            ("endpoint", endpoint),
            ("environment_type", "LOOPBACK".to_owned()),
        ],
        Sdk::Java => vec![
            ("runner", "PortableRunner".to_owned()),
            ("jobEndpoint", endpoint),
            ("defaultEnvironmentType", "LOOPBACK".to_owned()),
        ],
        Sdk::None => Vec::new(),
    }
}

/// Whether a tool stands between us and the program, so that flags at the end of the line would not reach it.
fn takes_no_flags(command: &[String]) -> bool {
    let name = |word: &String| Path::new(word).file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let tools = ["pytest", "mvn", "mvnw", "gradle", "gradlew"];
    let first = command.first().and_then(name);
    first.is_some_and(|first| tools.contains(&first.as_str()))
        || command.windows(2).any(|pair| pair[0] == "-m" && pair[1] == "pytest")
        || command.iter().take(4).any(|word| word == "pytest")
}

/// The command with the SDK's flags in it. Flags that the user gave are left alone.
pub(crate) fn with_flags(command: &[String], sdk: Sdk, endpoint: &str) -> Vec<String> {
    let missing: Vec<String> = flags(sdk, endpoint)
        .into_iter()
        .filter(|(name, value)| !is_given(command, name, value))
        .map(|(name, value)| format!("--{name}={value}"))
        .collect();
    if command.iter().any(|word| word.contains(PLACE)) {
        return command
            .iter()
            .flat_map(|word| match word.as_str() {
                PLACE => missing.clone(),
                // Inside a longer word, as in -Dexec.args="--input=x {purlin}", the flags stay one word.
                word => vec![word.replace(PLACE, &missing.join(" "))],
            })
            .collect();
    }
    let mut command = command.to_vec();
    if !takes_no_flags(&command) {
        command.extend(missing);
    }
    command
}

/// Whether the user says where workers shall run.
pub(crate) fn names_environment(command: &[String]) -> bool {
    ["environment_type", "environment_config"].iter().any(|name| is_given(command, name, ""))
}

fn is_given(command: &[String], name: &str, value: &str) -> bool {
    let spellings = [format!("--{name}"), format!("-{name}")];
    command.iter().any(|word| {
        spellings.iter().any(|spelling| match word.strip_prefix(spelling.as_str()) {
            // Lists are added to, so only the very same entry counts as given.
            Some(rest) if name == "experiments" => rest.strip_prefix('=').is_some_and(|given| given.contains(value)),
            Some(rest) => rest.is_empty() || rest.starts_with('='),
            None => false,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_sdk_is_told_from_the_first_word() {
        let check = |line: &str, expected| assert_eq!(detect(&words(line)), expected, "{line}");
        check("python wordcount.py", Some(Sdk::Python));
        check("/usr/bin/python3.12 -m x", Some(Sdk::Python));
        check("./wordcount.py", Some(Sdk::Python));
        check("uv run wordcount.py", Some(Sdk::Python));
        check("pytest tests", Some(Sdk::Python));
        check("go run ./wordcount", Some(Sdk::Go));
        check("java -jar wordcount.jar", Some(Sdk::Java));
        check("mvn exec:java", Some(Sdk::Java));
        check("/bin/sh script", None);
        check("no-such-program", None);
        check("", None);
    }

    #[test]
    fn a_command_whose_sdk_is_unknown_is_refused_with_what_to_do() {
        let refused = |line: &str| choose(None, &words(line)).unwrap_err().to_string();
        assert_eq!(
            refused("/bin/sh script"),
            "cannot tell which SDK `/bin/sh` uses; say so with --sdk python, go or java, or --sdk none if the program \
             reads PURLIN_JOB_ENDPOINT itself"
        );
        let missing = "there is no program `no-such-program` on the PATH; check the first word of the command";
        assert_eq!(refused("no-such-program x"), missing);
        assert_eq!(refused("./no/program"), "there is no program `./no/program`; check the first word of the command");
        assert_eq!(choose(Some(Sdk::Java), &words("/bin/sh script")).unwrap(), Sdk::Java);
    }

    #[test]
    fn a_go_binary_is_told_by_its_build_information() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wordcount");
        let mut bytes = vec![0u8; (1 << 20) + 32];
        bytes.extend_from_slice(b"\xff Go buildinf:\x08\x02");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(detect(&[path.to_str().unwrap().to_owned()]), Some(Sdk::Go));
        std::fs::write(&path, b"#!/bin/sh\n").unwrap();
        assert_eq!(detect(&[path.to_str().unwrap().to_owned()]), None);
    }

    fn check(line: &str, sdk: Sdk, expected: &str) {
        assert_eq!(with_flags(&words(line), sdk, "localhost:9").join(" "), expected);
    }

    #[test]
    fn flags_are_appended() {
        check(
            "python p.py --input x",
            Sdk::Python,
            "python p.py --input x --runner=PortableRunner --job_endpoint=localhost:9 --environment_type=LOOPBACK \
             --experiments=disable_logging_submission_environment",
        );
        check("./p", Sdk::Go, "./p --runner=universal --endpoint=localhost:9 --environment_type=LOOPBACK");
        check(
            "java -jar p.jar",
            Sdk::Java,
            "java -jar p.jar --runner=PortableRunner --jobEndpoint=localhost:9 --defaultEnvironmentType=LOOPBACK",
        );
        check("./p", Sdk::None, "./p");
    }

    #[test]
    fn flags_stand_where_the_user_wants_them() {
        check(
            "./p {purlin} -- x",
            Sdk::Go,
            "./p --runner=universal --endpoint=localhost:9 --environment_type=LOOPBACK -- x",
        );
        let command = ["mvn".to_owned(), "-Dexec.args=--a {purlin}".to_owned()];
        assert_eq!(
            with_flags(&command, Sdk::Java, "e"),
            ["mvn", "-Dexec.args=--a --runner=PortableRunner --jobEndpoint=e --defaultEnvironmentType=LOOPBACK"]
        );
    }

    #[test]
    fn flags_that_the_user_gave_are_left_alone() {
        check(
            "python p.py --runner=DirectRunner --environment_type PROCESS --experiments=other",
            Sdk::Python,
            "python p.py --runner=DirectRunner --environment_type PROCESS --experiments=other --job_endpoint=localhost:9 \
             --experiments=disable_logging_submission_environment",
        );
    }

    #[test]
    fn a_tool_that_would_not_pass_flags_on_gets_none() {
        check("pytest tests", Sdk::Python, "pytest tests");
        check("python -m pytest tests", Sdk::Python, "python -m pytest tests");
        check("mvn exec:java", Sdk::Java, "mvn exec:java");
    }
}
