//! Whom a server tells of what happens.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use super::connect::{ConnectError, ConnectId};
use super::counters::Counters;
use super::handover::{HttpEvent, HttpId, Interest};
use super::sessions::Slot;
use super::upgrade::{UpgradeId, UpgradeRequest};
use crate::protocol::Message;
use crate::session::{Event, TxKey};

/// Whom the server tells of what happens. Called on the I/O thread; it must not block.
pub trait Application {
    /// The server listens on this address.
    fn listening(&self, address: SocketAddr);
    /// The server cannot listen.
    fn failed(&self, error: &io::Error);
    /// A token is to be validated; answer with [`Server::validated`](super::Server::validated).
    fn validate(&self, id: UpgradeId, request: &UpgradeRequest);
    /// The client of that request has given up, or its time is over; no answer is needed.
    fn validation_cancelled(&self, id: UpgradeId);
    /// An upgrade request was refused.
    fn refused(&self, refused: &Refused<'_>);
    /// A session begins. Its slot is in use until [`Server::release`](super::Server::release).
    fn opened(&self, slot: Slot, session: Opened);
    /// [`Server::connect`](super::Server::connect) has made a session, as under [`Self::opened`].
    fn peer_opened(&self, slot: Slot, id: ConnectId, session: Opened);
    /// [`Server::connect`](super::Server::connect) has failed.
    fn peer_failed(&self, id: ConnectId, error: &ConnectError);
    /// A message came in a session; as [`Self::event`] with [`Event::Message`].
    fn message(&self, slot: Slot, message: Message<'_>);
    /// Something happened in a session.
    fn event(&self, slot: Slot, event: Event);
    /// An incoming transaction goes on after the session's `Closed` event, which follows: it has come
    /// whole and is still being read. The slot stays in use until [`Self::gone`].
    fn outlives(&self, slot: Slot, key: TxKey);
    /// Nothing more comes of a session that transactions have outlived.
    fn gone(&self, slot: Slot);
    /// An outgoing transaction is over because its source failed.
    fn source_failed(&self, slot: Slot, key: TxKey, error: &io::Error);
    /// Which connections are to be handed over, as of now.
    fn interest(&self) -> Interest;
    /// Something happened to a connection that was handed over.
    fn http(&self, id: HttpId, event: HttpEvent);
    /// How many connections there may be, sessions included, as of now.
    fn connection_limit(&self) -> usize;
    /// A connection beyond that limit was hung up on.
    fn turned_away(&self, remote: SocketAddr, local: SocketAddr);
    /// The events so far are to be passed on.
    fn commit(&self);
    /// Bytes of events that [`Self::commit`] would pass on.
    fn staged(&self) -> usize;
    /// The number of the commit with which the last event is, or will be, passed on. They are counted from 1.
    fn commit_number(&self) -> u64;
    /// The number of the last commit that the application has handed out, and the orders it gave at once
    /// handed over. [`Server::answered`](super::Server::answered) is called when it grows if [`Self::await_answer`] was called before.
    fn answered(&self) -> u64;
    /// Somebody waits for [`Self::answered`] to grow.
    fn await_answer(&self);
    /// A count that grows whenever the application takes what was passed on.
    fn taken(&self) -> u64;
    /// Whether so much waits that no session should read on.
    fn is_full(&self) -> bool;
    /// Whether the application has handed out everything that was passed on.
    fn is_idle(&self) -> bool;
    /// Wakes `waker` when [`Self::taken`] exceeds `count`. False when it already does.
    fn wake_when_taken(&self, count: u64, waker: &Waker) -> bool;
    /// The server no longer accepts, and its last session and connection are over.
    fn stopped(&self);
}

/// What is known of a session at its begin.
pub struct Opened {
    /// Session id.
    pub sid: u64,
    /// The bearer token it was let in with.
    pub token: String,
    /// The other end's address.
    pub remote: SocketAddr,
    /// Its live figures.
    pub counters: Arc<Counters>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is a secret.
        f.debug_struct("Opened").field("sid", &self.sid).field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// What is known of a request that was refused.
#[derive(Debug)]
pub struct Refused<'a> {
    /// The client's address.
    pub remote: SocketAddr,
    /// The status line's code.
    pub status: u16,
    /// The reason in words.
    pub reason: &'a str,
}
