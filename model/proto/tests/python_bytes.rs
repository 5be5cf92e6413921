//! Every message that travels in a call keeps all that Python wrote into it.
//!
//! ```text
//!   Python: every field filled, each oneof in turn ──bytes──► generated struct ──bytes──► the same message
//! ```
//!
//! The descriptors may agree while the generated code does not; this looks at the code. Bytes need not be equal: prost
//! writes a oneof where its least number stands, and leaves out empty values of map entries.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod python;

use std::collections::{BTreeMap, BTreeSet};

use prost::{DecodeError, Message, Name};
use prost_reflect::DynamicMessage;
use purlin_proto::expansion::v1 as expansionpb;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::interactive::v1 as interactivepb;
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::json;
use purlin_proto::pipeline::v1 as pb;

/// Writes 12 samples of each message in `NAMES`: a line with name and length, and the bytes.
const SAMPLES: &str = r#"
import importlib, pkgutil, sys
import apache_beam.portability.api.org as root
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor as F

for module in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
    if module.name.endswith("_pb2"):
        importlib.import_module(module.name)

def scalar(field, seed):
    if field.type in (F.TYPE_DOUBLE, F.TYPE_FLOAT):
        return 0.5 + seed
    if field.type == F.TYPE_BOOL:
        return True
    if field.type == F.TYPE_STRING:
        return "text-%d-\u00e9" % seed
    if field.type == F.TYPE_BYTES:
        return b"\x00\xff" + bytes([seed])
    if field.type == F.TYPE_ENUM:
        values = field.enum_type.values
        return values[(seed + 1) % len(values)].number
    if field.type in (F.TYPE_INT32, F.TYPE_INT64, F.TYPE_SINT32, F.TYPE_SINT64):
        return -1 - seed if seed % 2 else 300 + seed
    return 1 + seed

def is_map(field):
    return field.type == F.TYPE_MESSAGE and field.message_type.GetOptions().map_entry

def fill(message, seed, depth):
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and oneof.fields[seed % len(oneof.fields)].name != field.name:
            continue
        if field.type == F.TYPE_MESSAGE and depth == 0:
            continue
        if is_map(field):
            key, value = field.message_type.fields
            for step in range(2):
                entries = getattr(message, field.name)
                if value.type == F.TYPE_MESSAGE:
                    fill(entries[scalar(key, seed + step)], seed + step, depth - 1)
                else:
                    entries[scalar(key, seed + step)] = scalar(value, seed + step)
        elif field.is_repeated:
            for step in range(2):
                if field.type == F.TYPE_MESSAGE:
                    fill(getattr(message, field.name).add(), seed + step, depth - 1)
                else:
                    getattr(message, field.name).append(scalar(field, seed + step))
        elif field.type == F.TYPE_MESSAGE:
            getattr(message, field.name).SetInParent()
            fill(getattr(message, field.name), seed, depth - 1)
        else:
            setattr(message, field.name, scalar(field, seed))

for name in NAMES:
    kind = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))
    for seed in range(12):
        message = kind()
        fill(message, seed, 4)
        data = message.SerializeToString(deterministic=True)
        sys.stdout.buffer.write(b"%s %d\n" % (name.encode(), len(data)) + data)
"#;

type Rewrite = fn(&[u8]) -> Result<Vec<u8>, DecodeError>;

fn rewrite<M: Message + Name + Default>() -> (String, Rewrite) {
    (M::full_name(), |bytes| M::decode(bytes).map(|message| message.encode_to_vec()))
}

