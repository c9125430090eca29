//! Two harnesses: [`Solo`], one session against frames made by hand, and [`Pair`], two sessions
//! joined in memory.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::driver::{Driver, SID, Transmit, decode, encode, ms};
use crate::protocol::{FEATURE_TRANSACTIONS, Frame, Text, VERSION};
use crate::session::{
    Backpressure, CloseReason, Command, Config, DropPolicy, Event, Hooks, Input, Outcome, Payload, Role, Statistics,
    Token,
};

/// Limits so small that a few short frames reach them.
pub(super) fn tiny(policy: DropPolicy) -> Backpressure {
    Backpressure { high_watermark: 100, low_watermark: 50, max_queued_bytes: 100, max_queue_count: 4, policy }
}

pub(super) fn with_backpressure(backpressure: Backpressure) -> Config {
    Config { backpressure, ..Config::default() }
}

/// A payload of this many bytes, all alike.
pub(super) fn binary(len: usize, byte: u8) -> Payload {
    Payload::Binary(Bytes::from(vec![byte; len]))
}

pub(super) fn utf8(text: &str) -> Payload {
    Payload::Utf8(Text::from(text.to_owned()))
}

pub(super) fn error(text: &str) -> Payload {
    Payload::Error(Text::from(text.to_owned()))
}

pub(super) fn reason(code: u16, reason: &str) -> CloseReason {
    let reason = reason.to_owned();
    CloseReason { code, reason }
}

/// The peer's UTF8DATA.
pub(super) fn text_frame(ack: u32, text: &str) -> Frame {
    let text = Text::from(text.to_owned());
    Frame::Utf8 { ack, text }
}

/// The peer's ENDPOINT_INFO.
pub(super) fn info_frame(ack: u32) -> Frame {
    let (version, features) = (VERSION, FEATURE_TRANSACTIONS);
    Frame::EndpointInfo { ack, version, features }
}

pub(super) fn bye_frame(ack: u32, reason: &str) -> Frame {
    let reason = Text::from(reason.to_owned());
    Frame::Bye { ack, reason }
}

/// One session; the test plays its peer, its socket and its application.
pub(super) struct Solo {
    pub(super) driver: Driver,
    pub(super) start: Instant,
}

impl Solo {
    /// A session whose connection has just been opened.
    pub(super) fn new(role: Role, config: Config) -> Self {
        let start = Instant::now();
        let driver = Driver::new(role, config, start);
        Solo { driver, start }
    }

    pub(super) fn server() -> Self {
        Self::new(Role::Server, Config::default())
    }

    /// A server's session after both ENDPOINT_INFOs and their ACKs; no time has passed.
    pub(super) fn connected(config: Config) -> Self {
        let mut solo = Self::new(Role::Server, config);
        solo.receive(info_frame(0));
        solo.acknowledge(0);
        assert_eq!(solo.frames().len(), 2);
        assert_eq!(solo.events(), [Event::Connected]);
        solo
    }

    /// The same with tiny limits, and a socket that takes nothing.
    pub(super) fn stuck(policy: DropPolicy) -> Self {
        let mut solo = Self::connected(with_backpressure(tiny(policy)));
        solo.driver.stop_writing();
        solo
    }

    pub(super) fn receive(&mut self, frame: Frame) {
        self.receive_bytes(encode(SID, &frame));
    }

    pub(super) fn receive_bytes(&mut self, bytes: impl Into<Bytes>) {
        self.driver.input(Input::Frame(bytes.into()));
    }

    /// The peer's ACK.
    pub(super) fn acknowledge(&mut self, ack: u32) {
        self.receive(Frame::Ack { ack });
    }

    pub(super) fn send(&mut self, payload: Payload) -> Token {
        self.driver.command(Command::Send(payload))
    }

    pub(super) fn send_text(&mut self, text: &str) -> Token {
        self.send(utf8(text))
    }

    pub(super) fn ping(&mut self) -> Token {
        self.driver.command(Command::Ping)
    }

    pub(super) fn close(&mut self, reason: &str) {
        self.driver.command(Command::Close(reason.to_owned()));
    }

    pub(super) fn hooks(&mut self, hooks: Hooks) {
        self.driver.session.set_hooks(hooks);
    }

    pub(super) fn verdict(&mut self) {
        self.driver.input(Input::Verdict);
    }

    pub(super) fn disconnect(&mut self) {
        self.driver.input(Input::Disconnected(None));
    }

    pub(super) fn advance(&mut self, millis: u64) {
        self.driver.advance(ms(millis));
    }

    /// What was polled for the wire since the last look.
    pub(super) fn output(&mut self) -> Vec<Transmit> {
        std::mem::take(&mut self.driver.polled)
    }

    /// The same where it is frames only.
    pub(super) fn frames(&mut self) -> Vec<Frame> {
        let only_frame = |transmit| match transmit {
            Transmit::Frame(bytes) => decode(&bytes),
            other => panic!("{other:?} where only frames were expected"),
        };
        self.output().into_iter().map(only_frame).collect()
    }

