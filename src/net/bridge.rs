//! Drives a connection that was handed over: bytes from the socket to the application as far as it
//! has given credit, and back as far as the socket takes them. What the bytes mean is not known here.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::handover::{HttpCommand, HttpEvent, HttpId, HttpMailbox, HttpOpened, INITIAL_CREDIT};
use super::server::{Handshake, Server};
use super::transport::Transport;
use super::upgrade;

/// Bytes read by one system call at most.
const BLOCK: usize = 64 << 10;

/// Bytes read from one socket before others get their turn.
const READ_BATCH: usize = 256 << 10;

/// How long what was sent before the application hung up may take to go out.
const LINGER: Duration = Duration::from_secs(2);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BLOCK].into());
}

/// One connection.
pub(super) struct Bridge {
    server: Rc<Server>,
    id: HttpId,
    remote: SocketAddr,
    registered: Registered,
    mailbox: Rc<HttpMailbox>,
    transport: Transport,
    /// Bytes that may be passed on.
    credit: usize,
    /// The client sends no more.
    ended: bool,
    outgoing: VecDeque<Bytes>,
    /// How many of the last of `outgoing` share memory with the batch of orders they came with.
    shared: usize,
    /// Bytes written to the transport and not yet reported, for it may still hold them.
    written: usize,
    finish: Finish,
    /// What was read and is not to be passed on.
    held: Option<Vec<u8>>,
    returned: Returned,
    /// The application has hung up.
    destroyed: bool,
}

/// What the application has given back.
#[derive(Default)]
struct Returned {
    bytes: Vec<u8>,
    /// Nothing more comes of it: the connection is ours.
    whole: bool,
}

/// How our side of the connection stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Finish {
    Open,
    /// Shut down once everything is written.
    Asked,
    Done,
}

/// How it ends.
enum End {
    /// The connection is gone, for this reason.
    Gone(Option<io::Error>),
    /// It is ours again.
    Ours,
}

impl Bridge {
    /// Hands a connection over. `early` is what was read of it so far.
    pub(super) fn new(server: Rc<Server>, transport: Transport, opened: HttpOpened, early: Vec<u8>) -> Self {
        let (id, mailbox) = server.http.open();
        let remote = opened.remote;
        server.app.http(id, HttpEvent::Opened(opened));
        let credit = INITIAL_CREDIT.saturating_sub(early.len());
        server.app.http(id, HttpEvent::Data(early.into()));
        server.app.commit();
        Bridge {
            registered: Registered { server: server.clone(), id },
            server,
            id,
            remote,
            mailbox,
            transport,
            credit,
            ended: false,
            outgoing: VecDeque::new(),
            shared: 0,
            written: 0,
            finish: Finish::Open,
            held: None,
            returned: Returned::default(),
            destroyed: false,
        }
    }

    /// Runs until the connection is gone, or ours again.
    pub(super) async fn run(mut self) {
        let error = match std::future::poll_fn(|cx| self.poll(cx)).await {
            End::Gone(error) => error,
            End::Ours => return self.take_back().await,
        };
        if self.destroyed {
            // With a socket of its own the system would do that.
            let linger = if self.server.is_closing() { Duration::ZERO } else { LINGER };
            let _ = timeout(linger, std::future::poll_fn(|cx| self.drain(cx))).await;
        }
        self.server.app.http(self.id, HttpEvent::Closed(error));
        self.server.app.commit();
    }

