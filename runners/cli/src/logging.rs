//! Logs of the server, on standard error.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::exit::Failure;

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Begins to log. `level` is a level (`info`) or a filter (`purlin_fn_api=debug,warn`).
pub(crate) fn start(level: &str, format: LogFormat) -> Result<(), Failure> {
    let wrong = |why: &str| {
        let levels = "error, warn, info, debug, trace, off";
        Failure::Usage(format!("--log-level `{level}` is neither a level ({levels}) nor a filter: {why}"))
    };
    if let Some(word) = misspelt(level) {
        return Err(wrong(&format!("`{word}` is no level; of one module it is said as `{word}=debug`")));
    }
    let filter = EnvFilter::try_new(filter(level)).map_err(|error| wrong(&error.to_string()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Colours are for eyes; a file or a collector would keep the codes.
    let builder = builder.with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| Failure::Failed(format!("cannot start logging: {error}")))
}

/// A word that would be taken for a module, of which everything is to be logged and of all others nothing.
fn misspelt(level: &str) -> Option<&str> {
    let is_level = |word: &str| word.is_empty() || word.parse::<LevelFilter>().is_ok();
    level.split(',').map(str::trim).find(|word| !word.contains(['=', '[']) && !is_level(word))
}

/// A mere level is one of Purlin's own: what the libraries below it say at `debug`, every frame of HTTP/2, would bury it.
fn filter(level: &str) -> String {
    if level.parse::<LevelFilter>().is_ok_and(|level| level > LevelFilter::INFO) {
        return format!("{level},h2=info,hyper=info,hyper_util=info,tonic=info,tower=info");
    }
    level.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{filter, misspelt};

    #[test]
    fn a_level_is_purlins_own_and_a_filter_is_left_alone() {
        assert_eq!(filter("warn"), "warn");
        assert!(filter("debug").starts_with("debug,h2=info,"));
        assert_eq!(filter("h2=trace,info"), "h2=trace,info");
    }

    #[test]
    fn a_word_that_is_no_level_is_not_taken_for_a_module() {
        assert_eq!(misspelt("warning"), Some("warning"));
        assert_eq!(misspelt("info, h2=warn,loud"), Some("loud"));
        for level in ["info", "WARN", "off", "", "purlin_fn_api=debug,warn", "[span]=debug"] {
            assert_eq!(misspelt(level), None, "{level}");
        }
    }
}
