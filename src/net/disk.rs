//! Blocking file operations, off the I/O thread.

use std::fs::File;
use std::io;
use std::rc::Rc;

use bytes::Bytes;

use super::sessions::{Mailbox, Order};

/// Runs `operation` on a thread of its own kind and posts what it gives.
pub(super) fn run(mailbox: Rc<Mailbox>, operation: impl FnOnce() -> Order + Send + 'static) {
    tokio::task::spawn_local(async move {
        // The operations do not panic; if one did, its transaction would end with its session.
        if let Ok(order) = tokio::task::spawn_blocking(operation).await {
            mailbox.post(order);
        }
    });
}

/// Exactly `len` bytes from position `at`; an error when the file is shorter.
pub(super) fn read_at(file: &File, at: u64, len: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match read_some(file, at + filled as u64, &mut bytes[filled..]) {
            Ok(0) => {
                let text = format!("the source ended at byte {}", at + filled as u64);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes.into())
}

/// Writes all of `bytes` at position `at`.
pub(super) fn write_at(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match write_some(file, at + written as u64, &bytes[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn read_some(file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, at)
}

#[cfg(unix)]
fn write_some(file: &File, at: u64, from: &[u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, from, at)
}

#[cfg(windows)]
fn read_some(file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, into, at)
}

#[cfg(windows)]
fn write_some(file: &File, at: u64, from: &[u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, from, at)
}
