//! All connections on one thread: connects, reads, writes.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;

use crate::pieces::Pieces;
use crate::session::{Load, Session};
use crate::socket::{Read, Scratch, Socket, Written};

/// Handshakes under way at once while sessions are opened in number.
const OPENING: usize = 128;
/// Connections from one source address; an ephemeral port range has 28,000 ports.
const PER_SOURCE: u64 = 20_000;
/// How long the server may take for anything before a measurement is given up.
const PATIENCE: Duration = Duration::from_secs(60);

struct Connection {
    socket: Socket,
    session: Session,
    pieces: Pieces,
    sent: usize,
}

pub struct Driver {
    poll: Poll,
    events: Events,
    connections: Vec<Option<Connection>>,
    scratch: Scratch,
    to: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    raw: bool,
    started: Instant,
    /// Sessions begun so far; also the sid of the next one.
    begun: u64,
}

impl Driver {
    pub fn new(to: SocketAddr, tls: Option<Arc<ClientConfig>>, raw: bool) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            connections: Vec::new(),
            scratch: Scratch::new(),
            to,
            tls,
            raw,
            started: Instant::now(),
            begun: 0,
        })
    }

    /// Nanoseconds since the start.
    #[inline]
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    pub fn session(&self, index: usize) -> Option<&Session> {
        self.connections.get(index)?.as_ref().map(|connection| &connection.session)
    }

    /// Begins a session at `index`, in place of whatever is there.
    pub fn begin(&mut self, index: usize) -> Result<(), String> {
        let sid = self.begun + 1;
        self.begun += 1;
        let nth = (self.begun / PER_SOURCE) as u8;
        let source = (cfg!(target_os = "linux") && nth > 0).then(|| Ipv4Addr::new(127, 0, 0, 1 + nth));
        let mut socket = Socket::connect(self.to, source, self.tls.as_ref()).map_err(|error| error.to_string())?;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        self.poll
            .registry()
            .register(&mut socket.tcp, Token(index), Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| error.to_string())?;
        let session = Session::new(index, sid, self.raw);
        self.connections[index] = Some(Connection { socket, session, pieces: Pieces::default(), sent: 0 });
        Ok(())
    }

    /// Opens sessions until there are `count`.
    pub fn open(&mut self, count: usize, load: &mut impl Load) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE + Duration::from_millis(count as u64);
        let (mut begun, mut open) = (self.connections.len(), self.connections.len());
        while open < count {
            while begun < count && begun - open < OPENING {
                self.begin(begun)?;
                begun += 1;
            }
            self.turn(load, Some(Duration::from_millis(100)))?;
            while open < begun && self.session(open).is_some_and(Session::is_open) {
                open += 1;
            }
            if Instant::now() > deadline {
                return Err(format!("only {open} of {count} sessions have opened"));
            }
        }
        Ok(())
    }

    /// Turns until `done`.
    pub fn until(&mut self, load: &mut impl Load, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            self.turn(load, Some(Duration::from_millis(100)))?;
            if Instant::now() > deadline {
                return Err(format!("gave up waiting for {what}"));
            }
        }
        Ok(())
    }

    pub fn all_settled(&self) -> bool {
        self.connections.iter().flatten().all(|connection| connection.session.is_settled())
    }

    /// Lets the session at `index` do something, and writes what comes of it.
    pub fn with(&mut self, index: usize, load: &mut impl Load, act: impl FnOnce(&mut Session)) -> Result<(), String> {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else { return Ok(()) };
        act(&mut connection.session);
        connection.flush(load).map_err(|error| error.to_string())
    }

    /// Waits for events, at most `timeout`, and sees to them.
    pub fn turn(&mut self, load: &mut impl Load, timeout: Option<Duration>) -> Result<(), String> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other.map_err(|error| error.to_string())?,
        }
        let now = self.now();
        for event in &self.events {
            let index = event.token().0;
            let Some(connection) = self.connections[index].as_mut() else { continue };
            if let Err(error) = connection.ready(Readable::of(event), &mut self.scratch, load, now) {
                self.connections[index] = None;
                match error.kind() {
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                        load.closed(index)?;
                    }
                    _ => return Err(error.to_string()),
                }
            }
        }
        Ok(())
    }
}

/// What an event says about reading.
#[derive(Clone, Copy, PartialEq)]
enum Readable {
    No,
    Yes,
    /// The end may lie right behind the bytes, and no other event tells of it.
    ToTheEnd,
}

impl Readable {
    fn of(event: &Event) -> Self {
        match (event.is_read_closed() || cfg!(windows), event.is_readable()) {
            (true, _) => Self::ToTheEnd,
            (_, true) => Self::Yes,
            _ => Self::No,
        }
    }
}

impl Connection {
    fn ready(&mut self, readable: Readable, scratch: &mut Scratch, load: &mut impl Load, now: u64) -> io::Result<()> {
        if readable != Readable::No {
            let (session, pieces) = (&mut self.session, &mut self.pieces);
            let mut more = true;
            while more {
                let read = self.socket.read(scratch, |bytes| session.receive(pieces, bytes, load, now))?;
                more = read == Read::Full || (read == Read::Short && readable == Readable::ToTheEnd);
                if more && !session.out.is_empty() && self.sent == 0 {
                    self.socket.write(&session.out, &mut self.sent)?;
                    if self.sent == session.out.len() {
                        session.out.clear();
                        self.sent = 0;
                    }
                }
            }
        }
        self.flush(load)
    }

    fn flush(&mut self, load: &mut impl Load) -> io::Result<()> {
        loop {
            if self.session.out.is_empty() && !self.socket.wants_write() {
                return Ok(());
            }
            if self.socket.write(&self.session.out, &mut self.sent)? == Written::Blocked {
                return Ok(());
            }
            self.session.out.clear();
            self.sent = 0;
            load.drained(&mut self.session);
        }
    }
}
