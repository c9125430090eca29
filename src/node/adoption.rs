//! Connections that JavaScript has accepted: in a worker of `node:cluster` the primary owns the port.

use std::io;
use std::net::TcpStream;

use napi::{Error, Result, Status};
use napi_derive::napi;

use super::orders::OrderKind;
use super::server::NativeServer;
use crate::net::IoText;

#[napi]
impl NativeServer {
    /// Takes over the connection of an open socket. The descriptor stays the caller's, to be closed at once.
    /// Throws when the system has no room for another one.
    #[napi]
    pub fn adopt(&self, fd: i32) -> Result<()> {
        let connection = duplicate(fd)
            .map_err(|error| Error::new(Status::GenericFailure, format!("cannot accept: {}", IoText(&error))))?;
        self.orders.put_connection(connection);
        self.writer().put(0, OrderKind::Adopt, &[]);
        Ok(())
    }
}

#[cfg(unix)]
fn duplicate(fd: i32) -> io::Result<TcpStream> {
    use std::os::fd::BorrowedFd;

    if fd < 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: it is not -1, and `js/shared-port.js` holds the socket open during this call.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    borrowed.try_clone_to_owned().map(TcpStream::from)
}

#[cfg(not(unix))]
fn duplicate(_fd: i32) -> io::Result<TcpStream> {
    Err(io::ErrorKind::Unsupported.into())
}
