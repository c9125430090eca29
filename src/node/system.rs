//! What only the system knows.

use tokio::net::TcpStream;

/// Bytes that were given to the system to be sent and that the other end's system has not acknowledged. `None` where
/// the system does not tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn unacknowledged(connection: &TcpStream) -> Option<u64> {
    use std::os::fd::AsRawFd;
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as `connection` is borrowed, and for a socket this request (tcp(7):
    // SIOCOUTQ, which is the same number) writes one int to where the pointer leads.
    let result = unsafe { libc::ioctl(connection.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { u64::try_from(bytes).ok() } else { None }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn unacknowledged(_: &TcpStream) -> Option<u64> {
    None
}
