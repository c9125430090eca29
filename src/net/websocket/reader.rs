//! Reads the peer's messages.

use std::io::{self, Cursor};
use std::mem;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::{
    End, FINAL_BINARY, INVALID_PAYLOAD, Incoming, MAX_FRAGMENTS, TOO_BIG, UNSUPPORTED_DATA, Violation, blocks, mask,
};

/// Payloads from this size on get memory of their own, so that holding one never holds a block.
const OWN_MEMORY: usize = 4096;

/// After a frame from this size on, another is likely: no more than [`HEAD`] is read of it before its
/// header is known, so that its payload is read to where it stays.
const LARGE: usize = 32 << 10;
const HEAD: usize = 2048;

/// What is left of a block of the reader's own is copied to a smaller one only if it is less than this: else many
/// short batches would copy each byte many times.
const WORTH_KEEPING: usize = blocks::BLOCK / 4;

/// The bit in a header's second byte that tells of a mask.
const MASKED: u8 = 0x80;

/// Longest payload of a control frame (RFC 6455, 5.5).
const MAX_CONTROL: usize = 125;

/// The reading half of a connection.
#[derive(Debug)]
pub(in crate::net) struct Reader {
    max_message: usize,
    /// Whether the peer masks its frames.
    masked: bool,
    /// The thread's block during a batch; between batches what is left of one, usually nothing.
    block: BytesMut,
    /// Whether this batch began with memory of the reader's own.
    own: bool,
    /// Whether the last frame was a large one.
    large: bool,
    /// A frame whose header is complete and whose payload is still coming.
    partial: Option<Partial>,
    /// The fragments so far of a message that comes in several frames.
    fragments: Option<Fragments>,
}

#[derive(Debug, Default)]
struct Fragments {
    count: u32,
    payload: BytesMut,
}

#[derive(Debug)]
struct Partial {
    header: FrameHeader,
    length: usize,
    /// Still masked. Behind the first `length` bytes there may be some of the next frame, up to [`HEAD`].
    payload: BytesMut,
}

/// What reading has come to.
enum Step {
    Incoming(Incoming),
    /// A header was read, its payload is still to come.
    More,
}

impl Reader {
    /// `early` is what came behind the peer's request or response.
    pub(in crate::net) fn new(end: End, max_message: usize, early: &[u8]) -> Self {
        let masked = end == End::Server;
        let block = BytesMut::from(early);
        Reader { max_message, masked, block, own: false, large: false, partial: None, fragments: None }
    }

    /// Begins a batch: until [`Self::rest`] the thread's block belongs to this reader.
    pub(in crate::net) fn begin(&mut self) {
        self.own = !self.block.is_empty();
        if !self.own {
            self.block = blocks::take_reading();
        }
    }

    /// Ends a batch. What is left of the block is kept, in memory of its own.
    pub(in crate::net) fn rest(&mut self) {
        if self.own && self.block.len() >= WORTH_KEEPING {
            return;
        }
        let block = mem::take(&mut self.block);
        self.block = BytesMut::from(&block[..]);
        blocks::return_reading(block);
    }

