//! Fetches the files that a pipeline names from the client that submitted it
//! (`ArtifactStagingService.ReverseArtifactRetrievalService`).
//!
//! ```text
//!   client                                server, for each environment:
//!     ──── staging_token ──────────────────►
//!     ◄─── resolve_artifact(dependencies) ──
//!     ──── replacements ───────────────────►
//!     ◄─── get_artifact(replacement) ───────   unless its content is here already
//!     ──── chunks …, is_last ──────────────►   content ─► SHA-256 ─► compared with what the pipeline says
//!     ◄─── end of the stream ───────────────   clients wait for it
//! ```
//! The roles are reversed: the client opened the stream, and the server asks. One question at a time, for answers do not
//! say what they answer. A client that goes away leaves nothing behind and may begin again.
//!
//! Does not know what becomes of the files.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use purlin_backend::{ArtifactError, ArtifactHash, ArtifactWriter};
use purlin_model::ids::EnvironmentId;
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::artifact_request_wrapper::Request as Question;
use purlin_proto::job_management::v1::artifact_response_wrapper::Response as Reply;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_artifacts::{roles, types};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::artifacts::{ArtifactLease, Artifacts};
use crate::job_store::StoreError;
use crate::preparation::{Preparation, StagedArtifact, StagedArtifacts};
use crate::shared::Shared;
use crate::status::refusal;

/// The kinds of artifact that can be fetched; clients are asked to turn others into these.
const FETCHABLE: [&str; 3] = [types::FILE, types::URL, types::EMBEDDED];

/// How many files an environment may have; SDKs bring a handful, or one for each jar of a class path.
const ARTIFACTS_MAX: usize = 10_000;

/// The service, on the state of the server.
#[derive(Clone, Debug)]
pub(crate) struct StagingApi(pub(crate) Arc<Shared>);

/// Why files could not be fetched.
#[derive(Debug, Error)]
pub(crate) enum StagingError {
    /// The client does not keep to the protocol.
    #[error("artifact staging: {what}; this is a fault of the client, not of the pipeline")]
    Protocol { what: String },
    /// The client ended the stream too early.
    #[error(
        "artifact staging: the client ended before it had sent all of artifact `{name}`; see there why (is the file \
         missing or unreadable?), and submit the pipeline again"
    )]
    Ended { name: String },
    /// The stream broke.
    #[error("artifact staging broke off at {at}: {}", status.message())]
    Broken { at: String, status: Box<Status> },
    /// The content is not what the pipeline says.
    #[error(
        "artifact `{name}` of environment `{environment}` arrived with SHA-256 {found}, but the pipeline says {expected}; \
         the file was changed after the pipeline was built, or damaged on the way: submit the pipeline again"
    )]
    Hash { name: String, environment: EnvironmentId, found: ArtifactHash, expected: String },
    /// It cannot be kept.
    #[error("artifact `{name}`: {source}")]
    Store { name: String, source: ArtifactError },
    /// Whoever asked for it does not exist.
    #[error(transparent)]
    Token(#[from] StoreError),
    /// Nobody needs it any more.
    #[error("this server is shutting down; artifact staging was given up")]
    Stopping,
}

impl StagingError {
    fn code(&self) -> Code {
        match self {
            Self::Protocol { .. } | Self::Ended { .. } => Code::InvalidArgument,
            Self::Broken { status, .. } => status.code(),
            Self::Hash { .. } => Code::DataLoss,
            Self::Store { source, .. } => match source {
                ArtifactError::Missing(_) => Code::NotFound,
                ArtifactError::Io { .. } => Code::ResourceExhausted,
            },
            Self::Token(_) => Code::NotFound,
            Self::Stopping => Code::Unavailable,
        }
    }
}

#[tonic::async_trait]
impl jobpb::artifact_staging_service_server::ArtifactStagingService for StagingApi {
    type ReverseArtifactRetrievalServiceStream = ReceiverStream<Result<jobpb::ArtifactRequestWrapper, Status>>;

