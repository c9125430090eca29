//! From an accepted connection to a session: TLS, request head, validation, response.

use std::fmt;
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::application::Opened;
use super::bridge::Bridge;
use super::counters::Counters;
use super::driver::Driver;
use super::handover::HttpOpened;
use super::head::Head;
use super::io_text::IoText;
use super::places::Place;
use super::refusal::Refusal;
use super::server::{Handshake, Server};
use super::socket::Socket;
use super::syntax;
use super::transport::{TLS_TURN, TURN, Transport};
use crate::session::{Role, later};

/// Names one upgrade request that is being validated.
pub type UpgradeId = u32;

/// What the application makes of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// The client is let in.
    Accepted,
    /// It is not.
    Refused,
    /// Nor is it, because the application could not tell. The client is answered as if it were refused.
    Failed,
}

/// What the application may know of a client before it lets it in.
pub struct UpgradeRequest {
    /// The bearer token.
    pub token: String,
    /// The session id that the client chose.
    pub sid: u64,
    /// Path and query as sent.
    pub url: String,
    /// Header fields as sent.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The client's address.
    pub remote: SocketAddr,
}

impl fmt::Debug for UpgradeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is a secret; it is in the URL too, or in the header fields.
        f.debug_struct("UpgradeRequest").field("sid", &self.sid).field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// Room for a request head of the usual length: one system call reads it.
const HEAD_ROOM: usize = 2 << 10;

/// Bytes a client may send ahead of the response.
const MAX_EARLY_BYTES: usize = 64 << 10;

/// How long a refused client may take to read its response.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Unread bytes of a refused client that are discarded, so that it can read its response.
const MAX_DISCARDED: usize = 256 << 10;

/// Takes a connection to its session, or refuses it.
pub(super) async fn run(handshake: Handshake, stream: TcpStream, remote: SocketAddr) {
    let server = handshake.server.clone();
    let remote = canonical(remote);
    let deadline = deadline(&server);
    // Small frames are flushed in batches already; a failure costs latency only.
    let _ = stream.set_nodelay(true);
    let Some(mut transport) = secure(&server, stream, remote, deadline).await else { return };

    let mut begun = Begun { bytes: Vec::with_capacity(HEAD_ROOM), again: false, bodiless: false };
    match negotiate(&server, &mut transport, &mut begun, remote, deadline).await {
        Ok(Negotiated::Session(agreed)) => open(handshake, transport, agreed, remote).await,
        Ok(Negotiated::Foreign(early)) => hand_over(&server, transport, early, remote),
        Ok(Negotiated::Gone) => server.config.trace.server(format_args!("{remote} has sent no request")),
        Err(refusal) => turn_down(&server, transport, &refusal, begun.bodiless, remote).await,
    }
}

/// As [`run`], for a connection that was handed over and has come to an upgrade of ours: `bytes`, and what follows.
pub(super) async fn run_again(handshake: Handshake, mut transport: Transport, remote: SocketAddr, bytes: Vec<u8>) {
    let server = handshake.server.clone();
    let deadline = deadline(&server);
    let mut begun = Begun { bytes, again: true, bodiless: false };
    match negotiate(&server, &mut transport, &mut begun, remote, deadline).await {
        Ok(Negotiated::Session(agreed)) => open(handshake, transport, agreed, remote).await,
        Ok(Negotiated::Foreign(_) | Negotiated::Gone) => {}
        Err(refusal) => turn_down(&server, transport, &refusal, begun.bodiless, remote).await,
    }
}

/// Until when a connection that begins now is to have become a session.
fn deadline(server: &Server) -> Instant {
    later(std::time::Instant::now(), server.config.handshake_timeout).into()
}

/// The request that is being read.
struct Begun {
    /// What was read of it before.
    bytes: Vec<u8>,
    /// The application has given it back.
    again: bool,
    /// It is a HEAD: an answer has no body.
    bodiless: bool,
}

/// What a connection's first request makes of it.
enum Negotiated {
    Session(Agreed),
    /// Not ours, and wanted by the application. With everything read so far.
    Foreign(Vec<u8>),
    /// The client has gone.
    Gone,
}

/// An upgrade that the application has agreed to.
struct Agreed {
    request: UpgradeRequest,
    key: String,
    subprotocol: Option<String>,
    /// Taken before the application was asked.
    place: Place,
    /// A `100 Continue` is to come before the answer (RFC 9110, 7.8).
    continues: bool,
    /// What the client sent behind its request.
    early: Vec<u8>,
}

