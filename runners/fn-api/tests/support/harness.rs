//! The SDK's half of the Fn API, each step of it in the test's hands.

use std::collections::BTreeMap;

use bytes::Bytes;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::beam_fn_control_client::BeamFnControlClient;
use purlin_proto::fn_execution::v1::beam_fn_data_client::BeamFnDataClient;
use purlin_proto::fn_execution::v1::beam_fn_state_client::BeamFnStateClient;
use purlin_proto::fn_execution::v1::elements::Data;
use purlin_proto::fn_execution::v1::instruction_request::Request as Ask;
use purlin_proto::fn_execution::v1::instruction_response::Response as Answer;
use purlin_proto::fn_execution::v1::state_key::Type;
use purlin_proto::fn_execution::v1::state_request::Request as Operation;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::soon;

/// A worker.
#[derive(Debug)]
pub(crate) struct Harness {
    pub(crate) id: String,
    pub(crate) channel: Channel,
    requests: Streaming<fnpb::InstructionRequest>,
    responses: mpsc::UnboundedSender<fnpb::InstructionResponse>,
}

/// Its data stream.
#[derive(Debug)]
pub(crate) struct DataStream {
    pub(crate) received: Streaming<fnpb::Elements>,
    pub(crate) sent: mpsc::UnboundedSender<fnpb::Elements>,
}

/// Its state stream.
#[derive(Debug)]
pub(crate) struct StateStream {
    responses: Streaming<fnpb::StateResponse>,
    requests: mpsc::UnboundedSender<fnpb::StateRequest>,
}

/// Opens a channel as any SDK would.
pub(crate) async fn channel(endpoint: &str) -> Channel {
    Channel::from_shared(format!("http://{endpoint}")).unwrap().connect().await.unwrap()
}

/// A call in a worker's name.
pub(crate) fn call<T>(worker: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("worker_id", worker.parse().unwrap());
    request
}

impl Harness {
    /// Connects as this worker.
    pub(crate) async fn connect(endpoint: &str, id: &str) -> Self {
        Self::try_connect(endpoint, id).await.unwrap()
    }

    pub(crate) async fn try_connect(endpoint: &str, id: &str) -> Result<Self, Status> {
        let channel = channel(endpoint).await;
        let (responses, outgoing) = mpsc::unbounded_channel();
        let outgoing = UnboundedReceiverStream::new(outgoing);
        let requests = BeamFnControlClient::new(channel.clone()).control(call(id, outgoing)).await?.into_inner();
        Ok(Self { id: id.to_owned(), channel, requests, responses })
    }

    /// The next instruction.
    pub(crate) async fn instruction(&mut self) -> (String, Ask) {
        let request = soon("an instruction", self.requests.message()).await.unwrap().expect("the control stream ended");
        (request.instruction_id, request.request.unwrap())
    }

    /// Waits for the server to end the control stream.
    pub(crate) async fn told_to_leave(&mut self) {
        let request = soon("the end of the control stream", self.requests.message()).await.unwrap();
        assert_eq!(request, None);
    }

    /// The next bundle: its instruction and its descriptor.
    pub(crate) async fn bundle(&mut self) -> (String, String) {
        let (id, bundle) = self.process_bundle().await;
        (id, bundle.process_bundle_descriptor_id)
    }

    pub(crate) async fn process_bundle(&mut self) -> (String, fnpb::ProcessBundleRequest) {
        match self.instruction().await {
            (id, Ask::ProcessBundle(bundle)) => (id, bundle),
            (_, other) => panic!("{other:?} instead of a bundle"),
        }
    }

    pub(crate) async fn descriptor(&self, id: &str) -> Result<fnpb::ProcessBundleDescriptor, Status> {
        let request = fnpb::GetProcessBundleDescriptorRequest { process_bundle_descriptor_id: id.to_owned() };
        let mut control = BeamFnControlClient::new(self.channel.clone());
        Ok(control.get_process_bundle_descriptor(call(&self.id, request)).await?.into_inner())
    }

    pub(crate) fn answer(&self, instruction: &str, answer: Answer) {
        let response = fnpb::InstructionResponse {
            instruction_id: instruction.to_owned(),
            error: String::new(),
            response: Some(answer),
        };
        self.responses.send(response).unwrap();
    }

    /// The plain answer to a bundle.
    pub(crate) fn done(&self, instruction: &str) {
        self.answer(instruction, Answer::ProcessBundle(fnpb::ProcessBundleResponse::default()));
    }

    /// An error, in the form that the Go SDK gives it.
    pub(crate) fn fail(&self, instruction: &str, error: &str) {
        let response = fnpb::InstructionResponse {
            instruction_id: instruction.to_owned(),
            error: error.to_owned(),
            response: Some(Answer::ProcessBundle(fnpb::ProcessBundleResponse::default())),
        };
        self.responses.send(response).unwrap();
    }

