//! `purlin explain`: the stages of a pipeline, how they are fused, grouped and encoded.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use purlin_backend::Registry;
use purlin_continuous::ContinuousBackend;
use purlin_direct::DirectBackend;
use purlin_micro_batch::MicroBatchBackend;
use purlin_plan::{explain, plan, validate};
use purlin_proto::pipeline::v1 as pb;
use serde::Serialize;

use crate::Execute;
use crate::exit::{Exit, Failure};
use crate::sdk::Sdk;
use crate::{pipeline_file, terminal};

/// Print how a pipeline would run: its stages, fusion, groupings and coders. Runs nothing.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A serialized Pipeline, binary or JSON; `-` for standard input.
    file: Option<PathBuf>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print JSON: the text, and the same as a graph in the dot language.
    #[arg(long)]
    json: bool,
    /// Whose flags COMMAND takes; told from COMMAND if it is not given.
    #[arg(long, value_enum)]
    sdk: Option<Sdk>,
    /// A program that submits the pipeline, instead of a file: `-- python pipeline.py …`
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For reading.
    Text,
    /// For Graphviz.
    Dot,
}

#[derive(Serialize)]
struct Explained {
    text: String,
    dot: String,
}

impl Execute for Explain {
    fn execute(self) -> Result<Exit, Failure> {
        let (pipeline, _) = Source::new(self.file, self.command, self.sdk)?.read()?;
        let planned = validate(pipeline).and_then(|pipeline| plan(&pipeline)).map_err(Failure::failed)?;
        if self.json {
            terminal::print_json(&Explained { text: explain::text(&planned), dot: explain::dot(&planned) })?;
        } else {
            terminal::print(&match self.format {
                Format::Text => explain::text(&planned),
                Format::Dot => explain::dot(&planned),
            })?;
        }
        Ok(Exit::Ok)
    }
}

/// The runners that this binary offers.
pub(crate) fn registry() -> Registry {
    Registry::new().with(Arc::new(DirectBackend)).with(Arc::new(MicroBatchBackend)).with(Arc::new(ContinuousBackend))
}

/// Where a pipeline comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// A program that submits it.
    Program(Vec<String>, Option<Sdk>),
}

impl Source {
    /// One of the two must be given.
    pub(crate) fn new(file: Option<PathBuf>, command: Vec<String>, sdk: Option<Sdk>) -> Result<Self, Failure> {
        match (file, command.is_empty()) {
            (Some(file), true) => Ok(Self::File(file)),
            (None, false) => Ok(Self::Program(command, sdk)),
            (None, true) => Err(Failure::Usage(
                "name a file that holds a pipeline, or a program that submits one: `-- python pipeline.py`".to_owned(),
            )),
            (Some(_), false) => {
                Err(Failure::Usage("name a file or a program that submits a pipeline, not both".to_owned()))
            }
        }
    }

    /// The pipeline, and the options that came with it.
    pub(crate) fn read(&self) -> Result<(pb::Pipeline, prost_types::Struct), Failure> {
        match self {
            Self::File(path) => Ok((pipeline_file::read(path)?, prost_types::Struct::default())),
            Self::Program(command, sdk) => {
                let submitted = crate::capture::submission_of(command, *sdk)?;
                Ok((submitted.pipeline.unwrap_or_default(), submitted.pipeline_options.unwrap_or_default()))
            }
        }
    }
}
