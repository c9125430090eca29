//! Writes one frame: the fixed part is built on the stack, so that the output grows once.

use bytes::BytesMut;

use super::types::FrameType;

/// A frame's fixed part of `N` bytes, filled in order.
pub(super) struct Writer<const N: usize> {
    bytes: [u8; N],
    /// Bytes filled so far. `N` once every field is in.
    at: usize,
}

impl<const N: usize> Writer<N> {
    #[inline]
    pub(super) fn new(sid: u64, frame_type: FrameType) -> Self {
        let empty = Self { bytes: [0; N], at: 0 };
        empty.u64(sid).u8(frame_type as u8)
    }

    #[inline]
    pub(super) fn u8(self, value: u8) -> Self {
        self.array(value.to_be_bytes())
    }

    #[inline]
    pub(super) fn u32(self, value: u32) -> Self {
        self.array(value.to_be_bytes())
    }

    #[inline]
    pub(super) fn u64(self, value: u64) -> Self {
        self.array(value.to_be_bytes())
    }

    #[inline]
    pub(super) fn i64(self, value: i64) -> Self {
        self.array(value.to_be_bytes())
    }

    #[inline]
    pub(super) fn array<const M: usize>(mut self, field: [u8; M]) -> Self {
        // Positions are constants of the layout, none depends on input.
        if let Some(place) = self.bytes.get_mut(self.at..).and_then(|rest| rest.first_chunk_mut()) {
            *place = field;
        }
        self.at = self.at.saturating_add(M);
        self
    }

    /// Appends the fixed part and the payload to `out`.
    #[inline]
    pub(super) fn finish(self, payload: &[u8], out: &mut BytesMut) {
        debug_assert_eq!(self.at, N, "every field is written");
        out.reserve(N.saturating_add(payload.len()));
        out.extend_from_slice(&self.bytes);
        out.extend_from_slice(payload);
    }
}
