//! Connections that are not ours: which ones the application takes over, and what passes between it
//! and them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;

use super::head::Head;

/// Names a connection that was handed over, apart from sessions' slots. It is not given to another
/// one while that connection lives.
pub type HttpId = u32;

/// What of other requests than ours the application wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Plain HTTP requests.
    pub requests: bool,
    /// Upgrades without our credentials.
    pub upgrades: bool,
}

impl Interest {
    /// Whether a connection with this first request is handed over.
    pub(super) fn wants(self, head: &Head) -> bool {
        if head.wants_websocket() {
            return self.upgrades && head.lacks_credentials();
        }
        self.requests || (self.upgrades && head.wants_upgrade())
    }
}

/// Whether this head, of an upgrade request on a connection that was handed over, makes the connection
/// ours again. One that we cannot read is ours to refuse: nobody else may see its token.
pub fn is_upgrade_of_ours(head: &[u8]) -> bool {
    match Head::parse(head) {
        Ok(head) => head.is_some_and(|(head, _)| head.wants_websocket() && !head.lacks_credentials()),
        Err(_) => true,
    }
}

/// What happens to a connection that was handed over.
#[derive(Debug)]
pub enum HttpEvent {
    /// It is the application's from now on; always the first.
    Opened(HttpOpened),
    /// Bytes from the client, within the credit given.
    Data(Bytes),
    /// The client sends no more.
    Ended,
    /// This many bytes of the application's were written; 0: and after the last of them, the end.
    Written(usize),
    /// After [`HttpCommand::Hold`]: no more bytes follow.
    Held,
    /// It is gone, always the last. The error is why, unless both sides had ended.
    Closed(Option<io::Error>),
}

/// A connection at its handover.
#[derive(Debug)]
pub struct HttpOpened {
    /// The client's end.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Of a TLS connection: its protocol version and the name the client asked for.
    pub tls: Option<(String, String)>,
}

/// What the application wants of a connection that was handed over.
#[derive(Debug)]
pub enum HttpCommand {
    /// Sends these bytes; [`HttpEvent::Written`] follows.
    Write(Bytes),
    /// Sends no more once everything is written; [`HttpEvent::Written`] of 0 follows.
    End,
    /// Takes this many more bytes.
    Credit(usize),
    /// Passes no more bytes on; [`HttpEvent::Held`] follows.
    Hold,
    /// Gives bytes back that were not used, in order, after [`HttpEvent::Held`].
    GiveBack(Bytes),
    /// They are all, and begin with an upgrade request that is ours. [`HttpEvent::Closed`] follows once
    /// everything is written.
    TakeBack,
    /// Sets an option of the socket.
    Option(SocketOption),
    /// Hangs up.
    Destroy,
    /// Hangs up with a reset: what was not written is lost.
    Reset,
}

/// An option of a connection's socket, as `net.Socket` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketOption {
    /// Whether small writes are sent at once.
    NoDelay(bool),
    /// Whether the system probes an idle peer, and after how much idleness if that is not left to the system.
    KeepAlive(bool, Option<Duration>),
}

/// Bytes a connection may pass on before the application has given credit for more.
pub(super) const INITIAL_CREDIT: usize = 256 << 10;

/// Where a connection's task finds what it is to do.
#[derive(Default)]
pub(super) struct HttpMailbox {
    commands: RefCell<Vec<HttpCommand>>,
    waker: Cell<Option<Waker>>,
}

impl HttpMailbox {
    fn post(&self, command: HttpCommand) {
        self.commands.borrow_mut().push(command);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// What has come, and whom to wake for the next.
    pub(super) fn take(&self, waker: &Waker) -> Vec<HttpCommand> {
        self.waker.set(Some(waker.clone()));
        self.commands.take()
    }
}

/// The connections of one server that were handed over.
#[derive(Default)]
pub(super) struct HttpConnections {
    mailboxes: RefCell<HashMap<HttpId, Rc<HttpMailbox>>>,
    next: Cell<HttpId>,
}

impl HttpConnections {
    /// An id for a new connection.
    pub(super) fn open(&self) -> (HttpId, Rc<HttpMailbox>) {
        let mut mailboxes = self.mailboxes.borrow_mut();
        let mut id = self.next.get();
        while mailboxes.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        self.next.set(id.wrapping_add(1));
        let mailbox = Rc::new(HttpMailbox::default());
        mailboxes.insert(id, mailbox.clone());
        (id, mailbox)
    }

    /// The connection is gone.
    pub(super) fn end(&self, id: HttpId) {
        self.mailboxes.borrow_mut().remove(&id);
    }

    /// Passes a command on; a connection that is gone wants none.
    pub(super) fn post(&self, id: HttpId, command: HttpCommand) {
        if let Some(mailbox) = self.mailboxes.borrow().get(&id) {
            mailbox.post(command);
        }
    }

    /// How many there are.
    pub(super) fn live(&self) -> usize {
        self.mailboxes.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "";
    const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

    fn wants(requests: bool, upgrades: bool, target: &str, fields: &str) -> bool {
        let text = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let head = Head::parse(text.as_bytes()).unwrap().unwrap().0;
        Interest { requests, upgrades }.wants(&head)
    }

    #[test]
    fn a_plain_request_is_wanted_by_who_takes_requests() {
        assert!(wants(true, false, "/", PLAIN));
        assert!(!wants(false, true, "/", PLAIN));
        assert!(wants(true, false, "/?authorization=Bearer%20t&x-camp-sid=1", PLAIN));
    }

    #[test]
    fn an_upgrade_is_wanted_only_without_our_credentials() {
        for (target, foreign) in [
            ("/socket.io/?EIO=4", true),
            ("/", true),
            ("/?x-camp-sid=1", true),
            ("/?authorization=&x-camp-sid=1", true),
            ("/?authorization=Bearer%20t&x-camp-sid=1", false),
            ("/?authorization=Bearer%20t", false),
            ("/?authorization=Basic%20t&x-camp-sid=1", false),
        ] {
            assert_eq!(wants(true, true, target, WEBSOCKET), foreign, "{target}");
            assert!(!wants(true, false, target, WEBSOCKET), "{target}");
        }
    }

    #[test]
    fn a_token_in_a_field_alone_is_no_credential_of_ours() {
        let fields = format!("{WEBSOCKET}Authorization: Bearer t\r\n");
        assert!(wants(false, true, "/graphql", &fields));
        assert!(!wants(false, true, "/?x-camp-sid=1", &fields));
    }

    #[test]
    fn an_upgrade_to_something_else_is_wanted_by_either() {
        let h2c = "Connection: Upgrade\r\nUpgrade: h2c\r\n";
        assert!(wants(true, false, "/", h2c));
        assert!(wants(false, true, "/", h2c));
        assert!(!wants(false, false, "/", h2c));
    }
}