/// How each message of a call is read and written, by its full name.
fn rewrites() -> BTreeMap<String, Rewrite> {
    BTreeMap::from([
        rewrite::<pb::Pipeline>(),
        rewrite::<pb::ParDoPayload>(),
        rewrite::<pb::CombinePayload>(),
        rewrite::<pb::TestStreamPayload>(),
        rewrite::<pb::Schema>(),
        rewrite::<pb::MonitoringInfo>(),
        rewrite::<pb::ArtifactInformation>(),
        rewrite::<pb::test_stream_payload::Event>(),
        rewrite::<interactivepb::EventsRequest>(),
        rewrite::<expansionpb::ExpansionRequest>(),
        rewrite::<expansionpb::ExpansionResponse>(),
        rewrite::<expansionpb::DiscoverSchemaTransformRequest>(),
        rewrite::<expansionpb::DiscoverSchemaTransformResponse>(),
        rewrite::<fnpb::InstructionRequest>(),
        rewrite::<fnpb::InstructionResponse>(),
        rewrite::<fnpb::GetProcessBundleDescriptorRequest>(),
        rewrite::<fnpb::ProcessBundleDescriptor>(),
        rewrite::<fnpb::RemoteGrpcPort>(),
        rewrite::<fnpb::Elements>(),
        rewrite::<fnpb::StateRequest>(),
        rewrite::<fnpb::StateResponse>(),
        rewrite::<fnpb::log_entry::List>(),
        rewrite::<fnpb::LogControl>(),
        rewrite::<fnpb::StartWorkerRequest>(),
        rewrite::<fnpb::StartWorkerResponse>(),
        rewrite::<fnpb::StopWorkerRequest>(),
        rewrite::<fnpb::StopWorkerResponse>(),
        rewrite::<fnpb::WorkerStatusRequest>(),
        rewrite::<fnpb::WorkerStatusResponse>(),
        rewrite::<fnpb::GetProvisionInfoRequest>(),
        rewrite::<fnpb::GetProvisionInfoResponse>(),
        rewrite::<jobpb::ResolveArtifactsRequest>(),
        rewrite::<jobpb::ResolveArtifactsResponse>(),
        rewrite::<jobpb::GetArtifactRequest>(),
        rewrite::<jobpb::GetArtifactResponse>(),
        rewrite::<jobpb::ArtifactRequestWrapper>(),
        rewrite::<jobpb::ArtifactResponseWrapper>(),
        rewrite::<jobpb::PutArtifactRequest>(),
        rewrite::<jobpb::PutArtifactResponse>(),
        rewrite::<jobpb::CommitManifestRequest>(),
        rewrite::<jobpb::CommitManifestResponse>(),
        rewrite::<jobpb::GetManifestRequest>(),
        rewrite::<jobpb::GetManifestResponse>(),
        rewrite::<jobpb::ArtifactChunk>(),
        rewrite::<jobpb::LegacyGetArtifactRequest>(),
        rewrite::<jobpb::PrepareJobRequest>(),
        rewrite::<jobpb::PrepareJobResponse>(),
        rewrite::<jobpb::RunJobRequest>(),
        rewrite::<jobpb::RunJobResponse>(),
        rewrite::<jobpb::GetJobsRequest>(),
        rewrite::<jobpb::GetJobsResponse>(),
        rewrite::<jobpb::GetJobStateRequest>(),
        rewrite::<jobpb::JobStateEvent>(),
        rewrite::<jobpb::GetJobPipelineRequest>(),
        rewrite::<jobpb::GetJobPipelineResponse>(),
        rewrite::<jobpb::CancelJobRequest>(),
        rewrite::<jobpb::CancelJobResponse>(),
        rewrite::<jobpb::DrainJobRequest>(),
        rewrite::<jobpb::DrainJobResponse>(),
        rewrite::<jobpb::JobMessagesRequest>(),
        rewrite::<jobpb::JobMessagesResponse>(),
        rewrite::<jobpb::GetJobMetricsRequest>(),
        rewrite::<jobpb::GetJobMetricsResponse>(),
        rewrite::<jobpb::DescribePipelineOptionsRequest>(),
        rewrite::<jobpb::DescribePipelineOptionsResponse>(),
    ])
}

#[test]
fn every_message_of_a_call_is_in_the_table() {
    let methods = json::descriptor_pool().services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let called: BTreeSet<String> =
        methods.flat_map(|method| [method.input(), method.output()]).map(|it| it.full_name().to_owned()).collect();
    let table: BTreeSet<String> = rewrites().into_keys().collect();
    assert_eq!(called.difference(&table).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn whatever_python_writes_comes_back() {
    let rewrites = rewrites();
    let names: Vec<&String> = rewrites.keys().collect();
    let output = python::run(&format!("NAMES = {names:?}\n{SAMPLES}"));
    let (mut rest, mut samples, mut total) = (output.as_slice(), 0, 0);
    while !rest.is_empty() {
        let line_end = rest.iter().position(|byte| *byte == b'\n').expect("a line before each sample");
        let line = std::str::from_utf8(&rest[..line_end]).expect("text");
        let (name, length) = line.split_once(' ').expect("a name and a length");
        let (bytes, after) = rest[line_end + 1..].split_at(length.parse().expect("a length"));
        rest = after;
        let again = rewrites[name](bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(reflected(name, &again), reflected(name, bytes), "{name}");
        (samples, total) = (samples + 1, total + bytes.len());
    }
    assert_eq!(samples, 12 * rewrites.len());
    assert!(total > 100_000, "the samples hold only {total} bytes");
}

/// The message as its descriptor sees it, fields that the descriptor does not know included.
fn reflected(name: &str, bytes: &[u8]) -> DynamicMessage {
    let descriptor = json::descriptor_pool().get_message_by_name(name).expect(name);
    DynamicMessage::decode(descriptor, bytes).expect(name)
}