    /// The frames and, where it was polled, the close frame after them.
    pub(super) fn frames_and_close(&mut self) -> (Vec<Frame>, Option<CloseReason>) {
        let (mut frames, mut close) = (Vec::new(), None);
        for transmit in self.output() {
            match transmit {
                Transmit::Frame(bytes) => frames.push(decode(&bytes)),
                Transmit::Close(reason) => close = Some(reason),
                Transmit::Abort => panic!("the session gave up its connection"),
            }
        }
        (frames, close)
    }

    /// The events since the last look.
    pub(super) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.driver.events)
    }

    /// The payloads of the messages among the events since the last look.
    pub(super) fn messages(&mut self) -> Vec<Payload> {
        messages_in(self.events())
    }

    pub(super) fn outcome(&self, token: Token) -> Option<Outcome> {
        self.driver.ledger.outcome(token)
    }

    pub(super) fn statistics(&self) -> Statistics {
        self.driver.session.statistics()
    }

    /// When the session wants its next timeout, in milliseconds from its begin.
    pub(super) fn timeout_ms(&self) -> Option<u128> {
        let at = self.driver.session.poll_timeout()?;
        Some((at - self.start).as_millis())
    }
}

/// One of the two sessions of a [`Pair`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Peer,
}

/// A server's session and the peer session that connected to it.
pub(super) struct Pair {
    ends: [Driver; 2],
    /// Whether what this side sends stays on the wire.
    held: [bool; 2],
    disconnected: [bool; 2],
}

impl Pair {
    pub(super) fn new(config: Config) -> Self {
        let now = Instant::now();
        Pair {
            ends: [Driver::new(Role::Server, config.clone(), now), Driver::new(Role::Peer, config, now)],
            held: [false; 2],
            disconnected: [false; 2],
        }
    }

    pub(super) fn end(&mut self, side: Side) -> &mut Driver {
        &mut self.ends[side as usize]
    }

    /// What this side sends stays on the wire from now on, or no longer.
    pub(super) fn hold(&mut self, from: Side, held: bool) {
        self.held[from as usize] = held;
    }

    /// Delivers the oldest thing on the wire from this side. False if there is none, if it is
    /// held back, or if the other side does not read now.
    pub(super) fn deliver_one(&mut self, from: Side) -> bool {
        let (from, to) = (from as usize, 1 - from as usize);
        if self.held[from] || !self.ends[to].session.can_receive() {
            return false;
        }
        let Some(transmit) = self.ends[from].wire.pop_front() else {
            return false;
        };
        match transmit {
            Transmit::Frame(bytes) if !self.disconnected[to] => {
                self.ends[to].input(Input::Frame(bytes));
            }
            Transmit::Close(reason) if !self.disconnected[to] => {
                self.disconnected[to] = true;
                self.ends[to].input(Input::Disconnected(Some(reason.clone())));
                // The other side's WebSocket answers with a close frame of its own.
                self.ends[to].wire.push_back(Transmit::Close(reason));
            }
            Transmit::Abort => self.disconnect(),
            Transmit::Frame(_) | Transmit::Close(_) => {}
        }
        true
    }

    /// The connection breaks.
    pub(super) fn disconnect(&mut self) {
        self.disconnected = [true; 2];
        for end in &mut self.ends {
            end.input(Input::Disconnected(None));
        }
    }

    /// Delivers in both directions until nothing moves any more.
    pub(super) fn deliver(&mut self) {
        while self.deliver_one(Side::Server) | self.deliver_one(Side::Peer) {}
    }

    pub(super) fn send(&mut self, from: Side, payload: Payload) -> Token {
        self.end(from).command(Command::Send(payload))
    }

    /// Lets time pass for both, stopping wherever one of them wants a timeout.
    pub(super) fn advance(&mut self, by: Duration) {
        let target = self.ends[0].now + by;
        while self.step(target) {
            self.deliver();
        }
    }

    /// Lets time pass for both, to the next timeout that one of them wants. False when `target` is reached.
    pub(super) fn step(&mut self, target: Instant) -> bool {
        let now = self.ends[0].now;
        if now >= target {
            return false;
        }
        let next = self.ends.iter().filter_map(|e| e.session.poll_timeout());
        let next = next.min().unwrap_or(target).max(now + ms(1)).min(target);
        for end in &mut self.ends {
            end.advance(next - now);
        }
        true
    }

    pub(super) fn messages(&mut self, at: Side) -> Vec<Payload> {
        messages_in(std::mem::take(&mut self.end(at).events))
    }
}

fn messages_in(events: Vec<Event>) -> Vec<Payload> {
    let payload = |event| match event {
        Event::Message(payload) => Some(payload),
        _ => None,
    };
    events.into_iter().filter_map(payload).collect()
}
