//! PROCESS environments with small shell scripts: their ends, their last words, and nobody left behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use purlin_backend::{Importance, Parting};
use purlin_engine::core::event::{Event, Failure};
use purlin_fn_api::{FnApiConfig, WorkerLimits};
use rustix::process::{Pid, test_kill_process};
use support::harness::Harness;
use support::job::{Job, kv};
use support::plan::process;
use support::server::Server;
use support::soon;
use tempfile::TempDir;

/// A script, and the folder that it lies in.
struct Script {
    folder: TempDir,
    path: PathBuf,
}

fn script(text: &str) -> Script {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("boot.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    Script { folder, path }
}

impl Script {
    fn command(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

fn exists(pid: i32) -> bool {
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok()
}

/// One worker of the two that a job of the tests may have is enough here.
async fn server(limits: WorkerLimits) -> Server {
    Server::with(FnApiConfig::default(), limits).await
}

/// The arguments of the next process that tells its own, and its number.
async fn started(job: &mut Job) -> (String, i32) {
    let mut message = job.message().await;
    // What it writes to its other output may come first.
    while !message.text.contains("--id=") {
        message = job.message().await;
    }
    assert_eq!(message.importance, Importance::Detailed);
    let words: Vec<_> = message.text.split_whitespace().collect();
    let [_, pid, id, provision] = words[..] else { panic!("{}", message.text) };
    assert!(provision.starts_with("--provision_endpoint=127.0.0.1:"), "{provision}");
    (id.strip_prefix("--id=").unwrap().to_owned(), pid.parse().unwrap())
}

#[tokio::test]
async fn a_command_that_does_not_exist_ends_the_job() {
    let server = server(WorkerLimits::default()).await;
    let mut job = Job::open(&server, process("/does/not/exist", &[]));
    let why = job.broken().await;
    assert!(why.contains("`/does/not/exist` cannot be run") && why.contains("environment `env`"), "{why}");
    job.end(&server).await;
}

#[tokio::test]
async fn a_command_that_ends_before_it_connects_ends_the_job_at_once_with_its_last_words() {
    let server = server(WorkerLimits::default()).await;
    let boot = script("for line in $(seq 50); do echo line $line >&2; done; echo $GREETING >&2; exit 3");
    let mut job = Job::open(&server, process(boot.command(), &[("GREETING", "no interpreter")]));
    let why = job.broken().await;
    assert!(why.contains(boot.command()) && why.contains("exit status: 3"), "{why}");
    assert!(why.ends_with("line 49\nline 50\nno interpreter"), "{why}");
    assert!(!why.contains("line 1\n") && why.contains("line 12\n"), "{why}");
    job.end(&server).await;
}

#[tokio::test]
async fn a_command_that_never_connects_is_killed_with_its_children() {
    let limits = WorkerLimits {
        connect_timeout: Duration::from_millis(500),
        stop_timeout: Duration::from_millis(200),
        ..WorkerLimits::default()
    };
    let server = server(limits).await;
    // It does not obey SIGTERM, and neither does its child.
    let boot =
        script("trap '' TERM; echo waiting >&2; sleep 600 & echo $! > $FOLDER/child.$$; echo $$ $@; wait; sleep 600");
    let folder = boot.folder.path().to_str().unwrap().to_owned();
    let mut job = Job::open(&server, process(boot.command(), &[("FOLDER", &folder)]));
    let why = job.broken().await;
    assert!(why.contains("did not connect to") && why.contains("0.5 seconds") && why.ends_with("waiting"), "{why}");
    job.end(&server).await;
    let mut pids = Vec::new();
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        if let Some(pid) = path.file_name().unwrap().to_str().unwrap().strip_prefix("child.") {
            pids.push(pid.parse().unwrap());
            pids.push(std::fs::read_to_string(&path).unwrap().trim().parse().unwrap());
        }
    }
    assert!(pids.len() >= 2, "{pids:?}");
    // A signal takes a moment to end whom it was sent to, and children stay as zombies until who adopted them reaps them.
    soon("the end of the processes", async {
        while pids.iter().any(|pid| exists(*pid) && !is_zombie(*pid)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn in_a_hurry_nobody_waits_for_a_worker_that_takes_its_time() {
    let server = server(WorkerLimits { stop_timeout: Duration::from_secs(3600), ..WorkerLimits::default() }).await;
    let boot = script("trap '' TERM; echo $$ $@; while :; do sleep 600; done");
    let mut job = Job::open(&server, process(boot.command(), &[]));
    let (id, _) = started(&mut job).await;
    let mut worker = Harness::connect(&server.endpoint, &id).await;
    assert_eq!(job.slots().await, 1);
    job.executor.shutdown(Parting::InPeace);
    worker.told_to_leave().await;
    server.hub.hurry().cancel();
    job.end(&server).await;
}

#[tokio::test]
async fn a_worker_of_a_cancelled_job_gets_no_time_to_be_polite() {
    let hours = Duration::from_secs(3600);
    let limits = WorkerLimits { stop_timeout: hours, cancel_timeout: Duration::ZERO, ..WorkerLimits::default() };
    let server = server(limits).await;
    // Its user code hangs: it neither leaves when its control stream ends, nor obeys.
    let boot = script("trap '' TERM; echo $$ $@; while :; do sleep 600; done");
    let mut job = Job::open(&server, process(boot.command(), &[]));
    let (id, _) = started(&mut job).await;
    let _worker = Harness::connect(&server.endpoint, &id).await;
    assert_eq!(job.slots().await, 1);
    job.executor.shutdown(Parting::InHaste);
    soon("the workers to be gone", server.hub.drained()).await;
}

fn is_zombie(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Where there is no /proc, a zombie cannot be told from the living.
    status.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z') || rest.is_empty())
}

#[tokio::test]
async fn a_worker_that_dies_is_replaced_and_its_bundle_fails_with_its_last_words() {
    let server = server(WorkerLimits::default()).await;
    let boot = script("echo $$ $@; read line < /dev/zero & exec sleep 600");
    let boot = {
        drop(boot);
        script("echo $$ $@; echo out of memory >&2; exec sleep 600")
    };
    let mut job = Job::open(&server, process(boot.command(), &[]));
    let (id, pid) = started(&mut job).await;
    let mut worker = Harness::connect(&server.endpoint, &id).await;
    assert_eq!(job.slots().await, 1);
    job.start(&[kv("a", "1")]);
    worker.bundle().await;
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    assert_eq!(job.slots().await, 0);
    let Failure::WorkerLost(why) = job.failed().await else { panic!("not lost") };
    assert!(why.contains("signal: 9") && why.contains("out of memory") && why.contains(boot.command()), "{why}");
    // Somebody else takes its place: an id that the first two workers did not have.
    loop {
        let event = job.message().await;
        if event.text.contains("--id=") && !event.text.contains(&id) {
            break;
        }
    }
    drop(worker);
    job.end(&server).await;
}

#[tokio::test]
async fn workers_that_die_again_and_again_end_the_job() {
    let limits = WorkerLimits { losses_max: 1, ..WorkerLimits::default() };
    let server = server(limits).await;
    let boot = script("echo the last straw >&2; echo $$ $@; exec sleep 600");
    let mut job = Job::open(&server, process(boot.command(), &[]));
    let (id, pid) = started(&mut job).await;
    let worker = Harness::connect(&server.endpoint, &id).await;
    assert_eq!(job.slots().await, 1);
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    assert_eq!(job.slots().await, 0);
    let why = job.broken().await;
    assert!(why.starts_with("1 workers in a row") && why.contains("the last straw"), "{why}");
    drop(worker);
    job.end(&server).await;
}

#[tokio::test]
async fn a_worker_leaves_by_itself_when_its_control_stream_ends() {
    let server = server(WorkerLimits { stop_timeout: Duration::from_secs(20), ..WorkerLimits::default() }).await;
    // A pipe tells the process that its control stream has ended, as an SDK's own code would.
    let boot = script("echo $$ $@; read line < $FOLDER/end.$$ || true; echo left > $FOLDER/left.$$");
    let folder = boot.folder.path().to_path_buf();
    let boot_text = "mkfifo $FOLDER/end.$$; echo $$ $@; read line < $FOLDER/end.$$; echo left > $FOLDER/left.$$";
    std::fs::write(&boot.path, format!("#!/bin/sh\n{boot_text}\n")).unwrap();
    let mut job = Job::open(&server, process(boot.command(), &[("FOLDER", folder.to_str().unwrap())]));
    let (id, pid) = started(&mut job).await;
    let mut worker = Harness::connect(&server.endpoint, &id).await;
    assert_eq!(job.slots().await, 1);
    job.executor.shutdown(Parting::InPeace);
    worker.told_to_leave().await;
    std::fs::write(folder.join(format!("end.{pid}")), "end\n").unwrap();
    job.end(&server).await;
    assert!(folder.join(format!("left.{pid}")).exists(), "it was killed instead");
}

#[tokio::test]
async fn several_processes_share_the_bundles_of_one_environment() {
    let server = server(WorkerLimits { stop_timeout: Duration::from_millis(200), ..WorkerLimits::default() }).await;
    let boot = script("echo $$ $@; exec sleep 600");
    let mut job = Job::open(&server, process(boot.command(), &[]));
    let (first, _) = started(&mut job).await;
    let (second, _) = started(&mut job).await;
    let mut first = Harness::connect(&server.endpoint, &first).await;
    assert_eq!(job.slots().await, 1);
    let mut second = Harness::connect(&server.endpoint, &second).await;
    assert_eq!(job.slots().await, 2);
    job.start(&[kv("a", "1")]);
    job.start(&[kv("b", "2")]);
    // A third waits for whoever is done first.
    job.start(&[kv("c", "3")]);
    let sinks = job.sinks();
    let (at_first, _) = first.bundle().await;
    let (at_second, _) = second.bundle().await;
    let data = second.open_data().await;
    data.end(&at_second, &sinks);
    second.done(&at_second);
    let Event::BundleFinished { bundle, .. } = job.event().await else { panic!("not finished") };
    assert_eq!(bundle.0, 1);
    let (third, _) = second.bundle().await;
    data.end(&third, &sinks);
    second.done(&third);
    let Event::BundleFinished { bundle, .. } = job.event().await else { panic!("not finished") };
    assert_eq!(bundle.0, 2);
    first.fail(&at_first, "no");
    job.failed().await;
    job.end(&server).await;
}
