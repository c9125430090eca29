//! Blocking file operations, off the I/O thread.

use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

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

/// A file that is used, and closed, off the I/O thread: each of these may block.
#[derive(Debug)]
pub(super) struct DiskFile(Option<File>);

impl DiskFile {
    pub(super) fn of(file: File) -> Arc<DiskFile> {
        Arc::new(DiskFile(Some(file)))
    }

    /// A new temporary file without a name.
    pub(super) fn temporary() -> io::Result<Arc<DiskFile>> {
        tempfile::tempfile().map(DiskFile::of)
    }

    /// Exactly `len` bytes from position `at`; an error when the file is shorter.
    pub(super) fn read_at(&self, at: u64, len: usize) -> io::Result<Bytes> {
        let mut bytes = buffer(len);
        let mut filled = 0;
        while filled < len {
            let at = at.saturating_add(filled as u64);
            let read = again(|| read_some(self.file()?, at, bytes.0.get_mut(filled..).unwrap_or_default()))?;
            if read == 0 {
                let text = format!("the source ended at byte {at}");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            filled = filled.saturating_add(read);
        }
        Ok(Bytes::from_owner(bytes))
    }

    /// What comes next, at most `len` bytes; none at the end.
    pub(super) fn read_next(&self, len: usize) -> io::Result<Bytes> {
        let mut bytes = buffer(len);
        let read = again(|| self.file()?.read(&mut bytes.0))?;
        if read < len / 2 {
            return Ok(Bytes::copy_from_slice(bytes.0.get(..read).unwrap_or_default()));
        }
        bytes.0.truncate(read);
        Ok(Bytes::from_owner(bytes))
    }

    /// Writes all of `bytes` at position `at`.
    pub(super) fn write_at(&self, mut at: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = again(|| write_some(self.file()?, at, bytes))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            at = at.saturating_add(written as u64);
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Cuts the file to `len` bytes.
    pub(super) fn cut(&self, len: u64) -> io::Result<()> {
        self.file()?.set_len(len)
    }

    /// Another descriptor of the same file.
    #[cfg(unix)]
    pub(super) fn duplicate(&self) -> io::Result<File> {
        self.file()?.try_clone()
    }

    /// There is one until this is dropped.
    fn file(&self) -> io::Result<&File> {
        self.0.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        let file = self.0.take();
        // Closing the last descriptor of a file without a name frees all its blocks.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // It panics where the system refuses the first thread; then the file is closed here.
            let _ = catch_unwind(AssertUnwindSafe(|| runtime.spawn_blocking(move || drop(file))));
        }
    }
}

/// What `operation` gives once no signal interrupts it.
fn again<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
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
