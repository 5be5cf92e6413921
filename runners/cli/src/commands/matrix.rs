//! `purlin matrix`: what each runner declares, and what of it is proven.

use clap::{Args, ValueEnum};
use purlin_capability_matrix::render;
use purlin_capability_matrix::sheet::{self, CapabilitySheet};

use crate::Execute;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// Print what each runner can do, row by row: yes, partial or no, and what of it is verified.
#[derive(Debug, Args)]
pub(crate) struct Matrix {
    /// Only these runners; may be given several times.
    #[arg(long, value_name = "RUNNER")]
    runner: Vec<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print JSON: the same as --format json.
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For reading in a terminal.
    Text,
    /// Markdown, as in docs/capability-matrix.md.
    Md,
    /// For programs.
    Json,
}

impl Execute for Matrix {
    fn execute(self) -> Result<Exit, Failure> {
        let sheets = chosen(&self.runner)?;
        match if self.json { Format::Json } else { self.format } {
            Format::Text => terminal::print(&render::table(&sheets))?,
            Format::Md => terminal::print(&render::markdown(&sheets))?,
            Format::Json => terminal::print_json(&render::json(&sheets))?,
        }
        Ok(Exit::Ok)
    }
}

/// The sheets of these runners, in the order of the matrix; of all, if none is named.
fn chosen(runners: &[String]) -> Result<Vec<&'static CapabilitySheet>, Failure> {
    if let Some(unknown) = runners.iter().find(|runner| sheet::of_runner(runner).is_none()) {
        let known: Vec<_> = sheet::all().map(CapabilitySheet::runner).collect();
        let known = known.join(", ");
        return Err(Failure::Usage(format!("there is no sheet of a runner `{unknown}`; the matrix has {known}")));
    }
    let wanted = |sheet: &&CapabilitySheet| runners.is_empty() || runners.iter().any(|name| name == sheet.runner());
    Ok(sheet::all().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(runners: &[&str]) -> Result<String, String> {
        let runners: Vec<_> = runners.iter().map(|name| (*name).to_owned()).collect();
        let sheets = chosen(&runners).map_err(|failure| failure.to_string())?;
        Ok(sheets.iter().map(|sheet| sheet.runner()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn runners_are_chosen_by_name() {
        assert_eq!(names(&[]).as_deref(), Ok("direct micro-batch continuous flink spark"));
        assert_eq!(names(&["spark", "direct"]).as_deref(), Ok("direct spark"));
        let refusal =
            "there is no sheet of a runner `prism`; the matrix has direct, micro-batch, continuous, flink, spark";
        assert_eq!(names(&["direct", "prism"]), Err(refusal.to_owned()));
    }
}
