//! Listening sockets, bound the way Node binds them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// How the system is to listen.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// Connections that the system completes ahead of `accept`.
    pub backlog: i32,
    /// Share the port with other processes that ask for the same; Unix only.
    pub reuse_port: bool,
}

/// Binds `port` on `host`, or on all interfaces of both families when there is none.
pub(super) async fn bind(host: Option<&str>, port: u16, options: ListenOptions) -> io::Result<TcpListener> {
    let Some(host) = host else {
        let any_v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
        return match bind_to(any_v6, true, options) {
            Err(error) if is_unsupported(&error) => {
                bind_to(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), false, options)
            }
            other => other,
        };
    };
    let mut last = None;
    for address in tokio::net::lookup_host((host, port)).await? {
        match bind_to(address, false, options) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other(format!("{host} has no address"))))
}

fn bind_to(address: SocketAddr, dual_stack: bool, options: ListenOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if dual_stack {
        socket.set_only_v6(false)?;
    }
    // On Windows the option would allow a second listener on the port.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    socket.set_reuse_port(options.reuse_port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    TcpListener::from_std(socket.into())
}

/// Whether this machine has no IPv6.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable | io::ErrorKind::InvalidInput)
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}

#[cfg(windows)]
const EAFNOSUPPORT: i32 = 10047;
#[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
const EAFNOSUPPORT: i32 = 47;
#[cfg(not(any(windows, target_os = "macos", target_os = "ios", target_os = "freebsd")))]
const EAFNOSUPPORT: i32 = 97;
