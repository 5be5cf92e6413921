//! Artifact staging over real gRPC, with a client that answers as SDKs do, or as they should not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;
use purlin_job_server::{ArtifactPlace, Server};
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::artifact_request_wrapper::Request as Question;
use purlin_proto::job_management::v1::artifact_response_wrapper::Response as Reply;
use purlin_proto::job_management::v1::artifact_staging_service_client::ArtifactStagingServiceClient;
use purlin_proto::job_management::v1::job_state::Enum as State;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_artifacts::{roles, types};
use sha2::{Digest, Sha256};
use support::{Client, await_state, cancel, channel, config, on_runner, prepare, refused, run, serve, with_worker};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file(name: &str, sha256: &str) -> pb::ArtifactInformation {
    pb::ArtifactInformation {
        type_urn: types::FILE.to_owned(),
        type_payload: pb::ArtifactFilePayload { path: format!("/far/away/{name}"), sha256: sha256.to_owned() }
            .encode_to_vec()
            .into(),
        role_urn: roles::STAGING_TO.to_owned(),
        role_payload: pb::ArtifactStagingToRolePayload { staged_name: name.to_owned() }.encode_to_vec().into(),
    }
}

fn embedded(content: &[u8]) -> pb::ArtifactInformation {
    pb::ArtifactInformation {
        type_urn: types::EMBEDDED.to_owned(),
        type_payload: pb::EmbeddedFilePayload { data: content.to_vec().into() }.encode_to_vec().into(),
        ..Default::default()
    }
}

/// What a client does when it is asked for a file.
#[derive(Clone, Debug)]
enum Does {
    /// Sends it in chunks, as Python: with an empty last message.
    Sends(Vec<u8>),
    /// Sends it with content in the last message.
    SendsAtOnce(Vec<u8>),
    /// Ends the stream in the middle.
    Ends,
    /// Vanishes in the middle.
    Vanishes,
    /// Answers something else.
    Resolves,
}

/// A client with files by name; returns what it was asked for, and how the stream ended.
async fn offer(server: &Server, token: &str, files: &BTreeMap<String, Does>) -> (Vec<String>, Result<(), Status>) {
    let mut client = ArtifactStagingServiceClient::new(channel(server.endpoint()).await);
    let (replies, stream) = mpsc::channel(16);
    let first = jobpb::ArtifactResponseWrapper { staging_token: token.to_owned(), ..Default::default() };
    replies.send(first).await.unwrap();
    let mut replies = Some(replies);
    let mut asked = Vec::new();
    let mut questions = match client.reverse_artifact_retrieval_service(ReceiverStream::new(stream)).await {
        Ok(questions) => questions.into_inner(),
        Err(status) => return (asked, Err(status)),
    };
    loop {
        let question = match questions.message().await {
            Ok(Some(question)) => question.request.unwrap(),
            Ok(None) => return (asked, Ok(())),
            Err(status) => return (asked, Err(status)),
        };
        let answers: Vec<_> = match question {
            Question::ResolveArtifact(request) => {
                asked.push(format!("resolve {}", request.artifacts.len()));
                let resolved = jobpb::ResolveArtifactsResponse { replacements: request.artifacts };
                vec![(Reply::ResolveArtifactResponse(resolved), false)]
            }
            Question::GetArtifact(request) => {
                let payload = request.artifact.unwrap().type_payload;
                let path = pb::ArtifactFilePayload::decode(payload).unwrap().path;
                let name = path.rsplit('/').next().unwrap().to_owned();
                asked.push(format!("get {name}"));
                let chunk = |data: &[u8], last| {
                    (Reply::GetArtifactResponse(jobpb::GetArtifactResponse { data: data.to_vec().into() }), last)
                };
                match &files[&name] {
                    Does::Sends(content) => {
                        let chunks = content.chunks(1 << 20).map(|data| chunk(data, false));
                        chunks.chain([chunk(b"", true)]).collect()
                    }
                    Does::SendsAtOnce(content) => vec![chunk(content, true)],
                    Does::Ends => {
                        replies.as_ref().unwrap().send(wrap(chunk(b"half", false))).await.unwrap();
                        replies = None;
                        Vec::new()
                    }
                    Does::Vanishes => {
                        replies.as_ref().unwrap().send(wrap(chunk(b"half", false))).await.unwrap();
                        return (asked, Err(Status::cancelled("vanished")));
                    }
                    Does::Resolves => vec![(Reply::ResolveArtifactResponse(Default::default()), false)],
                }
            }
        };
        for answer in answers {
            if replies.as_ref().unwrap().send(wrap(answer)).await.is_err() {
                break;
            }
        }
    }
}

