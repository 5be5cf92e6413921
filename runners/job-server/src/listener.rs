//! One port on both loopback addresses.
//!
//! ```text
//!   127.0.0.1:port ─accept─┐
//!                          ├─► TcpStream (TCP_NODELAY) ─► server
//!   [::1]:port     ─accept─┘
//! ```
//! `localhost` means either address, depending on who resolves it, so that both are served. A machine without IPv6 is
//! tolerated. Failing to accept one connection, for instance for want of file descriptors, never ends the listening.
//!
//! Does not know what is spoken over the connections.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::Stream;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// How often a port that is free on one address only is given up for another one.
const ATTEMPTS_MAX: usize = 64;

/// How long accepting rests when the system has no means for another connection.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Connections that were accepted and wait for the server; the system queues the others.
const ACCEPTED_MAX: usize = 64;

/// Listens on one port of the loopback addresses.
#[derive(Debug)]
pub(crate) struct Loopback {
    port: u16,
    v4: TcpListener,
    v6: Option<TcpListener>,
}

/// Why a server cannot listen.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Somebody else does.
    #[error(
        "port {port} is in use on {address}: another program, perhaps another purlin, listens there; choose another port \
         with --port, or --port 0 for any that is free"
    )]
    InUse {
        /// Which port.
        port: u16,
        /// On which address.
        address: SocketAddr,
    },
    /// The system refuses.
    #[error("cannot listen on {address}: {source}; choose another port with --port")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

impl Loopback {
    /// Listens on this port, or on any if it is 0.
    ///
    /// # Errors
    /// If the port is in use on either address, or the system refuses.
    pub(crate) async fn bind(port: u16) -> Result<Self, ListenError> {
        let mut attempts = 1;
        loop {
            let v4 = bind((Ipv4Addr::LOCALHOST, port).into()).await?;
            let bound = v4.local_addr().map_err(|source| refused((Ipv4Addr::LOCALHOST, port).into(), source))?.port();
            match bind((Ipv6Addr::LOCALHOST, bound).into()).await {
                Ok(v6) => return Ok(Self { port: bound, v4, v6: Some(v6) }),
                Err(ListenError::InUse { .. }) if port == 0 && attempts < ATTEMPTS_MAX => attempts += 1,
                Err(error @ ListenError::InUse { .. }) => return Err(error),
                Err(ListenError::Refused { address, source }) => {
                    tracing::debug!(%address, %source, "no IPv6 here; listening on IPv4 only");
                    return Ok(Self { port: bound, v4, v6: None });
                }
            }
        }
    }

    /// The port, the same on both addresses.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The connections, until the token is cancelled.
    pub(crate) fn accept(self, stop: &CancellationToken) -> impl Stream<Item = io::Result<TcpStream>> + use<> {
        let (sender, accepted) = mpsc::channel(ACCEPTED_MAX);
        for listener in [Some(self.v4), self.v6].into_iter().flatten() {
            tokio::spawn(accept(listener, sender.clone(), stop.clone()));
        }
        ReceiverStream::new(accepted)
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => ListenError::InUse { port: address.port(), address },
        _ => refused(address, source),
    })
}

fn refused(address: SocketAddr, source: io::Error) -> ListenError {
    ListenError::Refused { address, source }
}

async fn accept(listener: TcpListener, accepted: mpsc::Sender<io::Result<TcpStream>>, stop: CancellationToken) {
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return,
            next = listener.accept() => next,
        };
        match next {
            Ok((stream, _)) => {
                // Without it answers of a few bytes wait for the peer's acknowledgement; with an error it is only slow.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                if accepted.send(Ok(stream)).await.is_err() {
                    return;
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(ACCEPT_REST) => {}
                }
            }
        }
    }
}

/// Whether the peer was gone before it was accepted, which says nothing about the next one.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::Interrupted
    )
}
