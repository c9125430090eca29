//! The byte stream under a WebSocket: TCP, or TLS over it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::{client, server};

use super::handover::SocketOption;
use super::socket::Socket;

/// Bytes received by one connection before others get their turn, whatever is made of them: more than a message has,
/// so that one is read in few calls. A record of TLS costs time even if it is empty.
pub(super) const TURN: usize = 2 << 20;
pub(super) const TLS_TURN: usize = 256 << 10;

/// A connection, accepted or made.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(Socket),
    Tls(Box<server::TlsStream<Socket>>),
    TlsClient(Box<client::TlsStream<Socket>>),
}

impl Transport {
    /// Our end's address.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().local_addr()
    }

    /// The connection without TLS, to ask the system about.
    pub(super) fn tcp(&self) -> &TcpStream {
        self.socket().get_ref()
    }

    /// The connection without TLS, to ask what has passed.
    #[inline]
    pub(super) fn socket(&self) -> &Socket {
        match self {
            Transport::Plain(io) => io,
            Transport::Tls(io) => io.get_ref().0,
            Transport::TlsClient(io) => io.get_ref().0,
        }
    }

    /// Sets an option of the socket as Node does.
    pub(super) fn set_option(&self, option: SocketOption) -> io::Result<()> {
        let socket = SockRef::from(self.tcp());
        match option {
            SocketOption::NoDelay(on) => socket.set_tcp_nodelay(on),
            SocketOption::KeepAlive(true, Some(idle)) => socket.set_tcp_keepalive(&keepalive_after(idle)),
            SocketOption::KeepAlive(on, _) => socket.set_keepalive(on),
        }
    }

    /// When it is dropped the peer is sent a reset.
    pub(super) fn reset_on_drop(&self) -> io::Result<()> {
        SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO))
    }

    /// Of an accepted TLS connection: its protocol version as Node names it, and the name the client asked for.
    pub(super) fn tls_details(&self) -> Option<(String, String)> {
        let Transport::Tls(io) = self else { return None };
        let tls = io.get_ref().1;
        let version = match tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        Some((version.to_owned(), tls.server_name().unwrap_or_default().to_owned()))
    }
}

/// Probes like libuv's: one a second, ten in all, where the system can be told.
fn keepalive_after(idle: Duration) -> TcpKeepalive {
    let keepalive = TcpKeepalive::new().with_time(idle);
    #[cfg(any(target_os = "linux", target_vendor = "apple", windows))]
    let keepalive = keepalive.with_interval(Duration::from_secs(1));
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    let keepalive = keepalive.with_retries(10);
    keepalive
}

impl AsyncRead for Transport {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Transport::Tls(io) => Pin::new(io).poll_read(cx, buf),
            Transport::TlsClient(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Transport::Tls(io) => Pin::new(io).poll_write(cx, buf),
            Transport::TlsClient(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(io) => Pin::new(io).poll_write_vectored(cx, slices),
            Transport::Tls(io) => Pin::new(io).poll_write_vectored(cx, slices),
            Transport::TlsClient(io) => Pin::new(io).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(io) => Pin::new(io).poll_flush(cx),
            Transport::Tls(io) => Pin::new(io).poll_flush(cx),
            Transport::TlsClient(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Transport::Tls(io) => Pin::new(io).poll_shutdown(cx),
            Transport::TlsClient(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
