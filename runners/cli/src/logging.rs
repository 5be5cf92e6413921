//! Logs of the server, on standard error.

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
    let filter = EnvFilter::try_new(filter(level)).map_err(|error| {
        Failure::Usage(format!(
            "--log-level `{level}` is neither a level (error, warn, info, debug, trace) nor a filter: {error}"
        ))
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| Failure::Failed(format!("cannot start logging: {error}")))
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
    use super::filter;

    #[test]
    fn a_level_is_purlins_own_and_a_filter_is_left_alone() {
        assert_eq!(filter("warn"), "warn");
        assert!(filter("debug").starts_with("debug,h2=info,"));
        assert_eq!(filter("h2=trace,info"), "h2=trace,info");
    }
}
