//! One client, without I/O: bytes in, bytes out.

use std::fs::File;
use std::io::{self, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camp_bench::camp;
use camp_bench::websocket;
use sha1::{Digest, Sha1};

use crate::Options;

/// Bytes of a file in one TX_CHUNK.
pub const PIECE: usize = 256 * 1024;

pub struct Session {
    sid: u64,
    next_ack: u32,
    upgraded: bool,
    file: Option<(File, u64)>,
    uploaded: u64,
    /// A message for everybody.
    pub fan_out: Option<Vec<u8>>,
    pub over: bool,
}

impl Session {
    pub fn new() -> Self {
        Self { sid: 0, next_ack: 0, upgraded: false, file: None, uploaded: 0, fan_out: None, over: false }
    }

    /// Takes whole frames from `bytes`, unmasking them in place. Gives how much was used.
    pub fn receive(&mut self, bytes: &mut [u8], out: &mut Vec<u8>, options: &Options) -> Result<usize, String> {
        if !self.upgraded {
            return self.upgrade(bytes, out);
        }
        let mut used = 0;
        while let Some(head) = websocket::head(&bytes[used..]) {
            let start = used + head.size;
            let Some(body) = bytes.get_mut(start..start + head.len) else { break };
            websocket::mask(body, head.key.unwrap_or_default(), 0);
            match head.opcode {
                websocket::CLOSE => {
                    websocket::push_head(out, websocket::CLOSE, body.len(), None);
                    out.extend_from_slice(body);
                    self.over = true;
                }
                _ => self.frame(body, out, options)?,
            }
            used = start + head.len;
        }
        Ok(used)
    }

    /// Continues a stream. Gives whether there is one to continue.
    pub fn more(&mut self, out: &mut Vec<u8>, options: &Options) -> io::Result<bool> {
        let Some((file, position)) = &mut self.file else { return Ok(false) };
        let len = PIECE.min((options.bytes - *position) as usize);
        websocket::push_head(out, websocket::BINARY, camp::CHUNK_HEAD + len, None);
        out.extend_from_slice(&camp::frame(self.sid, camp::TX_CHUNK, &[&0u32.to_be_bytes(), &position.to_be_bytes()]));
        let from = out.len();
        out.resize(from + len, 0);
        file.read_exact(&mut out[from..])?;
        *position += len as u64;
        if *position == options.bytes {
            self.file = None;
            self.tracked(camp::TX_FINISH, &0u32.to_be_bytes(), out);
        }
        Ok(true)
    }

    pub fn text(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.tracked(camp::TEXT, payload, out);
    }

    fn frame(&mut self, body: &[u8], out: &mut Vec<u8>, options: &Options) -> Result<(), String> {
        let kind = *body.get(8).ok_or("a short frame")?;
        let ack = body.get(9..13).ok_or("a short frame")?;
        match kind {
            // The ACK of ENDPOINT_INFO, number 0, makes no room in the window.
            camp::ACK if options.mode == "push" && ack != [0; 4] => {
                self.tracked(camp::TEXT, &vec![b'x'; options.size], out);
            }
            camp::ENDPOINT_INFO | camp::TX_START => self.untracked(camp::ACK, ack, out),
            camp::TEXT | camp::BINARY => {
                self.untracked(camp::ACK, ack, out);
                match options.mode.as_str() {
                    "push" => {
                        (0..options.window).for_each(|_| self.tracked(camp::TEXT, &vec![b'x'; options.size], out))
                    }
                    "fanout" => self.fan_out = Some(body[camp::DATA_HEAD..].to_vec()),
                    "stream" => self.start(out, options)?,
                    _ => self.tracked(kind, &body[camp::DATA_HEAD..], out),
                }
            }
            camp::TX_CHUNK => self.uploaded += (body.len() - camp::CHUNK_HEAD) as u64,
            camp::TX_FINISH => {
                self.untracked(camp::ACK, ack, out);
                let text = self.uploaded.to_string();
                self.tracked(camp::TEXT, text.as_bytes(), out);
            }
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, out: &mut Vec<u8>, options: &Options) -> Result<(), String> {
        let file = File::open(&options.file).map_err(|error| format!("{}: {error}", options.file))?;
        let ack = self.number();
        self.put(&camp::tx_start(self.sid, ack, 0, options.bytes as i64, "bench"), out);
        self.file = Some((file, 0));
        Ok(())
    }

    fn upgrade(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(0) };
        let head = String::from_utf8_lossy(&bytes[..end]);
        let sid = head.split("x-camp-sid=").nth(1).and_then(|rest| rest.split([' ', '&']).next());
        self.sid = sid.and_then(|sid| sid.parse().ok()).ok_or("no sid")?;
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).ok_or("no key")?;
        let accept = STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
        out.extend_from_slice(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .as_bytes(),
        );
        self.upgraded = true;
        let ack = self.number();
        self.put(&camp::endpoint_info(self.sid, ack), out);
        Ok(end + 4)
    }

    fn number(&mut self) -> u32 {
        let ack = self.next_ack;
        self.next_ack = ack.wrapping_add(1);
        ack
    }

    fn put(&self, body: &[u8], out: &mut Vec<u8>) {
        websocket::push_head(out, websocket::BINARY, body.len(), None);
        out.extend_from_slice(body);
    }

    #[inline]
    fn untracked(&self, kind: u8, rest: &[u8], out: &mut Vec<u8>) {
        websocket::push_head(out, websocket::BINARY, 9 + rest.len(), None);
        out.extend_from_slice(&self.sid.to_be_bytes());
        out.push(kind);
        out.extend_from_slice(rest);
    }

    #[inline]
    fn tracked(&mut self, kind: u8, rest: &[u8], out: &mut Vec<u8>) {
        let ack = self.number();
        websocket::push_head(out, websocket::BINARY, 13 + rest.len(), None);
        out.extend_from_slice(&self.sid.to_be_bytes());
        out.push(kind);
        out.extend_from_slice(&ack.to_be_bytes());
        out.extend_from_slice(rest);
    }
}
