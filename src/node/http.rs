//! What JavaScript wants of connections that were handed over, and how what happens to them is put
//! into records.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use napi::Result;
use napi_derive::napi;

use super::orders::OrderKind;
use super::record::{Kind, put_system_error, put_words};
use super::server::NativeServer;
use crate::net::{HttpCommand, HttpEvent, HttpId, HttpOpened, Interest, Server, SocketOption, is_upgrade_of_ours};

use bytes::Bytes;

/// Bits of `httpInterest`.
#[repr(u8)]
enum HttpInterest {
    Requests = 1,
    Upgrades = 2,
}

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
        Interest {
            requests: bits & HttpInterest::Requests as u8 != 0,
            upgrades: bits & HttpInterest::Upgrades as u8 != 0,
        }
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

    /// Lets it pass no more bytes on; `HttpHeld` says that none follow.
    #[napi]
    pub fn http_hold(&self, id: u32) {
        self.writer().put(id, OrderKind::HttpHold, &[]);
    }

    /// Gives back bytes that were not used, less than 16 MiB, once it is held.
    #[napi]
    pub fn http_give_back(&self, id: u32, data: &[u8]) -> Result<()> {
        Ok(self.writer().put_parts(id, OrderKind::HttpGiveBack, &[data])?)
    }

    /// What was given back is all, and begins with a CAMP upgrade: the connection is CAMP's once everything is written.
    #[napi]
    pub fn http_take_back(&self, id: u32) {
        self.writer().put(id, OrderKind::HttpTakeBack, &[]);
    }

    /// Whether small writes go out at once.
    #[napi]
    pub fn http_no_delay(&self, id: u32, on: bool) {
        self.writer().put(id, OrderKind::HttpNoDelay, &u32::from(on).to_ne_bytes());
    }

    /// Whether the system probes an idle client, and after how many milliseconds; 0: as the system has it.
    #[napi]
    pub fn http_keep_alive(&self, id: u32, on: bool, idle_ms: u32) {
        let mut payload = [0; 8];
        payload[..4].copy_from_slice(&u32::from(on).to_ne_bytes());
        payload[4..].copy_from_slice(&idle_ms.to_ne_bytes());
        self.writer().put(id, OrderKind::HttpKeepAlive, &payload);
    }

    /// Hangs up with a reset.
    #[napi]
    pub fn http_reset(&self, id: u32) {
        self.writer().put(id, OrderKind::HttpReset, &[]);
    }

    /// Whether an upgrade request with this head is CAMP's, whatever came before it on its connection.
    #[napi]
    pub fn is_camp_upgrade(&self, head: &[u8]) -> bool {
        is_upgrade_of_ours(head)
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
    const HOLD: u32 = OrderKind::HttpHold as u32;
    const GIVE_BACK: u32 = OrderKind::HttpGiveBack as u32;
    const TAKE_BACK: u32 = OrderKind::HttpTakeBack as u32;
    const NO_DELAY: u32 = OrderKind::HttpNoDelay as u32;
    const KEEP_ALIVE: u32 = OrderKind::HttpKeepAlive as u32;
    const RESET: u32 = OrderKind::HttpReset as u32;
    let command = match kind {
        WRITE => HttpCommand::Write(payload),
        END => HttpCommand::End,
        CREDIT => HttpCommand::Credit(word(&payload, 0) as usize),
        DESTROY => HttpCommand::Destroy,
        HOLD => HttpCommand::Hold,
        GIVE_BACK => HttpCommand::GiveBack(payload),
        TAKE_BACK => HttpCommand::TakeBack,
        NO_DELAY => HttpCommand::Option(SocketOption::NoDelay(word(&payload, 0) != 0)),
        KEEP_ALIVE => {
            let idle = Some(word(&payload, 1)).filter(|idle| *idle > 0);
            let idle = idle.map(|idle| Duration::from_millis(idle.into()));
            HttpCommand::Option(SocketOption::KeepAlive(word(&payload, 0) != 0, idle))
        }
        RESET => HttpCommand::Reset,
        _ => return debug_assert!(false, "order of unknown kind {kind}"),
    };
    server.http(id, command);
}

/// The payload's word at this index, 0 beyond its end.
fn word(payload: &[u8], index: usize) -> u32 {
    payload.chunks_exact(4).nth(index).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// Kind and payload of an event's record.
pub(super) fn encode(event: HttpEvent) -> (Kind, Bytes) {
    match event {
        HttpEvent::Opened(opened) => (Kind::HttpOpened, encode_opened(&opened).into()),
        HttpEvent::Data(data) => (Kind::HttpData, data),
        HttpEvent::Ended => (Kind::HttpEnded, Bytes::new()),
        HttpEvent::Held => (Kind::HttpHeld, Bytes::new()),
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
