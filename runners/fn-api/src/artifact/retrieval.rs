//! ArtifactRetrievalService: workers fetch the files of their own job, and no others.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use prost::Message;
use purlin_backend::{ArtifactError, ArtifactHash, ArtifactStore};
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::artifact_retrieval_service_server::ArtifactRetrievalService;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_artifacts::types;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::parse_staged_artifact;
use crate::hub::FnApi;

/// How much of a file one message carries.
const CHUNK_BYTES: usize = 1 << 20;

/// How many chunks may wait for a slow worker.
const CHUNKS_AHEAD: usize = 2;

#[derive(Debug)]
pub(crate) struct ArtifactApi(pub(crate) Arc<FnApi>);

#[tonic::async_trait]
impl ArtifactRetrievalService for ArtifactApi {
    type GetArtifactStream = BoxStream<'static, Result<jobpb::GetArtifactResponse, Status>>;

    /// What a worker asks to resolve was resolved when it was staged.
    async fn resolve_artifacts(
        &self,
        request: Request<jobpb::ResolveArtifactsRequest>,
    ) -> Result<Response<jobpb::ResolveArtifactsResponse>, Status> {
        self.0.caller(request.metadata())?;
        let replacements = request.into_inner().artifacts;
        Ok(Response::new(jobpb::ResolveArtifactsResponse { replacements }))
    }

    async fn get_artifact(
        &self,
        request: Request<jobpb::GetArtifactRequest>,
    ) -> Result<Response<Self::GetArtifactStream>, Status> {
        let worker = self.0.caller(request.metadata())?;
        let artifact = request
            .into_inner()
            .artifact
            .ok_or_else(|| Status::invalid_argument("the request names no artifact; set `artifact`"))?;
        if artifact.type_urn == types::EMBEDDED {
            let payload = pb::EmbeddedFilePayload::decode(artifact.type_payload)
                .map_err(|error| Status::invalid_argument(format!("the embedded artifact cannot be read: {error}")))?;
            let data = jobpb::GetArtifactResponse { data: payload.data };
            return Ok(Response::new(Box::pin(tokio_stream::once(Ok(data)))));
        }
        let hash = parse_staged_artifact(&artifact).filter(|hash| worker.job.has_artifact(*hash)).ok_or_else(|| {
            Status::not_found(format!(
                "an artifact of type {} is not one that job `{}` has staged; ask for those in ProvisionInfo.dependencies",
                artifact.type_urn, worker.job.job.job_id
            ))
        })?;
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let store = worker.job.job.artifacts.clone();
        tokio::task::spawn_blocking(move || send(&*store, hash, &sender));
        let chunks = ReceiverStream::new(receiver)
            .map(|chunk| chunk.map(|data| jobpb::GetArtifactResponse { data }).map_err(|error| status(&error)));
        Ok(Response::new(Box::pin(chunks)))
    }
}

fn send(store: &dyn ArtifactStore, hash: ArtifactHash, to: &mpsc::Sender<Result<Bytes, ArtifactError>>) {
    let mut offset = 0;
    loop {
        let chunk = store.read(hash, offset, CHUNK_BYTES).map(Bytes::from);
        let length = chunk.as_ref().map_or(0, Bytes::len);
        // An empty file is one empty chunk; any other ends without one.
        if length == 0 && offset > 0 && chunk.is_ok() {
            return;
        }
        // An error means that the worker has hung up.
        if to.blocking_send(chunk).is_err() || length == 0 {
            return;
        }
        offset += length as u64;
    }
}

fn status(error: &ArtifactError) -> Status {
    match error {
        ArtifactError::Missing(_) => Status::not_found(error.to_string()),
        ArtifactError::Io { .. } => Status::internal(error.to_string()),
    }
}
