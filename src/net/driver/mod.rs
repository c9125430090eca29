//! Drives one session: reads what is there, feeds it to the session, drains it, writes once.
//!
//! There is no protocol logic here. Per wake: orders, a batch of reads, timer, events, writes, one
//! flush. The task sleeps until the socket, the application or the session's timer wants it.

mod ending;
#[cfg(test)]
mod fault_tests;
mod greeting;
mod linger;
mod progress;
mod reading;
mod streams;
mod writing;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::Sleep;

use linger::Lingering;
use progress::Progress;

use super::counters::{Counters, Figures};
use super::intake::Intake;
use super::places::Place;
use super::server::Server;
use super::sessions::{Mailbox, Order, Slot};
use super::socket::take_turns;
use super::sources::Sources;
use super::spool::Spools;
use super::transport::Transport;
use super::websocket::{End, Reader, Writer};
use crate::protocol::MAX_FRAME;
use crate::session::{Command, Event, Input, Outcome, Role, Session, TxEvent};

/// Bytes of transactions that are passed on at once while the socket has more: waking the application for each
/// batch read costs more than they.
const BULK: usize = 1 << 20;

/// Most bytes that the record of a transaction has in the log, its name not counted.
const TX_RECORD: usize = 24;

/// One session and its socket.
pub(super) struct Driver {
    server: Rc<Server>,
    slot: Slot,
    mailbox: Rc<Mailbox>,
    /// Given back as soon as the session is over.
    place: Option<Place>,
    counters: Arc<Counters>,
    figures: Figures,
    session: Session,
    transport: Transport,
    reader: Reader,
    writer: Writer,
    /// Both are made when the first transaction needs them.
    sources: Option<Box<Sources>>,
    spools: Option<Box<Spools>>,
    lingering: Option<Lingering>,
    intake: Intake,
    timer: Pin<Box<Sleep>>,
    /// When `timer` will fire.
    armed: Option<Instant>,
    stage: Stage,
    /// Bytes that had been received when that was last looked at.
    received: u64,
    progress: Progress,
    /// Whether a source has given bytes that were not written yet.
    fed: bool,
    /// Whether messages were passed on as they were read.
    delivered: bool,
    /// Whether the socket may have more that is read at once.
    reads_on: bool,
    /// Bytes of transactions that were not passed on yet because it may.
    bulk: usize,
    /// Whether ACKs wait for the application's answer to what they acknowledge.
    waits: bool,
    /// Whether the memory of queues is to be given back at the end of this turn: after the begin, and
    /// after each heartbeat, for the session may be idle for long.
    trim: bool,
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
    /// The session is over; what the peer is owed and the answer to its close frame go out.
    Finishing { by: Instant },
    /// The last of ours is out: what the peer still sends is discarded. Without `by` the session, which is
    /// closing, sets the time.
    Discarding { left: usize, by: Option<Instant> },
    /// Nothing more can be done.
    Over,
}

impl Driver {
    /// A driver for a connection whose upgrade has been answered. `early` are the bytes that came
    /// behind the peer's request or response.
    pub(super) fn new(
        server: Rc<Server>,
        role: Role,
        (slot, mailbox, place): (Slot, Rc<Mailbox>, Place),
        sid: u64,
        counters: Arc<Counters>,
        transport: Transport,
        early: &[u8],
    ) -> Self {
        let now = Instant::now();
        let end = match role {
            Role::Server => End::Server,
            Role::Peer => End::Client,
        };
        let session = Session::new(sid, role, server.session_config.clone(), now);
        Driver {
            intake: Intake::new(server.config.max_inbound_bytes),
            server,
            slot,
            mailbox,
            place: Some(place),
            counters,
            figures: Figures::default(),
            session,
            transport,
            reader: Reader::new(end, MAX_FRAME, early),
            writer: Writer::new(end),
            sources: None,
            spools: None,
            lingering: None,
            timer: Box::pin(tokio::time::sleep_until(now.into())),
            armed: None,
            stage: Stage::Open,
            received: 0,
            progress: Progress::default(),
            fed: false,
            delivered: false,
            reads_on: false,
            bulk: 0,
            waits: false,
            trim: false,
            reported_closed: false,
        }
    }

