//! Calls with any bytes for messages, to every method that Beam's interface has.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// Nothing on this machine takes longer unless it hangs.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// The path of each method, as `/package.Service/Method`.
pub(crate) fn methods() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(purlin_proto::FILE_DESCRIPTOR_SET).unwrap();
    let of_file = |file: &prost_types::FileDescriptorProto| {
        let of_service = |service: &prost_types::ServiceDescriptorProto| {
            let methods = service.method.iter();
            methods.map(|it| format!("/{}.{}/{}", file.package(), service.name(), it.name())).collect::<Vec<_>>()
        };
        file.service.iter().flat_map(of_service).collect::<Vec<_>>()
    };
    set.file.iter().flat_map(of_file).collect()
}

/// Sends these messages, ends the call's input, and reads to its end; how it ended.
pub(crate) async fn call(channel: &Channel, path: &str, worker: Option<&str>, messages: Vec<Bytes>) -> Code {
    let mut client = tonic::client::Grpc::new(channel.clone());
    let mut request = Request::new(tokio_stream::iter(messages));
    if let Some(worker) = worker {
        request.metadata_mut().insert("worker_id", worker.parse().unwrap());
    }
    let answered = async {
        client.ready().await.unwrap();
        let path: PathAndQuery = path.parse().unwrap();
        let mut answers = match client.streaming(request, path, Raw).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return status.code(),
        };
        loop {
            match answers.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Code::Ok,
                Err(status) => return status.code(),
            }
        }
    };
    let answered = tokio::time::timeout(ANSWER_MAX, answered).await;
    answered.unwrap_or_else(|_| panic!("{path} did not answer within {ANSWER_MAX:?}"))
}

#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, bytes: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(bytes);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}

/// Messages that nobody meant, the same for the same seed.
#[derive(Debug)]
pub(crate) struct Nonsense(u64);

impl Nonsense {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Bytes without any order.
    pub(crate) fn bytes(&mut self) -> Bytes {
        let length = self.below(200);
        (0..length).map(|_| self.below(256) as u8).collect()
    }

    /// Fields of any kind and number, nested: much of it is read as some message.
    pub(crate) fn fields(&mut self, depth: u32) -> Vec<u8> {
        let mut message = Vec::new();
        for _ in 0..self.below(5) {
            let number = 1 + self.below(12);
            match self.below(if depth == 0 { 3 } else { 5 }) {
                0 => {
                    prost::encoding::encode_varint(number << 3, &mut message);
                    let value = self.below(u64::MAX);
                    prost::encoding::encode_varint(value >> self.below(64), &mut message);
                }
                kind => {
                    prost::encoding::encode_varint((number << 3) | 2, &mut message);
                    let inside = match kind {
                        1 => b"a text".to_vec(),
                        2 => self.bytes().to_vec(),
                        _ => self.fields(depth - 1),
                    };
                    prost::encoding::encode_varint(inside.len() as u64, &mut message);
                    message.extend(inside);
                }
            }
        }
        message
    }

    /// Some of either, and the beginning of what would have been a message.
    pub(crate) fn messages(&mut self) -> Vec<Bytes> {
        let mut cut = self.fields(4);
        cut.truncate(self.below(cut.len() as u64 + 1) as usize);
        let all = [self.fields(4).into(), self.fields(4).into(), cut.into(), self.bytes()];
        let first = self.below(4) as usize;
        all.into_iter().cycle().skip(first).take(1 + first).collect()
    }
}
