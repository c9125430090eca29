//! Orders as the application lays them out, one after the other: `[slot u32][length << 8 | kind u32]`, a payload of
//! that length, and padding to a multiple of 4 bytes. The first three kinds are messages to be sent.

#![expect(clippy::arithmetic_side_effects, reason = "positions within one buffer, of lengths of 24 bits")]

use std::ops::Range;

use bytes::Bytes;

use super::sessions::Slot;
use crate::protocol::Text;
use crate::session::{DataKind, Payload};

/// Bytes of an order before its payload.
pub const ORDER_HEADER: usize = 8;

/// Where the first of several orders has what.
#[derive(Debug)]
pub struct OrderLayout {
    /// The session, or whatever else it is about.
    pub slot: Slot,
    /// What is wanted.
    pub kind: u32,
    /// Where the payload lies.
    pub payload: Range<usize>,
    /// Where the next order begins: not beyond the last byte.
    pub end: usize,
}

impl OrderLayout {
    /// The first of these orders. `None` when there is none.
    #[inline]
    pub fn first(orders: &[u8]) -> Option<Self> {
        let (slot, rest) = orders.split_first_chunk()?;
        let (word, rest) = rest.split_first_chunk()?;
        let word = u32::from_ne_bytes(*word);
        let length = ((word >> 8) as usize).min(rest.len());
        Some(OrderLayout {
            slot: u32::from_ne_bytes(*slot),
            kind: word & 0xff,
            payload: ORDER_HEADER..ORDER_HEADER + length,
            end: (ORDER_HEADER + length.next_multiple_of(4)).min(orders.len()),
        })
    }
}

/// Messages that are to be sent to one session, in order.
#[derive(Debug)]
pub struct Sends(Bytes);

impl Sends {
    /// Takes the messages to one session that these orders begin with. `None`: the first one wants something else.
    #[inline]
    pub fn take(orders: &mut Bytes) -> Option<(Slot, Sends)> {
        let first = OrderLayout::first(orders)?;
        data_kind(first.kind)?;
        let mut end = first.end;
        while let Some(next) = OrderLayout::first(orders.get(end..).unwrap_or_default())
            && next.slot == first.slot
            && data_kind(next.kind).is_some()
        {
            end += next.end;
        }
        Some((first.slot, Sends(orders.split_to(end))))
    }

    /// Calls `each` with every message: its kind, where it lies among all bytes, and those.
    #[inline]
    pub(super) fn for_each(self, mut each: impl FnMut(DataKind, Range<usize>, &Bytes)) {
        let mut at = 0;
        while let Some(order) = OrderLayout::first(self.0.get(at..).unwrap_or_default()) {
            if let Some(kind) = data_kind(order.kind) {
                each(kind, at + order.payload.start..at + order.payload.end, &self.0);
            }
            at += order.end;
        }
    }
}

/// The message as one of the session's, which shares its bytes.
pub(super) fn payload(kind: DataKind, bytes: Bytes) -> Payload {
    match kind {
        DataKind::Utf8 => Payload::Utf8(Text::trusted(bytes)),
        DataKind::Binary => Payload::Binary(bytes),
        DataKind::Error => Payload::Error(Text::trusted(bytes)),
    }
}

#[inline]
fn data_kind(kind: u32) -> Option<DataKind> {
    const UTF8: u32 = DataKind::Utf8 as u32;
    const BINARY: u32 = DataKind::Binary as u32;
    const ERROR: u32 = DataKind::Error as u32;
    match kind {
        UTF8 => Some(DataKind::Utf8),
        BINARY => Some(DataKind::Binary),
        ERROR => Some(DataKind::Error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(list: &[(Slot, u32, &[u8])]) -> Bytes {
        let mut bytes = Vec::new();
        for (slot, kind, payload) in list {
            bytes.extend_from_slice(&slot.to_ne_bytes());
            bytes.extend_from_slice(&((payload.len() as u32) << 8 | kind).to_ne_bytes());
            bytes.extend_from_slice(payload);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes.into()
    }

    fn contents(sends: Sends) -> Vec<(DataKind, Vec<u8>)> {
        let mut all = Vec::new();
        sends.for_each(|kind, range, bytes| all.push((kind, bytes[range].to_vec())));
        all
    }

    #[test]
    fn messages_are_taken_as_far_as_they_go_to_one_session() {
        let mut rest = orders(&[(7, 0, b"text"), (7, 1, b""), (7, 2, b"odd"), (8, 0, b"x"), (8, 3, b""), (8, 0, b"y")]);
        let (slot, sends) = Sends::take(&mut rest).unwrap();
        let expected = [(DataKind::Utf8, &b"text"[..]), (DataKind::Binary, b""), (DataKind::Error, b"odd")];
        assert_eq!((slot, contents(sends)), (7, expected.map(|(kind, bytes)| (kind, bytes.to_vec())).to_vec()));
        let (slot, sends) = Sends::take(&mut rest).unwrap();
        assert_eq!((slot, contents(sends)), (8, vec![(DataKind::Utf8, b"x".to_vec())]));
        assert!(Sends::take(&mut rest).is_none(), "the next order is of another kind");
        let other = OrderLayout::first(&rest).unwrap();
        assert_eq!((other.slot, other.kind, other.end), (8, 3, ORDER_HEADER));
        let mut rest = rest.slice(other.end..);
        assert_eq!(contents(Sends::take(&mut rest).unwrap().1), [(DataKind::Utf8, b"y".to_vec())]);
        assert!(rest.is_empty() && Sends::take(&mut rest).is_none());
    }
}
