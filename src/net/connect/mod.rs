//! From an address to a session with another server: TCP, TLS, upgrade, and its first frame.

mod dial;
mod error;
mod response;
mod secrets;
mod tls;

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use super::application::Opened;
use super::counters::Counters;
use super::driver::Driver;
use super::server::{Handshake, Server};
use super::sessions::{Mailbox, Slot};
use super::socket::Socket;
use super::transport::{TLS_TURN, TURN, Transport};
use crate::session::Role;

pub use error::{ConnectError, Stage, TlsFault};
pub use tls::{ClientTls, ClientTlsError};

/// Names one call of [`Server::connect`].
pub type ConnectId = u32;

/// Which server a session is to be opened to, and how.
pub struct Target {
    /// Scheme, host and port, for messages.
    pub origin: String,
    /// Name or address, an IPv6 one without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What the `Host` field says.
    pub authority: String,
    /// Path and query of the request, without what is added to it.
    pub path: String,
    /// The bearer token.
    pub token: String,
    /// TLS, or plain TCP when `None`.
    pub tls: Option<ClientTls>,
    /// How long everything may take.
    pub timeout: Duration,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Path and token are secrets.
        f.debug_struct("Target").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Opens a session. `abandoned` resolves when nobody wants it any more.
pub(super) async fn run(handshake: Handshake, id: ConnectId, target: Target, abandoned: oneshot::Receiver<()>) {
    let server = handshake.server.clone();
    let trace = server.config.trace;
    trace.server(format_args!("connecting to {}", target.origin));
    let stage = Cell::new(Stage::Resolving);
    let outcome = tokio::select! {
        biased;
        _ = abandoned => return trace.server(format_args!("gave up {}", target.origin)),
        () = server.refuses() => Err(ConnectError::ShuttingDown),
        outcome = timeout(target.timeout, establish(&server, &target, &stage)) => {
            outcome.unwrap_or_else(|_| Err(ConnectError::Timeout { stage: stage.get(), after: target.timeout }))
        }
    };
    server.abandon(id);
    match outcome {
        Ok((claim, opened, driver)) => {
            trace.server(format_args!("session {} with {} opened", opened.sid, target.origin));
            server.app.peer_opened(claim.hand_over(), id, opened);
            tokio::task::spawn_local(driver.run());
        }
        Err(error) => {
            let error = secrets::Secrets::of(&target).hide_in(error);
            trace.server(format_args!("cannot connect to {}: {error}", target.origin));
            server.app.peer_failed(id, &error);
        }
    }
    server.app.commit();
}

async fn establish(
    server: &Rc<Server>,
    target: &Target,
    stage: &Cell<Stage>,
) -> Result<(Claim, Opened, Box<Driver>), ConnectError> {
    let (stream, remote) = dial::dial(&target.host, target.port, stage).await?;
    // Small frames are flushed in batches already; a failure costs latency only.
    let _ = stream.set_nodelay(true);
    let mut transport = match &target.tls {
        None => Transport::Plain(Socket::new(stream, TURN)),
        Some(tls) => {
            stage.set(Stage::Securing);
            Transport::TlsClient(Box::new(tls.connect(Socket::new(stream, TLS_TURN)).await?))
        }
    };
    stage.set(Stage::Upgrading);
    let sid: u64 = rand::random();
    let early = upgrade(&mut transport, target, sid, server.config.max_header_bytes).await?;
    stage.set(Stage::Greeting);
    greet(server, transport, &early, Peer { sid, token: &target.token, remote }).await
}

/// Sends the request and reads the response. Gives what came behind it.
async fn upgrade(
    transport: &mut Transport,
    target: &Target,
    sid: u64,
    max_head: usize,
) -> Result<Vec<u8>, ConnectError> {
    let key = generate_key();
    transport.write_all(request(target, sid, &key).as_bytes()).await.map_err(ConnectError::Broken)?;
    transport.flush().await.map_err(ConnectError::Broken)?;
    response::read(transport, &key, max_head, target.tls.is_none()).await
}

/// The request of an upgrade. The sid goes under the name that published servers read, and under that of the
/// protocol.
fn request(target: &Target, sid: u64, key: &str) -> String {
    let Target { path, authority, token, .. } = target;
    let joint = if path.contains('?') { '&' } else { '?' };
    // Not every server takes a plus for a space.
    let token = form_urlencoded::byte_serialize(token.as_bytes()).collect::<String>().replace('+', "%20");
    format!(
        "GET {path}{joint}authorization=Bearer%20{token}&x-camp-sid={sid}&x-CAMP-sid={sid} HTTP/1.1\r\n\
         Host: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: camp\r\n\r\n"
    )
}

struct Peer<'a> {
    sid: u64,
    token: &'a str,
    remote: SocketAddr,
}