    async fn reverse_artifact_retrieval_service(
        &self,
        request: Request<Streaming<jobpb::ArtifactResponseWrapper>>,
    ) -> Result<Response<Self::ReverseArtifactRetrievalServiceStream>, Status> {
        let shared = self.0.clone();
        let (questions, stream) = mpsc::channel(1);
        let mut client = Client { replies: request.into_inner(), questions };
        tokio::spawn(async move {
            let stopping = shared.stopping.clone();
            let done = tokio::select! {
                done = stage(&shared, &mut client) => done,
                () = stopping.cancelled() => Err(StagingError::Stopping),
            };
            if let Err(error) = done {
                tracing::warn!("{error}");
                // If the client has gone, nobody needs to hear it.
                let _ = client.questions.send(Err(refusal(error.code(), &error.to_string()))).await;
            }
            // The end of the questions is the end of the stream, for which the client waits.
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// The client's half of the conversation.
struct Client {
    replies: Streaming<jobpb::ArtifactResponseWrapper>,
    questions: mpsc::Sender<Result<jobpb::ArtifactRequestWrapper, Status>>,
}

impl Client {
    async fn ask(&self, question: Question) -> Result<(), StagingError> {
        let question = jobpb::ArtifactRequestWrapper { request: Some(question) };
        self.questions.send(Ok(question)).await.map_err(|_| StagingError::Broken {
            at: "a question".to_owned(),
            status: Box::new(Status::cancelled("the client has gone")),
        })
    }

    async fn reply(&mut self, at: &str) -> Result<Option<jobpb::ArtifactResponseWrapper>, StagingError> {
        self.replies
            .message()
            .await
            .map_err(|status| StagingError::Broken { at: at.to_owned(), status: Box::new(status) })
    }
}

async fn stage(shared: &Shared, client: &mut Client) -> Result<(), StagingError> {
    let Some(first) = client.reply("its first message").await? else {
        return Err(StagingError::Protocol { what: "the stream ended before it named a staging token".to_owned() });
    };
    let preparation = shared.store.preparation(&first.staging_token)?;
    let mut staged = StagedArtifacts::new();
    for (environment, dependencies) in &preparation.dependencies {
        let mut artifacts = Vec::new();
        let resolved = resolve(client, dependencies).await?;
        if resolved.len() > ARTIFACTS_MAX {
            let count = resolved.len();
            let what = format!("environment `{environment}` has {count} artifacts, and {ARTIFACTS_MAX} are the most");
            return Err(StagingError::Protocol { what });
        }
        for artifact in resolved {
            let lease = fetch(&shared.artifacts, client, environment, &artifact).await?;
            artifacts.push(StagedArtifact { lease, role_urn: artifact.role_urn, role_payload: artifact.role_payload });
        }
        staged.insert(environment.clone(), artifacts);
    }
    finish(&preparation, staged);
    Ok(())
}

fn finish(preparation: &Preparation, staged: StagedArtifacts) {
    let count: usize = staged.values().map(Vec::len).sum();
    tracing::debug!(preparation = %preparation.id, count, "artifacts are staged");
    preparation.set_staged(staged);
}

async fn resolve(
    client: &mut Client,
    dependencies: &[pb::ArtifactInformation],
) -> Result<Vec<pb::ArtifactInformation>, StagingError> {
    client
        .ask(Question::ResolveArtifact(jobpb::ResolveArtifactsRequest {
            artifacts: dependencies.to_vec(),
            preferred_urns: FETCHABLE.map(str::to_owned).to_vec(),
        }))
        .await?;
    match client.reply("a list of artifacts").await?.and_then(|reply| reply.response) {
        Some(Reply::ResolveArtifactResponse(resolved)) => Ok(resolved.replacements),
        Some(Reply::GetArtifactResponse(_)) | None => {
            Err(StagingError::Protocol { what: "resolve_artifact was not answered".to_owned() })
        }
    }
}

/// Gets one artifact's content, from wherever it is.
async fn fetch(
    artifacts: &Arc<Artifacts>,
    client: &mut Client,
    environment: &EnvironmentId,
    artifact: &pb::ArtifactInformation,
) -> Result<ArtifactLease, StagingError> {
    let name = display_name(artifact);
    let expected = expected_hash(artifact)?;
    if let Some(lease) = parse_hash(&expected).and_then(|hash| artifacts.keep_known(hash)) {
        return Ok(lease);
    }
    let in_store = |source| StagingError::Store { name: name.clone(), source };
    let mut writer = artifacts.create().map_err(in_store)?;
    if artifact.type_urn == types::EMBEDDED {
        let payload: pb::EmbeddedFilePayload = payload(artifact)?;
        writer = write(writer, payload.data).await.map_err(in_store)?;
    } else {
        client.ask(Question::GetArtifact(jobpb::GetArtifactRequest { artifact: Some(artifact.clone()) })).await?;
        loop {
            let Some(reply) = client.reply(&format!("artifact `{name}`")).await? else {
                return Err(StagingError::Ended { name });
            };
            match reply.response {
                Some(Reply::GetArtifactResponse(chunk)) if !chunk.data.is_empty() => {
                    writer = write(writer, chunk.data).await.map_err(in_store)?;
                }
                // The last message of some clients has no content at all.
                Some(Reply::GetArtifactResponse(_)) | None => {}
                Some(Reply::ResolveArtifactResponse(_)) => {
                    let what = format!("get_artifact for `{name}` was answered with a list");
                    return Err(StagingError::Protocol { what });
                }
            }
            if reply.is_last {
                break;
            }
        }
    }
    let keeper = artifacts.clone();
    let lease = blocking(move || keeper.keep(writer)).await.map_err(in_store)?;
    if !expected.is_empty() && parse_hash(&expected) != Some(lease.hash()) {
        let found = lease.hash();
        return Err(StagingError::Hash { name, environment: environment.clone(), found, expected });
    }
    Ok(lease)
}

/// Writes on a thread that may block, for this is hashing and disk.
async fn write(mut writer: Box<dyn ArtifactWriter>, chunk: Bytes) -> Result<Box<dyn ArtifactWriter>, ArtifactError> {
    blocking(move || writer.write(&chunk).map(|()| writer)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is being dropped cancels such work, and then this task is dropped with it.
            Err(_) => std::future::pending().await,
        },
    }
}

fn payload<M: Message + Default>(artifact: &pb::ArtifactInformation) -> Result<M, StagingError> {
    M::decode(artifact.type_payload.clone()).map_err(|error| StagingError::Protocol {
        what: format!("the payload of artifact `{}` cannot be read: {error}", artifact.type_urn),
    })
}

/// What the pipeline says of the content; empty if it says nothing.
fn expected_hash(artifact: &pb::ArtifactInformation) -> Result<String, StagingError> {
    match artifact.type_urn.as_str() {
        types::FILE => Ok(payload::<pb::ArtifactFilePayload>(artifact)?.sha256),
        types::URL => Ok(payload::<pb::ArtifactUrlPayload>(artifact)?.sha256),
        _ => Ok(String::new()),
    }
}

fn parse_hash(text: &str) -> Option<ArtifactHash> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(digits[0]).to_digit(16)?;
        let low = char::from(digits[1]).to_digit(16)?;
        *byte = (high * 16 + low) as u8;
    }
    Some(ArtifactHash(hash))
}

/// A name for people: what the file is to be called, else where it came from. Never a path of ours.
fn display_name(artifact: &pb::ArtifactInformation) -> String {
    let staged = (artifact.role_urn == roles::STAGING_TO)
        .then(|| pb::ArtifactStagingToRolePayload::decode(artifact.role_payload.clone()).ok())
        .flatten()
        .map(|role| role.staged_name);
    let source = || match artifact.type_urn.as_str() {
        types::FILE => pb::ArtifactFilePayload::decode(artifact.type_payload.clone()).ok().map(|file| {
            let name = Path::new(&file.path).file_name().map(|name| name.to_string_lossy().into_owned());
            name.unwrap_or(file.path)
        }),
        types::URL => pb::ArtifactUrlPayload::decode(artifact.type_payload.clone()).ok().map(|url| url.url),
        _ => None,
    };
    staged
        .filter(|name| !name.is_empty())
        .or_else(|| source().filter(|name| !name.is_empty()))
        .unwrap_or_else(|| artifact.type_urn.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(
        type_urn: &str,
        type_payload: Vec<u8>,
        role_urn: &str,
        role_payload: Vec<u8>,
    ) -> pb::ArtifactInformation {
        pb::ArtifactInformation {
            type_urn: type_urn.to_owned(),
            type_payload: type_payload.into(),
            role_urn: role_urn.to_owned(),
            role_payload: role_payload.into(),
        }
    }

    #[test]
    fn artifacts_have_names_for_people() {
        let file = pb::ArtifactFilePayload { path: "/tmp/x/main.pickle".to_owned(), ..Default::default() };
        let role = pb::ArtifactStagingToRolePayload { staged_name: "pickled_main_session".to_owned() };
        let both = artifact(types::FILE, file.encode_to_vec(), roles::STAGING_TO, role.encode_to_vec());
        assert_eq!(display_name(&both), "pickled_main_session");
        assert_eq!(display_name(&artifact(types::FILE, file.encode_to_vec(), "other", Vec::new())), "main.pickle");
        assert_eq!(display_name(&artifact(types::FILE, vec![0xff], roles::STAGING_TO, vec![0xff])), types::FILE);
        assert_eq!(display_name(&artifact("mine", Vec::new(), "", Vec::new())), "mine");
    }

    #[test]
    fn hashes_are_read_in_either_case_and_nothing_else() {
        let text = "09ca7e4eaa6e8ae9c7d261167129184883644d07dfba7cbfbc4c8a2e08360d5b";
        assert_eq!(parse_hash(text).unwrap().to_string(), text);
        assert_eq!(parse_hash(&text.to_uppercase()), parse_hash(text));
        for wrong in ["", "09ca", &text.replace('9', "x"), &format!("{text}0"), &"é".repeat(32)] {
            assert_eq!(parse_hash(wrong), None, "{wrong}");
        }
    }
}
