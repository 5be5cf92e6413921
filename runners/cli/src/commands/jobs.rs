//! `purlin jobs`: the jobs of a running server.

use clap::Args;
use purlin_proto::job_management::v1 as jobpb;
use serde::Serialize;

use crate::Execute;
use crate::client::{Client, ServerAddress, block_on, state_name};
use crate::exit::{Exit, Failure};
use crate::terminal;

/// List the jobs of a running server.
#[derive(Debug, Args)]
pub(crate) struct Jobs {
    #[command(flatten)]
    server: ServerAddress,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Job {
    id: String,
    name: String,
    state: &'static str,
}

impl Execute for Jobs {
    fn execute(self) -> Result<Exit, Failure> {
        let jobs = block_on(async {
            let mut client = Client::connect(&self.server).await?;
            let response = client.jobs.get_jobs(jobpb::GetJobsRequest {}).await;
            response.map_err(|status| client.refused(&status))
        })?;
        let jobs: Vec<Job> = jobs
            .into_inner()
            .job_info
            .into_iter()
            .map(|job| Job { id: job.job_id, name: job.job_name, state: state_name(job.state) })
            .collect();
        if self.json {
            terminal::print_json(&jobs)?;
        } else if jobs.is_empty() {
            terminal::note("This server has no jobs.");
        } else {
            let rows: Vec<_> = jobs.into_iter().map(|job| vec![job.id, job.state.to_owned(), job.name]).collect();
            terminal::print(&terminal::table(&["JOB", "STATE", "NAME"], &rows))?;
        }
        Ok(Exit::Ok)
    }
}
