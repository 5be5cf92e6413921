//! Which SDK made an environment, as its capabilities tell.
//!
//! ```text
//!   beam:version:sdk_base:apache/beam_python3.12_sdk:2.77.0 ─► Sdk::Python
//!   beam:version:sdk_base:go:apache/beam_go_sdk:2.77.0      ─► Sdk::Go
//! ```
//! Beam means the same by one protocol in every SDK; where SDKs do not, whoever minds asks here.

use crate::pipeline::v1 as pb;

/// How the capability begins by which an SDK names the container it would run in, and with it its version.
const SDK_BASE: &str = "beam:version:sdk_base:";

/// An SDK of Beam's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sdk {
    /// `apache-beam` of Python.
    Python,
    /// Java's, and what is written with it: Scala, Kotlin.
    Java,
    /// Go's.
    Go,
    /// Rust's.
    Rust,
}

impl Sdk {
    /// The SDK that says these capabilities; none if they do not tell, or name one that is not known.
    pub fn of<T: AsRef<str>>(capabilities: &[T]) -> Option<Self> {
        let base = capabilities.iter().find_map(|capability| capability.as_ref().strip_prefix(SDK_BASE))?;
        let known =
            [("beam_python", Self::Python), ("beam_java", Self::Java), ("beam_go", Self::Go), ("rust", Self::Rust)];
        known.into_iter().find(|(part, _)| base.contains(part)).map(|(_, sdk)| sdk)
    }

    /// The SDK of this environment.
    pub fn of_environment(environment: &pb::Environment) -> Option<Self> {
        Self::of(&environment.capabilities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sdk_is_known_by_its_container() {
        let check = |capabilities: &[&str], expected| assert_eq!(Sdk::of(capabilities), expected, "{capabilities:?}");
        check(&["beam:version:sdk_base:apache/beam_python3.12_sdk:2.77.0"], Some(Sdk::Python));
        check(&["beam:coder:bytes:v1", "beam:version:sdk_base:apache/beam_java17_sdk:2.65.0"], Some(Sdk::Java));
        check(&["beam:version:sdk_base:go:apache/beam_go_sdk:2.77.0"], Some(Sdk::Go));
        check(&["beam:version:sdk_base:rust"], Some(Sdk::Rust));
        check(&["beam:version:sdk_base:apache/beam_cobol_sdk:1"], None);
        check(&["beam:coder:bytes:v1"], None);
        check(&[], None);
    }
}
