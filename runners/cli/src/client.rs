//! Talks to a running server, as the commands about jobs do.

use std::error::Error;
use std::time::Duration;

use clap::Args;
use purlin_proto::inspect::inspect_client::InspectClient;
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::job_service_client::JobServiceClient;
use tonic::transport::{Channel, Endpoint};

use crate::exit::Failure;

/// How long a connection may be silent before its other end is asked for a sign of life.
const PING_AFTER: Duration = Duration::from_secs(5);

/// How long that sign may take.
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// Which server.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerAddress {
    /// Where the server listens, as HOST:PORT.
    #[arg(long, env = "PURLIN_JOB_ENDPOINT", default_value = "localhost:8073", value_name = "HOST:PORT")]
    pub(crate) endpoint: String,
}

/// A connection to a server: Beam's Job API, and Purlin's own beside it.
#[derive(Debug)]
pub(crate) struct Client {
    endpoint: String,
    pub(crate) jobs: JobServiceClient<Channel>,
    /// What only Purlin has.
    pub(crate) inspect: InspectClient<Channel>,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(address: &ServerAddress) -> Result<Self, Failure> {
        let endpoint = address.endpoint.clone();
        let no_server = |why: String| Failure::NoServer { endpoint: endpoint.clone(), why };
        let uri = Endpoint::from_shared(format!("http://{endpoint}"))
            .map_err(|_| Failure::Usage(format!("--endpoint `{endpoint}` is no HOST:PORT")))?;
        // Whoever accepts the connection and then says nothing does not keep us waiting for ever.
        let uri =
            uri.connect_timeout(PONG_WITHIN).http2_keep_alive_interval(PING_AFTER).keep_alive_timeout(PONG_WITHIN);
        let channel = uri.connect().await.map_err(|error| no_server(root_cause(&error)))?;
        let inspect = InspectClient::new(channel.clone()).max_decoding_message_size(i32::MAX as usize);
        let jobs = JobServiceClient::new(channel).max_decoding_message_size(i32::MAX as usize);
        Ok(Self { endpoint, jobs, inspect })
    }

    /// The id of the job that was named, else that of the newest.
    pub(crate) async fn job_or_newest(&mut self, named: Option<&str>) -> Result<String, Failure> {
        if let Some(job) = named {
            return Ok(job.to_owned());
        }
        let jobs = self.jobs.get_jobs(jobpb::GetJobsRequest::default()).await;
        let jobs = jobs.map_err(|status| self.refused(&status))?.into_inner().job_info;
        let newest = jobs.into_iter().next_back();
        newest.map(|job| job.job_id).ok_or_else(|| Failure::Failed("the server knows no job".to_owned()))
    }

    /// What a refused call means.
    pub(crate) fn refused(&self, status: &tonic::Status) -> Failure {
        let no_server = |why: String| Failure::NoServer { endpoint: self.endpoint.clone(), why };
        match (status.source(), status.code()) {
            // What has a cause comes of the connection; what a server says has none.
            (Some(cause), _) => no_server(root_cause(cause)),
            (None, tonic::Code::Unavailable) => no_server(status.message().to_owned()),
            (None, code) if status.message().is_empty() => no_server(format!("whoever listens there says: {code}")),
            (None, _) => Failure::Failed(status.message().to_owned()),
        }
    }
}

/// The innermost error, which says what the system said.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Runs a command that talks to a server.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    runtime.block_on(work)
}

/// A job's state as Beam names it.
pub(crate) fn state_name(state: i32) -> &'static str {
    jobpb::job_state::Enum::try_from(state).map_or("UNKNOWN", |state| state.as_str_name())
}
