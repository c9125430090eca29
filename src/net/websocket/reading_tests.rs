//! Frames of any size come out as they went in, however the bytes of the connection are cut.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncRead, ReadBuf};

use crate::checks;

use super::{End, FINAL_BINARY, Incoming, Reader, mask};

/// A connection that gives at most so many bytes a call, by turns, and is not ready between two of them.
struct Cut {
    bytes: Vec<u8>,
    at: usize,
    pieces: Vec<usize>,
    call: usize,
}

impl AsyncRead for Cut {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.call += 1;
        if self.call.is_multiple_of(2) && self.at < self.bytes.len() {
            return Poll::Pending;
        }
        let piece = self.pieces[self.call / 2 % self.pieces.len()];
        let length = piece.min(buf.remaining()).min(self.bytes.len() - self.at);
        let at = self.at;
        buf.put_slice(&self.bytes[at..at + length]);
        self.at += length;
        Poll::Ready(Ok(()))
    }
}

fn put_frame(length: usize, number: usize, out: &mut Vec<u8>) {
    const KEY: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    out.push(FINAL_BINARY);
    match length {
        0..=125 => out.push(0x80 | length as u8),
        126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&KEY);
    let mut payload = content(length, number);
    mask::apply(&mut payload, KEY, 0);
    out.extend_from_slice(&payload);
}

fn content(length: usize, number: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 251 + at + number) as u8).collect()
}

fn any_length() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..130, 4000usize..4200, 30_000usize..70_000, Just(32 << 10), Just(200_000)]
}

proptest! {
    #![proptest_config(checks::cases(150))]

    #[test]
    fn frames_come_out_as_they_went_in(
        lengths in vec(any_length(), 1..12),
        pieces in vec(prop_oneof![1usize..40, 1000usize..5000, 40_000usize..100_000], 1..6),
        take in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        for (number, length) in lengths.iter().enumerate() {
            put_frame(*length, number, &mut bytes);
        }
        let mut io = Cut { bytes, at: 0, pieces, call: 0 };
        let mut reader = Reader::new(End::Server, 1 << 20, &[]);
        let mut cx = Context::from_waker(Waker::noop());
        let mut read: Vec<Vec<u8>> = Vec::new();
        let mut over = false;
        while !over {
            reader.begin();
            loop {
                let taken = &mut read;
                let next = reader.poll_next(&mut io, &mut cx, |frame| {
                    if take {
                        taken.push(frame.to_vec());
                    }
                    take
                });
                match next {
                    Poll::Ready(Ok(Some(Ok(Incoming::Binary(frame))))) => {
                        read.push(frame.to_vec());
                        continue;
                    }
                    Poll::Ready(Ok(None)) => over = true,
                    Poll::Ready(other) => prop_assert!(false, "{:?}", other),
                    Poll::Pending => {}
                }
                break;
            }
            reader.rest();
        }
        let lengths_read: Vec<usize> = read.iter().map(Vec::len).collect();
        prop_assert_eq!(lengths_read, lengths.clone());
        for (number, (frame, length)) in read.iter().zip(lengths).enumerate() {
            prop_assert!(*frame == content(length, number), "frame {}", number);
        }
    }
}