async fn secure(server: &Server, stream: TcpStream, remote: SocketAddr, deadline: Instant) -> Option<Transport> {
    let Some(tls) = &server.config.tls else { return Some(Transport::Plain(Socket::new(stream, TURN))) };
    let stream = Socket::new(stream, TLS_TURN);
    tokio::select! {
        accepted = timeout_at(deadline, tls.acceptor().accept(stream)) => match accepted {
            Ok(Ok(stream)) => return Some(Transport::Tls(Box::new(stream))),
            Ok(Err(error)) => server.config.trace.server(format_args!("TLS with {remote} failed: {}", IoText(&error))),
            Err(_) => server.config.trace.server(format_args!("TLS with {remote} took too long")),
        },
        () = server.refuses() => {}
    }
    None
}

async fn negotiate(
    server: &Server,
    transport: &mut Transport,
    begun: &mut Begun,
    remote: SocketAddr,
    deadline: Instant,
) -> Result<Negotiated, Refusal> {
    let mut buffer = mem::take(&mut begun.bytes);
    let head = tokio::select! {
        head = timeout_at(deadline, read_head(transport, &mut buffer, server.config.max_header_bytes)) => head,
        () = server.refuses() => return Err(Refusal::ShuttingDown),
    };
    begun.bodiless = buffer.trim_ascii_start().starts_with(b"HEAD ");
    let (head, length) = match head {
        Err(_) if buffer.is_empty() => return Ok(Negotiated::Gone),
        Err(_) => return Err(Refusal::Slow),
        Ok(head) => match head? {
            Some(head) => head,
            None => return Ok(Negotiated::Gone),
        },
    };
    if !begun.again && server.app.interest().wants(&head) {
        return Ok(Negotiated::Foreign(buffer));
    }
    let malformed = |fault: &str| Refusal::BadRequest(fault.to_owned());
    if let Some(fault) = buffer.get(..length).and_then(|bytes| syntax::fault(bytes, &head)) {
        return Err(malformed(fault));
    }
    buffer.drain(..length);
    if !head.wants_websocket() {
        return Err(Refusal::NotAnUpgrade);
    }
    if let Some(fault) = syntax::upgrade_fault(&head, &buffer) {
        return Err(malformed(fault));
    }
    let key = head.websocket_key()?.to_owned();
    if server.config.path.as_deref().is_some_and(|path| !head.is_for(path)) {
        return Err(Refusal::WrongPath);
    }
    if server.config.allowed_origins.as_deref().is_some_and(|allowed| !head.comes_from(allowed)) {
        return Err(Refusal::WrongOrigin);
    }
    let subprotocol = head.subprotocol()?.map(str::to_owned);
    let credentials = head.credentials()?;
    let places = &server.sessions.places;
    if places.is_live(credentials.sid) {
        return Err(Refusal::SessionExists);
    }
    let Some(place) = places.take(server.config.max_connections) else { return Err(Refusal::Full) };
    let continues = head.expects_continue();
    let request = UpgradeRequest {
        token: credentials.token,
        sid: credentials.sid,
        url: head.target,
        headers: head.fields,
        remote,
    };
    validate(server, transport, &request, &mut buffer, deadline).await?;
    if let Some(fault) = syntax::early_fault(&buffer) {
        return Err(malformed(fault));
    }
    Ok(Negotiated::Session(Agreed { request, key, subprotocol, place, continues, early: buffer }))
}

/// Reads up to the end of the head, or beyond. Gives the head and its length in `buffer`; `None`: the client
/// has gone.
async fn read_head(
    transport: &mut Transport,
    buffer: &mut Vec<u8>,
    max: usize,
) -> Result<Option<(Head, usize)>, Refusal> {
    let mut before = 0;
    let mut fresh = !buffer.is_empty();
    loop {
        if !mem::take(&mut fresh) {
            before = buffer.len();
            match transport.read_buf(buffer).await {
                Ok(0) if buffer.is_empty() => return Ok(None),
                Ok(0) => return Err(Refusal::BadRequest("The connection ended within the request head.".to_owned())),
                Ok(_) => {}
                Err(_) => return Ok(None),
            }
        }
        // Parsing starts over each time, so it is tried only when a line has ended.
        let line_ended = before == 0 || buffer.get(before..).is_some_and(|new| new.contains(&b'\n'));
        if line_ended && let Some((head, length)) = Head::parse(buffer)? {
            if length > max {
                return Err(Refusal::HeadTooLarge);
            }
            return Ok(Some((head, length)));
        }
        if buffer.len() > max {
            return Err(Refusal::HeadTooLarge);
        }
    }
}