    pub(crate) async fn open_data(&self) -> DataStream {
        self.try_open_data().await.unwrap()
    }

    pub(crate) async fn try_open_data(&self) -> Result<DataStream, Status> {
        let (sent, outgoing) = mpsc::unbounded_channel();
        let outgoing = UnboundedReceiverStream::new(outgoing);
        let client = BeamFnDataClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let received = client.clone().data(call(&self.id, outgoing)).await?.into_inner();
        Ok(DataStream { received, sent })
    }

    pub(crate) async fn open_state(&self) -> StateStream {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let outgoing = UnboundedReceiverStream::new(outgoing);
        let responses = BeamFnStateClient::new(self.channel.clone()).state(call(&self.id, outgoing)).await.unwrap();
        StateStream { responses: responses.into_inner(), requests }
    }
}

impl DataStream {
    /// Reads the input of a bundle to its terminator.
    pub(crate) async fn input(&mut self, instruction: &str) -> Vec<u8> {
        let mut input = Vec::new();
        loop {
            let elements = soon("elements", self.received.message()).await.unwrap().expect("the data stream ended");
            for data in elements.data {
                assert_eq!((data.instruction_id.as_str(), data.transform_id.as_str()), (instruction, "purlin:source"));
                if data.is_last {
                    assert_eq!(data.data, Bytes::new(), "Python would drop these elements");
                    return input;
                }
                input.extend_from_slice(&data.data);
            }
        }
    }

    pub(crate) fn send(&self, instruction: &str, sink: &str, data: impl Into<Bytes>, is_last: bool) {
        let data =
            Data { instruction_id: instruction.to_owned(), transform_id: sink.to_owned(), data: data.into(), is_last };
        self.sent.send(fnpb::Elements { data: vec![data], timers: Vec::new() }).unwrap();
    }

    /// Nothing more comes for any of these sinks.
    pub(crate) fn end(&self, instruction: &str, sinks: &[String]) {
        sinks.iter().for_each(|sink| self.send(instruction, sink, Bytes::new(), true));
    }
}

impl StateStream {
    /// Asks, and waits for the answer: the page and its token, or the error.
    pub(crate) async fn ask(
        &mut self,
        instruction: &str,
        key: Type,
        operation: Operation,
    ) -> Result<(Vec<u8>, Vec<u8>), String> {
        let request = fnpb::StateRequest {
            id: "question".to_owned(),
            instruction_id: instruction.to_owned(),
            state_key: Some(fnpb::StateKey { r#type: Some(key) }),
            request: Some(operation),
        };
        self.requests.send(request).unwrap();
        let answer = soon("an answer", self.responses.message()).await.unwrap().expect("the state stream ended");
        assert_eq!(answer.id, "question");
        match answer.response {
            Some(fnpb::state_response::Response::Get(get)) => Ok((get.data.into(), get.continuation_token.into())),
            Some(_) => Ok(Default::default()),
            None => Err(answer.error),
        }
    }
}

impl StateStream {
    /// Asks so many times without waiting between, and waits for all answers.
    pub(crate) async fn ask_many(&mut self, instruction: &str, count: usize, ask: impl Fn() -> (Type, Operation)) {
        for _ in 0..count {
            let (key, operation) = ask();
            let request = fnpb::StateRequest {
                id: "question".to_owned(),
                instruction_id: instruction.to_owned(),
                state_key: Some(fnpb::StateKey { r#type: Some(key) }),
                request: Some(operation),
            };
            self.requests.send(request).unwrap();
        }
        for _ in 0..count {
            let answer = soon("an answer", self.responses.message()).await.unwrap().expect("the state stream ended");
            assert!(answer.response.is_some(), "{}", answer.error);
        }
    }
}

/// A request for the page that a token stands for.
pub(crate) fn get(token: &[u8]) -> Operation {
    Operation::Get(fnpb::StateGetRequest { continuation_token: Bytes::copy_from_slice(token) })
}

pub(crate) fn append(data: &[u8]) -> Operation {
    Operation::Append(fnpb::StateAppendRequest { data: Bytes::copy_from_slice(data) })
}

pub(crate) fn clear() -> Operation {
    Operation::Clear(fnpb::StateClearRequest {})
}

/// A metric without its value.
pub(crate) fn metric(transform: &str, name: &str) -> purlin_proto::pipeline::v1::MonitoringInfo {
    let labels = [("PTRANSFORM", transform), ("NAMESPACE", "tests"), ("NAME", name)];
    purlin_proto::pipeline::v1::MonitoringInfo {
        urn: "beam:metric:user:sum_int64:v1".to_owned(),
        r#type: "beam:metrics:sum_int64:v1".to_owned(),
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect::<BTreeMap<_, _>>(),
        ..Default::default()
    }
}
