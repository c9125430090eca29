//! A checked cursor over one received frame.

use bytes::{Buf, Bytes};

use super::error::DecodeError;
use super::limits::MAX_PAYLOAD;
use super::text::Text;
use super::types::FrameType;

/// Reads a frame's fields in order. Running out of bytes is an error that names the field.
pub(super) struct Reader {
    frame: Bytes,
    frame_type: FrameType,
    /// Bytes read so far. Never more than `frame` has.
    at: usize,
}

impl Reader {
    /// Reads the header that every frame begins with: the sid and the type, with a reader for
    /// what follows.
    #[inline(always)]
    pub(super) fn open(frame: Bytes) -> Result<(u64, FrameType, Self), DecodeError> {
        let Some((sid, rest)) = frame.split_first_chunk() else {
            return Err(too_short(None, "sid", 8, frame.len()));
        };
        let Some(&value) = rest.first() else {
            return Err(too_short(None, "type", 9, frame.len()));
        };
        let Some(frame_type) = FrameType::from_u8(value) else {
            return Err(DecodeError::UnknownType { value });
        };
        let sid = u64::from_be_bytes(*sid);
        let reader = Self { frame, frame_type, at: 9 };
        Ok((sid, frame_type, reader))
    }

    #[inline]
    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(u8::from_be_bytes)
    }

    #[inline(always)]
    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    #[inline]
    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    #[inline]
    pub(super) fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.array(field).map(i64::from_be_bytes)
    }

    /// The next `N` bytes.
    #[inline(always)]
    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let rest = self.frame.get(self.at..).unwrap_or_default();
        let Some(bytes) = rest.first_chunk() else {
            let needed = self.at.saturating_add(N);
            return Err(too_short(Some(self.frame_type), field, needed, self.frame.len()));
        };
        self.at = self.at.saturating_add(N);
        Ok(*bytes)
    }

    /// The bytes to the end of the frame, at most [`MAX_PAYLOAD`].
    #[inline(always)]
    pub(super) fn payload(mut self) -> Result<Bytes, DecodeError> {
        let size = self.frame.len().saturating_sub(self.at);
        if size > MAX_PAYLOAD {
            return Err(DecodeError::PayloadTooLarge { frame: self.frame_type, size, max: MAX_PAYLOAD });
        }
        // Unlike `slice` this moves the handle and leaves the reference count alone.
        self.frame.advance(self.at);
        Ok(self.frame)
    }

    /// The text to the end of the frame, at most [`MAX_PAYLOAD`] bytes.
    #[inline(always)]
    pub(super) fn text(self, field: &'static str) -> Result<Text, DecodeError> {
        let frame = self.frame_type;
        // The size comes first: what is too large is not worth validating.
        Text::new(self.payload()?).map_err(|fault| DecodeError::InvalidUtf8 {
            frame,
            field,
            valid_up_to: fault.valid_up_to,
        })
    }

    /// Checks that a frame of fixed length ends here.
    #[inline]
    pub(super) fn end(self) -> Result<(), DecodeError> {
        if self.at == self.frame.len() {
            return Ok(());
        }
        Err(DecodeError::TrailingBytes { frame: self.frame_type, expected: self.at, got: self.frame.len() })
    }
}

#[cold]
fn too_short(frame: Option<FrameType>, field: &'static str, needed: usize, got: usize) -> DecodeError {
    DecodeError::TooShort { frame, field, needed, got }
}