async fn validate(
    server: &Server,
    transport: &mut Transport,
    request: &UpgradeRequest,
    buffer: &mut Vec<u8>,
    deadline: Instant,
) -> Result<(), Refusal> {
    let (id, answer) = server.ask(request);
    let _forget = Forget { server, id };
    tokio::select! {
        biased;
        refusal = left(transport, buffer) => Err(refusal),
        () = server.refuses() => Err(Refusal::ShuttingDown),
        answer = timeout_at(deadline, answer) => match answer {
            Ok(Ok(Validation::Accepted)) => Ok(()),
            Ok(Ok(Validation::Failed)) => Err(Refusal::ValidatorFailed),
            Ok(Ok(Validation::Refused) | Err(_)) => Err(Refusal::InvalidToken),
            Err(_) => Err(Refusal::ValidationTimeout),
        },
    }
}

/// Withdraws a question that was not answered.
struct Forget<'a> {
    server: &'a Server,
    id: UpgradeId,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.server.forget(self.id);
    }
}

/// Resolves when the client ends its side or hangs up, or has sent too much ahead of time.
async fn left(transport: &mut Transport, buffer: &mut Vec<u8>) -> Refusal {
    while buffer.len() <= MAX_EARLY_BYTES {
        if matches!(transport.read_buf(buffer).await, Ok(0) | Err(_)) {
            return Refusal::Left;
        }
    }
    Refusal::TooMuchEarly
}

fn hand_over(server: &Rc<Server>, transport: Transport, early: Vec<u8>, remote: SocketAddr) {
    // Only a connection that is already broken has no address of ours.
    let Ok(local) = transport.local_addr() else { return };
    server.config.trace.server(format_args!("handed {remote} over"));
    let opened = HttpOpened { remote, local: canonical(local), tls: transport.tls_details() };
    tokio::task::spawn_local(Bridge::new(server.clone(), transport, opened, early).run());
}

async fn open(handshake: Handshake, mut transport: Transport, agreed: Agreed, remote: SocketAddr) {
    let Agreed { request, key, subprotocol, mut place, continues, early } = agreed;
    let server = &handshake.server.clone();
    // The server may have been told to stop together with the answer.
    // Another upgrade with this sid may have won while this one was validated.
    let refusal = match server.is_refusing() {
        true => Some(Refusal::ShuttingDown),
        false if place.claim(request.sid) => None,
        false => Some(Refusal::SessionExists),
    };
    if let Some(refusal) = refusal {
        drop(place);
        return turn_down(server, transport, &refusal, false, remote).await;
    }
    let (slot, mailbox) = server.sessions.open();
    // From here on the session is what is counted.
    drop(handshake);
    server.config.trace.server(format_args!("session {} of {remote} opened", request.sid));
    let protocol = subprotocol.map_or(String::new(), |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    let interim = if continues { "HTTP/1.1 100 Continue\r\n\r\n" } else { "" };
    let response = format!(
        "{interim}HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{protocol}\r\n",
        derive_accept_key(key.as_bytes())
    );
    // A client that does not take the response in time is found out by the driver.
    let _ = timeout(server.config.handshake_timeout, transport.write_all(response.as_bytes())).await;
    let counters = std::sync::Arc::new(Counters::new());
    let opened = Opened { sid: request.sid, token: request.token, remote, counters: std::sync::Arc::clone(&counters) };
    server.app.opened(slot, opened);
    server.app.commit();
    let driver =
        Driver::new(server.clone(), Role::Server, (slot, mailbox, place), request.sid, counters, transport, &early);
    tokio::task::spawn_local(driver.run());
}

async fn turn_down(server: &Server, mut transport: Transport, refusal: &Refusal, bodiless: bool, remote: SocketAddr) {
    server.report_refusal(refusal, remote);
    // The client may be gone: nobody is left to tell.
    let _ = timeout(REFUSAL_TIMEOUT, refuse(&mut transport, &refusal.response(remote, bodiless))).await;
}

/// Sends the refusal, then discards what the client still sends: closing a socket with unread
/// bytes would destroy the response on its way.
async fn refuse(transport: &mut Transport, response: &[u8]) -> io::Result<()> {
    transport.write_all(response).await?;
    transport.shutdown().await?;
    let mut discarded = 0;
    let mut scratch = [0; 1024];
    while discarded < MAX_DISCARDED {
        match transport.read(&mut scratch).await? {
            0 => break,
            n => discarded = n.saturating_add(discarded),
        }
    }
    Ok(())
}

/// IPv4 clients of a dual-stack listener under their own address.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), address.port()),
            None => address,
        },
        IpAddr::V4(_) => address,
    }
}