fn wrap((response, is_last): (Reply, bool)) -> jobpb::ArtifactResponseWrapper {
    jobpb::ArtifactResponseWrapper { staging_token: String::new(), is_last, response: Some(response) }
}

/// A server that keeps artifacts in this folder, with a prepared pipeline that needs these; and the token.
async fn prepared(folder: &Path, dependencies: Vec<pb::ArtifactInformation>) -> (Server, Client, String) {
    let mut config = config();
    config.artifacts = ArtifactPlace::Folder(folder.to_owned());
    let (server, mut client) = serve(config).await;
    let pipeline = with_worker("127.0.0.1:1", dependencies);
    let prepared = prepare(&mut client, pipeline, on_runner("idle")).await.unwrap();
    assert_eq!(prepared.staging_session_token, prepared.preparation_id);
    (server, client, prepared.preparation_id)
}

/// The names in the artifacts' folder.
fn kept(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("artifacts")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn files<const N: usize>(files: [(&str, Does); N]) -> BTreeMap<String, Does> {
    files.into_iter().map(|(name, does)| (name.to_owned(), does)).collect()
}

#[tokio::test]
async fn files_are_fetched_checked_and_kept_by_content() {
    let folder = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..5_000_000_u32).map(|number| number as u8).collect();
    let dependencies =
        vec![file("main.pickle", ""), file("app.jar", &sha256(&large)), file("empty", ""), embedded(b"inside")];
    let (server, mut client, token) = prepared(folder.path(), dependencies).await;
    assert_eq!(
        refused(run(&mut client, &token).await),
        format!(
            "FailedPrecondition: preparation `{token}` cannot run: its pipeline names 4 artifact(s), and they have not \
             all been staged; stage them through ReverseArtifactRetrievalService with this token, then run it"
        )
    );
    let files = files([
        ("main.pickle", Does::SendsAtOnce(b"session".to_vec())),
        ("app.jar", Does::Sends(large.clone())),
        ("empty", Does::Sends(Vec::new())),
    ]);
    let (asked, ended) = offer(&server, &token, &files).await;
    ended.unwrap();
    assert_eq!(asked, ["resolve 4", "get main.pickle", "get app.jar", "get empty"]);
    let mut expected = [&b"session"[..], &large, b"", b"inside"].map(sha256);
    expected.sort();
    assert_eq!(kept(folder.path()), expected);
    assert_eq!(std::fs::read(folder.path().join("artifacts").join(sha256(&large))).unwrap(), large);

    // Another pipeline with the same jar: what is known by its hash is not sent again.
    let second = with_worker("127.0.0.1:1", vec![file("app.jar", &sha256(&large).to_uppercase())]);
    let second = prepare(&mut client, second, on_runner("idle")).await.unwrap().preparation_id;
    let (asked, ended) = offer(&server, &second, &BTreeMap::new()).await;
    ended.unwrap();
    assert_eq!(asked, ["resolve 1"]);

    // Files live as long as a job or a preparation needs them.
    let job = run(&mut client, &token).await.unwrap();
    cancel(&mut client, &job).await.unwrap();
    server.idle().await;
    assert_eq!(kept(folder.path()), [sha256(&large)]);
    let job = run(&mut client, &second).await.unwrap();
    cancel(&mut client, &job).await.unwrap();
    server.idle().await;
    assert!(kept(folder.path()).is_empty());
    server.shutdown("the test is over").await;
}

#[tokio::test]
async fn a_pipeline_without_files_is_staged_by_saying_so() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut client, token) = prepared(folder.path(), Vec::new()).await;
    let (asked, ended) = offer(&server, &token, &BTreeMap::new()).await;
    ended.unwrap();
    assert!(asked.is_empty());
    let job = run(&mut client, &token).await.unwrap();
    await_state(&mut client, &job, State::Running).await;
}

