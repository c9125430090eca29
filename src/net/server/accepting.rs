//! Accepting connections, and counting those that are no session yet.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::Server;
use crate::net::io_text::IoText;
use crate::net::listener::{self, ListenOptions};
use crate::net::upgrade::{self, canonical};

/// How long to wait before accepting again when the system is out of sockets or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Server {
    pub(super) async fn listen(self: Rc<Self>, options: ListenOptions) {
        let trace = self.config.trace;
        let bound = match listener::bind(self.config.host.as_deref(), self.config.port, options).await {
            Ok(listener) => listener.local_addr().map(|address| (listener, address)),
            Err(error) => Err(error),
        };
        match bound {
            Ok(_) if self.is_refusing() => {}
            Ok((listener, address)) => {
                trace.server(format_args!("listening on {address}"));
                self.app.listening(address);
                self.app.commit();
                let _listening = Listening::begin(&self);
                self.accept(listener).await;
            }
            Err(error) => {
                trace.server(format_args!("cannot listen on port {}: {}", self.config.port, IoText(&error)));
                self.app.failed(&error);
                self.app.commit();
            }
        }
    }

    async fn accept(self: &Rc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.refuses() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, remote)) => self.admit(stream, remote),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    self.config.trace.server(format_args!("cannot accept: {}", IoText(&error)));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    pub(super) fn admit(self: &Rc<Self>, stream: TcpStream, remote: SocketAddr) {
        if self.connections() >= self.app.connection_limit() {
            return self.turn_away(&stream, remote);
        }
        tokio::task::spawn_local(upgrade::run(Handshake::begin(self.clone()), stream, remote));
    }

    /// Connections that were accepted and are there, whatever has become of them.
    fn connections(&self) -> usize {
        self.arriving.get().saturating_add(self.sessions.places.accepted()).saturating_add(self.http.live())
    }

    fn turn_away(&self, stream: &TcpStream, remote: SocketAddr) {
        self.config.trace.server(format_args!("dropped {remote}: too many connections"));
        // Only a connection that is already broken has no address of ours.
        if let Ok(local) = stream.local_addr() {
            self.app.turned_away(canonical(remote), canonical(local));
            self.app.commit();
        }
    }
}

/// The port is held until this is dropped, which is when the listener is gone.
struct Listening<'a>(&'a Server);

impl<'a> Listening<'a> {
    fn begin(server: &'a Server) -> Self {
        server.listening.set(true);
        Listening(server)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.listening.set(false);
        self.0.stop_if_idle();
    }
}

/// Counts a connection that is not yet a session, either way, until dropped.
pub(in crate::net) struct Handshake {
    pub(in crate::net) server: Rc<Server>,
    accepted: bool,
}

impl Handshake {
    /// Of a connection that was accepted.
    pub(in crate::net) fn begin(server: Rc<Server>) -> Self {
        server.arriving.set(server.arriving.get().saturating_add(1));
        server.handshakes.set(server.handshakes.get().saturating_add(1));
        Handshake { server, accepted: true }
    }

    /// Of a connection that is being made.
    pub(super) fn outgoing(server: Rc<Server>) -> Self {
        server.handshakes.set(server.handshakes.get().saturating_add(1));
        Handshake { server, accepted: false }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let Handshake { server, accepted } = self;
        server.arriving.set(server.arriving.get().saturating_sub(usize::from(*accepted)));
        server.handshakes.set(server.handshakes.get().saturating_sub(1));
        server.stop_if_idle();
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
