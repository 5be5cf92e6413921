//! BeamFnControl: instructions to a worker, and its answers.
//!
//! ```text
//!   worker ══Control══► the worker is up │ InstructionResponse ─► Worker::on_response
//!          ◄═requests══ from Worker      │ end of stream ───────► Worker::lose
//! ```

use std::sync::Arc;

use futures_util::stream::BoxStream;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::beam_fn_control_server::BeamFnControl;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::hub::FnApi;
use crate::metadata::broken;
use crate::worker::{OpenStream, Worker};

#[derive(Debug)]
pub(crate) struct ControlApi(pub(crate) Arc<FnApi>);

#[tonic::async_trait]
impl BeamFnControl for ControlApi {
    type ControlStream = BoxStream<'static, Result<fnpb::InstructionRequest, Status>>;

    async fn control(
        &self,
        request: Request<Streaming<fnpb::InstructionResponse>>,
    ) -> Result<Response<Self::ControlStream>, Status> {
        let worker = self.0.caller(request.metadata())?;
        let connection = worker.connect()?;
        let why = "its control stream ended".to_owned();
        let end = EndOfStream { _open: worker.stream(), worker, number: connection.number, why };
        tokio::spawn(read(request.into_inner(), end));
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(connection.requests).map(Ok))))
    }

    async fn get_process_bundle_descriptor(
        &self,
        request: Request<fnpb::GetProcessBundleDescriptorRequest>,
    ) -> Result<Response<fnpb::ProcessBundleDescriptor>, Status> {
        let worker = self.0.caller(request.metadata())?;
        let id = request.into_inner().process_bundle_descriptor_id;
        match worker.job.stage_by_descriptor(&id) {
            Some(stage) => Ok(Response::new(stage.proto.clone())),
            None => Err(Status::not_found(format!("job `{}` has no bundle descriptor `{id}`", worker.job.job.job_id))),
        }
    }
}

async fn read(mut responses: Streaming<fnpb::InstructionResponse>, mut end: EndOfStream) {
    loop {
        match responses.message().await {
            Ok(Some(response)) => end.worker.on_response(response),
            Ok(None) => return,
            Err(status) => {
                end.why = format!("its control stream broke: {}", broken(&status));
                return;
            }
        }
    }
}

/// Whatever ends the reading, a panic included, the worker is lost.
#[derive(Debug)]
struct EndOfStream {
    worker: Arc<Worker>,
    number: u64,
    why: String,
    _open: OpenStream,
}

impl Drop for EndOfStream {
    fn drop(&mut self) {
        self.worker.lose(self.number, &self.why);
    }
}
