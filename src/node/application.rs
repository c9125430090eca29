//! What the network layer tells, written into the log.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use super::http::{self, LiveInterest};
use super::log::{Log, LogWriter};
use super::peer;
use super::record::{self, Kind};
use super::server::lock;
use super::transaction;
use crate::net::{
    Application, ConnectError, ConnectId, Counters, Figures, HttpEvent, HttpId, Interest, Opened, Refused, Slot,
    UpgradeId, UpgradeRequest,
};
use crate::protocol::Message;
use crate::session::{Event, Hooks, Payload, TxKey};

/// The figures of the live sessions, by slot; readable from the JavaScript thread.
#[derive(Clone, Default)]
pub(super) struct LiveCounters(Arc<Mutex<Registry>>);

#[derive(Default)]
struct Registry {
    live: Vec<Option<Arc<Counters>>>,
    /// Sums of the sessions that are no longer live.
    ended: Figures,
    opened: u64,
    refused: u64,
}

/// Writes what happens into a server's log.
pub(super) struct JsApplication {
    shared: Arc<Log>,
    log: LogWriter,
    counters: LiveCounters,
    /// The set of hooks that JavaScript was told of last.
    hook_set: Cell<u32>,
    interest: LiveInterest,
}

impl JsApplication {
    pub(super) fn new(shared: Arc<Log>, counters: LiveCounters, interest: LiveInterest) -> Self {
        JsApplication { log: LogWriter::new(shared.clone()), shared, counters, hook_set: Cell::new(0), interest }
    }

    fn held(&self, slot: Slot, payload: Payload, hooks: Hooks) {
        let set = hooks.number();
        if self.hook_set.replace(set) != set {
            self.log.put(slot, Kind::HookSet, |out| record::put_words(out, &[set]));
        }
        self.log.put_payload(slot, record::held_kind(&payload), bytes_of(payload));
    }
}

impl Application for JsApplication {
    fn listening(&self, address: SocketAddr) {
        self.log.put(0, Kind::Listening, |out| {
            let family = if address.is_ipv6() { 6 } else { 4 };
            record::put_words(out, &[u32::from(address.port()), family]);
            out.extend_from_slice(address.ip().to_string().as_bytes());
        });
    }

    fn failed(&self, error: &io::Error) {
        self.log.put(0, Kind::Failed, |out| record::put_system_error(out, error));
    }

    fn validate(&self, id: UpgradeId, request: &UpgradeRequest) {
        self.log.put(id, Kind::Validate, |out| record::validate(request, out));
    }

    fn validation_cancelled(&self, id: UpgradeId) {
        self.log.put(id, Kind::ValidationCancelled, |_| {});
    }

    fn refused(&self, refused: &Refused<'_>) {
        lock(&self.counters.0).refused += 1;
        self.log.put(0, Kind::Refused, |out| record::refused(refused, out));
    }

    fn opened(&self, slot: Slot, session: Opened) {
        self.log.put(slot, Kind::Opened, |out| record::opened(&session, out));
        // Listeners are often added in a continuation of the `session` event; they miss nothing.
        self.log.stop_reading();
        self.counters.insert(slot, session.counters);
    }

    fn peer_opened(&self, slot: Slot, id: ConnectId, session: Opened) {
        self.log.put(slot, Kind::PeerOpened, |out| peer::opened(id, &session, out));
        self.log.stop_reading();
        self.counters.insert(slot, session.counters);
    }

    fn peer_failed(&self, id: ConnectId, error: &ConnectError) {
        self.log.put(id, Kind::PeerFailed, |out| peer::failed(error, out));
    }

    #[inline]
    fn message(&self, slot: Slot, message: Message<'_>) {
        match message {
            Message::Ascii(text) => self.log.put_slice(slot, Kind::Ascii, text),
            Message::Utf8(text) => self.log.put_utf16(slot, Kind::Utf8, text.as_bytes()),
            Message::Binary(data) => self.log.put_slice(slot, Kind::Binary, data),
        }
    }

