//! What a program submits, without running it: a server that takes it at Prepare and says so.
//!
//! ```text
//!   COMMAND ─Prepare─► capturing server ─► pipeline
//!      └─ ends with an error, because nothing runs; that error is expected
//! ```

use std::process::Stdio;
use std::time::Duration;

use purlin_job_server::{Mode, Server, ServerConfig};
use purlin_proto::job_management::v1 as jobpb;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::commands::explain::registry;
use crate::exit::Failure;
use crate::sdk::{self, Sdk};

/// How long a program may go on after it has submitted its pipeline, before it is ended.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// Runs `command` until it submits a pipeline.
pub(crate) fn submission_of(command: &[String], sdk: Option<Sdk>) -> Result<jobpb::PrepareJobRequest, Failure> {
    let sdk = sdk::choose(sdk, command)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let (sender, mut captured) = mpsc::unbounded_channel();
        let config = ServerConfig { mode: Mode::Capture(sender), ..ServerConfig::new(registry(), "direct") };
        let server = Server::bind(config).await.map_err(Failure::failed)?;
        let endpoint = format!("localhost:{}", server.port());
        let result = capture(&sdk::with_flags(command, sdk, &endpoint), &endpoint, &mut captured).await;
        server.shutdown("the pipeline was captured").await;
        result
    })
}

async fn capture(
    command: &[String],
    endpoint: &str,
    captured: &mut mpsc::UnboundedReceiver<jobpb::PrepareJobRequest>,
) -> Result<jobpb::PrepareJobRequest, Failure> {
    let name = command.first().map_or("", String::as_str);
    // The program's own output would stand in the middle of ours; it is shown only if no pipeline comes.
    let mut child = Command::new(name)
        .args(&command[1..])
        .env("PURLIN_JOB_ENDPOINT", endpoint)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            Failure::Usage(match error.kind() {
                std::io::ErrorKind::NotFound => sdk::no_such_program(name),
                _ => format!("cannot run `{name}`: {error}"),
            })
        })?;
    let mut complaints = Vec::new();
    let mut stderr = child.stderr.take();
    let read = async {
        if let Some(stderr) = &mut stderr {
            // What could be read is shown; that the rest cannot be does not matter.
            let _ = stderr.read_to_end(&mut complaints).await;
        }
    };
    let request = tokio::select! {
        request = captured.recv() => request,
        () = read => captured.try_recv().ok(),
    };
    // It has learned that nothing runs and is about to end; let it, so that it can clean up.
    let ended = tokio::time::timeout(LINGER_MAX, child.wait()).await;
    if ended.is_err() {
        // An error means that it has ended by itself.
        let _ = child.start_kill();
    }
    match request {
        Some(request) if request.pipeline.is_some() => Ok(request),
        Some(_) | None => {
            let how = match ended {
                Ok(Ok(status)) => format!("ended with {status}"),
                Ok(Err(_)) | Err(_) => "closed its standard error".to_owned(),
            };
            Err(Failure::Failed(no_pipeline(command, &how, &String::from_utf8_lossy(&complaints))))
        }
    }
}

/// What is said of a program that submitted nothing.
fn no_pipeline(command: &[String], how: &str, complaints: &str) -> String {
    let command = command.join(" ");
    let words = match complaints.trim_end() {
        "" => "it wrote nothing to standard error; does it run its pipeline, with the options of its command line?"
            .to_owned(),
        words => format!("it says:\n{words}"),
    };
    format!("`{command}` {how} and submitted no pipeline; {words}")
}
