//! `purlin dead-letters`: the elements that jobs put aside because user code failed on them.

mod list;
mod replay;

use clap::{Args, Subcommand};

use crate::Execute;
use crate::exit::{Exit, Failure};

use list::List;
use replay::Replay;

/// How much of an element and of an error stands in a table.
const CELL_CHARS_MAX: usize = 60;

/// Look at the elements that jobs with --dead_letter_dir put aside, and process them after all.
#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(List),
    Replay(Box<Replay>),
}

impl Execute for DeadLetters {
    fn execute(self) -> Result<Exit, Failure> {
        match self.what {
            What::List(list) => list.execute(),
            What::Replay(replay) => replay.execute(),
        }
    }
}

fn cell(text: &str) -> String {
    text.chars().take(CELL_CHARS_MAX).collect()
}
