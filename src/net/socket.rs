//! A TCP connection that counts its bytes, and that is read for one turn at a time.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// After so many bytes the socket says once that it is not ready, and wakes its reader once the sockets of others have
/// been looked at. It counts below TLS: records that are incomplete, or have no content, count too.
#[derive(Debug)]
pub(super) struct Socket<Io = TcpStream> {
    io: Io,
    received: u64,
    sent: u64,
    /// Bytes that are received before others get their turn.
    turn: usize,
    /// What is left of them.
    allowance: usize,
    /// The last reading ended because nothing was left.
    interrupted: bool,
}

impl<Io> Socket<Io> {
    pub(super) fn new(io: Io, turn: usize) -> Self {
        Socket { io, received: 0, sent: 0, turn, allowance: turn, interrupted: false }
    }

    /// Whether the last reading ended although there may be more: its task is woken again.
    #[inline]
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Bytes received so far.
    #[inline]
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Bytes that the system has taken to send so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn get_ref(&self) -> &Io {
        &self.io
    }
}

/// Wakes the task again after the sockets of others have been looked at.
pub(super) fn take_turns(cx: &mut Context<'_>) {
    // Pending the first time, always.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

impl<Io: AsyncRead + Unpin> AsyncRead for Socket<Io> {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.interrupted = self.allowance == 0;
        if self.interrupted {
            self.allowance = self.turn;
            take_turns(cx);
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = buf.filled().len().saturating_sub(before);
        self.received = self.received.wrapping_add(read as u64);
        self.allowance = self.allowance.saturating_sub(read);
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> Socket<Io> {
    #[inline]
    fn count_sent(&mut self, taken: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = taken {
            self.sent = self.sent.wrapping_add(*bytes as u64);
        }
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Socket<Io> {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.io).poll_write(cx, buf);
        self.count_sent(&taken);
        taken
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.count_sent(&taken);
        taken
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A peer that always has more, and takes whatever it gets.
    struct Endless;

    impl AsyncRead for Endless {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let length = buf.initialize_unfilled().len();
            buf.advance(length);
            Poll::Ready(Ok(()))
        }
    }

    fn read(socket: &mut Socket<Endless>, length: usize) -> Poll<usize> {
        let mut memory = vec![0; length];
        let mut buf = ReadBuf::new(&mut memory);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(socket).poll_read(&mut cx, &mut buf).map(|result| {
            result.expect("it does not fail");
            buf.filled().len()
        })
    }

    #[test]
    fn a_peer_that_always_has_more_is_read_for_one_turn_at_a_time() {
        let mut socket = Socket::new(Endless, 10_000);
        for turn in 1..=3 {
            let calls = (0..1_000_000).take_while(|_| read(&mut socket, 100).is_ready()).count();
            assert_eq!(calls, 100);
            assert!(socket.is_interrupted());
            assert_eq!(socket.received(), turn * 10_000);
        }
    }
}
