//! A driver without a socket: one session, a clock, and what must hold whatever is tested.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::protocol::{self, Frame, Message, Text};
use crate::session::{
    self, CloseReason, Command, Config, Event, Input, Outcome, Payload, Role, Session, Token, TxCommand,
};

pub(super) const SID: u64 = 0x0102_0304_0506_0708;

/// What a driver does for its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Transmit {
    /// A frame is sent, encoded.
    Frame(Bytes),
    /// The close frame is sent.
    Close(CloseReason),
    /// The connection is dropped, because the session is overdue.
    Abort,
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Drives one session as the contract says: input, then everything it has to say.
pub(super) struct Driver {
    pub(super) session: Session,
    pub(super) now: Instant,
    /// Bytes the socket still takes. `None`: all there are.
    room: Option<usize>,
    /// Polled and not yet taken whole by the socket.
    socket: VecDeque<Transmit>,
    /// Bytes the socket has taken of the first of them.
    taken: usize,
    /// What the socket has taken whole and the other side has not got yet.
    pub(super) wire: VecDeque<Transmit>,
    /// Everything polled, for the tests to look at.
    pub(super) polled: Vec<Transmit>,
    pub(super) events: Vec<Event>,
    pub(super) ledger: Ledger,
    /// Whether inputs are fed one after the other, with nothing polled in between.
    batch: bool,
    /// Whether the last frame was offered to be taken where it lay.
    takes: bool,
    /// Whether the last message was tried to be transmitted at once.
    sends_now: bool,
    said_bye: bool,
    said_close: bool,
    closed: bool,
    aborted: bool,
}

impl Driver {
    pub(super) fn new(role: Role, config: Config, now: Instant) -> Self {
        let mut driver = Driver {
            session: Session::new(SID, role, Rc::new(config), now),
            now,
            room: None,
            socket: VecDeque::new(),
            taken: 0,
            wire: VecDeque::new(),
            polled: Vec::new(),
            events: Vec::new(),
            ledger: Ledger::default(),
            batch: false,
            takes: false,
            sends_now: false,
            said_bye: false,
            said_close: false,
            closed: false,
            aborted: false,
        };
        driver.drain();
        driver
    }

    pub(super) fn input(&mut self, input: Input) {
        match input {
            Input::Frame(frame) => self.frame(frame),
            input => self.session.handle(input, self.now),
        }
        if !self.batch {
            self.drain();
        }
    }

    /// Every other frame is taken where it lies if it can be, as the network layer does; that makes no difference.
    fn frame(&mut self, frame: Bytes) {
        self.takes = !self.takes;
        if self.takes {
            if self.session.take_ack(&frame, self.now) {
                return;
            }
            if let Some(message) = self.session.take_message(&frame) {
                let bytes = Bytes::copy_from_slice(message.as_bytes());
                let event = Event::Message(match message {
                    Message::Ascii(_) | Message::Utf8(_) => Payload::Utf8(Text::new(bytes).expect("it was checked")),
                    Message::Binary(_) => Payload::Binary(bytes),
                });
                return self.take_event(event);
            }
        }
        self.session.handle(Input::Frame(frame), self.now);
    }

    /// From now on inputs are fed without anything polled in between, or no longer.
    pub(super) fn batch(&mut self, batch: bool) {
        self.batch = batch;
        if !batch {
            self.drain();
        }
    }

    /// Gives a command; for a send, a ping or a fetch its token comes back.
    pub(super) fn command(&mut self, command: Command) -> Token {
        let token = self.ledger.issued;
        let fetches = matches!(command, Command::Transaction(TxCommand::Fetch { .. }));
        if fetches || matches!(command, Command::Send(_) | Command::Ping) {
            self.ledger.issued += 1;
        }
        match command {
            Command::Send(payload) => self.send(payload),
            command => self.input(Input::Command(command)),
        }
        token
    }

    /// Every other message is transmitted at once if it can be, as the network layer does; that makes no difference.
    fn send(&mut self, payload: Payload) {
        self.sends_now = !self.sends_now;
        if self.sends_now && !self.batch {
            while let Some(transmit) = self.session.poll_queued() {
                self.transmit(transmit);
            }
            if let Some(ack) = self.session.send_now(payload.len()) {
                self.transmit(session::Transmit::Frame(match payload {
                    Payload::Utf8(text) => Frame::Utf8 { ack, text },
                    Payload::Binary(data) => Frame::Binary { ack, data },
                    Payload::Error(message) => Frame::Error { ack, message },
                }));
                return self.drain();
            }
        }
        self.input(Input::Command(Command::Send(payload)));
    }

    /// Lets time pass, with a timeout wherever the session asks for one.
    pub(super) fn advance(&mut self, by: Duration) {
        let target = self.now + by;
        while let Some(at) = self.session.poll_timeout()
            && at <= target
        {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
            if self.session.poll_timeout() == Some(at) {
                break;
            }
        }
        self.now = target;
    }

    /// From now on the socket takes nothing but what [`Self::write`] lets it.
    pub(super) fn stop_writing(&mut self) {
        self.room = Some(0);
    }

    /// The socket takes this many bytes more.
    pub(super) fn write(&mut self, bytes: usize) {
        if let Some(room) = &mut self.room {
            *room += bytes;
        }
        self.drain();
    }

    /// The socket takes everything again.
    pub(super) fn resume_writing(&mut self) {
        self.room = None;
        self.drain();
    }

    /// Bytes polled and not yet taken by the socket.
    pub(super) fn unwritten(&self) -> usize {
        self.socket.iter().map(transmit_len).sum::<usize>() - self.taken
    }

