//! `purlin logs`: what a job has told.

use clap::Args;
use purlin_job_server::HISTORY_ONLY;
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::job_messages_response::Response;
use serde::Serialize;
use tonic::metadata::AsciiMetadataValue;

use crate::Execute;
use crate::client::{Client, ServerAddress, block_on, state_name};
use crate::exit::{Exit, Failure};
use crate::terminal;

/// Print the messages of a job, from its beginning.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The job's id, as `purlin jobs` lists it; the newest job, if it is not given.
    job: Option<String>,
    #[command(flatten)]
    server: ServerAddress,
    /// Go on until the job ends.
    #[arg(long, short)]
    follow: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Message { time: &'a str, importance: &'static str, text: &'a str },
    State { state: &'static str },
}

impl Execute for Logs {
    fn execute(self) -> Result<Exit, Failure> {
        block_on(async {
            let mut client = Client::connect(&self.server).await?;
            let job_id = client.job_or_newest(self.job.as_deref()).await?;
            let mut request = tonic::Request::new(jobpb::JobMessagesRequest { job_id });
            if !self.follow {
                request.metadata_mut().insert(HISTORY_ONLY, AsciiMetadataValue::from_static("true"));
            }
            let stream = client.jobs.get_message_stream(request).await;
            let mut stream = stream.map_err(|status| client.refused(&status))?.into_inner();
            while let Some(message) = stream.message().await.map_err(|status| client.refused(&status))? {
                match &message.response {
                    Some(Response::MessageResponse(message)) => self.show(&Line::Message {
                        time: &message.time,
                        importance: importance_name(message.importance),
                        text: &message.message_text,
                    })?,
                    Some(Response::StateResponse(event)) => {
                        self.show(&Line::State { state: state_name(event.state) })?;
                    }
                    None => {}
                }
            }
            Ok(Exit::Ok)
        })
    }
}

impl Logs {
    fn show(&self, line: &Line<'_>) -> Result<(), Failure> {
        if self.json {
            let text = serde_json::to_string(line).map_err(Failure::failed)?;
            return terminal::print(&format!("{text}\n"));
        }
        match line {
            Line::Message { time, importance, text } => terminal::print(&format!("{time} {importance}: {text}\n")),
            Line::State { state } => terminal::print(&format!("the job is {state}\n")),
        }
    }
}

/// An importance as people say it.
fn importance_name(importance: i32) -> &'static str {
    use jobpb::job_message::MessageImportance;
    match MessageImportance::try_from(importance) {
        Ok(MessageImportance::JobMessageDebug) => "DEBUG",
        Ok(MessageImportance::JobMessageDetailed) => "DETAILED",
        Ok(MessageImportance::JobMessageBasic) => "INFO",
        Ok(MessageImportance::JobMessageWarning) => "WARNING",
        Ok(MessageImportance::JobMessageError) => "ERROR",
        Ok(MessageImportance::Unspecified) | Err(_) => "UNSPECIFIED",
    }
}
