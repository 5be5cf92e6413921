//! BeamFnData: the elements of all bundles of a worker, both ways.
//!
//! ```text
//!   feed ─Outbound─► bounded queue ─► frames of live bundles ══► worker
//!   BundleRun::take_elements ◄────── by instruction id ◄════════ worker
//! ```
//! What arrives is partitioned at once, on the task that reads the stream. A full queue stops the feeders, which have
//! threads of their own.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::beam_fn_data_server::BeamFnData;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::hub::FnApi;
use crate::metadata::broken;
use crate::worker::Worker;

#[derive(Debug)]
pub(crate) struct DataApi(pub(crate) Arc<FnApi>);

#[tonic::async_trait]
impl BeamFnData for DataApi {
    type DataStream = BoxStream<'static, Result<fnpb::Elements, Status>>;

    async fn data(&self, request: Request<Streaming<fnpb::Elements>>) -> Result<Response<Self::DataStream>, Status> {
        let worker = self.0.caller(request.metadata())?;
        let connection = worker.open_data()?;
        let end = EndOfStream { worker, number: connection.number, why: None };
        tokio::spawn(read(request.into_inner(), connection.end.clone(), end));
        let elements = ReceiverStream::new(connection.elements)
            // What a bundle that has ended left in the queue would only fill the worker's.
            .filter_map(|outbound| std::future::ready(outbound.run.is_live().then_some(Ok(outbound.elements))))
            .take_until(connection.end.cancelled_owned());
        Ok(Response::new(Box::pin(elements)))
    }
}

async fn read(mut stream: Streaming<fnpb::Elements>, connection_end: CancellationToken, mut end: EndOfStream) {
    loop {
        let message = tokio::select! {
            message = stream.message() => message,
            () = connection_end.cancelled() => return,
        };
        match message {
            Ok(Some(elements)) => end.worker.take_elements(elements),
            Ok(None) => return,
            Err(status) => {
                tracing::debug!(worker = %end.worker.id, %status, "a data stream broke");
                end.why = Some(broken(&status));
                return;
            }
        }
    }
}

/// Whatever ends the reading, a panic included, the worker hears of it.
#[derive(Debug)]
struct EndOfStream {
    worker: Arc<Worker>,
    number: u64,
    /// Why it broke, if it did.
    why: Option<String>,
}

impl Drop for EndOfStream {
    fn drop(&mut self) {
        self.worker.data_ended(self.number, self.why.as_deref());
    }
}
