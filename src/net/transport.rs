//! The byte stream under a WebSocket: TCP, or TLS over it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Size of the blocks that read ahead. One system call then serves many small frames, while an
/// idle connection keeps no buffer of its own.
const BLOCK: usize = 64 << 10;

/// Blocks kept for reuse by this thread.
const SPARE_BLOCKS: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A connection that counts what it has written and reads ahead into shared blocks.
#[derive(Debug)]
pub(super) struct Transport {
    io: Io,
    /// Bytes read from the socket and not yet asked for.
    ahead: Option<Block>,
    written: u64,
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

#[derive(Debug)]
struct Block {
    /// `start <= end <= bytes.len()`
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Transport {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Transport { io: Io::Plain(stream), ahead: None, written: 0 }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Transport { io: Io::Tls(Box::new(stream)), ahead: None, written: 0 }
    }

    /// Bytes handed to the socket (with TLS: to the cipher) so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Block>> {
        let mut bytes = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; BLOCK].into_boxed_slice());
        let mut buf = ReadBuf::new(&mut bytes);
        let result = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, &mut buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, &mut buf),
        };
        let end = buf.filled().len();
        match result {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(Block { bytes, start: 0, end })),
            Poll::Ready(Err(error)) => {
                give_back(bytes);
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                give_back(bytes);
                Poll::Pending
            }
        }
    }
}

fn give_back(bytes: Box<[u8]>) {
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < SPARE_BLOCKS {
            spare.push(bytes);
        }
    });
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut block = match this.ahead.take() {
            Some(block) => block,
            None => ready!(this.poll_fill(cx))?,
        };
        let n = buf.remaining().min(block.end - block.start);
        buf.put_slice(&block.bytes[block.start..block.start + n]);
        block.start += n;
        if block.start < block.end {
            this.ahead = Some(block);
        } else {
            give_back(block.bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(match &mut this.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_write(cx, buf),
        })?;
        this.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