    #[inline]
    fn event(&self, slot: Slot, event: Event) {
        match event {
            Event::Message(payload) => self.log.put_payload(slot, record::data_kind(&payload), bytes_of(payload)),
            Event::Held(payload, hooks) => self.held(slot, payload, hooks),
            Event::Transaction(event) => transaction::log_event(&self.log, slot, event),
            other => {
                let mut payload = Vec::new();
                let kind = record::encode_event(&other, || self.counters.bytes(slot), &mut payload);
                if let Some(kind) = kind {
                    self.log.put_bytes(slot, kind, payload.into());
                }
            }
        }
    }

    fn source_failed(&self, slot: Slot, key: TxKey, error: &io::Error) {
        transaction::log_source_failure(&self.log, slot, key, error);
    }

    fn outlives(&self, slot: Slot, key: TxKey) {
        self.log.put(slot, Kind::TxOutlives, |out| record::put_words(out, &[key, 0]));
    }

    fn gone(&self, slot: Slot) {
        self.log.put(slot, Kind::Gone, |_| {});
    }

    fn interest(&self) -> Interest {
        self.interest.get()
    }

    fn http(&self, id: HttpId, event: HttpEvent) {
        let (kind, payload) = http::encode(event);
        self.log.put_bytes(id, kind, payload);
    }

    fn connection_limit(&self) -> usize {
        self.interest.connection_limit()
    }

    fn turned_away(&self, remote: SocketAddr, local: SocketAddr) {
        self.log.put_bytes(0, Kind::HttpTurnedAway, http::encode_ends(remote, local).into());
    }

    fn commit(&self) {
        self.log.commit();
    }

    fn staged(&self) -> usize {
        self.log.staged()
    }

    fn commit_number(&self) -> u64 {
        self.log.commit_number()
    }

    fn answered(&self) -> u64 {
        self.shared.answered()
    }

    fn await_answer(&self) {
        self.shared.await_answer();
    }

    fn taken(&self) -> u64 {
        self.shared.taken()
    }

    fn is_full(&self) -> bool {
        self.shared.is_full()
    }

    fn is_idle(&self) -> bool {
        self.shared.is_idle()
    }

    fn wake_when_taken(&self, count: u64, waker: &Waker) -> bool {
        self.shared.wake_when_taken(count, waker)
    }

    fn stopped(&self) {
        self.log.put(0, Kind::Stopped, |_| {});
    }
}

impl LiveCounters {
    fn insert(&self, slot: Slot, counters: Arc<Counters>) {
        let mut registry = lock(&self.0);
        registry.opened += 1;
        let index = slot as usize;
        if registry.live.len() <= index {
            registry.live.resize(index + 1, None);
        }
        registry.live[index] = Some(counters);
    }

    /// Forgets a session, but for its part in the sums.
    pub(super) fn remove(&self, slot: Slot) {
        let mut registry = lock(&self.0);
        if let Some(counters) = registry.live.get_mut(slot as usize).and_then(Option::take) {
            registry.ended.add(&counters.figures(), true);
        }
    }

    /// Bytes received and sent; zeros for a slot not in use.
    pub(super) fn bytes(&self, slot: Slot) -> (u64, u64) {
        match lock(&self.0).live.get(slot as usize) {
            Some(Some(counters)) => counters.bytes(),
            _ => (0, 0),
        }
    }

    /// A session's figures; zeros for a slot not in use.
    pub(super) fn figures(&self, slot: Slot) -> Figures {
        match lock(&self.0).live.get(slot as usize) {
            Some(Some(counters)) => counters.figures(),
            _ => Figures::default(),
        }
    }

    /// Sessions opened and requests refused, and the sums over all sessions.
    pub(super) fn totals(&self) -> (u64, u64, Figures) {
        let registry = lock(&self.0);
        let mut sums = registry.ended;
        for counters in registry.live.iter().flatten() {
            sums.add(&counters.figures(), false);
        }
        (registry.opened, registry.refused, sums)
    }
}

fn bytes_of(payload: Payload) -> bytes::Bytes {
    match payload {
        Payload::Utf8(text) | Payload::Error(text) => text.into_bytes(),
        Payload::Binary(data) => data,
    }
}