    /// The upgrade that it ends with is dealt with as the first request of a connection is.
    async fn take_back(self) {
        let handshake = Handshake::begin(self.server.clone());
        self.server.app.http(self.id, HttpEvent::Closed(None));
        self.server.app.commit();
        drop(self.registered);
        let mut bytes = self.returned.bytes;
        bytes.extend(self.held.unwrap_or_default());
        upgrade::run_again(handshake, self.transport, self.remote, bytes).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let outcome = self.work(cx);
        self.server.app.commit();
        match outcome {
            Ok(()) if self.ended && self.finish == Finish::Done => Poll::Ready(End::Gone(None)),
            Ok(()) if self.returned.whole && self.is_written() => Poll::Ready(End::Ours),
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    fn work(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        for command in self.mailbox.take(cx.waker()) {
            match command {
                HttpCommand::Write(data) => {
                    self.outgoing.push_back(data);
                    self.shared = self.shared.saturating_add(1);
                }
                HttpCommand::End if self.finish == Finish::Open => self.finish = Finish::Asked,
                HttpCommand::End => {}
                HttpCommand::Credit(bytes) => self.credit = self.credit.saturating_add(bytes),
                HttpCommand::Hold => {
                    self.held.get_or_insert_default();
                    self.server.app.http(self.id, HttpEvent::Held);
                }
                HttpCommand::GiveBack(bytes) => self.returned.bytes.extend_from_slice(&bytes),
                HttpCommand::TakeBack => self.returned.whole = true,
                // As in Node: that the system refuses it is no reason to end the connection.
                HttpCommand::Option(option) => drop(self.transport.set_option(option)),
                HttpCommand::Destroy => {
                    self.destroyed = true;
                    return Err(End::Gone(None));
                }
                HttpCommand::Reset => {
                    let _ = self.transport.reset_on_drop();
                    return Err(End::Gone(None));
                }
            }
        }
        self.write(cx).map_err(|error| End::Gone(Some(error)))?;
        self.read(cx).map_err(|error| End::Gone(Some(error)))
    }

    /// Whether the transport has taken everything, and passed it on.
    fn is_written(&self) -> bool {
        self.outgoing.is_empty() && self.written == 0
    }

    /// Writes what is left, and ends.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx)?;
        if !self.is_written() {
            return Poll::Pending;
        }
        ready!(Pin::new(&mut self.transport).poll_shutdown(cx))?;
        Poll::Ready(Ok(()))
    }

    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut read = 0;
        while !self.ended && self.credit > 0 {
            let app = &self.server.app;
            if app.is_full() && app.wake_when_taken(app.taken(), cx.waker()) {
                return Ok(());
            }
            if read >= READ_BATCH {
                cx.waker().wake_by_ref();
                return Ok(());
            }
            let most = self.credit.min(BLOCK);
            let transport = Pin::new(&mut self.transport);
            let data = SCRATCH.with_borrow_mut(|scratch| {
                let mut buf = ReadBuf::new(scratch.get_mut(..most).unwrap_or_default());
                transport.poll_read(cx, &mut buf).map_ok(|()| Bytes::copy_from_slice(buf.filled()))
            });
            let event = match data {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(data)) if !data.is_empty() => {
                    self.credit = self.credit.saturating_sub(data.len());
                    read = read.saturating_add(data.len());
                    if let Some(held) = &mut self.held {
                        held.extend_from_slice(&data);
                        continue;
                    }
                    HttpEvent::Data(data)
                }
                Poll::Ready(Ok(_)) => HttpEvent::Ended,
                // TLS clients that hang up without a goodbye are common.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => HttpEvent::Ended,
                Poll::Ready(Err(error)) => return Err(error),
            };
            self.ended = matches!(event, HttpEvent::Ended);
            self.server.app.http(self.id, event);
        }
        Ok(())
    }

    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut transport = Pin::new(&mut self.transport);
        while let Some(data) = self.outgoing.front_mut() {
            match transport.as_mut().poll_write(cx, data) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    data.advance(written);
                    self.written = self.written.saturating_add(written);
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
            if data.is_empty() {
                self.outgoing.pop_front();
            }
        }
        // What waits for a slow reader must not keep alive more than itself.
        let shared = mem::take(&mut self.shared);
        for data in self.outgoing.iter_mut().rev().take(shared) {
            *data = Bytes::copy_from_slice(data);
        }
        if self.written > 0 && transport.as_mut().poll_flush(cx)?.is_ready() {
            let written = mem::take(&mut self.written);
            self.server.app.http(self.id, HttpEvent::Written(written));
        }
        if self.finish == Finish::Asked && self.outgoing.is_empty() && transport.poll_shutdown(cx)?.is_ready() {
            self.finish = Finish::Done;
            self.server.app.http(self.id, HttpEvent::Written(0));
        }
        Ok(())
    }
}

/// Keeps the connection's id until dropped.
struct Registered {
    server: Rc<Server>,
    id: HttpId,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.server.http.end(self.id);
        self.server.stop_if_idle();
    }
}