    /// The next message, or fragment of one: whoever asks counts them, however small they are. `None` when the peer
    /// has hung up.
    ///
    /// Most binary messages are first shown to `take` where they lie; one that it takes is not given out.
    #[inline]
    pub(in crate::net) fn poll_next(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Poll<io::Result<Option<Result<Incoming, Violation>>>> {
        loop {
            if let Some((header, end)) = self.unmask_plain() {
                if self.block.get(header..end).is_some_and(&mut take) {
                    self.block.advance(end);
                    continue;
                }
                let mut payload = self.block.split_to(end).freeze();
                payload.advance(header);
                return Poll::Ready(Ok(Some(Ok(Incoming::Binary(payload)))));
            }
            match self.parse() {
                Ok(Some(Step::Incoming(incoming))) => return Poll::Ready(Ok(Some(Ok(incoming)))),
                Ok(Some(Step::More)) => continue,
                Ok(None) => {}
                Err(violation) => return Poll::Ready(Ok(Some(Err(violation)))),
            }
            let read = match &mut self.partial {
                Some(Partial { payload, .. }) => {
                    let room = payload.capacity().saturating_sub(payload.len());
                    let mut rest = payload.limit(room);
                    ready!(pin!(io.read_buf(&mut rest)).poll(cx))?
                }
                None => {
                    if self.block.capacity().saturating_sub(self.block.len()) < blocks::BLOCK / 4 {
                        self.block.reserve(blocks::BLOCK);
                    }
                    let room = if self.large { HEAD } else { usize::MAX };
                    let mut block = (&mut self.block).limit(room);
                    ready!(pin!(io.read_buf(&mut block)).poll(cx))?
                }
            };
            if read == 0 {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// Unmasks the next frame in the block if it is as most are: a whole binary message, short, and complete.
    /// Gives where its payload begins and ends, both within the block. Every other frame is for [`Self::parse`].
    #[inline]
    fn unmask_plain(&mut self) -> Option<(usize, usize)> {
        let (&[first, second], rest) = self.block.split_first_chunk()?;
        let masked = second & MASKED != 0;
        if first != FINAL_BINARY || masked != self.masked || self.partial.is_some() || self.fragments.is_some() {
            return None;
        }
        let (header, length) = match second & !MASKED {
            length @ ..=125 => (if masked { 6 } else { 2 }, usize::from(length)),
            126 => (if masked { 8 } else { 4 }, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
            _ => return None,
        };
        let end = length.saturating_add(header);
        if length >= OWN_MEMORY || self.block.len() < end {
            return None;
        }
        if masked {
            let (header, payload) = self.block.get_mut(..end)?.split_at_mut_checked(header)?;
            mask::apply(payload, *header.last_chunk()?, 0);
        }
        self.large = false;
        Some((header, end))
    }

    /// Takes one frame out of what has been read. `None`: it is not complete.
    fn parse(&mut self) -> Result<Option<Step>, Violation> {
        if let Some(Partial { length, payload, .. }) = &mut self.partial {
            if payload.len() < *length {
                let there = self.block.split_to(length.saturating_sub(payload.len()).min(self.block.len()));
                payload.extend_from_slice(&there);
            } else {
                // The block is empty: what was in it belongs to this frame.
                self.block.extend_from_slice(payload.get(*length..).unwrap_or_default());
                payload.truncate(*length);
            }
            if payload.len() < *length {
                return Ok(None);
            }
            let Some(Partial { header, payload, .. }) = self.partial.take() else { return Ok(None) };
            return self.on_frame(&header, payload).map(|incoming| Some(Step::Incoming(incoming)));
        }
        let mut cursor = Cursor::new(&self.block[..]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|error| Violation::protocol(error.to_string()))?;
        let Some((header, length)) = parsed else { return Ok(None) };
        let header_length = cursor.position() as usize;
        let length = self.check(&header, length)?;
        self.block.advance(header_length);
        self.large = length >= LARGE;
        if length < OWN_MEMORY && length <= self.block.len() {
            let payload = self.block.split_to(length);
            return self.on_frame(&header, payload).map(|incoming| Some(Step::Incoming(incoming)));
        }
        let capacity = if self.large { length.saturating_add(HEAD) } else { length };
        self.partial = Some(Partial { header, length, payload: BytesMut::with_capacity(capacity) });
        Ok(Some(Step::More))
    }

    /// Everything a header can be wrong in, before any memory is set aside for its payload.
    fn check(&self, header: &FrameHeader, length: u64) -> Result<usize, Violation> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Violation::protocol("A reserved bit is set."));
        }
        if header.mask.is_some() != self.masked {
            return Err(Violation::protocol(match self.masked {
                true => "A client must mask its frames.",
                false => "A server must not mask its frames.",
            }));
        }
        match header.opcode {
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
                return Err(Violation::protocol("The opcode is a reserved one."));
            }
            OpCode::Control(_) if !header.is_final => {
                return Err(Violation::protocol("A control frame must not be fragmented."));
            }
            OpCode::Control(_) if length > MAX_CONTROL as u64 => {
                return Err(Violation::protocol(format!("A control frame of {length} bytes, {MAX_CONTROL} at most.")));
            }
            OpCode::Data(Data::Text) => {
                let reason = "CAMP frames are binary WebSocket messages.".to_owned();
                return Err(Violation { code: UNSUPPORTED_DATA, reason });
            }
            OpCode::Data(Data::Continue) if self.fragments.is_none() => {
                return Err(Violation::protocol("A continuation of nothing."));
            }
            OpCode::Data(Data::Binary) if self.fragments.is_some() => {
                return Err(Violation::protocol("A new message within a fragmented one."));
            }
            _ => {}
        }
        let (count, before) = self.fragments.as_ref().map_or((0, 0), |so_far| (so_far.count, so_far.payload.len()));
        if count >= MAX_FRAGMENTS && matches!(header.opcode, OpCode::Data(_)) {
            let reason = format!("A message of more than {MAX_FRAGMENTS} fragments.");
            return Err(Violation { code: TOO_BIG, reason });
        }
        let limit = self.max_message.saturating_sub(before);
        match usize::try_from(length) {
            Ok(length) if length <= limit || matches!(header.opcode, OpCode::Control(_)) => Ok(length),
            _ => Err(Violation {
                code: TOO_BIG,
                reason: format!(
                    "A message of {} bytes, {} at most.",
                    length.saturating_add(before as u64),
                    self.max_message
                ),
            }),
        }
    }

    fn on_frame(&mut self, header: &FrameHeader, mut payload: BytesMut) -> Result<Incoming, Violation> {
        if let Some(key) = header.mask {
            mask::apply(&mut payload, key, 0);
        }
        Ok(match header.opcode {
            OpCode::Data(Data::Binary) if header.is_final => Incoming::Binary(payload.freeze()),
            OpCode::Data(_) => {
                let mut message = self.fragments.take().unwrap_or_default();
                message.count = message.count.saturating_add(1);
                message.payload.extend_from_slice(&payload);
                if header.is_final {
                    Incoming::Binary(message.payload.freeze())
                } else {
                    self.fragments = Some(message);
                    Incoming::Fragment(payload.len())
                }
            }
            OpCode::Control(Control::Ping) => Incoming::Ping(Bytes::copy_from_slice(&payload)),
            OpCode::Control(Control::Pong) => Incoming::Pong,
            OpCode::Control(_) => Incoming::Close(close_frame(&payload)?),
        })
    }
}

/// Code and reason of a close frame (RFC 6455, 5.5.1).
fn close_frame(payload: &[u8]) -> Result<Option<(u16, String)>, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Violation::protocol("A close frame with half a code.")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !CloseCode::from(code).is_allowed() {
        return Err(Violation::protocol(format!("Close code {code} must not be sent.")));
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(Some((code, reason.to_owned()))),
        Err(_) => Err(Violation { code: INVALID_PAYLOAD, reason: "A close reason that is not UTF-8.".to_owned() }),
    }
}
