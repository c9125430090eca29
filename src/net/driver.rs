//! Drives one session: reads what is there, feeds it to the session, drains it, writes once.
//!
//! There is no protocol logic here. Per wake: timer, orders, a batch of reads, events, writes, one
//! flush. The task sleeps until the socket, the application or the session's timer wants it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role as WebSocketRole, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::intake::Intake;
use super::server::Server;
use super::sessions::{Counters, Mailbox, Order, Slot};
use super::trace::Direction;
use super::transport::Transport;
use super::unwritten::Unwritten;
use crate::protocol::MAX_FRAME;
use crate::session::{CloseReason, Command, Event, Input, Role, Session, Transmit};

/// Frames, and bytes of frames, read from one socket before other sessions get their turn.
const READ_BATCH: usize = 256;
const READ_BATCH_BYTES: usize = 256 << 10;

/// What tungstenite buffers. Reading ahead is done below it, in shared blocks; writing collects
/// small frames into one system call.
const READ_BUFFER: usize = 4 << 10;
const WRITE_BUFFER: usize = 64 << 10;

/// How long a socket may take to finish after its session is over.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Unread bytes of a peer that broke the rules are discarded up to here, so that it can read why.
const MAX_DISCARDED: usize = 4 << 20;

thread_local! {
    /// Frames are encoded into one block of the thread, from which the socket's buffer is filled.
    static SCRATCH: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(64 << 10));
}

/// One session and its socket.
pub(super) struct Driver {
    server: Rc<Server>,
    slot: Slot,
    mailbox: Rc<Mailbox>,
    counters: Arc<Counters>,
    session: Session,
    ws: WebSocketStream<Transport>,
    intake: Intake,
    unwritten: Unwritten,
    timer: Pin<Box<Sleep>>,
    /// When `timer` will fire.
    armed: Option<Instant>,
    stage: Stage,
    /// The application was told of the end.
    reported_closed: bool,
}

/// How the connection stands.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Frames flow.
    Open,
    /// The peer broke the rules of WebSocket and nothing more is read from it. The session's
    /// close frame goes out.
    Violated,
    /// The close frame after a violation is out: what the peer still sends is discarded.
    Discarding { left: usize },
    /// The session is over; the answer to the peer's close frame goes out.
    Finishing { by: Instant },
    /// Nothing more can be done.
    Over,
}

impl Driver {
    /// A driver for a connection whose upgrade has been answered. `early` are the bytes that came
    /// behind the request.
    pub(super) async fn new(
        server: Rc<Server>,
        (slot, mailbox): (Slot, Rc<Mailbox>),
        sid: u64,
        counters: Arc<Counters>,
        transport: Transport,
        early: Vec<u8>,
    ) -> Self {
        let limits = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        let now = Instant::now();
        let mut session = Session::new(sid, Role::Server, server.session_config.clone(), now);
        session.set_hooks(server.hooks.get());
        let ws = WebSocketStream::from_partially_read(transport, early, WebSocketRole::Server, Some(limits)).await;
        Driver {
            intake: Intake::new(server.config.max_inbound_bytes),
            unwritten: Unwritten::new(ws.get_ref().written()),
            server,
            slot,
            mailbox,
            counters,
            session,
            ws,
            timer: Box::pin(tokio::time::sleep_until(now.into())),
            armed: None,
            stage: Stage::Open,
            reported_closed: false,
        }
    }

    /// Runs until the connection is gone.
    pub(super) async fn run(mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if self.armed.is_some_and(|at| at <= now) {
            self.armed = None;
            self.session.handle(Input::Timeout, now);
        }
        self.take_orders(cx, now);
        let more = self.read(cx, now);
        self.deliver();
        self.write(cx, now);
        self.deliver();
        self.finish(cx, now);
        if self.stage == Stage::Over {
            return Poll::Ready(());
        }
        if more {
            cx.waker().wake_by_ref();
        }
        self.arm(cx);
        Poll::Pending
    }