#[tokio::test]
async fn content_that_is_not_what_the_pipeline_says_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut client, token) = prepared(folder.path(), vec![file("app.jar", &sha256(b"right"))]).await;
    let (_, ended) = offer(&server, &token, &files([("app.jar", Does::Sends(b"wrong".to_vec()))])).await;
    let text = refused(ended).replace(&sha256(b"right"), "RIGHT").replace(&sha256(b"wrong"), "WRONG");
    insta::assert_snapshot!(text, @"DataLoss: artifact `app.jar` of environment `environment` arrived with SHA-256 WRONG, but the pipeline says RIGHT; the file was changed after the pipeline was built, or damaged on the way: submit the pipeline again");
    assert!(kept(folder.path()).is_empty());
    assert!(refused(run(&mut client, &token).await).starts_with("FailedPrecondition"));
    // As Go does it: once more with the same token.
    let (_, ended) = offer(&server, &token, &files([("app.jar", Does::Sends(b"right".to_vec()))])).await;
    ended.unwrap();
    run(&mut client, &token).await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_have_the_file_hears_which() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut client, token) = prepared(folder.path(), vec![file("main.pickle", "")]).await;
    let (_, ended) = offer(&server, &token, &files([("main.pickle", Does::Ends)])).await;
    insta::assert_snapshot!(refused(ended), @"InvalidArgument: artifact staging: the client ended before it had sent all of artifact `main.pickle`; see there why (is the file missing or unreadable?), and submit the pipeline again");
    assert!(kept(folder.path()).is_empty());
    assert!(refused(run(&mut client, &token).await).starts_with("FailedPrecondition"));
}

#[tokio::test]
async fn a_client_that_vanishes_in_the_middle_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut client, token) = prepared(folder.path(), vec![file("main.pickle", "")]).await;
    let (_, ended) = offer(&server, &token, &files([("main.pickle", Does::Vanishes)])).await;
    ended.unwrap_err();
    // The server hears of it in its own time; until then there is half a file.
    while !kept(folder.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    let (_, ended) = offer(&server, &token, &files([("main.pickle", Does::Sends(b"whole".to_vec()))])).await;
    ended.unwrap();
    run(&mut client, &token).await.unwrap();
}

#[tokio::test]
async fn clients_that_break_the_protocol_are_told_how() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _client, token) = prepared(folder.path(), vec![file("main.pickle", "")]).await;
    let (_, unknown) = offer(&server, "prep-x", &BTreeMap::new()).await;
    assert_eq!(unknown.as_ref().unwrap_err().code(), Code::NotFound);
    insta::assert_snapshot!(refused(unknown), @"NotFound: there is no preparation `prep-x`; it never was, or too many others were prepared after it; prepare the pipeline again");
    let (_, confused) = offer(&server, &token, &files([("main.pickle", Does::Resolves)])).await;
    insta::assert_snapshot!(refused(confused), @"InvalidArgument: artifact staging: get_artifact for `main.pickle` was answered with a list; this is a fault of the client, not of the pipeline");
    let mut client = ArtifactStagingServiceClient::new(channel(server.endpoint()).await);
    let silent =
        client.reverse_artifact_retrieval_service(tokio_stream::empty()).await.unwrap().into_inner().message().await;
    insta::assert_snapshot!(refused(silent), @"InvalidArgument: artifact staging: the stream ended before it named a staging token; this is a fault of the client, not of the pipeline");
}

#[tokio::test]
async fn a_server_that_ends_does_not_wait_for_a_silent_client() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _client, token) = prepared(folder.path(), vec![file("main.pickle", "")]).await;
    let mut client = ArtifactStagingServiceClient::new(channel(server.endpoint()).await);
    let (replies, stream) = mpsc::channel(1);
    let first = jobpb::ArtifactResponseWrapper { staging_token: token, ..Default::default() };
    replies.send(first).await.unwrap();
    let mut questions =
        client.reverse_artifact_retrieval_service(ReceiverStream::new(stream)).await.unwrap().into_inner();
    questions.message().await.unwrap().unwrap();
    let ending = tokio::spawn(server.shutdown("the test is over"));
    insta::assert_snapshot!(refused(questions.message().await), @"Unavailable: this server is shutting down; artifact staging was given up");
    ending.await.unwrap();
}