    /// Takes all that the session has to say, until it has no more.
    pub(super) fn drain(&mut self) {
        loop {
            self.take_events();
            if self.session.is_overdue() && !self.aborted {
                self.aborted = true;
                self.polled.push(Transmit::Abort);
            }
            while let Some(transmit) = self.session.poll_transmit() {
                self.transmit(transmit);
            }
            // A chunk that goes out makes room for more.
            self.take_events();
            let bytes = self.unwritten().min(self.room.unwrap_or(usize::MAX));
            self.take(bytes);
            if bytes == 0 {
                break;
            }
            self.session.handle(Input::Written(bytes), self.now);
        }
    }

    fn transmit(&mut self, transmit: session::Transmit) {
        for transmit in encoded(transmit) {
            self.check_transmit(&transmit);
            self.polled.push(transmit.clone());
            self.socket.push_back(transmit);
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            self.take_event(event);
        }
    }

    fn take_event(&mut self, event: Event) {
        self.check_event(&event);
        self.ledger.note(&event);
        self.events.push(event);
    }

    /// The socket takes bytes; whole frames are then on the wire.
    fn take(&mut self, bytes: usize) {
        if let Some(room) = &mut self.room {
            *room -= bytes;
        }
        self.taken += bytes;
        while let Some(first) = self.socket.front()
            && transmit_len(first) <= self.taken
        {
            self.taken -= transmit_len(first);
            self.wire.extend(self.socket.pop_front());
        }
    }

    fn check_event(&mut self, event: &Event) {
        match event {
            Event::Closed(_) => {
                assert!(!self.closed, "Closed came twice");
                self.closed = true;
            }
            // What is sent after the end is settled after the end.
            Event::Settled { outcome: Outcome::SessionClosed, .. } => {}
            _ => assert!(!self.closed, "{event:?} came after Closed"),
        }
    }

    fn check_transmit(&mut self, transmit: &Transmit) {
        assert!(!self.closed, "{transmit:?} came after Closed");
        match transmit {
            Transmit::Frame(bytes) => {
                let frame = decode(bytes);
                assert!(!self.said_bye, "{frame:?} came after BYE");
                assert!(!self.said_close, "{frame:?} came after the close frame");
                self.said_bye = matches!(frame, Frame::Bye { .. });
            }
            Transmit::Close(reason) => {
                assert!(!self.said_close, "{reason:?} came after the close frame");
                assert!(reason.reason.len() <= 123, "{reason:?} is too long");
                self.said_close = true;
            }
            Transmit::Abort => {}
        }
    }
}

/// What became of each send.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) issued: Token,
    settled: HashMap<Token, Outcome>,
    joined: HashMap<Token, Token>,
}

impl Ledger {
    fn note(&mut self, event: &Event) {
        match *event {
            Event::Settled { first, count, outcome } => {
                assert!(count > 0, "an empty run was settled");
                for token in first..first + count {
                    self.check_open(token);
                    self.settled.insert(token, outcome);
                }
            }
            Event::Joined { earlier, later } => {
                self.check_open(earlier);
                self.check_open(later);
                self.joined.insert(earlier, later);
            }
            _ => {}
        }
    }

    fn check_open(&self, token: Token) {
        assert!(token < self.issued, "token {token} was never issued");
        assert!(
            !self.settled.contains_key(&token) && !self.joined.contains_key(&token),
            "token {token} was settled twice"
        );
    }

    /// The fate of a send, its own or that of the send it joined.
    pub(super) fn outcome(&self, token: Token) -> Option<Outcome> {
        let mut token = token;
        while let Some(later) = self.joined.get(&token) {
            token = *later;
        }
        self.settled.get(&token).copied()
    }

    /// The send that this one joined.
    pub(super) fn joined(&self, token: Token) -> Option<Token> {
        self.joined.get(&token).copied()
    }

    /// Sends whose fate is not known.
    pub(super) fn open(&self) -> Vec<Token> {
        (0..self.issued).filter(|token| self.outcome(*token).is_none()).collect()
    }
}

pub(super) fn encode(sid: u64, frame: &Frame) -> Bytes {
    let mut bytes = BytesMut::new();
    frame.encode(sid, &mut bytes);
    bytes.freeze()
}

/// Decodes a frame of the session's own making: it is well-formed and has the right sid.
pub(super) fn decode(bytes: &Bytes) -> Frame {
    let (sid, frame) = protocol::decode(bytes.clone()).expect("the session sent a malformed frame");
    assert_eq!(sid, SID);
    frame
}

fn encoded(transmit: session::Transmit) -> Vec<Transmit> {
    let encoded = |frame: Frame| {
        let mut bytes = BytesMut::new();
        frame.encode(SID, &mut bytes);
        assert_eq!(bytes.len(), frame.encoded_len());
        Transmit::Frame(bytes.freeze())
    };
    match transmit {
        session::Transmit::Frame(frame) => vec![encoded(frame)],
        session::Transmit::Acks { first, count } => {
            assert!((1..=64).contains(&count), "a run of {count} ACKs");
            (0..count).map(|n| encoded(Frame::Ack { ack: first.wrapping_add(n) })).collect()
        }
        session::Transmit::Close(reason) => vec![Transmit::Close(reason)],
    }
}

fn transmit_len(transmit: &Transmit) -> usize {
    match transmit {
        Transmit::Frame(bytes) => bytes.len(),
        Transmit::Close(_) | Transmit::Abort => 0,
    }
}