    fn take_orders(&mut self, cx: &mut Context<'_>, now: Instant) {
        // What waits for a slow reader must not keep alive the batch it came with.
        let congested = !self.unwritten.is_empty();
        let session = &mut self.session;
        self.mailbox.take(cx.waker(), |order| match order {
            Order::Command(Command::Send(payload)) if congested => {
                session.handle(Input::Command(Command::Send(payload.detached())), now);
            }
            Order::Command(command) => session.handle(Input::Command(command), now),
            Order::Verdict => session.handle(Input::Verdict, now),
            Order::Hooks(hooks) => session.set_hooks(hooks),
        });
    }

    /// Reads a batch of frames. True when there may be more at once.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut bytes = 0;
        for _ in 0..READ_BATCH {
            if self.stage != Stage::Open || !self.may_read(cx, now) {
                return false;
            }
            let Poll::Ready(message) = Pin::new(&mut self.ws).poll_next(cx) else { return false };
            match message {
                Some(Ok(Message::Binary(frame))) => {
                    self.server.config.trace.frame(Direction::In, &frame);
                    bytes += frame.len();
                    self.session.handle(Input::Frame(frame), now);
                }
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map(|f| CloseReason { code: f.code.into(), reason: f.reason.to_string() });
                    self.session.handle(Input::Disconnected(reason), now);
                    self.stage = Stage::Finishing { by: now + FINISH_TIMEOUT };
                }
                Some(Ok(Message::Text(_))) => {
                    let violation = Input::violation(1003, "CAMP frames are binary WebSocket messages.");
                    self.session.handle(violation, now);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => self.on_read_error(&error, now),
                None => self.disconnect(now),
            }
            if bytes >= READ_BATCH_BYTES {
                break;
            }
        }
        true
    }

    fn may_read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if !self.session.can_receive() {
            return false;
        }
        let open = self.intake.is_open(self.server.app.as_ref(), cx.waker());
        if open == self.intake.paused {
            self.intake.paused = !open;
            self.session.handle(Input::ReadingPaused(!open), now);
        }
        open
    }

    fn on_read_error(&mut self, error: &Error, now: Instant) {
        let code = match error {
            Error::Capacity(_) => 1009,
            Error::Utf8(_) => 1007,
            Error::Protocol(p) if !is_hangup(p) => 1002,
            _ => return self.disconnect(now),
        };
        self.session.handle(Input::violation(code, error.to_string()), now);
        self.stage = Stage::Violated;
    }

    /// The connection is gone.
    fn disconnect(&mut self, now: Instant) {
        self.session.handle(Input::Disconnected(None), now);
        self.stage = Stage::Over;
    }

    /// Passes the session's events to the application.
    fn deliver(&mut self) {
        let app = self.server.app.as_ref();
        let mut any = false;
        let mut closed = false;
        while let Some(event) = self.session.poll_event() {
            // The slot may already be another session's.
            if self.reported_closed {
                continue;
            }
            match &event {
                Event::Message(payload) | Event::Held(payload) => self.intake.add(app, payload.len()),
                Event::Dropped { kind, bytes } => {
                    let trace = self.server.config.trace;
                    trace.backpressure(self.session.sid(), format_args!("dropped {kind:?} of {bytes} bytes"));
                }
                Event::Closed(_) => {
                    self.server.sessions.end(self.session.sid());
                    closed = true;
                    self.reported_closed = true;
                }
                _ => {}
            }
            if !any {
                any = true;
                let figures = self.session.statistics();
                self.counters.set(figures.bytes_rx, figures.bytes_tx);
            }
            app.event(self.slot, event);
        }
        if any {
            app.commit();
        }
        if closed {
            self.server.stop_if_idle();
        }
    }

    /// Writes what the session has to send, as far as the socket takes it.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) {
        let was_paused = self.session.is_paused();
        loop {
            let filled = SCRATCH.with_borrow_mut(|scratch| self.fill(cx, scratch, now));
            if let Err(()) = filled {
                return self.disconnect(now);
            }
            if self.unwritten.is_empty() {
                break;
            }
            let flushed = Pin::new(&mut self.ws).poll_flush(cx);
            let written = match flushed {
                Poll::Ready(Ok(())) => self.unwritten.all(self.ws.get_ref().written()),
                Poll::Pending => self.unwritten.up_to(self.ws.get_ref().written()),
                Poll::Ready(Err(_)) => return self.disconnect(now),
            };
            if written > 0 {
                self.session.handle(Input::Written(written), now);
            }
            if flushed.is_pending() {
                break;
            }
        }
        if self.server.config.trace.backpressure && was_paused != self.session.is_paused() {
            let verb = if was_paused { "resumes" } else { "pauses" };
            self.server.config.trace.backpressure(self.session.sid(), format_args!("sending {verb}"));
        }
    }

    /// Moves frames from the session into the socket's buffer.
    fn fill(&mut self, cx: &mut Context<'_>, scratch: &mut BytesMut, now: Instant) -> Result<(), ()> {
        while let Poll::Ready(ready) = Pin::new(&mut self.ws).poll_ready(cx) {
            ready.map_err(drop)?;
            let message = match self.session.poll_transmit(scratch) {
                None => break,
                Some(Transmit::Frame(frame)) => {
                    self.server.config.trace.frame(Direction::Out, &frame);
                    self.unwritten.push(frame.len());
                    Message::Binary(frame)
                }
                Some(Transmit::Close(CloseReason { code, reason })) => {
                    self.unwritten.push_close();
                    Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
                }
                Some(Transmit::Abort) => {
                    self.disconnect(now);
                    break;
                }
            };
            Pin::new(&mut self.ws).start_send(message).map_err(drop)?;
        }
        Ok(())
    }

    /// Brings a connection to its end once its session has come to one.
    fn finish(&mut self, cx: &mut Context<'_>, now: Instant) {
        if self.stage == Stage::Violated && self.unwritten.close_is_out() {
            self.stage = Stage::Discarding { left: MAX_DISCARDED };
        }
        match &mut self.stage {
            Stage::Discarding { left } => {
                if let Poll::Ready(()) = discard(self.ws.get_mut(), left, cx) {
                    self.disconnect(now);
                    self.deliver();
                }
            }
            Stage::Finishing { by } => {
                let late = *by <= now;
                let flushed = Pin::new(&mut self.ws).poll_flush(cx);
                if late || flushed.is_ready() {
                    // Closing the socket says the rest; TLS adds its goodbye if it fits.
                    let _ = Pin::new(self.ws.get_mut()).poll_shutdown(cx);
                    self.stage = Stage::Over;
                }
            }
            _ => {}
        }
    }

    fn arm(&mut self, cx: &mut Context<'_>) {
        let at = match self.stage {
            Stage::Finishing { by } => Some(by),
            _ => self.session.poll_timeout(),
        };
        let Some(at) = at else { return };
        // A timer that fires early costs less than moving it with every frame.
        if self.armed.is_some_and(|armed| armed <= at) {
            return;
        }
        self.armed = Some(at);
        self.timer.as_mut().reset(at.into());
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

/// Whether tungstenite's complaint is that the peer hung up without a close frame.
fn is_hangup(error: &tokio_tungstenite::tungstenite::error::ProtocolError) -> bool {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    matches!(error, ProtocolError::ResetWithoutClosingHandshake)
}

/// Shuts down the sending side and reads until the peer hangs up or `left` bytes came.
fn discard(transport: &mut Transport, left: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
    let mut transport = Pin::new(transport);
    if ready!(transport.as_mut().poll_shutdown(cx)).is_err() {
        return Poll::Ready(());
    }
    let mut scratch = [0; 4096];
    loop {
        let mut buf = ReadBuf::new(&mut scratch);
        let result = ready!(transport.as_mut().poll_read(cx, &mut buf));
        let read = buf.filled().len();
        if result.is_err() || read == 0 || *left < read {
            return Poll::Ready(());
        }
        *left -= read;
    }
}
