//! DOCKER environments, with a script in place of the `docker` command: what it is asked for, and what is made of what it says. There is
//! no engine where these tests run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use purlin_backend::Importance;
use purlin_fn_api::{FnApiConfig, WorkerLimits};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_environments::environments;
use support::harness::Harness;
use support::job::{Files, Job, kv};
use support::plan::environment;
use support::server::Server;
use tempfile::TempDir;

/// A command, which writes down what it is asked for.
struct Command {
    folder: TempDir,
}

impl Command {
    fn new(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("docker");
        let calls = folder.path().join("calls");
        std::fs::write(&path, format!("#!/bin/sh\necho \"$@\" >> {}\n{text}\n", calls.display())).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("docker")
    }

    fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    async fn server(&self) -> Server {
        let docker = self.path().to_str().unwrap().to_owned();
        Server::with(FnApiConfig { docker, ..FnApiConfig::default() }, WorkerLimits::default()).await
    }
}

fn image() -> pb::Environment {
    environment(environments::DOCKER, &pb::DockerPayload { container_image: "beam:1".to_owned() })
}

async fn refused(server: &Server, expected: &[&str]) {
    let problem = Job::open_with(server, image(), Vec::new(), Arc::new(Files::default())).unwrap_err().to_string();
    assert!(expected.iter().all(|part| problem.contains(part)), "{problem}");
}

#[tokio::test]
async fn without_an_engine_the_refusal_says_so_and_what_to_use_instead() {
    let silent = Command::new("echo Cannot connect to the Docker daemon. >&2; exit 1");
    let alternatives = ["`env`", "`beam:1`", "--environment_type=LOOPBACK", "PROCESS"];
    refused(&silent.server().await, &[&alternatives[..], &["Cannot connect to the Docker daemon"]].concat()).await;
    let config = FnApiConfig { docker: "/does/not/exist".to_owned(), ..FnApiConfig::default() };
    let none = Server::with(config, WorkerLimits::default()).await;
    refused(&none, &[&alternatives[..], &["the command `/does/not/exist` cannot be run"]].concat()).await;
}

#[tokio::test]
async fn an_image_that_cannot_be_had_ends_the_job() {
    let command = Command::new("case $1 in image) exit 1;; pull) echo denied: no such repository >&2; exit 1;; esac");
    let server = command.server().await;
    let mut job = Job::open(&server, image());
    let why = job.broken().await;
    assert!(why.contains("the image `beam:1`") && why.ends_with("denied: no such repository"), "{why}");
    job.end(&server).await;
}

#[tokio::test]
async fn a_container_is_a_worker_and_is_removed_in_the_end() {
    // What a container is told comes behind its image.
    let command =
        Command::new("case $1 in image) exit 1;; run) echo told $@; exec sleep 600;; rm) echo gone >&2; exit 1;; esac");
    let server = command.server().await;
    let mut job = Job::open(&server, image());
    let pulling = job.message().await;
    assert_eq!((pulling.importance, pulling.text.as_str()), (Importance::Basic, "pulling the image beam:1"));
    let mut told = job.message().await;
    while !told.text.contains("told") {
        told = job.message().await;
    }
    let words: Vec<_> = told.text.split_whitespace().collect();
    let id = words.iter().find_map(|word| word.strip_prefix("--id=")).unwrap().to_owned();
    let mut worker = Harness::connect(&server.endpoint, &id).await;
    assert_eq!(job.slots().await, 1);
    job.start(&[kv("a", "1")]);
    worker.bundle().await;
    job.end(&server).await;
    let calls = command.calls();
    let port = server.endpoint.rsplit(':').next().unwrap();
    let name = format!("purlin-{port}-{id}");
    let network = if cfg!(target_os = "linux") { "--network=host " } else { "" };
    let run = calls.iter().find(|call| call.contains(&format!("--id={id}"))).unwrap();
    assert!(run.starts_with(&format!("run --rm --name={name} {network}beam:1 --control_endpoint=")), "{run}");
    assert!(run.contains(&format!(" --id={id} --provision_endpoint=")) && run.contains(&format!(":{port}")), "{run}");
    assert!(calls.contains(&format!("rm --force {name}")), "{calls:?}");
    assert_eq!(
        calls.iter().filter(|call| *call == "pull --quiet beam:1").count(),
        calls.iter().filter(|call| call.starts_with("run")).count()
    );
}
