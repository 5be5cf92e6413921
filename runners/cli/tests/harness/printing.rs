//! Programs that are heard while they run.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;

use super::{PROGRAM_MAX, signal};

/// A program under way that says on its standard output how far it is. It is killed with all that it started if nobody waits
/// for its end.
#[derive(Debug)]
pub(crate) struct Printing {
    words: String,
    group: u32,
    lines: mpsc::Receiver<String>,
    end: mpsc::Receiver<std::io::Result<ExitStatus>>,
    printed: Vec<String>,
}

impl Printing {
    /// Starts it.
    pub(crate) fn new(mut command: Command) -> Self {
        let words = format!("{command:?}");
        let child = command.stdout(Stdio::piped()).process_group(0).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot start {words}: {error}"));
        let (group, stdout) = (child.id(), child.stdout.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let (sender, end) = mpsc::channel();
        std::thread::spawn(move || sender.send(child.wait()));
        Self { words, group, lines, end, printed: Vec::new() }
    }

    /// Waits until what it has printed is enough.
    pub(crate) fn until(&mut self, enough: impl Fn(&[String]) -> bool) {
        while !enough(&self.printed) {
            match self.lines.recv_timeout(PROGRAM_MAX) {
                Ok(line) => self.printed.push(line),
                Err(gone) => {
                    panic!("{} printed no more ({gone}), and not enough: {:#?}", self.words, self.printed)
                }
            }
        }
    }

    /// Interrupts it, as Ctrl-C does; it must end. What it had printed when that was enough.
    pub(crate) fn interrupt(mut self) -> Vec<String> {
        signal("INT", &self.group.to_string());
        self.await_end();
        std::mem::take(&mut self.printed)
    }

    /// Waits for its end, which must be a good one. All that it printed.
    pub(crate) fn finish(mut self) -> Vec<String> {
        let status = self.await_end();
        // What it left behind would keep its output open.
        signal("KILL", &format!("-{}", self.group));
        self.printed.extend(self.lines.iter());
        assert!(status.success(), "{} ended with {status}: {:#?}", self.words, self.printed);
        std::mem::take(&mut self.printed)
    }

    fn await_end(&self) -> ExitStatus {
        let ended = self.end.recv_timeout(PROGRAM_MAX);
        let ended = ended.unwrap_or_else(|_| panic!("{} does not end: {:#?}", self.words, self.printed));
        ended.unwrap_or_else(|error| panic!("cannot wait for {}: {error}", self.words))
    }
}

impl Drop for Printing {
    fn drop(&mut self) {
        signal("KILL", &format!("-{}", self.group));
    }
}
