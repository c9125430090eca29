//! Cuts what a server sends into messages, without copying the large ones.

use camp_bench::websocket::{self, Head};

/// Messages above this are handed over in the parts in which they arrive.
const LARGE: usize = 16 * 1024;
/// As much of a large message comes with its first part at least.
pub const FIRST_PART: usize = 64;

/// A part of a message; a small message is one part.
pub struct Piece<'a> {
    pub opcode: u8,
    /// Position of `bytes` in the message.
    pub offset: usize,
    pub bytes: &'a [u8],
    /// Bytes of the whole message.
    pub len: usize,
}

impl Piece<'_> {
    pub fn is_last(&self) -> bool {
        self.offset + self.bytes.len() == self.len
    }
}

/// What is left over between two reads.
#[derive(Default)]
pub struct Pieces {
    /// Invariant: never a whole small message, nor the first part of a large one.
    rest: Vec<u8>,
    /// The large message under way, and how much of it has been seen.
    large: Option<(Head, usize)>,
}

impl Pieces {
    /// # Errors
    /// The server sent something that no server of the benchmark should.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut impl FnMut(Piece) -> Result<(), String>) -> Result<(), String> {
        if self.rest.is_empty() {
            let used = self.take(bytes, sink)?;
            self.rest.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.rest);
        joined.extend_from_slice(bytes);
        let used = self.take(&joined, sink)?;
        joined.drain(..used);
        self.rest = joined;
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], sink: &mut impl FnMut(Piece) -> Result<(), String>) -> Result<usize, String> {
        let mut at = 0;
        loop {
            let left = &bytes[at..];
            if let Some((head, seen)) = self.large {
                if left.is_empty() {
                    return Ok(at);
                }
                let part = &left[..left.len().min(head.len - seen)];
                sink(Piece { opcode: head.opcode, offset: seen, bytes: part, len: head.len })?;
                at += part.len();
                let seen = seen + part.len();
                self.large = (seen < head.len).then_some((head, seen));
                continue;
            }
            let Some(head) = websocket::head(left) else { return Ok(at) };
            if !head.fin || head.key.is_some() || head.opcode == 0 {
                return Err(format!("a fragmented or masked frame: {head:?}"));
            }
            let body = &left[head.size..];
            if head.len > LARGE {
                if body.len() < FIRST_PART {
                    return Ok(at);
                }
                self.large = Some((head, 0));
                at += head.size;
            } else if body.len() >= head.len {
                sink(Piece { opcode: head.opcode, offset: 0, bytes: &body[..head.len], len: head.len })?;
                at += head.size + head.len;
            } else {
                return Ok(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_and_in_order_however_they_are_cut() {
        let mut wire = Vec::new();
        for len in [0, 5, 300, LARGE, LARGE + 1, 200_000, 1] {
            websocket::push_head(&mut wire, websocket::BINARY, len, None);
            wire.extend((0..len).map(|i| i as u8));
        }
        for step in [1, 7, 64, 4096, wire.len()] {
            let (mut pieces, mut lens, mut seen) = (Pieces::default(), Vec::new(), 0);
            for part in wire.chunks(step) {
                pieces
                    .feed(part, &mut |piece| {
                        assert_eq!(piece.offset, seen);
                        assert!(piece.bytes.iter().enumerate().all(|(i, &b)| b == (seen + i) as u8));
                        assert!(piece.offset > 0 || piece.bytes.len() >= piece.len.min(FIRST_PART));
                        seen = if piece.is_last() { 0 } else { seen + piece.bytes.len() };
                        if piece.is_last() {
                            lens.push(piece.len);
                        }
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!(lens, [0, 5, 300, LARGE, LARGE + 1, 200_000, 1]);
        }
    }
}
