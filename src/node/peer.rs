//! Sessions with other servers: how they are asked for, and the records of what becomes of them.

use std::rc::Rc;

use napi::bindgen_prelude::Uint8Array;
use napi::{Error, Result, Status};
use napi_derive::napi;

use super::error::system_error_code;
use super::options::millis;
use super::orders::{OrderKind, OrderQueue};
use super::record::put_words;
use super::server::NativeServer;
use crate::net::{ClientTls, ClientTlsError, ConnectError, ConnectId, Opened, Server, Target, TlsFault};

/// A server to connect to, and how; as `js/peer.js` has checked it.
#[napi(object)]
pub struct NativeTarget {
    /// Scheme, host and port, for messages.
    pub origin: String,
    /// Name or address, an IPv6 one without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Host and port as the `Host` field has them.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// The bearer token.
    pub token: String,
    /// `timeoutMs`
    pub timeout_ms: f64,
    /// Whether to use TLS; the other fields mean nothing otherwise.
    pub secure: bool,
    /// `servername`
    pub servername: Option<String>,
    /// `ca`, each a certificate in DER
    pub ca: Option<Vec<Uint8Array>>,
    /// `rejectUnauthorized`
    pub reject_unauthorized: bool,
}

#[napi]
impl NativeServer {
    /// Opens a session to another server. Throws when the certificates or the name cannot be used.
    #[napi]
    pub fn connect(&self, id: u32, target: NativeTarget) -> Result<()> {
        let target = target.into_target()?;
        self.orders.put_target(target);
        self.writer().put(id, OrderKind::Connect, &[]);
        Ok(())
    }

    /// Gives that up. A record of its end may be on its way all the same.
    #[napi]
    pub fn abandon(&self, id: u32) {
        self.writer().put(id, OrderKind::Abandon, &[]);
    }
}

impl NativeTarget {
    fn into_target(self) -> Result<Target> {
        let tls = match self.secure {
            false => None,
            true => {
                let ca = self.ca.as_ref().map(|all| all.iter().map(|one| one.to_vec()).collect());
                let (label, name) = match &self.servername {
                    Some(name) => ("servername", name),
                    None => ("host", &self.host),
                };
                let tls = ClientTls::new(name, ca, self.reject_unauthorized).map_err(|error| {
                    let label = if matches!(error, ClientTlsError::Name(_)) { label } else { "ca" };
                    Error::new(Status::InvalidArg, format!("{label}: {error}."))
                })?;
                Some(tls)
            }
        };
        Ok(Target {
            origin: self.origin,
            host: self.host,
            port: self.port,
            authority: self.authority,
            path: self.path,
            token: self.token,
            tls,
            timeout: millis(self.timeout_ms),
        })
    }
}

/// Carries out [`OrderKind::Connect`].
pub(super) fn connect(queue: &OrderQueue, server: &Rc<Server>, id: ConnectId) {
    if let Some(target) = queue.take_target() {
        server.connect(id, target);
    }
}

/// The payload of `PeerOpened`.
pub(super) fn opened(id: ConnectId, session: &Opened, out: &mut Vec<u8>) {
    out.extend_from_slice(&session.sid.to_ne_bytes());
    put_words(out, &[id, 0]);
    out.extend_from_slice(session.remote.ip().to_string().as_bytes());
}

/// Bytes of a failure's texts that are passed on: together less than [`LARGE_FROM`](super::record::LARGE_FROM).
const MAX_MESSAGE: usize = 1024;
const MAX_TEXT: usize = 2048;

/// What JavaScript is told that has failed.
#[derive(Clone, Copy)]
#[repr(u32)]
enum ConnectFailure {
    Unreachable = 0,
    Tls = 1,
    Refused = 2,
    Handshake = 3,
    Timeout = 4,
    ShuttingDown = 5,
}

/// The payload of `PeerFailed`.
pub(super) fn failed(error: &ConnectError, out: &mut Vec<u8>) {
    let (failure, status, code, text) = match error {
        ConnectError::Unreachable(error) => (ConnectFailure::Unreachable, 0, system_error_code(error), ""),
        ConnectError::Tls { fault, .. } => (ConnectFailure::Tls, 0, tls_error_code(*fault), ""),
        ConnectError::Refused { status, body, .. } => (ConnectFailure::Refused, *status, "", body.as_str()),
        ConnectError::Broken(error) => (ConnectFailure::Handshake, 0, broken_code(error), ""),
        ConnectError::NotWebSocket(_) | ConnectError::Closed(_) => (ConnectFailure::Handshake, 0, "", ""),
        ConnectError::Timeout { .. } => (ConnectFailure::Timeout, 0, "", ""),
        ConnectError::ShuttingDown => (ConnectFailure::ShuttingDown, 0, "", ""),
    };
    put_words(out, &[failure as u32, u32::from(status)]);
    // The text comes last: it may hold anything. Both may come from the server, and be long.
    let message = error.to_string().replace('\0', " ");
    let (message, text) = (head(&message, MAX_MESSAGE), head(text, MAX_TEXT));
    out.extend_from_slice(format!("{code}\0{message}\0{text}").as_bytes());
}

/// The begin of a text, in whole characters.
fn head(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// A connection that ends in the middle of TLS has no error of the system.
fn broken_code(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "ECONNRESET",
        _ => system_error_code(error),
    }
}

/// The code under which Node's users know a failure of TLS.
fn tls_error_code(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::UnknownIssuer => "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
        TlsFault::WrongName => "ERR_TLS_CERT_ALTNAME_INVALID",
        TlsFault::Expired => "CERT_HAS_EXPIRED",
        TlsFault::NotYetValid => "CERT_NOT_YET_VALID",
        TlsFault::Revoked => "CERT_REVOKED",
        TlsFault::Certificate => "CERT_REJECTED",
        TlsFault::NoRoots => "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
        TlsFault::Protocol | TlsFault::NotTls => "EPROTO",
    }
}
