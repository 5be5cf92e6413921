//! Toolchains that some tests need and that a user need not have.
//!
//! Knows how to find each; does not know what the tests do with it.

use std::process::{Command, Stdio};

/// A toolchain beside Rust and Python, which every test may count on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Toolchain {
    Go,
    Java,
}

impl Toolchain {
    pub(super) const ALL: [Self; 2] = [Self::Go, Self::Java];

    /// Whether a test target needs this: `go_examples`, `java_examples`.
    pub(super) fn is_needed_by(self, target: &str) -> bool {
        let prefix = match self {
            Self::Go => "go_",
            Self::Java => "java_",
        };
        target.starts_with(prefix)
    }

    /// Nothing if it is here, else what is missing and how to get it.
    pub(super) fn find(self) -> Result<(), String> {
        match self {
            Self::Go => runs("go", "version").map_err(|why| format!("{why}; install Go 1.26 or later")),
            Self::Java => runs("java", "-version")
                .and_then(|()| runs("mvn", "-version"))
                .map_err(|why| format!("{why}; install a JDK (17 or later) and Maven")),
        }
    }
}

fn runs(program: &str, argument: &str) -> Result<(), String> {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{program} {argument}` ends with {status}")),
        Err(error) => Err(format!("`{program}` cannot be started ({error})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_say_what_they_need_by_their_name() {
        assert!(Toolchain::Go.is_needed_by("go_examples"));
        assert!(!Toolchain::Go.is_needed_by("golden"));
        assert!(Toolchain::Java.is_needed_by("java_errors"));
        assert!(!Toolchain::Java.is_needed_by("go_java"));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let why = runs("no-such-program-here", "version").expect_err("there is no such program");
        assert!(why.contains("`no-such-program-here` cannot be started"), "{why}");
    }
}
