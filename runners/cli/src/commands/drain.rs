//! `purlin drain`: has a job take no more input, and end with what it has.

use clap::Args;
use purlin_proto::job_management::v1 as jobpb;

use crate::Execute;
use crate::client::{Client, ServerAddress, block_on, state_name};
use crate::exit::{Exit, Failure};
use crate::terminal;

/// Drain a job of a running server: it takes no more input, and ends with what it has.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// The job's id, as `purlin jobs` lists it.
    job: String,
    #[command(flatten)]
    server: ServerAddress,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Execute for Drain {
    fn execute(self) -> Result<Exit, Failure> {
        let state = block_on(async {
            let mut client = Client::connect(&self.server).await?;
            let response = client.jobs.drain(jobpb::DrainJobRequest { job_id: self.job.clone() }).await;
            response.map(|response| response.into_inner().state).map_err(|status| client.refused(&status))
        })?;
        terminal::print_state(&self.job, state_name(state), self.json)?;
        Ok(Exit::Ok)
    }
}
