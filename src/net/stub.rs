//! An application for tests: it takes everything at once, and tells what it was told.

use std::io;
use std::net::SocketAddr;
use std::task::Waker;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::application::{Application, Opened, Refused};
use super::connect::{ConnectError, ConnectId};
use super::handover::{HttpEvent, HttpId, Interest};
use super::sessions::Slot;
use super::upgrade::{UpgradeId, UpgradeRequest};
use crate::protocol::Message;
use crate::session::{CloseReason, Event, TxKey};

/// A message with this content is a fault of the application's.
pub(super) const FAULT: &str = "fault";

/// What the application was told.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    Listening(SocketAddr),
    Validate(UpgradeId),
    Opened(Slot, u64),
    Message(Slot, String),
    Closed(Slot, CloseReason),
}

pub(super) struct Stub(UnboundedSender<Told>);

impl Stub {
    pub(super) fn new() -> (Stub, UnboundedReceiver<Told>) {
        let (told, receiver) = unbounded_channel();
        (Stub(told), receiver)
    }

    fn tell(&self, told: Told) {
        // A test may have heard enough.
        let _ = self.0.send(told);
    }
}

/// Runs a test as the I/O thread would.
pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    runtime.expect("a runtime").block_on(test);
}

impl Application for Stub {
    fn listening(&self, address: SocketAddr) {
        self.tell(Told::Listening(address));
    }

    fn failed(&self, error: &io::Error) {
        panic!("cannot listen: {error}");
    }

    fn validate(&self, id: UpgradeId, _: &UpgradeRequest) {
        self.tell(Told::Validate(id));
    }

    fn opened(&self, slot: Slot, session: Opened) {
        self.tell(Told::Opened(slot, session.sid));
    }

    fn message(&self, slot: Slot, message: Message<'_>) {
        let text = String::from_utf8_lossy(message.as_bytes()).into_owned();
        assert_ne!(text, FAULT, "the fault that a test wants");
        self.tell(Told::Message(slot, text));
    }

    fn event(&self, slot: Slot, event: Event) {
        if let Event::Closed(reason) = event {
            self.tell(Told::Closed(slot, reason));
        }
    }

    fn interest(&self) -> Interest {
        Interest::default()
    }

    fn connection_limit(&self) -> usize {
        usize::MAX
    }

    fn staged(&self) -> usize {
        0
    }

    fn commit_number(&self) -> u64 {
        1
    }

    fn answered(&self) -> u64 {
        1
    }

    fn taken(&self) -> u64 {
        0
    }

    fn is_full(&self) -> bool {
        false
    }

    fn is_idle(&self) -> bool {
        true
    }

    fn wake_when_taken(&self, _: u64, _: &Waker) -> bool {
        false
    }

    fn validation_cancelled(&self, _: UpgradeId) {}
    fn refused(&self, _: &Refused<'_>) {}
    fn peer_opened(&self, _: Slot, _: ConnectId, _: Opened) {}
    fn peer_failed(&self, _: ConnectId, _: &ConnectError) {}
    fn outlives(&self, _: Slot, _: TxKey) {}
    fn gone(&self, _: Slot) {}
    fn source_failed(&self, _: Slot, _: TxKey, _: &io::Error) {}
    fn http(&self, _: HttpId, _: HttpEvent) {}
    fn turned_away(&self, _: SocketAddr, _: SocketAddr) {}
    fn commit(&self) {}
    fn await_answer(&self) {}
    fn stopped(&self) {}
}
