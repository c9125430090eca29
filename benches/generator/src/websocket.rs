//! WebSocket frames (RFC 6455), as far as a benchmark meets them.

pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The key of every client frame here; a server cannot know that it is always the same.
pub const KEY: [u8; 4] = [0x5a, 0xc3, 0x17, 0x9e];

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    pub fin: bool,
    pub opcode: u8,
    pub key: Option<[u8; 4]>,
    /// Bytes of the head itself, the key included.
    pub size: usize,
    /// Bytes of the body.
    pub len: usize,
}

/// `None` until enough of it is there.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (mut size, len) = match second & 0x7f {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as usize),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, short as usize),
    };
    let key = if second & MASKED != 0 {
        let key = bytes.get(size..size + 4)?.try_into().ok()?;
        size += 4;
        Some(key)
    } else {
        None
    };
    Some(Head { fin: first & FIN != 0, opcode: first & 0x0f, key, size, len })
}

pub fn push_head(out: &mut Vec<u8>, opcode: u8, len: usize, key: Option<[u8; 4]>) {
    let masked = if key.is_some() { MASKED } else { 0 };
    out.push(FIN | opcode);
    if len < 126 {
        out.push(masked | len as u8);
    } else if len < 65536 {
        out.push(masked | 126);
        out.extend_from_slice(&(len as u16).to_be_bytes());
    } else {
        out.push(masked | 127);
        out.extend_from_slice(&(len as u64).to_be_bytes());
    }
    if let Some(key) = key {
        out.extend_from_slice(&key);
    }
}

/// Masks or unmasks what begins at position `phase` of a body.
pub fn mask(bytes: &mut [u8], key: [u8; 4], phase: usize) {
    let key = [key[phase & 3], key[(phase + 1) & 3], key[(phase + 2) & 3], key[(phase + 3) & 3]];
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        let masked =
            u64::from_ne_bytes([word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7]]) ^ wide;
        word.copy_from_slice(&masked.to_ne_bytes());
    }
    for (at, byte) in words.into_remainder().iter_mut().enumerate() {
        *byte ^= key[at & 3];
    }
}

/// A client's frame, masked once and then only patched.
pub struct Masked {
    bytes: Vec<u8>,
    body: usize,
}

impl Masked {
    pub fn new(opcode: u8, body: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(body.len() + 14);
        push_head(&mut bytes, opcode, body.len(), Some(KEY));
        let start = bytes.len();
        bytes.extend_from_slice(body);
        mask(&mut bytes[start..], KEY, 0);
        Self { bytes, body: start }
    }

    /// Puts `value` at position `at` of the body.
    #[inline]
    pub fn patch<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        let from = self.body + at;
        for (i, (byte, new)) in self.bytes[from..from + N].iter_mut().zip(value).enumerate() {
            *byte = new ^ KEY[(at + i) & 3];
        }
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patched_frame_reads_back_as_what_was_patched_in() {
        for len in [20, 200, 70_000] {
            let mut frame = Masked::new(BINARY, &vec![7; len]);
            frame.patch(9, [1, 2, 3, 4]);
            let head = head(frame.bytes()).unwrap();
            assert_eq!((head.fin, head.opcode, head.key, head.len), (true, BINARY, Some(KEY), len));
            let mut body = frame.bytes()[head.size..].to_vec();
            mask(&mut body, KEY, 0);
            assert_eq!(body[..9], [7; 9]);
            assert_eq!(body[9..13], [1, 2, 3, 4]);
            assert!(body[13..].iter().all(|&byte| byte == 7));
        }
    }
}
