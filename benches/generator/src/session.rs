//! One client: its upgrade, its acknowledgements, and what it has to write.

use camp_bench::camp;
use camp_bench::websocket::{self, Masked};

use crate::pieces::{Piece, Pieces};

/// What a measurement does with what arrives. A wrong answer is an error, which ends the run.
pub trait Load {
    /// The session is connected: both ENDPOINT_INFO have been exchanged, ours is acknowledged.
    fn opened(&mut self, session: &mut Session, now: u64) -> Result<(), String>;
    /// The server has acknowledged our frame number `ack`; they come in order.
    fn acked(&mut self, _session: &mut Session, _ack: u32, _now: u64) -> Result<(), String> {
        Ok(())
    }
    /// A part of a text or binary message. It has been acknowledged when the last part comes.
    fn message(&mut self, _session: &mut Session, _part: Part, _now: u64) -> Result<(), String> {
        Err("a message that nobody asked for".into())
    }
    /// Bytes of a transaction, by their position in it.
    fn chunk(&mut self, _session: &mut Session, _position: u64, _bytes: &[u8]) -> Result<(), String> {
        Err("a TX_CHUNK that nobody asked for".into())
    }
    fn finished(&mut self, _session: &mut Session, _now: u64) -> Result<(), String> {
        Err("a TX_FINISH that nobody asked for".into())
    }
    /// All that the session had to write has been written.
    fn drained(&mut self, _session: &mut Session) {}
    /// The connection has ended, and may be replaced.
    fn closed(&mut self, index: usize) -> Result<(), String> {
        Err(format!("the server has closed session {index}"))
    }
}

/// A part of a message's payload.
pub struct Part<'a> {
    pub kind: u8,
    pub offset: usize,
    pub bytes: &'a [u8],
    pub len: usize,
}

impl Part<'_> {
    pub fn is_last(&self) -> bool {
        self.offset + self.bytes.len() == self.len
    }
}

enum State {
    Upgrading(Vec<u8>),
    Open,
    Closing,
}

pub struct Session {
    /// Its place in the driver.
    pub index: usize,
    pub sid: u64,
    /// To be written; the driver empties it.
    pub out: Vec<u8>,
    /// A plain WebSocket, without CAMP.
    raw: bool,
    state: State,
    ack: Masked,
    next_ack: u32,
    /// The ACK that has to come next.
    expected_ack: u32,
    /// The number that the server's next tracked frame has to have.
    expected_frame: u32,
    greeted: bool,
    opened: bool,
    /// Position of the TX_CHUNK under way.
    position: u64,
}

impl Session {
    pub fn new(index: usize, sid: u64, raw: bool) -> Self {
        let out = format!(
            "GET /?authorization=Bearer%20{}&x-camp-sid={sid} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            camp::TOKEN
        );
        Self {
            index,
            sid,
            out: out.into_bytes(),
            raw,
            state: State::Upgrading(Vec::new()),
            ack: Masked::new(websocket::BINARY, &camp::frame(sid, camp::ACK, &[&[0; 4]])),
            next_ack: 0,
            expected_ack: 0,
            expected_frame: 0,
            greeted: false,
            opened: false,
            position: 0,
        }
    }

    pub fn is_open(&self) -> bool {
        self.opened
    }

    /// The number of our next tracked frame.
    #[inline]
    pub fn take_ack(&mut self) -> u32 {
        let ack = self.next_ack;
        self.next_ack = ack.wrapping_add(1);
        ack
    }

    /// Whether all our tracked frames have been acknowledged.
    pub fn is_settled(&self) -> bool {
        self.raw || self.expected_ack == self.next_ack
    }

    pub fn send(&mut self, body: &[u8]) {
        self.out.extend_from_slice(Masked::new(websocket::BINARY, body).bytes());
    }

    pub fn send_text(&mut self, text: &str) {
        let ack = self.take_ack();
        self.send(&camp::frame(self.sid, camp::TEXT, &[&ack.to_be_bytes(), text.as_bytes()]));
    }

    /// Starts the closing handshake.
    pub fn close(&mut self) {
        self.state = State::Closing;
        self.out.extend_from_slice(Masked::new(websocket::CLOSE, &4000u16.to_be_bytes()).bytes());
    }

