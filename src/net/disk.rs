//! Blocking file operations, off the I/O thread.

use std::fs::File;
use std::io;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

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

/// Buffers kept for reading, at most this many of at most this size.
const SPARE_BUFFERS: usize = 8;
const SPARE_SIZE: usize = 1 << 20;

/// Buffers that were read into and are no longer used: filling fresh memory with zeros costs as much
/// as reading.
static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Bytes that were read from a file; their memory is used again.
struct Filled(Vec<u8>);

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_BUFFERS && buffer.len() <= SPARE_SIZE {
            spare.push(buffer);
        }
    }
}

/// A buffer of `len` bytes with anything in them.
fn buffer(len: usize) -> Filled {
    let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut buffer = spare.unwrap_or_default();
    buffer.resize(len, 0);
    Filled(buffer)
}

/// Exactly `len` bytes from position `at`; an error when the file is shorter.
pub(super) fn read_at(file: &File, at: u64, len: usize) -> io::Result<Bytes> {
    let mut bytes = buffer(len);
    let mut filled = 0;
    while filled < len {
        match read_some(file, at + filled as u64, &mut bytes.0[filled..]) {
            Ok(0) => {
                let text = format!("the source ended at byte {}", at + filled as u64);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Bytes::from_owner(bytes))
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
