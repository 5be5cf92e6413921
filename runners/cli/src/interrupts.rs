//! Signals that tell this program to end: Ctrl-C (SIGINT) and SIGTERM. The first is a request, a further one an order.

use purlin_job_server::Server;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;
use crate::terminal;

/// Who wants this program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Somebody at the terminal.
    CtrlC,
    /// Another program.
    Terminate,
}

/// The signals that arrive.
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// From now on a signal does not end this program by itself.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::Failed(format!("cannot listen for signals: {error}")));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.interrupt.recv() => Interrupt::CtrlC,
            _ = self.terminate.recv() => Interrupt::Terminate,
        }
    }

    /// Ends a server; if another signal comes meanwhile, at once.
    pub(crate) async fn shut_down(&mut self, server: Server, why: &str) {
        let hurry = server.hurry();
        let ending = server.shutdown(why);
        tokio::pin!(ending);
        tokio::select! {
            () = &mut ending => return,
            _ = self.next() => terminal::note("purlin: ending at once"),
        }
        hurry.cancel();
        ending.await;
    }
}
