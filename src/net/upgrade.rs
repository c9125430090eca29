//! From an accepted connection to a session: TLS, request head, validation, response.

use std::fmt;
use std::io;
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
use super::refusal::Refusal;
use super::server::{Handshake, Server};
use super::transport::Transport;
use crate::session::Role;

/// Names one upgrade request that is being validated.
pub type UpgradeId = u32;

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
    let deadline = Instant::now() + server.config.handshake_timeout;
    // Small frames are flushed in batches already; a failure costs latency only.
    let _ = stream.set_nodelay(true);
    let Some(mut transport) = secure(&server, stream, remote, deadline).await else { return };

    match negotiate(&server, &mut transport, remote, deadline).await {
        Ok(Negotiated::Session(agreed)) => open(&server, transport, agreed, remote).await,
        Ok(Negotiated::Foreign(early)) => hand_over(&server, transport, early, remote),
        Ok(Negotiated::Gone) => {}
        Err(refusal) => {
            server.report_refusal(&refusal, remote);
            // The client may be gone: nobody is left to tell.
            let _ = timeout(REFUSAL_TIMEOUT, refuse(&mut transport, &refusal, remote)).await;
        }
    }
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
    camp_offered: bool,
    /// What the client sent behind its request.
    early: Vec<u8>,
}

async fn secure(server: &Server, stream: TcpStream, remote: SocketAddr, deadline: Instant) -> Option<Transport> {
    let Some(tls) = &server.config.tls else { return Some(Transport::Plain(stream)) };
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
    remote: SocketAddr,
    deadline: Instant,
) -> Result<Negotiated, Refusal> {
    let mut buffer = Vec::new();
    let head = tokio::select! {
        head = timeout_at(deadline, read_head(transport, &mut buffer, server.config.max_header_bytes)) => head,
        () = server.refuses() => return Err(Refusal::ShuttingDown),
    };
    let (head, length) = match head {
        Err(_) if buffer.is_empty() => return Ok(Negotiated::Gone),
        Err(_) => return Err(Refusal::Slow),
        Ok(head) => match head? {
            Some(head) => head,
            None => return Ok(Negotiated::Gone),
        },
    };
    if server.app.interest().wants(&head) {
        return Ok(Negotiated::Foreign(buffer));
    }
    buffer.drain(..length);
    if !head.wants_websocket() {
        return Err(Refusal::NotAnUpgrade);
    }
    let key = head.websocket_key()?.to_owned();
    if server.config.path.as_deref().is_some_and(|path| !head.is_for(path)) {
        return Err(Refusal::WrongPath);
    }
    if server.config.allowed_origins.as_deref().is_some_and(|allowed| !head.comes_from(allowed)) {
        return Err(Refusal::WrongOrigin);
    }
    let credentials = head.credentials()?;
    if server.sessions.is_live(credentials.sid) {
        return Err(Refusal::SessionExists);
    }
    if server.is_full() {
        return Err(Refusal::Full);
    }
    let camp_offered = head.offers_camp();
    let request = UpgradeRequest {
        token: credentials.token,
        sid: credentials.sid,
        url: head.target,
        headers: head.fields,
        remote,
    };
    validate(server, transport, &request, &mut buffer, deadline).await?;
    Ok(Negotiated::Session(Agreed { request, key, camp_offered, early: buffer }))
}

/// Reads up to the end of the head, or beyond. Gives the head and its length in `buffer`; `None`: the client
/// has gone.
async fn read_head(
    transport: &mut Transport,
    buffer: &mut Vec<u8>,
    max: usize,
) -> Result<Option<(Head, usize)>, Refusal> {
    loop {
        let before = buffer.len();
        if matches!(transport.read_buf(buffer).await, Ok(0) | Err(_)) {
            return Ok(None);
        }
        // Parsing starts over each time, so it is tried only when a line has ended.
        let line_ended = before == 0 || buffer[before..].contains(&b'\n');
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
        answer = timeout_at(deadline, answer) => match answer {
            Ok(Ok(true)) => Ok(()),
            Ok(_) => Err(Refusal::InvalidToken),
            Err(_) => Err(Refusal::ValidationTimeout),
        },
        () = gone(transport, buffer) => Err(Refusal::InvalidToken),
        () = server.refuses() => Err(Refusal::ShuttingDown),
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

/// Resolves when the client hangs up, or sends too much ahead of time.
async fn gone(transport: &mut Transport, buffer: &mut Vec<u8>) {
    while buffer.len() < MAX_EARLY_BYTES {
        if matches!(transport.read_buf(buffer).await, Ok(0) | Err(_)) {
            return;
        }
    }
}

fn hand_over(server: &Rc<Server>, transport: Transport, early: Vec<u8>, remote: SocketAddr) {
    // Only a connection that is already broken has no address of ours.
    let Ok(local) = transport.local_addr() else { return };
    server.config.trace.server(format_args!("handed {remote} over"));
    let opened = HttpOpened { remote, local: canonical(local), tls: transport.tls_details() };
    tokio::task::spawn_local(Bridge::new(server.clone(), transport, opened, early).run());
}

async fn open(server: &Rc<Server>, mut transport: Transport, agreed: Agreed, remote: SocketAddr) {
    let Agreed { request, key, camp_offered, early } = agreed;
    // The server may have been told to stop together with the answer.
    // Another upgrade with this sid may have won while this one was validated.
    let claimed = match server.is_refusing() {
        true => Err(Refusal::ShuttingDown),
        false => server.sessions.open(request.sid).ok_or(Refusal::SessionExists),
    };
    let (slot, mailbox) = match claimed {
        Ok(claimed) => claimed,
        Err(refusal) => {
            server.report_refusal(&refusal, remote);
            let _ = timeout(REFUSAL_TIMEOUT, refuse(&mut transport, &refusal, remote)).await;
            return;
        }
    };
    server.config.trace.server(format_args!("session {} of {remote} opened", request.sid));
    let protocol = if camp_offered { "Sec-WebSocket-Protocol: camp\r\n" } else { "" };
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{protocol}\r\n",
        derive_accept_key(key.as_bytes())
    );
    // A client that does not take the response in time is found out by the driver.
    let _ = timeout(server.config.handshake_timeout, transport.write_all(response.as_bytes())).await;
    let counters = std::sync::Arc::new(Counters::new());
    let opened = Opened { sid: request.sid, token: request.token, remote, counters: std::sync::Arc::clone(&counters) };
    server.app.opened(slot, opened);
    server.app.commit();
    let driver = Driver::new(server.clone(), Role::Server, (slot, mailbox), request.sid, counters, transport, &early);
    tokio::task::spawn_local(driver.run());
}

/// Sends the refusal, then discards what the client still sends: closing a socket with unread
/// bytes would destroy the response on its way.
async fn refuse(transport: &mut Transport, refusal: &Refusal, remote: SocketAddr) -> io::Result<()> {
    transport.write_all(&refusal.response(remote)).await?;
    transport.shutdown().await?;
    let mut discarded = 0;
    let mut scratch = [0; 1024];
    while discarded < MAX_DISCARDED {
        match transport.read(&mut scratch).await? {
            0 => break,
            n => discarded += n,
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