    pub fn receive(&mut self, pieces: &mut Pieces, bytes: &[u8], load: &mut impl Load, now: u64) -> Result<(), String> {
        match &mut self.state {
            State::Open => pieces.feed(bytes, &mut |piece| self.piece(piece, load, now)),
            State::Closing => Ok(()),
            State::Upgrading(head) => {
                head.extend_from_slice(bytes);
                let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(()) };
                let rest = head.split_off(end + 4);
                if !head.starts_with(b"HTTP/1.1 101 ") {
                    return Err(format!("refused: {}", String::from_utf8_lossy(head)));
                }
                self.state = State::Open;
                if self.raw {
                    self.opened = true;
                    load.opened(self, now)?;
                } else {
                    let ack = self.take_ack();
                    self.send(&camp::endpoint_info(self.sid, ack));
                }
                pieces.feed(&rest, &mut |piece| self.piece(piece, load, now))
            }
        }
    }

    fn piece(&mut self, piece: Piece, load: &mut impl Load, now: u64) -> Result<(), String> {
        match piece.opcode {
            websocket::CLOSE => return load.closed(self.index),
            websocket::PING => {
                self.out.extend_from_slice(Masked::new(websocket::PONG, piece.bytes).bytes());
                return Ok(());
            }
            websocket::PONG => return Ok(()),
            _ if self.raw => {
                let Piece { offset, bytes, len, .. } = piece;
                return load.message(self, Part { kind: camp::BINARY, offset, bytes, len }, now);
            }
            _ => {}
        }
        if piece.offset > 0 {
            return self.more(piece, load, now);
        }
        let body = piece.bytes;
        if camp::u64_at(body, 0) != Some(self.sid) {
            return Err(format!("a frame of another session: {:?}", &body[..body.len().min(32)]));
        }
        let number = camp::u32_at(body, camp::ACK_AT).unwrap_or_default();
        let kind = *body.get(8).ok_or("a frame without a type")?;
        match kind {
            camp::ACK => {
                if number != self.expected_ack {
                    return Err(format!("ACK {number} instead of {}", self.expected_ack));
                }
                self.expected_ack = number.wrapping_add(1);
                if self.opened {
                    return load.acked(self, number, now);
                }
                self.open(load, now)
            }
            camp::TEXT | camp::BINARY => {
                self.number(number)?;
                self.part(piece, load, now)
            }
            camp::ENDPOINT_INFO => {
                self.number(number)?;
                self.acknowledge(number);
                self.greeted = true;
                self.open(load, now)
            }
            camp::PING_PONG => {
                if body.get(9..) == Some(b"ping") {
                    self.send(&camp::frame(self.sid, camp::PING_PONG, &[b"pong"]));
                }
                Ok(())
            }
            camp::TX_START => {
                self.number(number)?;
                self.acknowledge(number);
                Ok(())
            }
            camp::TX_CHUNK => {
                self.position = camp::u64_at(body, 13).ok_or("a short TX_CHUNK")?;
                load.chunk(self, self.position, &body[camp::CHUNK_HEAD..])
            }
            camp::TX_FINISH => {
                self.number(number)?;
                self.acknowledge(number);
                load.finished(self, now)
            }
            _ => Err(format!("frame of type {kind}: {}", String::from_utf8_lossy(&body[9..]))),
        }
    }

    /// A later part of a large frame: only data and chunks are that large.
    fn more(&mut self, piece: Piece, load: &mut impl Load, now: u64) -> Result<(), String> {
        if self.chunking() {
            let within = (piece.offset - camp::CHUNK_HEAD) as u64;
            return load.chunk(self, self.position + within, piece.bytes);
        }
        self.part(piece, load, now)
    }

    fn chunking(&self) -> bool {
        self.position != NO_CHUNK
    }

    fn part(&mut self, piece: Piece, load: &mut impl Load, now: u64) -> Result<(), String> {
        let first = piece.offset == 0;
        if first {
            self.position = NO_CHUNK;
            self.ack.patch(camp::ACK_AT, self.expected_frame.wrapping_sub(1).to_be_bytes());
        }
        if piece.is_last() {
            self.out.extend_from_slice(self.ack.bytes());
        }
        let (offset, bytes) =
            if first { (0, &piece.bytes[camp::DATA_HEAD..]) } else { (piece.offset - camp::DATA_HEAD, piece.bytes) };
        let kind = if first { piece.bytes[8] } else { UNCHANGED };
        load.message(self, Part { kind, offset, bytes, len: piece.len - camp::DATA_HEAD }, now)
    }

    #[inline]
    fn number(&mut self, number: u32) -> Result<(), String> {
        if number != self.expected_frame {
            return Err(format!("the server's frame {number} instead of {}", self.expected_frame));
        }
        self.expected_frame = number.wrapping_add(1);
        Ok(())
    }

    #[inline]
    fn acknowledge(&mut self, number: u32) {
        self.ack.patch(camp::ACK_AT, number.to_be_bytes());
        self.out.extend_from_slice(self.ack.bytes());
    }

    fn open(&mut self, load: &mut impl Load, now: u64) -> Result<(), String> {
        if self.opened || !self.greeted || self.expected_ack == 0 {
            return Ok(());
        }
        self.opened = true;
        load.opened(self, now)
    }
}

/// No frame is at this position: the large frame under way is a message.
const NO_CHUNK: u64 = u64::MAX;
/// Later parts of a message do not repeat its type.
const UNCHANGED: u8 = 0;
