//! Talks to a running server, as the commands about jobs do.

use clap::Args;
use purlin_proto::inspect::inspect_client::InspectClient;
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::job_service_client::JobServiceClient;
use tonic::transport::{Channel, Endpoint};

use crate::exit::Failure;

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
        let channel = uri.connect().await.map_err(|error| no_server(root_cause(&error)))?;
        let inspect = InspectClient::new(channel.clone()).max_decoding_message_size(i32::MAX as usize);
        let jobs = JobServiceClient::new(channel).max_decoding_message_size(i32::MAX as usize);
        Ok(Self { endpoint, jobs, inspect })
    }

    /// What a refused call means.
    pub(crate) fn refused(&self, status: &tonic::Status) -> Failure {
        match status.code() {
            tonic::Code::Unavailable => {
                Failure::NoServer { endpoint: self.endpoint.clone(), why: status.message().to_owned() }
            }
            _ => Failure::Failed(status.message().to_owned()),
        }
    }
}

/// The innermost error, which says what the system said.
fn root_cause(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map_or_else(String::new, ToString::to_string)
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
