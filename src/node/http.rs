//! What JavaScript wants of connections that were handed over, and how what happens to them is put
//! into records.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use napi::Result;
use napi_derive::napi;

use super::orders::OrderKind;
use super::record::{Kind, put_system_error, put_words};
use super::server::NativeServer;
use crate::net::{HttpCommand, HttpEvent, HttpId, HttpOpened, Interest, Server};

use bytes::Bytes;

/// Bits of `httpInterest`.
const REQUESTS: u8 = 1;
const UPGRADES: u8 = 2;

/// What JavaScript wants handed over, and how many connections it allows. No orders: a client that
/// connects right after a listener was added must find it.
#[derive(Clone, Default)]
pub(super) struct LiveInterest(Arc<Wishes>);

struct Wishes {
    interest: AtomicU8,
    connections: AtomicU32,
}

/// As many connections as there may be.
const UNBOUNDED: u32 = u32::MAX;

impl Default for Wishes {
    fn default() -> Self {
        Wishes { interest: AtomicU8::new(0), connections: AtomicU32::new(UNBOUNDED) }
    }
}

impl LiveInterest {
    pub(super) fn get(&self) -> Interest {
        let bits = self.0.interest.load(Ordering::Acquire);
        Interest { requests: bits & REQUESTS != 0, upgrades: bits & UPGRADES != 0 }
    }

    pub(super) fn connection_limit(&self) -> usize {
        self.0.connections.load(Ordering::Acquire) as usize
    }
}

#[napi]
impl NativeServer {
    /// Which connections are handed over: bit 0 those with a plain request, bit 1 those with an
    /// upgrade without CAMP credentials.
    #[napi]
    pub fn http_interest(&self, bits: u8) {
        self.interest.0.interest.store(bits, Ordering::Release);
    }

    /// How many connections there may be, sessions included; one more is hung up on.
    #[napi]
    pub fn http_limit(&self, connections: u32) {
        self.interest.0.connections.store(connections, Ordering::Release);
    }

    /// Sends bytes, less than 16 MiB, on a connection that was handed over.
    #[napi]
    pub fn http_write(&self, id: u32, data: &[u8]) -> Result<()> {
        Ok(self.writer().put_parts(id, OrderKind::HttpWrite, &[data])?)
    }

    /// Ends our side of it once everything is written.
    #[napi]
    pub fn http_end(&self, id: u32) {
        self.writer().put(id, OrderKind::HttpEnd, &[]);
    }

    /// Lets it pass on this many more bytes.
    #[napi]
    pub fn http_credit(&self, id: u32, bytes: u32) {
        self.writer().put(id, OrderKind::HttpCredit, &bytes.to_ne_bytes());
    }

    /// Hangs up.
    #[napi]
    pub fn http_destroy(&self, id: u32) {
        self.writer().put(id, OrderKind::HttpDestroy, &[]);
    }
}

/// Carries out an order that [`NativeServer`] has put.
pub(super) fn carry_out(server: &Server, id: HttpId, kind: u32, payload: Bytes) {
    const WRITE: u32 = OrderKind::HttpWrite as u32;
    const END: u32 = OrderKind::HttpEnd as u32;
    const CREDIT: u32 = OrderKind::HttpCredit as u32;
    const DESTROY: u32 = OrderKind::HttpDestroy as u32;
    match kind {
        WRITE => server.http(id, HttpCommand::Write(payload)),
        END => server.http(id, HttpCommand::End),
        CREDIT => {
            let bytes = payload[..].try_into().map_or(0, u32::from_ne_bytes);
            server.http(id, HttpCommand::Credit(bytes as usize));
        }
        DESTROY => server.http(id, HttpCommand::Destroy),
        _ => debug_assert!(false, "order of unknown kind {kind}"),
    }
}

/// Kind and payload of an event's record.
pub(super) fn encode(event: HttpEvent) -> (Kind, Bytes) {
    match event {
        HttpEvent::Opened(opened) => (Kind::HttpOpened, encode_opened(&opened).into()),
        HttpEvent::Data(data) => (Kind::HttpData, data),
        HttpEvent::Ended => (Kind::HttpEnded, Bytes::new()),
        HttpEvent::Written(bytes) => {
            let mut payload = Vec::new();
            put_words(&mut payload, &[u32::try_from(bytes).unwrap_or(u32::MAX)]);
            (Kind::HttpWritten, payload.into())
        }
        HttpEvent::Closed(error) => (Kind::HttpClosed, error.map_or_else(Bytes::new, |error| describe(&error).into())),
    }
}

fn encode_opened(opened: &HttpOpened) -> Vec<u8> {
    let (version, name) = opened.tls.as_ref().map_or(("", ""), |(version, name)| (version, name));
    let mut payload = encode_ends(opened.remote, opened.local);
    payload.extend_from_slice(format!("\0{version}\0{name}").as_bytes());
    payload
}

/// Both ends of a connection.
pub(super) fn encode_ends(remote: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let mut payload = Vec::new();
    put_words(&mut payload, &[remote.port().into(), local.port().into()]);
    payload.extend_from_slice(format!("{}\0{}", remote.ip(), local.ip()).as_bytes());
    payload
}

fn describe(error: &io::Error) -> Vec<u8> {
    let mut payload = Vec::new();
    put_system_error(&mut payload, error);
    payload
}
