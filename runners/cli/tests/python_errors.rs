//! What goes wrong in real programs of Beam's Python SDK, and what their users are told. No failure harms the server
//! or another job: each test ends with a job that succeeds on the same server, where there is one.

mod harness;

use std::io::Write;
use std::net::TcpListener;

use harness::{Server, Started, finish, pipeline, pipeline_file, purlin, with_python};

/// A job that succeeds, as proof that the server is well.
fn still_well(server: &mut Server) {
    assert!(server.is_up(), "the server has ended");
    let mut command = pipeline("ten_elements.py");
    command.args(server.loopback());
    finish(command).well().says(&["the sum is 285"]);
}

/// What the user must see of an exception in user code: itself, where it was raised, and in which transform.
const RAISED: [&str; 4] = ["ValueError: the roof leaks at river", "in leak", "raising.py", "Inspect"];

#[test]
fn an_exception_of_user_code_reaches_the_terminal_by_purlin_run() {
    let mut command = purlin();
    command.args(["run", "--"]);
    let mut command = with_python(command);
    command.arg(pipeline_file("raising.py"));
    let finished = finish(command).says(&RAISED);
    assert_eq!(finished.status.code(), Some(1), "the exit code is the program's own");
}

#[test]
fn an_exception_of_user_code_reaches_the_client_of_a_server() {
    let mut server = Server::start();
    let mut command = pipeline("raising.py");
    command.args(server.loopback());
    let finished = finish(command).says(&RAISED).says(&["failed in state FAILED"]);
    assert!(!finished.status.success());
    still_well(&mut server);
}

#[test]
fn unknown_transforms_are_refused_all_at_once() {
    let mut server = Server::start();
    let mut command = pipeline("unknown_urns.py");
    command.arg(server.endpoint());
    finish(command).well().says(&[
        "code INVALID_ARGUMENT",
        "Lay the first purlin",
        "purlin:test:no_such_transform:v1",
        "Lay the second purlin",
        "purlin:test:nor_this_one:v1",
    ]);
    still_well(&mut server);
}

#[test]
fn a_job_whose_user_code_hangs_can_be_cancelled() {
    let mut server = Server::start();
    let mut command = pipeline("cancelling.py");
    command.arg(server.endpoint());
    finish(command).well().says(&["ended as CANCELLED", "was cancelled: somebody asked for it through the Job API"]);
    still_well(&mut server);
}

#[test]
fn a_client_that_dies_right_after_submitting_ends_its_job_and_nothing_else() {
    let mut server = Server::start();
    let mut command = pipeline("dying.py");
    command.arg(server.endpoint());
    let client = finish(command);
    assert!(!client.status.success(), "it kills itself");
    let job = client.stdout.trim();
    assert!(!job.is_empty(), "it told its job: {client:?}");

    let mut command = pipeline("awaiting.py");
    command.args([&server.endpoint(), job]);
    finish(command).well().says(&["ended as FAILED", "worker"]);
    still_well(&mut server);
}

#[test]
fn two_jobs_run_at_once() {
    let mut server = Server::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let meeting = listener.local_addr().expect("it is bound").to_string();
    // Each job waits in its user code until the other one's user code runs too.
    std::thread::spawn(move || {
        let guests: Vec<_> = listener.incoming().take(2).flatten().collect();
        for mut guest in guests {
            guest.write_all(b"go").expect("it waits for this");
        }
    });
    let jobs: Vec<_> = ["left", "right"]
        .into_iter()
        .map(|side| {
            let mut command = pipeline("meeting.py");
            command.args([meeting.as_str(), side]).args(server.loopback());
            (side, Started::new(command))
        })
        .collect();
    for (side, job) in jobs {
        job.finish().well().says(&[&format!("{side} has met")]);
    }
    still_well(&mut server);
}

#[test]
fn a_job_that_fails_behind_a_program_that_has_left_is_told_by_purlin_run() {
    let mut command = purlin();
    command.args(["run", "--"]);
    let mut command = with_python(command);
    command.arg(pipeline_file("abandoning.py"));
    let finished = finish(command).says(&["failed after the program had ended", "must stay until the job has ended"]);
    assert_eq!(finished.status.code(), Some(1), "the program itself ended well");
}
