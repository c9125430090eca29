//! Plain TCP: one thread, one poll.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::Options;
use crate::session::Session;

const LISTENER: Token = Token(usize::MAX);
const READ: usize = 256 * 1024;

struct Connection {
    socket: TcpStream,
    session: Session,
    /// The beginning of a frame that has not come whole.
    rest: Vec<u8>,
    out: Vec<u8>,
    sent: usize,
}

pub fn serve(options: &Options) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("LISTENING {}", listener.local_addr()?.port());

    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; 2 * READ];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let at = event.token().0;
            let Some(connection) = connections[at].as_mut() else { continue };
            if connection.ready(&mut scratch, options).is_err() {
                connections[at] = None;
                continue;
            }
            if let Some(text) = connection.session.fan_out.take() {
                for connection in connections.iter_mut().flatten() {
                    connection.session.text(&text, &mut connection.out);
                    let _ = connection.flush(options);
                }
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Vec<Option<Connection>>) -> io::Result<()> {
    while let Ok((mut socket, _)) = listener.accept() {
        socket.set_nodelay(true)?;
        let at = connections.iter().position(Option::is_none).filter(|_| connections.len() > 60_000);
        let at = at.unwrap_or(connections.len());
        poll.registry().register(&mut socket, Token(at), Interest::READABLE | Interest::WRITABLE)?;
        let connection = Connection { socket, session: Session::new(), rest: Vec::new(), out: Vec::new(), sent: 0 };
        if at == connections.len() {
            connections.push(Some(connection));
        } else {
            connections[at] = Some(connection);
        }
    }
    Ok(())
}

impl Connection {
    fn ready(&mut self, scratch: &mut [u8], options: &Options) -> io::Result<()> {
        loop {
            let kept = self.rest.len();
            scratch[..kept].copy_from_slice(&self.rest);
            let count = match self.socket.read(&mut scratch[kept..kept + READ]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let filled = &mut scratch[..kept + count];
            let used = self.session.receive(filled, &mut self.out, options).map_err(io::Error::other)?;
            self.rest.clear();
            self.rest.extend_from_slice(&filled[used..]);
            if count < READ && !cfg!(windows) {
                break;
            }
        }
        self.flush(options)?;
        if self.session.over { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn flush(&mut self, options: &Options) -> io::Result<()> {
        loop {
            while self.sent < self.out.len() {
                match self.socket.write(&self.out[self.sent..]) {
                    Ok(count) => self.sent += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            self.out.clear();
            self.sent = 0;
            if !self.session.more(&mut self.out, options)? {
                return Ok(());
            }
        }
    }
}