    /// Runs until the connection is gone.
    ///
    /// Not an `async fn`: that would keep room for the driver twice.
    pub(super) fn run(mut self) -> impl Future<Output = ()> {
        std::future::poll_fn(move |cx| {
            ready!(self.poll(cx));
            if let (Some(lingering), Some(spools)) = (self.lingering.take(), self.spools.take()) {
                tokio::task::spawn_local(lingering.serve(self.mailbox.clone(), spools));
            }
            Poll::Ready(())
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let ordered = self.take_orders(cx, now);
        self.reads_on = self.read(cx, now);
        self.on_timer(now);
        let delivered = self.deliver(now);
        if ordered || delivered {
            self.server.busy.on_activity(now);
        }
        if !self.waits_for_answer(ordered, delivered, now) {
            let refused = !self.session.can_receive();
            self.write(cx, now);
            // Nothing else says that what lies in the socket is wanted again.
            self.reads_on |= refused && self.session.can_receive();
            self.deliver(now);
        }
        self.finish(cx, now);
        if self.stage == Stage::Over {
            return Poll::Ready(());
        }
        if self.reads_on || std::mem::take(&mut self.fed) {
            take_turns(cx);
        }
        if self.trim && !self.waits {
            self.trim = false;
            self.session.trim();
            self.writer.trim();
            self.mailbox.trim();
        }
        self.arm(cx, now);
        Poll::Pending
    }

    /// Tells the session that its time has come, if so. Not before the socket has been read: what lies in it may be
    /// what the session waits for, and this thread may have been kept from it.
    fn on_timer(&mut self, now: Instant) {
        if self.armed.is_none_or(|at| now < at) {
            return;
        }
        self.armed = None;
        self.trim = true;
        if self.session.judges_silence(now) && self.progress.is_made(&self.transport, &self.writer, &self.server) {
            self.session.handle(Input::Taking, now);
        }
        self.session.handle(Input::Timeout, now);
    }

    /// Whether what is to be written waits: nothing but ACKs, and not too many, while the application may be about
    /// to answer.
    fn waits_for_answer(&mut self, ordered: bool, delivered: bool, now: Instant) -> bool {
        let may_wait = !ordered
            && !self.mailbox.is_released()
            && (self.waits || (delivered && self.server.expects_answer()))
            && self.stage == Stage::Open
            && self.writer.is_idle()
            && self.session.can_receive()
            && self.session.owes_only_acks();
        if may_wait && !self.waits {
            self.server.wait_for_answer(&self.mailbox, now);
        } else if self.waits && !may_wait {
            self.mailbox.end_wait();
        }
        self.waits = may_wait;
        may_wait
    }

    /// Carries out what the application wants. False when it wants nothing.
    fn take_orders(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        // What waits for a slow reader must not keep alive the batch it came with.
        let congested = !self.writer.is_flushed();
        let mailbox = self.mailbox.clone();
        let mut any = false;
        mailbox.take(cx.waker(), |order| {
            any = true;
            match order {
                Order::Sends(sends) => self.send(sends, congested),
                Order::Command(Command::Transaction(command)) => self.on_tx_command(command, now),
                Order::Command(command) => self.session.handle(Input::Command(command), now),
                Order::Verdict => self.session.handle(Input::Verdict, now),
                Order::Open(order) => self.on_open(order, now),
                Order::Spool(report) => self.on_spool_report(report, now),
                Order::Asked(key) => self.spools.iter_mut().for_each(|spools| spools.on_asked(key)),
                Order::Revoke(key) => self.spools.iter_mut().for_each(|spools| spools.cancel(key)),
                Order::Source(report) => self.on_source_report(report, now),
            }
        });
        any
    }

    /// The connection is gone.
    fn disconnect(&mut self, now: Instant) {
        self.session.handle(Input::Disconnected(None), now);
        self.stage = Stage::Over;
    }

    /// Passes the session's events to the application, after the messages that were passed on as they were read.
    /// False when there are neither.
    fn deliver(&mut self, now: Instant) -> bool {
        let server = self.server.clone();
        let app = server.app.as_ref();
        let mut any = std::mem::take(&mut self.delivered);
        let mut urgent = any;
        let mut closed = false;
        while let Some(event) = self.session.poll_event() {
            // The slot may already be another session's.
            if self.reported_closed {
                continue;
            }
            let event = match event {
                Event::Transaction(event) => match self.through_spool(event) {
                    Some(event) => Event::Transaction(event),
                    None => continue,
                },
                event => event,
            };
            match &event {
                Event::Transaction(TxEvent::Chunk { data, .. }) => {
                    self.intake.add(app, data.len());
                    self.bulk = self.bulk.saturating_add(data.len());
                    any = true;
                    app.event(self.slot, event);
                    continue;
                }
                Event::Transaction(event) => {
                    if let Some(sources) = &mut self.sources
                        && sources.on_event(event, &mut self.session, now)
                    {
                        self.fed = true;
                        continue;
                    }
                    let name = if let TxEvent::Started { name, .. } = event { name.len() } else { 0 };
                    self.intake.add(app, TX_RECORD.saturating_add(name));
                }
                Event::Message(payload) | Event::Held(payload, _) => {
                    self.figures.messages_rx = self.figures.messages_rx.saturating_add(1);
                    self.intake.add(app, payload.len());
                }
                Event::Settled { count, outcome: Outcome::TimedOut, .. } => {
                    self.figures.ack_timeouts = self.figures.ack_timeouts.saturating_add(u64::from(*count));
                }
                Event::Dropped { kind, bytes } => {
                    self.figures.dropped = self.figures.dropped.saturating_add(1);
                    let trace = self.server.config.trace;
                    trace.backpressure(self.session.sid(), format_args!("dropped {kind:?} of {bytes} bytes"));
                }
                Event::Connected => self.trim = true,
                Event::Closed(_) => {
                    // The event tells the last of them.
                    self.count();
                    self.keep_finished_streams();
                    self.place = None;
                    closed = true;
                    self.reported_closed = true;
                }
                _ => {}
            }
            any = true;
            urgent = true;
            app.event(self.slot, event);
            server.commits.part();
        }
        urgent |= self.give_up_streams(now);
        self.count();
        if urgent || self.bulk >= BULK || (self.bulk > 0 && !self.reads_on) {
            self.bulk = 0;
            self.server.commits.soon();
        }
        if closed {
            self.server.stop_if_idle();
        }
        any
    }

    /// Publishes the session's figures.
    fn count(&mut self) {
        let statistics = self.session.statistics();
        let (queued_frames, queued_bytes, in_flight_bytes) = self.session.queued();
        self.figures = Figures {
            bytes_rx: statistics.bytes_rx,
            bytes_tx: statistics.bytes_tx,
            in_flight_bytes: in_flight_bytes as u64,
            queued_bytes: queued_bytes as u64,
            queued_frames: queued_frames as u64,
            rtt_ms: statistics.rtt_ms,
            spooled_bytes: self.spooled_bytes(),
            ..self.figures
        };
        self.counters.set(&self.figures);
    }

    fn arm(&mut self, cx: &mut Context<'_>, now: Instant) {
        let at = match self.stage {
            Stage::Finishing { by } | Stage::Discarding { by: Some(by), .. } => Some(by),
            _ => self.session.poll_timeout(),
        };
        let spools = self.spools.as_ref().and_then(|spools| spools.poll_timeout(now));
        let Some(at) = at.into_iter().chain(spools).min() else { return };
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

impl Drop for Driver {
    /// A fault of ours in one session ends that session, and is heard of.
    fn drop(&mut self) {
        if !std::thread::panicking() || self.reported_closed {
            return;
        }
        // A second fault, in what the first has left behind, must not end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let now = Instant::now();
            let sid = self.session.sid();
            self.server.config.trace.server(format_args!("session {sid} ends by a fault of this server"));
            self.session.handle(Input::Disconnected(None), now);
            self.deliver(now);
        }));
    }
}