async fn greet(
    server: &Rc<Server>,
    transport: Transport,
    early: &[u8],
    peer: Peer<'_>,
) -> Result<(Claim, Opened, Box<Driver>), ConnectError> {
    let (claim, mailbox) = Claim::new(server);
    let counters = Arc::new(Counters::new());
    let opened =
        Opened { sid: peer.sid, token: peer.token.to_owned(), remote: peer.remote, counters: counters.clone() };
    let place = (claim.slot, mailbox, server.sessions.places.take_outgoing());
    let mut driver = Box::new(Driver::new(server.clone(), Role::Peer, place, peer.sid, counters, transport, early));
    match driver.greet().await {
        Ok(()) => Ok((claim, opened, driver)),
        Err(reason) => {
            // The server is told why, if it listens.
            tokio::task::spawn_local(driver.run());
            Err(ConnectError::Closed(reason))
        }
    }
}

/// A slot that is given back unless a session takes it over.
struct Claim {
    server: Rc<Server>,
    slot: Slot,
    handed_over: bool,
}

impl Claim {
    fn new(server: &Rc<Server>) -> (Self, Rc<Mailbox>) {
        let (slot, mailbox) = server.sessions.open();
        (Claim { server: server.clone(), slot, handed_over: false }, mailbox)
    }

    fn hand_over(mut self) -> Slot {
        self.handed_over = true;
        self.slot
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.handed_over {
            self.server.sessions.release(self.slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request_for(path: &str, token: &str) -> String {
        let target = Target {
            origin: "ws://h:1".to_owned(),
            host: "h".to_owned(),
            port: 1,
            authority: "h:1".to_owned(),
            path: path.to_owned(),
            token: token.to_owned(),
            tls: None,
            timeout: Duration::ZERO,
        };
        request(&target, 7, "key")
    }

    #[test]
    fn our_own_server_understands_the_request() {
        let text = request_for("/a?b=c", "a b+c&d=ü%");
        let head = super::super::head::Head::parse(text.as_bytes()).unwrap().unwrap().0;
        assert!(head.wants_websocket() && head.is_for("/a"));
        assert_eq!(head.subprotocol().unwrap(), Some("camp"));
        let credentials = head.credentials().unwrap();
        assert_eq!((credentials.token.as_str(), credentials.sid), ("a b+c&d=ü%", 7));
    }

    #[test]
    fn the_query_is_appended_and_nothing_is_left_to_interpretation() {
        let line = |path, token| request_for(path, token).lines().next().unwrap_or_default().to_owned();
        assert_eq!(line("/", "T"), "GET /?authorization=Bearer%20T&x-camp-sid=7&x-CAMP-sid=7 HTTP/1.1");
        assert_eq!(line("/a?b=1", "x y"), "GET /a?b=1&authorization=Bearer%20x%20y&x-camp-sid=7&x-CAMP-sid=7 HTTP/1.1");
        assert!(line("/", "a\r\nb").contains("a%0D%0Ab"));
    }
}
